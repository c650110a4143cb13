/**
 * `npm start`: the whole path on this machine, sample workloads of each kind of caller, and a live table of who is talking to Cassandra.
 * Ctrl-C stops what it started and nothing else; the next start finds its data again.
 */
import { join } from 'node:path'
import {
  chooseNodes,
  cores,
  durationMs,
  readFlags,
  reportFailure,
  sharedFlags,
  stateDirOf,
  stopOnSignal,
  untilStopped,
  wholeNumber,
} from './options.ts'
import { layoutOf } from './parts/layout.ts'
import { type Mesh, startMesh } from './parts/mesh.ts'
import { policyFileFor } from './parts/people.ts'
import { createProgress, type Progress } from './parts/progress.ts'
import { migrate } from './schema.ts'
import { showTraffic } from './screen.ts'
import { suggestionLines, suggestions } from './try.ts'
import { startWorkload, workloads } from './workloads.ts'

const usage = `npm start -- [options]

  --nodes N            Cassandra nodes, 1 to 9; 3, or fewer when memory is short
  --reset              forget all data of earlier starts
  --state-dir DIR      one folder for everything; .ringfence
  --port-offset K      add K to every port, so that two copies run side by side
  --jvm-flags="…"      more flags for Cassandra's JVM
  --no-table           print no table
  --duration 60s       stop by itself
  -o, --output json    one JSON object a line instead of text`

try {
  await main()
  process.exit(0)
} catch (reason) {
  process.exit(reportFailure(reason))
}

async function main(): Promise<void> {
  const flags = readFlags(
    {
      ...sharedFlags,
      'no-table': { type: 'boolean' },
      duration: { type: 'string' },
      output: { type: 'string', short: 'o' },
    },
    usage,
  )
  const json = flags.output === 'json'
  // With JSON, standard output is for the objects alone.
  const progress = createProgress(json ? process.stderr : process.stdout)
  const stateDir = stateDirOf(flags['state-dir'])
  const reset = flags.reset === true
  const { nodes, note } = chooseNodes(flags.nodes, join(stateDir, 'cassandra'), reset)
  const duration = flags.duration === undefined ? undefined : durationMs(flags.duration)
  const stopping = stopOnSignal()

  progress.note(`Ringfence: ${nodes} Cassandra ${nodes === 1 ? 'node' : 'nodes'}, everything in ${stateDir}`)
  if (note !== undefined) progress.note(note)
  const portOffset = wholeNumber('port-offset', flags['port-offset'], 0, 0, 55_000)
  const policyFile = policyFileFor(layoutOf(stateDir, nodes, portOffset))
  const mesh = await start({
    stateDir,
    nodes,
    reset,
    progress,
    portOffset,
    policyFile,
    jvmFlags: (flags['jvm-flags'] ?? '').split(/\s+/).filter((flag) => flag !== ''),
    signal: stopping.signal,
  }).catch((reason: unknown) => {
    if (!stopping.signal.aborted) throw reason
  })
  if (mesh === undefined) return progress.note('Stopped.')
  try {
    const facts = await suggestions(mesh, policyFile)
    if (json) console.log(JSON.stringify({ kind: 'ready', ...facts }))
    else console.log(suggestionLines(facts).join('\n'))
    const shown = flags['no-table'] === true ? undefined : showTraffic(mesh, stopping.signal, json)
    await untilStopped(stopping, duration)
    await shown
  } finally {
    progress.note('')
    await progress.step('Stopping everything', () => mesh.close())
  }
}

async function start(options: {
  stateDir: string
  nodes: number
  portOffset: number
  policyFile: string
  reset: boolean
  jvmFlags: readonly string[]
  progress: Progress
  signal: AbortSignal
}): Promise<Mesh> {
  const mesh = await startMesh({
    ...options,
    // People come by a token, services by their certificate.
    authentication: 'either',
    people: true,
    // So short that renewal is seen.
    svidTtl: '5m',
    gatewayWorkers: cores(),
  })
  try {
    await options.progress.step('Schema, made through the mesh', () => migrate(mesh, mesh.layout.nginx))
    await options.progress.step(`${workloads.length} sample workloads`, () =>
      Promise.all(workloads.map((one) => startWorkload(mesh, one))),
    )
    return mesh
  } catch (reason) {
    await mesh.close()
    throw reason
  }
}
