/**
 * The admin port of a proxy: it is open for as long as the proxy starts, serves and stops.
 *
 * Rule: a proxy that has none loads nothing of it.
 */
import type { Logger } from '../../telemetry/log.ts'
import type { AdminAddress } from './address.ts'
import type { AdminPage } from './server.ts'

export interface AdminPort {
  /** Not ready yet, and why. */
  starting(reason: string): void
  /** Other pages from now on. */
  show(pages: readonly AdminPage[]): void
}

/**
 * Opens it before anything is waited for: who supervises the process must hear that it lives.
 * @param listen undefined where the configuration has none
 * @param serve resolves when the proxy has stopped; shows its own pages as soon as there are some
 */
export async function besideAdminPort(
  listen: AdminAddress | undefined,
  log: Logger,
  serve: (admin: AdminPort | undefined) => Promise<void>,
): Promise<void> {
  if (listen === undefined) {
    await serve(undefined)
    return
  }
  const [{ startAdminServer }, { startingPages }] = await Promise.all([import('./server.ts'), import('./pages.ts')])
  const server = await startAdminServer(listen, startingPages('waiting for the control plane'), log)
  try {
    await serve({
      starting: (reason) => server.show(startingPages(reason)),
      show: (pages) => server.show(pages),
    })
  } finally {
    await server.stop()
  }
}
