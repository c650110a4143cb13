/**
 * A load by the unmodified `cassandra-driver`: it connects as an application does, prepares a SELECT by key and an INSERT, and keeps so
 * many of both in flight, in turn, in protocol v4, the newest that it speaks. Latency is what the application sees, the driver's own work included. For a process of its own: the
 * driver is not shut down, so that nothing but requests is in the measured time.
 *
 *     node bench/driver-load.ts '{"host":"127.0.0.1","port":9042,"connections":4,"inFlight":16,"seconds":2}'
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, types } from 'cassandra-driver'
import { Latencies, type LoadResult, resultOf } from './latencies.ts'
import { defaultStatement, type LoadPlan, runAsProcess } from './load.ts'

const insert = 'INSERT INTO bench.rows (k, v) VALUES (?, ?)'
const valueBytes = 100
const keysCount = 10_000

/** Opens the pool, warms up, measures. `begin` is called when the measured time starts. */
export async function driverLoad(plan: LoadPlan, begin: () => void): Promise<LoadResult> {
  const client = new Client({
    contactPoints: [`${plan.host}:${plan.port}`],
    localDataCenter: 'dc1',
    pooling: { coreConnectionsPerHost: { [types.distance.local]: plan.connections }, warmup: true },
    queryOptions: { prepare: true, isIdempotent: true },
  })
  await client.connect()
  let latencies: Latencies | undefined
  let errors = 0
  let firstFault: unknown
  let stopped = false
  let turn = 0
  const value = Buffer.alloc(valueBytes, 0x61)
  const worker = async (): Promise<void> => {
    while (!stopped) {
      const n = turn++
      const key = `key-${n % keysCount}`
      const sentAt = performance.now()
      try {
        if (n % 2 === 0) await client.execute(defaultStatement, [key])
        else await client.execute(insert, [key, value])
        latencies?.add(performance.now() - sentAt)
      } catch (reason) {
        firstFault ??= reason
        errors++
        await sleep(10)
      }
    }
  }
  for (let n = 0; n < plan.connections * plan.inFlight; n++) void worker()
  await sleep((plan.warmupSeconds ?? 1) * 1000)
  begin()
  const measured = new Latencies()
  const startedAt = performance.now()
  latencies = measured
  await sleep(plan.seconds * 1000)
  latencies = undefined
  const seconds = (performance.now() - startedAt) / 1000
  stopped = true
  if (measured.count === 0) throw firstFault
  return resultOf(measured, seconds, errors)
}

if (import.meta.main) await runAsProcess(driverLoad)
