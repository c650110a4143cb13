/**
 * Sessions that are open when somebody is thrown out: which of them are meant.
 *
 * Rule: only what was added is held against sessions, once, in shares of turns of the event loop. Who comes later is held against all revocations
 * where it is verified.
 */
import { contain, nextTurn, nothingEnds, type Owner } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import { type CallerFacts, Revocations } from '../identity/revoked/revocations.ts'

/** Something that ends with whoever it is of. */
export interface Revocable extends Owner {
  /** Undefined while nobody knows. */
  readonly revocable: CallerFacts | undefined
  throwOut(by: Revocation): void
}

/** @param open all that there is now */
export function throwOut(open: Iterable<Revocable>, added: readonly Revocation[], nowMs: number): void {
  const revoked = Revocations.of(added)
  const all = [...open]
  const look = (from: number): void => {
    const untilMs = performance.now() + limits.loopShareMs
    let at = from
    while (at < all.length && performance.now() < untilMs) {
      const one = all[at++]!
      const facts = one.revocable
      const found = facts === undefined ? undefined : revoked.find(facts, nowMs)
      if (found !== undefined) contain(one, 'who is thrown out', () => one.throwOut(found))
    }
    if (at < all.length) nextTurn(nothingEnds, 'sessions of who is thrown out', () => look(at))
  }
  look(0)
}
