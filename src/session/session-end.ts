/**
 * When a client is told to go, so that its driver opens another connection in time.
 *
 *   the connection is made ─────────────────────── 9/10 ──── somewhere in here ──── 99/100 ──▶ its proof, or `sessionMsMax`, ends
 *
 * Rule: connections that were made at one time with one proof end at different times, those of two hosts in different turns (`host-turn.ts`), and none of them
 * after the proof.
 */
import { limits } from '../base/limits.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { type HostTurn, inTurnMs } from './host-turn.ts'

/** Of the life of a connection. */
const spreadShare = 0.1
/** So that a client which is told to go has time to. */
const lastShare = 0.01

/** @param random 0 ≤ random < 1, another one for each connection @param nowMs by the clock on the wall */
export function leavesAfterMs(lifeMs: number, random = Math.random(), turn?: HostTurn, nowMs = Date.now()): number {
  const [fromMs, toMs] = [lifeMs * (1 - spreadShare), lifeMs * (1 - lastShare)]
  return inTurnMs(nowMs, fromMs, toMs, turn, random)
}

/**
 * A client that is told to go comes back with the same proof while it has no other, for a tenth of the time that was left, then for a hundredth. Such
 * a connection ends while its driver still asks for the schema, and that of Node.js then ends its process (4.10.0, `ControlConnection._refresh`).
 * @throws LogInRefused
 */
export function refuseAsGoodAsOver({ expiresAtMs, token }: VerifiedIdentity, nowMs: number): void {
  if (expiresAtMs - nowMs >= limits.sessionMsMin) return
  const what = token === undefined ? 'the certificate' : 'the token'
  const evidence =
    token === undefined ? {} : { provider: token.provider, issuer: token.issuer, tokenId: token.id, hash: token.hash }
  throw new LogInRefused('expired', `${what} is as good as over`, {
    words: `${what} expires within a second; get a new one`,
    evidence,
  })
}
