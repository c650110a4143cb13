/**
 * Sessions and links that were built on a certificate of an authority that is tainted since: they end, each in a moment with nothing in flight, when whoever
 * they are of has had the time to get another certificate.
 *
 *   tainted ─▶ agents renew ─ taintedLeafMsMax ─▶ what is open on older certificates leaves, spread over taintedSpreadMsMax
 *
 * Who comes later with such a certificate is let in, until the authority is revoked.
 *
 * Where a root is trusted no more, what stands on a certificate of no issuing key that is known is cut off: whoever has stolen the root's key has made
 * issuing keys that nobody can name.
 */
import { after, contain, nothingEnds, type Owner } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import { certificatesOf } from '../identity/chain.ts'
import type { CallerFacts } from '../identity/revoked/revocations.ts'
import type { Authorities } from '../mesh/authorities.ts'
import type { Observable } from '../mesh/observable.ts'
import { type HostTurn, inTurnMs } from './host-turn.ts'

const reason = 'the authority of the certificate is tainted'

/** Something that can be made anew by whoever it is of. */
export interface Leaving extends Owner {
  /** Undefined while nobody knows. */
  readonly revocable: CallerFacts | undefined
  leave(reason: string): void
  destroy(reason: string): void
}

/** What is made anew by the other end. */
export function staying(one: Omit<Leaving, 'leave'>): Leaving {
  return {
    revocable: one.revocable,
    leave: () => {},
    destroy: (why) => one.destroy(why),
    onFault: (why) => one.onFault(why),
  }
}

export class TaintedAuthorities {
  readonly #open: () => Iterable<Leaving>
  readonly #hostTurn: () => HostTurn | undefined
  readonly #stop: () => void
  #known: ReadonlySet<string> = new Set()
  #roots: ReadonlySet<string>
  #issuing: ReadonlySet<string> = new Set()

  /** @param bundlePem the roots that were trusted until now @param open all that there is now @param hostTurn of this process */
  constructor(
    authorities: Observable<Authorities>,
    bundlePem: string,
    open: () => Iterable<Leaving>,
    hostTurn: () => HostTurn | undefined = () => undefined,
  ) {
    this.#open = open
    this.#hostTurn = hostTurn
    this.#roots = fingerprintsOf(bundlePem)
    this.#take(authorities.current)
    this.#stop = authorities.observe((now) => this.#take(now))
  }

  stop(): void {
    this.#stop()
  }

  #take({ tainted, bundleSequence, bundlePem, issuing }: Authorities): void {
    if (bundleSequence > 0 && issuing !== undefined) this.#trustOnly(fingerprintsOf(bundlePem), issuing)
    const added = tainted.filter(({ authority }) => !this.#known.has(authority))
    this.#known = new Set(tainted.map(({ authority }) => authority))
    for (const { authority, sinceMs } of added) {
      // By the control plane's clock, which may be another.
      const waitMs = Math.min(Math.max(sinceMs + limits.taintedLeafMsMax - Date.now(), 0), limits.taintedLeafMsMax)
      after(nothingEnds, 'the end of what an authority signed', waitMs, () => this.#leave(authority)).unref()
    }
  }

  #trustOnly(roots: ReadonlySet<string>, issuing: readonly string[]): void {
    const isLess = [...this.#roots].some((root) => !roots.has(root))
    this.#roots = roots
    this.#issuing = new Set(issuing)
    if (!isLess) return
    this.#cutOff()
    // And those who were let in by the roots of before, in a handshake that was under way.
    const lateMs = 2 * limits.handshakeTimeoutMs
    after(nothingEnds, 'the end of what nobody signed', lateMs, () => this.#cutOff()).unref()
  }

  #cutOff(): void {
    for (const one of [...this.#open()]) {
      const shown = one.revocable?.certificate
      if (shown === undefined || (shown.authority !== undefined && this.#issuing.has(shown.authority))) continue
      contain(one, 'the end of what nobody signed', () => one.destroy('a root is trusted no more'))
    }
  }

  #leave(authority: string): void {
    if (!this.#known.has(authority)) return
    const nowMs = Date.now()
    const turn = this.#hostTurn()
    for (const one of this.#open()) {
      if (one.revocable?.certificate?.authority !== authority) continue
      const waitMs = inTurnMs(nowMs, 0, limits.taintedSpreadMsMax, turn, Math.random())
      after(nothingEnds, 'the end of what an authority signed', waitMs, () => one.leave(reason)).unref()
    }
  }
}

function fingerprintsOf(pem: string): ReadonlySet<string> {
  return new Set(certificatesOf(pem).map(({ fingerprint256 }) => fingerprint256))
}
