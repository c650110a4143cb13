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
  /** Whole frames that follow there, in base64; none where only the place is asked. */
  frames: z.string().max(Math.ceil(collectedPieceBytesMax / 3) * 4),
})
export type CollectRequest = z.infer<typeof collectRequest>

export const collectAnswer = z.object({
  /** Where the copy ends now: the disk has what is before. */
  ...place,
  /** Why nothing was taken. `elsewhere`: the copy ends at another place, which is said. */
  refused: z.enum(['elsewhere', 'busy', 'no room', 'not witnessed', 'tampered']).optional(),
  /** In words. */
  why: z.string().max(1024).optional(),
})
export type CollectAnswer = z.infer<typeof collectAnswer>
