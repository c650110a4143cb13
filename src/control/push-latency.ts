/** How long proxies take to report that they run a policy that was applied. */
import type { Clock } from '../base/clock.ts'

const samplesMax = 10_000
/** Upper ends of `buckets`. */
export const pushBoundsSeconds: readonly number[] = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export interface PushLatency {
  /** Proxies × revisions that were measured. */
  readonly count: number
  readonly p99Ms: number
  readonly maxMs: number
}

export class PushLatencies {
  readonly #clock: Clock
  readonly #samplesMs: number[] = []
  /** All that were ever measured, for whoever adds up over time. */
  readonly buckets: number[] = [...pushBoundsSeconds.map(() => 0), 0]
  sumSeconds = 0
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
    const tookMs = this.#clock.monotonic() - applied.ms
    this.#samplesMs.push(tookMs)
    const seconds = tookMs / 1000
    const bucket = pushBoundsSeconds.findIndex((bound) => seconds <= bound)
    this.buckets[bucket < 0 ? pushBoundsSeconds.length : bucket]!++
    this.sumSeconds += seconds
    if (this.#samplesMs.length > samplesMax) this.#samplesMs.shift()
  }

  summary(): PushLatency | undefined {
    const sorted = [...this.#samplesMs].sort((a, b) => a - b)
    const max = sorted.at(-1)
    if (max === undefined) return undefined
    return { count: sorted.length, p99Ms: sorted[Math.ceil(sorted.length * 0.99) - 1] ?? max, maxMs: max }
  }
}
