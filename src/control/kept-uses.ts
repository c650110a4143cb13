/**
 * Who used a pre-signed request of AWS first, in the whole mesh, through restarts of the control plane.
 *
 *   use ─▶ memory, which answers ─ each second ─▶ store ─ at the next start ─▶ memory
 *
 * Rule: no log-in waits for the disk, so what the last second brought is lost where the control plane is killed; what a stop ends is not.
 */
import { every, nothingEnds } from '../base/contained.ts'
import { type PresignedUse, Replays } from '../identity/aws/replays.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import type { Store } from './store.ts'

const keptEveryMs = 1_000

export interface KeptUsesOptions {
  readonly store: Store
  readonly nowMs: () => number
  readonly log: Logger
  readonly entriesMax: number
}

export class KeptUses {
  readonly #options: KeptUsesOptions
  readonly #uses: Replays
  /** Not in the store yet. */
  #fresh: PresignedUse[] = []
  readonly #repeated = new Repeated()
  readonly #timer: NodeJS.Timeout

  constructor(options: KeptUsesOptions) {
    const { store, nowMs, entriesMax } = options
    this.#options = options
    this.#uses = new Replays(entriesMax, (use) => {
      if (this.#fresh.length < entriesMax) this.#fresh.push(use)
    })
    for (const use of store.presignedUses(nowMs())) this.#uses.use(use, nowMs())
    this.#fresh = []
    this.#timer = every(nothingEnds, 'first uses that are kept', keptEveryMs, () => this.#keep())
    this.#timer.unref()
  }

  /** True where `address` may use it: the first, or the same again. */
  use(use: PresignedUse, nowMs: number): boolean {
    return this.#uses.use(use, nowMs)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#keep()
  }

  #keep(): void {
    if (this.#fresh.length === 0) return
    const { store, nowMs, log, entriesMax } = this.#options
    try {
      store.keepPresignedUses(this.#fresh, entriesMax, nowMs())
      this.#fresh = []
      this.#repeated.over()
    } catch (err) {
      const repeated = this.#repeated.due(String(err))
      if (repeated !== undefined) log.error({ err, repeated }, 'first uses of pre-signed requests cannot be written')
    }
  }
}
