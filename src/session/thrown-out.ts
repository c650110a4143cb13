/**
 * Sessions that are open when somebody is thrown out: which of them are meant.
 *
 * Rule: only what was added is held against sessions, once, and some thousand of them in one turn of the event loop. Who comes later is held against
 * all revocations where it is verified.
 */
import { nextTurn, nothingEnds } from '../base/contained.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import { type CallerFacts, Revocations } from '../identity/revoked/revocations.ts'

/** One look takes well below a microsecond. */
const perTurnMax = 2_048

/** Something that ends with whoever it is of. */
export interface Revocable {
  /** Undefined while nobody knows. */
  readonly revocable: CallerFacts | undefined
  throwOut(by: Revocation): void
}

/** @param open all that there is now */
export function throwOut(open: Iterable<Revocable>, added: readonly Revocation[], nowMs: number): void {
  const revoked = Revocations.of(added)
  const all = [...open]
  const look = (from: number): void => {
    const to = Math.min(from + perTurnMax, all.length)
    for (let at = from; at < to; at++) {
      const one = all[at]!
      const facts = one.revocable
      const found = facts === undefined ? undefined : revoked.find(facts, nowMs)
      if (found !== undefined) one.throwOut(found)
    }
    if (to < all.length) nextTurn(nothingEnds, 'sessions of who is thrown out', () => look(to))
  }
  look(0)
}
