/** How long proxies take to report that they run a policy that was applied. */
import type { Clock } from '../base/clock.ts'

const samplesMax = 10_000

export interface PushLatency {
  /** Proxies × revisions that were measured. */
  readonly count: number
  readonly p99Ms: number
  readonly maxMs: number
}

export class PushLatencies {
  readonly #clock: Clock
  readonly #samplesMs: number[] = []
  /** Of the revision in force only. */
  #applied: { readonly revision: number; readonly ms: number } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  applied(revision: number): void {
    this.#applied = { revision, ms: this.#clock.monotonic() }
  }

  /** A proxy that reports without a longer pause since `presentSinceMs` runs `revision` now. To come late is not to be slow. */
  measure(revision: number, presentSinceMs: number): void {
    const applied = this.#applied
    if (applied === undefined || applied.revision !== revision || applied.ms < presentSinceMs) return
    this.#samplesMs.push(this.#clock.monotonic() - applied.ms)
    if (this.#samplesMs.length > samplesMax) this.#samplesMs.shift()
  }

  summary(): PushLatency | undefined {
    const sorted = [...this.#samplesMs].sort((a, b) => a - b)
    const max = sorted.at(-1)
    if (max === undefined) return undefined
    return { count: sorted.length, p99Ms: sorted[Math.ceil(sorted.length * 0.99) - 1] ?? max, maxMs: max }
  }
}
