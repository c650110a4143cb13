/**
 * When a client is told to go, so that its driver opens another connection in time.
 *
 *   the connection is made ─────────────────────── 9/10 ──── somewhere in here ──── 99/100 ──▶ its proof, or `sessionMsMax`, ends
 *
 * Where hosts take turns it may be 12.5 s before 99/100, so that each has one. Where that is too short for any it may be the half of it.
 *
 * Rule: connections that were made at one time with one proof end at different times, those of two hosts in different turns (`host-turn.ts`), and none of them
 * after the proof.
 */
import { limits } from '../base/limits.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { type HostTurn, inTurnMs, roundMsMin, usualRoundMs } from './host-turn.ts'

/** Of the life of a connection. */
const spreadShare = 0.1
/** So that a client which is told to go has time to. */
const lastShare = 0.01
/** Where hosts take turns: a round of twelve seconds fits, and as many connections as can go by that one. */
const turnsMs = usualRoundMs + 500
/** Below that the second half of the life of a connection: agents have renewed by then, and nobody connects without end. */
const livedShareMin = 0.5

/** @param random 0 ≤ random < 1, another one for each connection @param nowMs by the clock on the wall */
export function leavesAfterMs(lifeMs: number, random = Math.random(), turn?: HostTurn, nowMs = Date.now()): number {
  const [usualMs, toMs] = [lifeMs * (1 - spreadShare), lifeMs * (1 - lastShare)]
  const inTurnFromMs = toMs > turnsMs ? toMs - turnsMs : lifeMs * livedShareMin
  const earlyMs = Math.min(usualMs, inTurnFromMs)
  const fromMs = turn === undefined || toMs - earlyMs < roundMsMin ? usualMs : earlyMs
  return inTurnMs(nowMs, fromMs, toMs, turn, random)
}

/**
 * A client that is told to go comes back with the same proof while it has no other, for a tenth of the time that was left, then for a hundredth; where
 * hosts take turns, for a part of it each time while there is room for them. In the end such a connection is over while its driver still asks for the schema, and
 * that of Node.js then ends its process (4.10.0, `ControlConnection._refresh`).
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
