/**
 * How sidecars share rate limits, by asking the control plane each second.
 *
 *   short bursts   asks: so much is wanted here, as a part of the limit      is told: its part, so that all parts together are at most the limit
 *   long bursts    asks: so much was taken here                              is told: what all together owe
 *
 * Keys are hashes: what a limit is called and whom it is for is no business of this message. Times are milliseconds of the whole limit.
 */
import { z } from 'zod'

export const limitSharesPath = '/v1/limit-shares'
/** Limits in one question. */
export const limitKeysAskedMax = 500
export const limitSharesBytesMax = 128 * 1024
/** A sidecar that cannot ask keeps its parts for so long; then it has an equal part at most. The control plane waits longer before it gives them to others. */
export const partKeptMs = 45_000
export const partReservedMs = 60_000

const key = z.string().regex(/^[A-Za-z0-9_-]{22}$/)
const amount = z.number().nonnegative()

export const limitShares = z.strictObject({
  /** Another one with each start: what an earlier process of the same name held is nobody's. */
  process: z.string().regex(/^[0-9a-f]{16}$/),
  /** What is wanted, as a part of the limit (above 1 where more than all is wanted), and the part that is held. */
  parts: z.array(z.tuple([key, amount, z.number().min(0).max(1)])).max(limitKeysAskedMax),
  /** All that this process took, what is owed, and whether a control plane had a word in that. */
  debts: z.array(z.tuple([key, amount, amount, z.boolean()])).max(limitKeysAskedMax),
})
export type LimitShares = z.infer<typeof limitShares>

export const limitSharesAnswer = z.object({
  /** When the control plane began. What an earlier one answers late is not taken. */
  term: z.number(),
  /** The part of each limit that is held by nobody here. */
  spare: z.number().min(0).max(1),
  /** Key, part, and whether the part's burst is whole. */
  parts: z.array(z.tuple([key, z.number().min(0).max(1), z.boolean()])),
  debts: z.array(z.tuple([key, amount])),
})
export type LimitSharesAnswer = z.infer<typeof limitSharesAnswer>
