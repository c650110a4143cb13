/** The control plane's own certificate: renewed at half of its life, and tried again while that fails. By the clock of the wall, as those read it who verify it. */
import type { Clock } from '../base/clock.ts'
import { nothingEnds, settle } from '../base/contained.ts'
import type { Logger } from '../telemetry/log.ts'
import type { IssuedLeaf } from './ca.ts'

/** Of its life: when the next one is made, and how long after a failure it is tried again. */
const renewAt = 0.5
const retryAfter = 0.05
const retryMsMax = 30_000

type OwnLeaf = IssuedLeaf & { readonly keyPem: string }

export class OwnCertificate {
  readonly #make: () => Promise<OwnLeaf>
  readonly #clock: Clock
  readonly #log: Pick<Logger, 'error'>
  #current: OwnLeaf
  #renewAtMs: number
  #renewing = false
  /** The one that is being made may be of the authority of before. */
  #isLate = false

  private constructor(make: () => Promise<OwnLeaf>, clock: Clock, log: Pick<Logger, 'error'>, first: OwnLeaf) {
    this.#make = make
    this.#clock = clock
    this.#log = log
    this.#current = first
    this.#renewAtMs = renewalOf(first)
  }

  static async first(make: () => Promise<OwnLeaf>, clock: Clock, log: Pick<Logger, 'error'>): Promise<OwnCertificate> {
    return new OwnCertificate(make, clock, log, await make())
  }

  get current(): OwnLeaf {
    return this.#current
  }

  /** The next one is made at once: another authority signs now. `taken` is told of it. */
  hurry(taken: (leaf: OwnLeaf) => void): void {
    this.#renewAtMs = 0
    this.#isLate = this.#renewing
    this.renewIfDue(taken)
  }

  /** Called about once a second. `taken` is told of the next one. */
  renewIfDue(taken: (leaf: OwnLeaf) => void): void {
    if (this.#renewing || this.#clock.now() < this.#renewAtMs) return
    this.#renewing = true
    settle(
      nothingEnds,
      'the own certificate',
      this.#make(),
      (leaf) => {
        this.#renewing = false
        this.#current = leaf
        this.#renewAtMs = this.#isLate ? 0 : renewalOf(leaf)
        this.#isLate = false
        taken(leaf)
        this.renewIfDue(taken)
      },
      (err) => {
        this.#renewing = false
        const { notBeforeMs, notAfterMs } = this.#current
        const delayMs = Math.min(retryMsMax, retryAfter * (notAfterMs - notBeforeMs))
        this.#renewAtMs = this.#clock.now() + delayMs
        this.#log.error({ err, notAfterMs, delayMs }, 'own certificate was not renewed, trying again')
      },
    )
  }
}

function renewalOf({ notBeforeMs, notAfterMs }: OwnLeaf): number {
  return notBeforeMs + renewAt * (notAfterMs - notBeforeMs)
}
