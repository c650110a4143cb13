/**
 * When a client is told to go, so that its driver opens another connection in time.
 *
 *   the connection is made ─────────────────────── 9/10 ──── somewhere in here ──── 99/100 ──▶ its proof, or `sessionMsMax`, ends
 *
 * Rule: connections that were made at one time with one proof end at different times, and none of them after the proof.
 */

/** Of the life of a connection. */
const spreadShare = 0.1
/** So that a client which is told to go has time to. */
const lastShare = 0.01

/** @param random 0 ≤ random < 1, another one for each connection */
export function leavesAfterMs(lifeMs: number, random = Math.random()): number {
  return lifeMs * (1 - lastShare - (spreadShare - lastShare) * random)
}
