/** The admin port of a proxy: it is open for as long as the proxy starts, serves and stops. */
import type { Logger } from '../../telemetry/log.ts'
import type { AdminAddress } from './address.ts'
import { startingPages } from './pages.ts'
import { type AdminServer, startAdminServer } from './server.ts'

/**
 * Opens it before anything is waited for: who supervises the process must hear that it lives.
 * @param listen undefined where the configuration has none
 * @param serve resolves when the proxy has stopped; shows its own pages as soon as there are some
 */
export async function besideAdminServer(
  listen: AdminAddress | undefined,
  log: Logger,
  serve: (adminServer: AdminServer | undefined) => Promise<void>,
): Promise<void> {
  const pages = startingPages('waiting for the control plane')
  const adminServer = listen && (await startAdminServer(listen, pages, log))
  try {
    await serve(adminServer)
  } finally {
    await adminServer?.stop()
  }
}
