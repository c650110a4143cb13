/** The policy in force, its number, and what proxies run of it. */
import type { Clock } from '../base/clock.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Observed } from '../mesh/observable.ts'
import { epochMax, type PolicySnapshot } from '../mesh/pushed.ts'
import type { Logger } from '../telemetry/log.ts'
import { PushLatencies } from './push-latency.ts'
import type { Store } from './store.ts'

/** A report cannot use up the numbers that there are. */
const revisionMax = 2 ** 48
const epochReportedMax = epochMax - 2 ** 20

/** What a proxy says that it runs. */
interface Running {
  readonly policyRevision?: number | undefined
  readonly policyDigest?: string | undefined
  readonly policyEpoch?: number | undefined
}

export class PolicyRevisions {
  readonly pushes: PushLatencies
  readonly #store: Store
  readonly #clock: Clock
  readonly #log: Pick<Logger, 'error'>
  readonly #published: Observed<PolicySnapshot>
  #digest: string
  /** Highest revision that any proxy has reported since the start; greater than ours after a restore. */
  #revisionReported = 0
  /** And the highest epoch. */
  #epochReported = 0
  /** What proxies reported that this control plane did not give them was said in the log. */
  #conflictSaid = false

  constructor(store: Store, clock: Clock, log: Pick<Logger, 'error'>, published: Observed<PolicySnapshot>) {
    this.pushes = new PushLatencies(clock)
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#published = published
    published.set(store.policy())
    this.#digest = sha256Hex(published.current.source)
  }

  get current(): PolicySnapshot {
    return this.#published.current
  }

  /** SHA-256 of the present text. */
  get digest(): string {
    return this.#digest
  }

  /** Above whatever a proxy runs, also what this control plane forgot, so that no proxy refuses it. */
  get next(): number {
    return Math.max(this.current.revision, this.#revisionReported) + 1
  }

  /** Commits and publishes. The caller has validated it. @throws RingfenceError TOO_LARGE */
  apply(source: string, fileName: string): PolicySnapshot {
    checkPolicyBytes(source)
    // A proxy takes nothing of an epoch before its own: that of another restore, by a clock that was ahead.
    if (this.#epochReported > this.#store.epoch()) this.#store.raiseEpoch(this.#epochReported + 1)
    const policy = this.#store.addPolicy(source, fileName, this.#clock.now(), this.next)
    this.#digest = sha256Hex(source)
    this.#conflictSaid = false
    this.pushes.applied(policy.revision)
    this.#published.set(policy)
    return policy
  }

  isInForce({ policyRevision, policyDigest }: Running): boolean {
    // A proxy of before digests were reported is taken at its number.
    return policyRevision === this.current.revision && (policyDigest ?? this.#digest) === this.#digest
  }

  /** This control plane, which was restored, does not know it: a later revision, or another text under a number that it gave. */
  isForeign({ policyRevision = 0, policyDigest, policyEpoch = 0 }: Running): boolean {
    if (policyEpoch > (this.current.epoch ?? 0)) return true
    if (policyRevision > this.current.revision) return true
    if (policyDigest === undefined || policyRevision === 0) return false
    if (policyRevision === this.current.revision) return policyDigest !== this.#digest
    const known = this.#store.policyOf(policyRevision)
    return known === undefined || sha256Hex(known) !== policyDigest
  }

  /** A proxy reported what it runs. */
  reported(spiffeId: string, running: Running): void {
    const { policyRevision = 0, policyDigest, policyEpoch = 0 } = running
    if (policyEpoch <= epochReportedMax) this.#epochReported = Math.max(this.#epochReported, policyEpoch)
    if (policyRevision <= revisionMax) this.#revisionReported = Math.max(this.#revisionReported, policyRevision)
    if (this.#conflictSaid || !this.isForeign(running)) return
    this.#conflictSaid = true
    this.#log.error(
      {
        spiffeId,
        reported: policyRevision,
        policyDigest,
        revision: this.current.revision,
        nextRevision: this.next,
      },
      'a proxy runs a policy that this control plane does not know: was its state restored; apply the policy again',
    )
  }
}

/** What is longer does not fit a line of the watch stream. @throws RingfenceError TOO_LARGE */
export function checkPolicyBytes(source: string): void {
  if (Buffer.byteLength(source) <= limits.policyBytesMax) return
  throw new RingfenceError('TOO_LARGE', `policy is longer than policyBytesMax (${limits.policyBytesMax} bytes)`)
}
