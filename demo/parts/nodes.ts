/** The mesh's Cassandra nodes: made and locked where they are new, started together, and each a part that can go and come back. */
import { join } from 'node:path'
import { type CassandraNode, type RunningCassandra, startCassandra } from './cassandra.ts'
import { dataCenter, type NodeLayout, rack, spiffeIds } from './layout.ts'
import { createCluster, type LockedCluster, startTogether } from './lock.ts'
import { clusterNameOf, type Making, sidecarIdOf } from './mesh-options.ts'
import { type MeshPart, partOf } from './part.ts'
import type { Progress } from './progress.ts'

/** Their certificates must be there. */
export async function startNodes(making: Making, progress: Progress): Promise<MeshPart[]> {
  const { programs, processes } = making
  const cluster = clusterOf(making)
  await createCluster(cluster, programs, processes, progress)
  const nodes = cluster.nodes.map((node) => ({ ...node, access: 'locked' as const }))
  const title = nodes.length === 1 ? 'Cassandra, locked' : `${nodes.length} Cassandra nodes, locked`
  const running = await progress.step(title, () => startTogether(nodes, programs, processes))
  return nodes.map((node, i) => {
    const start = (): Promise<RunningCassandra> => startCassandra(node, programs, processes)
    return partOf(`cassandra-${node.index}`, async () => (await start()).child, running[i]?.child)
  })
}

function clusterOf(making: Making): LockedCluster {
  const { layout, options } = making
  const { measuredAs } = options
  return {
    dir: layout.dirs.cassandra,
    nodes: layout.nodes.map((node) => nodeOf(making, node)),
    identities: [
      ...layout.nodes.map(({ index }) => sidecarIdOf(making, index)),
      ...(measuredAs === undefined ? [] : [measuredAs]),
    ],
  }
}

function nodeOf(
  { layout, options }: Making,
  { index, cql, sidecar, cassandraDir, jmxPort }: NodeLayout,
): Omit<CassandraNode, 'access'> {
  const tlsDir = join(cassandraDir, 'tls')
  const measured = options.measuredAs !== undefined
  return {
    index,
    clusterName: clusterNameOf(options),
    addresses: {
      listen: `127.0.0.${index}`,
      rpc: cql.address,
      broadcastRpc: measured ? cql.address : sidecar.address,
    },
    nativePort: cql.port,
    storagePort: layout.storagePort,
    ...(options.jmx === true ? { jmxPort } : {}),
    seeds: layout.nodes.map((node) => `127.0.0.${node.index}`),
    dataDir: cassandraDir,
    heapMb: options.heapMb ?? 700,
    tls: { nodePem: join(tlsDir, 'node.pem'), caPem: join(tlsDir, 'ca.pem') },
    peerIdentities: layout.nodes.map((node) => spiffeIds.cassandra(node.index)),
    auditLog: !measured,
    jvmFlags: options.jvmFlags ?? [],
    poolThreads: options.poolThreads,
    features: { udf: true, mv: true, sasi: true },
    dataCenter,
    rack,
  }
}
