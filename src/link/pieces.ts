/**
 * A long envelope crosses a link in pieces, so that others get by between them:
 *
 *   frame   [ session ][ control header, opcode PIECE ][ a part of the session's envelope ]
 *
 * The first piece begins with the envelope's own header, so that its length is known. Of one session the pieces of one envelope come
 * in order, and no other envelope between them.
 */
import { type ByteAccount, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { Collector } from '../base/framer.ts'
import { envelopeHeaderBytes, headerBodyBytes, writeHeader } from '../cql/protocol.ts'
import { Control, controlVersion, sessionBytes } from './protocol.ts'

export const pieceOverheadBytes = envelopeHeaderBytes
/** Of the envelope in one piece; a longer envelope is sent in pieces. With all headers two pieces fit into a slab. */
export const pieceBytesMax = 32 * 1024 - sessionBytes - envelopeHeaderBytes

/** Makes the piece `envelope[at..at + bytes)` at the start of `target`; gives where it ends. */
export function pieceInto(target: Buffer, envelope: Buffer, at: number, bytes: number): number {
  writeHeader(target, controlVersion, 0, 0, Control.PIECE, bytes)
  envelope.copy(target, envelopeHeaderBytes, at, at + bytes)
  return envelopeHeaderBytes + bytes
}

interface Unfinished {
  readonly account: ByteAccount | undefined
  /** There was room for it. */
  readonly fits: boolean
  /** Of the whole envelope, or, where it is dropped, of its header. Memory is taken as bytes come, not as they are announced. */
  readonly collected: Collector
  readonly collectedBytes: number
  readonly envelopeBytes: number
  haveBytes: number
}

/** The envelopes that come in pieces, by session. Each is counted in its session's account while it is not whole. */
export class Pieces {
  readonly #bodyBytesMax: number
  readonly #unfinished = new Map<number, Unfinished>()
  /** What `add` gave is the header only of an envelope that there was no room for. */
  refused = false

  /** `bodyBytesMax`: longest envelope body that the other end may send. */
  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax
  }

  /** The envelope that the piece `buffer[start..end)` completes, if it does. Throws `LINK` for a piece that may not be. */
  add(
    session: number,
    account: ByteAccount | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ): Buffer | undefined {
    const from = start + envelopeHeaderBytes
    const unfinished = this.#unfinished.get(session) ?? this.#begin(session, account, buffer, from, end)
    const bytes = end - from
    if (bytes === 0 || unfinished.haveBytes + bytes > unfinished.envelopeBytes) {
      throw new RingfenceError('LINK', 'a piece that is empty or longer than the rest of its envelope')
    }
    const { collected, collectedBytes, envelopeBytes, fits } = unfinished
    // Of one that is dropped this keeps the header only.
    if (collected.have < collectedBytes) collected.take(buffer, from, end, collectedBytes)
    unfinished.haveBytes += bytes
    if (unfinished.haveBytes < envelopeBytes) return undefined
    this.drop(session)
    this.refused = !fits
    return collected.buffer
  }

  /** The session is over. */
  drop(session: number): void {
    const unfinished = this.#unfinished.get(session)
    if (unfinished === undefined) return
    this.#unfinished.delete(session)
    if (unfinished.fits) unfinished.account?.give(unfinished.envelopeBytes)
  }

  dropAll(): void {
    for (const session of [...this.#unfinished.keys()]) this.drop(session)
  }

  #begin(session: number, account: ByteAccount | undefined, buffer: Buffer, from: number, end: number): Unfinished {
    if (end - from < envelopeHeaderBytes)
      throw new RingfenceError('LINK', 'a first piece without the header of its envelope')
    const bodyBytes = headerBodyBytes(buffer, from)
    if (bodyBytes < 0 || bodyBytes > this.#bodyBytesMax) {
      throw new RingfenceError('LINK', `an envelope with a body of ${bodyBytes} bytes exceeds ${this.#bodyBytesMax}`)
    }
    const envelopeBytes = envelopeHeaderBytes + bodyBytes
    const fits = account === undefined || account.take(envelopeBytes) !== Verdict.REFUSE
    const collectedBytes = fits ? envelopeBytes : envelopeHeaderBytes
    const unfinished = { account, fits, collected: new Collector(), collectedBytes, envelopeBytes, haveBytes: 0 }
    this.#unfinished.set(session, unfinished)
    return unfinished
  }
}
