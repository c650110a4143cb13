/**
 * A whole Cassandra cluster that only the sidecars get into, and its way there.
 *
 * Cassandra must know an identity before it can log in, so the very first start of node 1 takes passwords: the sidecars'
 * identities are registered as one role, the default superuser loses its log-in, and the node stops again. In these
 * seconds a client needs a certificate of the mesh's CA *and* the password. The tables of roles and of the schema are then
 * copied to the other nodes, as they would have come from node 1, and all nodes start locked, side by side, from their first
 * start on.
 *
 *   node 1  ──password──▶ role, identities, no superuser ──stop─┬─────────────▶ locked
 *   node 2                                                      ├─ copy tables ▶ locked
 *   node 3                                                      └─ copy tables ▶ locked
 */
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { auth, Client } from 'cassandra-driver'
import { RingfenceError } from '../../src/base/errors.ts'
import { type CassandraNode, type CassandraParts, type RunningCassandra, startCassandra } from './cassandra.ts'
import type { Child, Processes } from './processes.ts'
import type { Progress } from './progress.ts'

/** The role that all sidecars are, in Cassandra's eyes. It may do everything that is not a superuser's: the mesh decides. */
export const sidecarRole = 'ringfence'

/**
 * Cassandra's own are not among "all keyspaces" (CVE-2025-23015), and policy may permit a read of each. Writing them is not given: who writes
 * `system_auth` is as good as a superuser.
 */
const systemKeyspaces = [
  'system',
  'system_schema',
  'system_auth',
  'system_distributed',
  'system_traces',
  'system_views',
  'system_virtual_schema',
] as const

export interface LockedCluster {
  /** Where data, logs and the marker of a finished lock lie. */
  readonly dir: string
  /** The nodes in the order in which they start; `access` is set here. */
  readonly nodes: readonly Omit<CassandraNode, 'access'>[]
  /** SPIFFE ids that Cassandra lets in. */
  readonly identities: readonly string[]
}

const logInTimeoutMs = 60_000

/** What makes the role and lets it in: also in docs/production.md, for a cluster that has data already. */
export function sidecarRoleStatements(identities: readonly string[]): string[] {
  return [
    `CREATE ROLE IF NOT EXISTS '${sidecarRole}' WITH SUPERUSER = false AND LOGIN = true`,
    ...['KEYSPACES', 'FUNCTIONS', 'ROLES'].map((all) => `GRANT ALL PERMISSIONS ON ALL ${all} TO '${sidecarRole}'`),
    ...systemKeyspaces.map((name) => `GRANT SELECT ON KEYSPACE ${name} TO '${sidecarRole}'`),
    ...identities.map((id) => `ADD IDENTITY IF NOT EXISTS '${id}' TO ROLE '${sidecarRole}'`),
  ]
}

interface Marker {
  readonly nodes: number
  readonly identities: readonly string[]
}

/** Registers the sidecars in a cluster that has no data yet; with data, only looks whether it fits. Throws UNAVAILABLE, CONFIG. */
export async function createCluster(
  cluster: LockedCluster,
  parts: CassandraParts,
  processes: Processes,
  progress: Progress,
): Promise<void> {
  const first = cluster.nodes[0]!
  const markerFile = join(cluster.dir, 'locked.json')
  const marker = readMarker(markerFile)
  if (marker !== undefined) {
    const known = cluster.identities.every((id) => marker.identities.includes(id))
    if (marker.nodes === cluster.nodes.length && known) return
    const nodes = marker.nodes === 1 ? 'one node' : `${marker.nodes} nodes`
    throw new RingfenceError('CONFIG', `the data in ${cluster.dir} is of a cluster of ${nodes} with other sidecars`, {
      hint: `start with --nodes ${marker.nodes}, or begin anew with --reset`,
    })
  }
  for (const node of cluster.nodes) rmSync(join(node.dataDir, 'storage'), { recursive: true, force: true })
  await progress.step('Cassandra registers the sidecars and closes its own log-ins', async () => {
    const unlocked = await startCassandra({ ...first, access: 'password' }, parts, processes)
    try {
      await registerIdentities(first, unlocked.child, cluster)
    } finally {
      await unlocked.stop()
    }
    for (const node of cluster.nodes.slice(1)) copyCommon(first.dataDir, node.dataDir)
  })
  const made: Marker = { nodes: cluster.nodes.length, identities: cluster.identities }
  writeFileSync(markerFile, JSON.stringify(made))
}

