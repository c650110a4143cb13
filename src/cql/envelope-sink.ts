/** What is handed the envelopes of a stream (`inbound.ts`), and is asked about those that are large. */

export interface EnvelopeSink {
  /**
   * `buffer[start..end)` is one whole envelope, header and body, not compressed. Borrowed: it is valid during this call only,
   * and what keeps bytes longer copies them. May call `expectVersion()`, `useSegments()` and `useBodyCompression()` of the Inbound
   * that calls it; they hold from the next envelope on.
   */
  onEnvelope(buffer: Buffer, start: number, end: number): void
  /**
   * Called once for an envelope of `envelopeBytes`, header included, that is not all there and larger than `largeBytes`, and for an
   * answer that is longer than `bodyBytesMax`; its header stands at `buffer[start]`. False where it is to be dropped as it comes. Without
   * this nothing is dropped, and an answer that is too long ends the stream, as a request does unless `dropsTooLong`.
   */
  onLarge?(buffer: Buffer, start: number, envelopeBytes: number): boolean
  /** The last byte of an envelope that was dropped has come. */
  onDropped?(stream: number): void
  /**
   * A body of which the envelope will have `envelopeBytes` is to be uncompressed beside the event loop. False where the envelope is to be
   * dropped. Without this it is uncompressed at once.
   */
  onLong?(envelopeBytes: number): boolean
  /** What `onLong` was asked about is uncompressed, or could not be, and waits for `goOn`; until then nothing else is handed on. */
  onUncompressed?(): void
  /** Segments of a long envelope came to `lookedAtBytes` more. May call `stop()`. */
  onPiece?(): void
}

/** A longer envelope that comes in pieces is one that its receiver is asked about. */
export const largeBytes = 64 * 1024
