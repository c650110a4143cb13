/** Cassandra alone, open, at the addresses where the sidecars would be: what a driver's suite is compared with. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { dataCenter, layoutOf, rack, requireFree, show } from './layout.ts'
import { startTogether } from './lock.ts'
import { Processes } from './processes.ts'
import type { Progress } from './progress.ts'
import { setUpParts } from './setup.ts'

export async function startBareCluster(options: {
  readonly stateDir: string
  readonly nodes: number
  readonly portOffset: number
  readonly reset: boolean
  readonly jvmFlags: readonly string[]
  readonly progress: Progress
  readonly signal: AbortSignal
}): Promise<{ lines: string[]; close(): Promise<void> }> {
  const { stateDir, progress, jvmFlags } = options
  const parts = await setUpParts({ stateDir, progress })
  const processes = await Processes.open(stateDir, (line) => progress.note(line))
  options.signal.addEventListener('abort', () => void processes.close())
  try {
    if (options.reset) rmSync(join(stateDir, 'cassandra'), { recursive: true, force: true })
    const layout = layoutOf(stateDir, options.nodes, options.portOffset)
    const addresses = layout.nodes.map(({ sidecar }) => sidecar)
    await requireFree([...addresses, ...addresses.map(({ address }) => ({ address, port: layout.storagePort }))])
    await progress.step(`Cassandra alone, nodes: ${layout.nodes.length}`, () =>
      startTogether(
        layout.nodes.map(({ index, sidecar, cassandraDir }) => ({
          index,
          clusterName: 'bare',
          addresses: { listen: sidecar.address, rpc: sidecar.address, broadcastRpc: sidecar.address },
          nativePort: sidecar.port,
          storagePort: layout.storagePort,
          seeds: addresses.map(({ address }) => address),
          dataDir: cassandraDir,
          heapMb: 700,
          access: 'open',
          auditLog: false,
          jvmFlags,
          features: { udf: true, mv: true, sasi: true },
          dataCenter,
          rack,
        })),
        parts,
        processes,
      ),
    )
    return {
      lines: ['', `Drivers connect to ${addresses.map(show).join(', ')}, without TLS and without the mesh`],
      close: () => processes.close(),
    }
  } catch (reason) {
    await processes.close()
    throw reason
  }
}