/** Number of nodes that the data in this folder is of, or undefined when there is none yet. */
export function existingNodes(clusterDir: string): number | undefined {
  return readMarker(join(clusterDir, 'locked.json'))?.nodes
}

/**
 * Starts nodes side by side, which is right when each has its data already or none has any: all of them have to be seeds,
 * so that none waits for another one and none streams.
 */
export async function startTogether(
  nodes: readonly CassandraNode[],
  parts: CassandraParts,
  processes: Processes,
): Promise<RunningCassandra[]> {
  const started = await Promise.allSettled(nodes.map((node) => startCassandra(node, parts, processes)))
  const running: RunningCassandra[] = []
  for (const result of started) {
    if (result.status === 'rejected') throw result.reason
    running.push(result.value)
  }
  return running
}

/**
 * What is the same on every node: roles, and the schema, on whose version nodes that start side by side may otherwise disagree for minutes. The ids in
 * the names of these keyspaces' table folders are the same everywhere, and their data names no node.
 */
function copyCommon(fromDataDir: string, toDataDir: string): void {
  for (const keyspace of ['system_auth', 'system_schema']) {
    const data = join('storage', 'data', keyspace)
    cpSync(join(fromDataDir, data), join(toDataDir, data), { recursive: true })
  }
}

/** As `cassandra`, on a node that takes passwords: the sidecars' role and identities, then nobody is superuser any more. */
async function registerIdentities(
  node: Omit<CassandraNode, 'access'>,
  child: Child,
  cluster: LockedCluster,
): Promise<void> {
  const { tls } = node
  if (tls === undefined) throw new RingfenceError('CONFIG', `cassandra node ${node.index} has no certificate`)
  const client = await logInAsCassandra(node, child, tls)
  try {
    const replicas = Math.min(3, cluster.nodes.length)
    const statements = [
      ...sidecarRoleStatements(cluster.identities),
      // Its own log-in; this connection stays. A random password stands behind it in case somebody ever gives the log-in back.
      `ALTER ROLE cassandra WITH PASSWORD = '${randomBytes(24).toString('hex')}' AND LOGIN = false`,
      // Last, for roles are written at EACH_QUORUM and read at QUORUM, and the other replicas are not there yet.
      `ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', '${node.dataCenter}': ${replicas}}`,
    ]
    for (const statement of statements) await client.execute(statement)
  } catch (cause) {
    throw new RingfenceError('UNAVAILABLE', `cassandra did not register the sidecars: ${String(cause)}`, { cause })
  } finally {
    await client.shutdown()
  }
}

/** The node makes its default superuser a moment after its port opened. One that has ended is not waited for. */
async function logInAsCassandra(
  node: Omit<CassandraNode, 'access'>,
  child: Child,
  tls: { readonly nodePem: string; readonly caPem: string },
): Promise<Client> {
  const pem = readFileSync(tls.nodePem)
  const deadline = performance.now() + logInTimeoutMs
  for (;;) {
    const client = new Client({
      contactPoints: [`${node.addresses.rpc}:${node.nativePort}`],
      localDataCenter: node.dataCenter,
      authProvider: new auth.PlainTextAuthProvider('cassandra', 'cassandra'),
      sslOptions: { ca: [readFileSync(tls.caPem)], cert: pem, key: pem, rejectUnauthorized: true },
      // The CPU is another process's for seconds at a time while everything starts.
      socketOptions: { connectTimeout: 15_000, readTimeout: 60_000 },
    })
    try {
      await client.connect()
      return client
    } catch (cause) {
      await client.shutdown()
      if (!child.running || performance.now() > deadline) {
        throw new RingfenceError('UNAVAILABLE', `cannot log in to cassandra node ${node.index}`, { cause })
      }
      await sleep(250)
    }
  }
}

function readMarker(file: string): Marker | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Marker) : undefined
}
