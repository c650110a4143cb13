/** How a sidecar hands its sealed record over to the control plane: piece by piece, each behind the one before. */
import { z } from 'zod'

export const collectPath = '/v1/record'

/** Of frames in one message. */
export const collectedPieceBytesMax = 384 * 1024
/** Of a message: base64 takes four bytes for three. */
export const collectBodyBytesMax = 600 * 1024

/** Where a log's copy ends: so many bytes of this segment. */
const place = {
  /** The empty text where there is none yet. */
  segment: z.string().max(255),
  bytes: z.int().min(0),
}

export const collectRequest = z.strictObject({
  /** Of the log, as C2SP writes it. */
  key: z.string().min(1).max(4096),
  ...place,
  /** How many blocks the proof leads to; 0 where nothing is proved. */
  size: z.int().min(0).default(0),
  /** From the blocks that are there with these frames to those that the witness has signed. */
  proof: z
    .array(z.string().regex(/^[A-Za-z0-9+/]{43}=$/))
    .max(63)
    .default([]),
  /** Whole frames that follow there, in base64; none where only the place is asked. */
  frames: z.string().max(Math.ceil(collectedPieceBytesMax / 3) * 4),
})
export type CollectRequest = z.input<typeof collectRequest>

export const collectAnswer = z.object({
  /** Where the copy goes on. The disk has the blocks that end before. */
  ...place,
  /** How many blocks the witness has signed. */
  witnessed: z.int().min(0).optional(),
  /** Why nothing was taken. `elsewhere`: it goes on at another place, or from another proof; both are said. */
  refused: z.enum(['elsewhere', 'busy', 'no room', 'not witnessed', 'tampered']).optional(),
  /** In words. */
  why: z.string().max(1024).optional(),
})
export type CollectAnswer = z.infer<typeof collectAnswer>
