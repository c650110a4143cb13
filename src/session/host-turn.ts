/**
 * Hosts take turns in ending sessions. A driver has one connection to a host, or two, and needs a second or two to have another one in its place. Where it
 * loses those to all of its hosts in that time it has nobody to ask, and requests fail. So each host ends sessions in a part of the time that is its own, by
 * the clock on the wall:
 *
 *   host 0  ▓▓▓▓░░░░░░░░              ▓▓▓▓░░░░░░░░
 *   host 1              ▓▓▓▓░░░░░░░░              ▓▓▓▓░░░░░░░░      ▓ sessions end   ░ their drivers come back
 *
 * Rule: it depends on what all hosts know alike, so that none has to ask another. Where they know it differently nothing worse happens than without it.
 */

/** Which of the hosts that a driver sees this one is. */
export interface HostTurn {
  readonly index: number
  readonly count: number
}

/** Two of them are there while a third one has its turn; with more hosts several have one together. */
const turnsMax = 3
/** The shortest round: there are no turns in less. */
export const roundMsMin = 3_000
export const usualRoundMs = 12_000
/**
 * In a round each host has one turn, and ends sessions in the first part of it. From the last end of one host to the first of the next one it is 3 s at least
 * in the first two: a session leaves for up to `leaveMsMax`, and drivers were seen to need 1.55 s for another.
 *
 * A client has connections whose proofs have more and less time left. Turns of two rounds are not apart from each other, so all of them that may belong to one
 * client go by the same round: `fromMs` of time and more to end in. The first one is for those who have as much for as long as they live.
 */
const rounds = [
  { fromMs: 120_000, roundMs: 30_000, share: 1 / 2 },
  { fromMs: usualRoundMs, roundMs: usualRoundMs, share: 1 / 4 },
  { fromMs: roundMsMin, roundMs: roundMsMin, share: 1 / 4 },
] as const

/** By the names of all, in an order that is the same everywhere; undefined where it is not among them, or alone. */
export function hostTurnOf(own: string, all: Iterable<string>): HostTurn | undefined {
  let [index, count, isKnown] = [0, 0, false]
  for (const name of all) {
    count++
    if (name < own) index++
    isKnown ||= name === own
  }
  return isKnown && count > 1 ? { index, count } : undefined
}

/**
 * How long to wait from `nowMs` on, between two bounds, until a moment that is in the host's turn; anywhere between them where there is no turn, or no time
 * for one.
 * @param random 0 ≤ random < 1
 */
export function inTurnMs(
  nowMs: number,
  fromMs: number,
  toMs: number,
  turn: HostTurn | undefined,
  random: number,
): number {
  const anywhereMs = fromMs + (toMs - fromMs) * random
  const round = rounds.find((one) => toMs - fromMs >= one.fromMs)
  if (turn === undefined || turn.count < 2 || round === undefined) return anywhereMs
  const turns = Math.min(turn.count, turnsMax)
  const { roundMs, share } = round
  const turnMs = roundMs / turns
  const usedMs = turnMs * share
  const firstMs = fromMs - ((nowMs + fromMs) % roundMs) + (turn.index % turns) * turnMs
  const parts: (readonly [from: number, ms: number])[] = []
  for (let atMs = firstMs; atMs < toMs; atMs += roundMs) {
    const startMs = Math.max(atMs, fromMs)
    const ms = Math.min(atMs + usedMs, toMs) - startMs
    if (ms > 0) parts.push([startMs, ms])
  }
  let leftMs = parts.reduce((sum, [, ms]) => sum + ms, 0) * random
  for (const [startMs, ms] of parts) {
    if (leftMs < ms) return startMs + leftMs
    leftMs -= ms
  }
  return anywhereMs
}
