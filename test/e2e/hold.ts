/**
 * Starts the mesh of the end-to-end suites and keeps it until Ctrl-C, so that one suite can be run again and again without the wait:
 *
 *   node test/e2e/hold.ts                                      # prints the folder
 *   RINGFENCE_E2E_MESH=<folder> node --test test/e2e/drivers/go.e2e.test.ts
 */
import { holdMesh } from './held.ts'

const held = await holdMesh()
process.stdout.write(`export RINGFENCE_E2E_MESH=${held.stateDir}\n`)

let stopping = false
async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  await held.close()
  process.exit(0)
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
