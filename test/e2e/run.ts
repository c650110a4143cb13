/**
 * Runs the end-to-end suites, each in a process of its own, on one mesh that this process holds: first what only talks to the mesh, two at a
 * time, last what breaks it. Arguments are parts of file names; with some, only files that contain one of them run.
 */
import { conclude, newTally, runEndToEnd } from '../../scripts/runs.ts'
import { holdMesh } from './held.ts'
import { endToEndPlan } from './order.ts'

const wanted = process.argv.slice(2)
const { groups, alone } = endToEndPlan(wanted)
if (groups.length + alone.length === 0) {
  process.stderr.write(`no end-to-end suite is named like ${wanted.join(' or ')}\n`)
  process.exit(2)
}

const stopped = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopped.abort())
const held = process.env.RINGFENCE_E2E_MESH === undefined ? await holdMesh() : undefined
const tally = newTally()
try {
  await runEndToEnd(tally, wanted, stopped.signal)
} finally {
  await held?.close()
}
process.exit(conclude(tally))
