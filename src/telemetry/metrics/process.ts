/** What a process says of itself, by the names that the clients of Prometheus use: processor, memory, and how late the event loop is. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { faultsContained } from '../../base/contained.ts'
import { counter, type Family, gauge } from './family.ts'

/** How often the loop is looked at. */
const resolutionMs = 20

export class ProcessMetrics {
  readonly #delay = monitorEventLoopDelay({ resolution: resolutionMs })
  readonly #startedSeconds = Date.now() / 1000 - process.uptime()

  constructor() {
    this.#delay.enable()
  }

  stop(): void {
    this.#delay.disable()
  }

  /** The delays are those since the call before. */
  families(): Family[] {
    const { user, system } = process.cpuUsage()
    const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
    // What it gives is the time between two looks.
    const late = (nanos: number): number =>
      Number.isFinite(nanos) ? Math.max(0, nanos / 1e9 - resolutionMs / 1000) : 0
    const [p50, p99, max] = [this.#delay.percentile(50), this.#delay.percentile(99), this.#delay.max]
    const looked = this.#delay.count > 0
    this.#delay.reset()
    return [
      counter('process_cpu_seconds', 'Processor time, in user and system mode.', (user + system) / 1e6),
      gauge('process_resident_memory_bytes', 'Memory that is resident.', rss),
      gauge('process_start_time_seconds', 'When it started, since 1970.', this.#startedSeconds, 'min'),
      gauge('nodejs_heap_size_used_bytes', 'Of the heap, in use.', heapUsed),
      gauge('nodejs_heap_size_total_bytes', 'Of the heap.', heapTotal),
      gauge('nodejs_external_memory_bytes', 'Beside the heap, of what the heap refers to.', external),
      gauge(
        'nodejs_eventloop_lag_p50_seconds',
        'How late the event loop is, half of the time.',
        looked ? late(p50) : 0,
        'max',
      ),
      gauge(
        'nodejs_eventloop_lag_p99_seconds',
        'How late it is in one of a hundred looks.',
        looked ? late(p99) : 0,
        'max',
      ),
      gauge('nodejs_eventloop_lag_max_seconds', 'How late it was at most.', looked ? late(max) : 0, 'max'),
      counter('ringfence_own_faults', 'Faults of our own that were contained.', faultsContained()),
    ]
  }
}
