/** How a sidecar shows the control plane each checkpoint of its record, so that what was shown once cannot be taken back. */
import { z } from 'zod'

export const witnessPath = '/v1/witness'
export const witnessedPath = '/v1/witnessed'
export const forgetWitnessedPath = '/v1/witnessed/forget'

const hash = z.string().regex(/^[A-Za-z0-9+/]{43}=$/)

export const witnessRequest = z.strictObject({
  /** Of the log, as C2SP writes it. */
  key: z.string().min(1).max(4096),
  /** The size that the witness is thought to know; 0 for none. */
  old: z.int().min(0),
  /** From that one to this. */
  proof: z.array(hash).max(63),
  checkpoint: z.string().min(1).max(8192),
})
export type WitnessRequest = z.infer<typeof witnessRequest>

export const witnessAnswer = z.object({
  /** What the witness knows now. */
  size: z.int().min(0),
  /** A line of the note, where it was taken. */
  cosignature: z.string().optional(),
  /** Why it was not. */
  refused: z.enum(['other key', 'not signed', 'other size', 'rolled back', 'forked']).optional(),
})
export type WitnessAnswer = z.infer<typeof witnessAnswer>

/** The last checkpoint of each log, with the witness's line. */
export const witnessedLogs = z.array(
  z.object({ origin: z.string(), key: z.string(), size: z.int(), atMs: z.number(), checkpoint: z.string() }),
)
export type WitnessedLog = z.infer<typeof witnessedLogs>[number]
