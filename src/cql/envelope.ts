/**
 * One whole envelope where it lies: header and body are `bytes[start..end)`.
 *
 * Rule: it is borrowed, as its bytes are. Whoever keeps it longer than the call that brought it keeps a copy.
 */
export interface Envelope {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

/** All of `bytes`. Costs an object, so it is not for the fast path. */
export function wholeEnvelope(bytes: Buffer): Envelope {
  return { bytes, start: 0, end: bytes.length }
}

export function copyOf({ bytes, start, end }: Envelope): Buffer {
  return Buffer.from(bytes.subarray(start, end))
}
