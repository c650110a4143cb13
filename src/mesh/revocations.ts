/**
 * Revocations on their way from the control plane, which keeps them, to the proxies.
 *
 *   store ─▶ 64 parts, each a pushed value ─▶ a digest over all parts ─▶ RevocationsFeed ─▶ Revocations
 *
 * A change is told in one part, so that with 100,000 of them a proxy has a few milliseconds of work with it. The digest is pushed last: who has it
 * has all parts.
 */
import { z } from 'zod'
import { sha256Hex } from '../base/digest.ts'
import { limits } from '../base/limits.ts'
import { type Revocation, revocation } from '../identity/revoked/revocation.ts'
import { Revocations } from '../identity/revoked/revocations.ts'
import type { Observable } from './observable.ts'
import { type PushedKind, pushedList, pushedValue } from './pushed-kind.ts'

const proxies = ['gateway', 'sidecar'] as const
const revocationParts = 64

/** Which part a revocation stands in. */
export function partOf(id: number): number {
  return id % revocationParts
}

/** Each is empty where nothing was received, and where nothing is revoked. */
export const revocationKinds: readonly PushedKind<readonly Revocation[]>[] = Array.from(
  { length: revocationParts },
  (_, part) =>
    pushedList<Revocation>({
      name: `revocations${String(part).padStart(2, '0')}`,
      roles: proxies,
      kept: 'own',
      entry: revocation,
      countMax: limits.revocationsMax,
    }),
)

export interface RevocationsAsOf {
  /** Of all parts, see `digestOf`; empty while nothing was ever received. */
  readonly revocationsDigest: string
}

export const revocationsAsOf = pushedValue<RevocationsAsOf>({
  name: 'revocationsAsOf',
  roles: proxies,
  // Apart from policy: where that is damaged on disk, it is still known who is thrown out.
  kept: 'own',
  awaited: true,
  schema: z.object({ revocationsDigest: z.string().max(64) }),
  empty: { revocationsDigest: '' },
})

/** @param pushed gives the value of a kind as it is now */
export function digestOf(pushed: Pushed): string {
  return sha256Hex(revocationKinds.map((kind) => pushed(kind).version).join())
}

export type Pushed = <T>(kind: PushedKind<T>) => Observable<T>

/** For a report; nothing while nothing was received, or where what is here is not what was told. */
export function reportedRevocations(pushed: Pushed): { revocationsDigest?: string } {
  const { revocationsDigest } = pushed(revocationsAsOf).current
  return revocationsDigest === digestOf(pushed) ? { revocationsDigest } : {}
}

/** The revocations that a process was pushed, as they are now. */
export class RevocationsFeed {
  readonly current = new Revocations()
  readonly #stop: (() => void)[]

  /** @param onAdded is called with those that were not there before, when `current` has them */
  constructor(pushed: Pushed, onAdded: (added: readonly Revocation[]) => void = () => {}) {
    this.#stop = revocationKinds.map((kind, part) => {
      const value = pushed(kind)
      this.current.setPart(part, value.current)
      return value.observe((entries) => {
        const added = this.current.setPart(part, entries)
        if (added.length > 0) onAdded(added)
      })
    })
  }

  stop(): void {
    for (const stop of this.#stop) stop()
  }
}
