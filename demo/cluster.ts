/**
 * `npm run cluster`: locked nodes with a sidecar at 127.0.0.1, .2, .3 port 9042, for any driver's own test suite. The sidecars take plain
 * connections on loopback as one identity that may do everything outside the system keyspaces, or TLS with `--tls`. With `--as owner` it
 * is one that sees its own keyspaces only. With `--bare` the nodes stand alone and open, for the same suite without the mesh.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../src/base/errors.ts'
import {
  chooseNodes,
  durationMs,
  readFlags,
  reportFailure,
  sharedFlags,
  stateDirOf,
  stopOnSignal,
  untilStopped,
  wholeNumber,
} from './options.ts'
import { owner, ownerPolicy, strangersKeyspace } from './owner.ts'
import { startBareCluster } from './parts/bare.ts'
import type { IdentityFiles } from './parts/certificates.ts'
import { show, spiffeIds } from './parts/layout.ts'
import { type Mesh, startMesh } from './parts/mesh.ts'
import { createProgress } from './parts/progress.ts'

const usage = `npm run cluster -- [options]

  --nodes N            Cassandra nodes, 1 to 9; 3, or fewer when memory is short
  --tls                TLS listeners instead of plain ones on loopback
  --as owner           the identity may use and see its own keyspaces only
  --keyspaces a,b*     the owner's keyspaces; all but somebody_elses
  --bare               no mesh: the nodes themselves, open, at the same addresses
  --jvm-flags="…"      more flags for Cassandra's JVM
  --port-offset K      add K to every port
  --state-dir DIR      one folder for everything; .ringfence/cluster
  --reset              forget all data of earlier starts
  --duration 60s       stop by itself`

const conformance = spiffeIds.service('conformance')
const conformanceFile = join(import.meta.dirname, 'conformance.yaml')

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
      as: { type: 'string' },
      keyspaces: { type: 'string' },
      tls: { type: 'boolean' },
      bare: { type: 'boolean' },
      duration: { type: 'string' },
    },
    usage,
  )
  const own = ownKeyspaces(flags)
  const progress = createProgress()
  const bare = flags.bare === true
  const stateDir = stateDirOf(flags['state-dir'], bare ? 'bare' : 'cluster')
  const reset = flags.reset === true
  const { nodes, note } = chooseNodes(flags.nodes, join(stateDir, 'cassandra'), reset)
  if (note !== undefined) progress.note(note)
  const stopping = stopOnSignal()
  const shared = {
    signal: stopping.signal,
    stateDir,
    nodes,
    reset,
    progress,
    portOffset: wholeNumber('port-offset', flags['port-offset'], 0, 0, 55_000),
    jvmFlags: (flags['jvm-flags'] ?? '').split(/\s+/).filter((flag) => flag !== ''),
  }
  const starting = bare ? startBareCluster(shared) : startWithSidecars(shared, flags.tls === true, own)
  const cluster = await starting.catch((reason: unknown) => {
    if (!stopping.signal.aborted) throw reason
  })
  if (cluster === undefined) return progress.note('Stopped.')
  for (const line of cluster.lines) console.log(line)
  console.log('\nCtrl-C stops it.')
  await untilStopped(stopping, flags.duration === undefined ? undefined : durationMs(flags.duration))
  await progress.step('Stopping everything', () => cluster.close())
}

/** The owner's keyspaces where the identity is to be one; undefined for the one that may do everything. */
function ownKeyspaces(flags: { as?: string; keyspaces?: string; bare?: boolean }): readonly string[] | undefined {
  if (flags.as === undefined && flags.keyspaces === undefined) return undefined
  if (flags.as !== 'owner') throw new RingfenceError('USAGE', '--as takes owner, and --keyspaces goes with it')
  if (flags.bare === true) throw new RingfenceError('USAGE', '--bare has no mesh that could tell identities apart')
  return flags.keyspaces?.split(',') ?? ['*']
}

async function startWithSidecars(
  shared: Omit<Parameters<typeof startMesh>[0], 'policyFile' | 'gatewayWorkers'>,
  tls: boolean,
  own: readonly string[] | undefined,
): Promise<{ lines: string[]; close(): Promise<void> }> {
  const identity = own === undefined ? conformance : owner
  const mesh = await startMesh({
    ...shared,
    clusterName: 'conformance',
    policyFile: own === undefined ? conformanceFile : writtenPolicy(shared.stateDir, own),
    gatewayWorkers: 0,
    // Suites open connections that live as long as they run.
    svidTtl: '24h',
    ...(tls ? {} : { plainIdentity: identity }),
  })
  try {
    const lines = describe(mesh, await mesh.identity(identity), tls)
    if (own !== undefined) lines.push(...describeStranger(await mesh.identity(conformance)))
    return { lines, close: () => mesh.close() }
  } catch (reason) {
    await mesh.close()
    throw reason
  }
}

/** Both policies, so that there is one who makes what the owner does not see. */
function writtenPolicy(stateDir: string, own: readonly string[]): string {
  mkdirSync(stateDir, { recursive: true })
  const file = join(stateDir, 'owner.yaml')
  writeFileSync(file, `${readFileSync(conformanceFile, 'utf8')}---\n${ownerPolicy(own)}`)
  return file
}

function describe(mesh: Mesh, files: IdentityFiles, tls: boolean): string[] {
  const { nodes } = mesh.layout
  return [
    '',
    `Drivers connect to ${nodes.map(({ sidecar }) => show(sidecar)).join(', ')}${tls ? ' with TLS' : ', without TLS'}`,
    ...(tls ? [] : [`                or ${nodes.map(({ sidecarTls }) => show(sidecarTls)).join(', ')} with TLS`]),
    `  as ${files.spiffeId}`,
    `  certificate  ${files.certFile}`,
    `  key          ${files.keyFile}`,
    `  authority    ${files.caFile}`,
    ...nodes.map(({ index }) => `What node ${index} ran itself: ${mesh.cassandraAuditLog(index)}`),
  ]
}

function describeStranger({ certFile, keyFile }: IdentityFiles): string[] {
  return [
    `What the owner does not see, such as ${strangersKeyspace}, is made with TLS as ${conformance}`,
    `  certificate  ${certFile}`,
    `  key          ${keyFile}`,
  ]
}
