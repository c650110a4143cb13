/**
 * Hands a log over to who collects it: one piece at a time, from where the copy ends.
 *
 * Rule: that the collector is away, busy or full holds nothing up and loses nothing: the log's own segments are what waits. None of them is
 * removed before the copy has it.
 */
import { after, containOwnFault, nothingEnds, unawaited } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { type CollectAnswer, type CollectRequest, collectedPieceBytesMax } from '../../mesh/collection.ts'
import type { Place } from './collected-log.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { type Piece, PiecesOfLog } from './pieces-of-log.ts'

export interface ShippingOptions {
  readonly directory: string
  readonly ask: (request: CollectRequest) => Promise<CollectAnswer>
  /** What the copy has is removed here where all segments take more; kept for ever where it is not said. */
  readonly keepBytesMax: number | undefined
  /** Told once for each reason. */
  readonly onRefused: (why: string) => void
}

/** How it goes. */
export interface ShippingFigures {
  /** Bytes that only this folder has. */
  readonly uncollectedBytes: number
  /** Why nothing is taken at present; undefined where all is well. */
  readonly uncollectedWhy: string | undefined
}

const retryMs = 2_000
/** What a retry does not mend is tried seldom. */
const refusedRetryMs = 30_000
/** So often in a row the collector may say where it goes on, and take nothing. */
const elsewhereMax = 3

export class RecordShipping {
  readonly #options: ShippingOptions
  readonly #pieces: PiecesOfLog
  #place: Place | undefined
  #key: NoteKey | undefined
  /** So many blocks are signed here, and so many the witness knows. */
  #signed = 0
  #size = 0
  #going: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #why: string | undefined
  #waitingBytes = 0
  /** Answers that nothing was taken at this place, one after the other. */
  #elsewhere = 0
  #stopped = false

  constructor(options: ShippingOptions) {
    this.#options = options
    this.#pieces = new PiecesOfLog(options.directory, collectedPieceBytesMax)
  }

  get figures(): ShippingFigures {
    return { uncollectedBytes: this.#waitingBytes, uncollectedWhy: this.#why }
  }

  /** Blocks were signed. Resolves when what there is was handed over, or could not be. */
  signed(checkpoint: string, key: NoteKey): Promise<void> {
    this.#signed = Math.max(this.#signed, openCheckpoint(checkpoint, key)?.size ?? 0)
    this.#size = this.#signed
    this.#key = key
    // Where it was refused, its time comes.
    if (this.#retry !== undefined) return Promise.resolve()
    return this.#goOn()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retry)
  }

  #goOn(): Promise<void> {
    this.#going ??= this.#all()
    return this.#going
  }

  async #all(): Promise<void> {
    try {
      while (!this.#stopped && (await this.#one()));
    } finally {
      this.#going = undefined
      this.#countWaiting()
    }
  }

  /** False where there is nothing more to do now. */
  async #one(): Promise<boolean> {
    const key = this.#key
    if (key === undefined) return false
    let piece: Piece | undefined
    let request: CollectRequest
    try {
      piece = this.#place && (await this.#pieces.next(this.#place, this.#size))
      if (this.#place !== undefined && piece === undefined) return this.#ended()
      request = this.#requestOf(key, piece)
    } catch (reason) {
      containOwnFault('a piece of the record', reason)
      // Where the copy ends is asked once more before it is tried again.
      this.#place = undefined
      this.#refused(reason instanceof RingfenceError ? reason.message : `this log cannot be read: ${codeOf(reason)}`)
      return false
    }
    const signed = this.#signed
    let answer: CollectAnswer
    try {
      answer = await this.#options.ask(request)
    } catch (reason) {
      containOwnFault('a piece of the record for the control plane', reason)
      this.#refused(unansweredWhy(reason), retryMs)
      return false
    }
    // What was signed meanwhile the witness may have known too late for this answer.
    return this.#answered(signed === this.#signed ? answer : { ...answer, witnessed: this.#signed }, piece)
  }

  /** The copy has all that the witness knows. */
  #ended(): false {
    if (this.#size >= this.#signed) return false
    this.#place = undefined
    this.#refused('not witnessed', retryMs)
    return false
  }

  #requestOf(key: NoteKey, piece: Piece | undefined): CollectRequest {
    if (piece === undefined) return { key: key.text, segment: '', bytes: 0, frames: '' }
    const { segment, bytes, frames, blocks } = piece
    const proof = this.#pieces.proof(blocks, this.#size).map((hash) => hash.toString('base64'))
    return { key: key.text, segment, bytes, size: this.#size, proof, frames: frames.toString('base64') }
  }

  #answered(answer: CollectAnswer, piece: Piece | undefined): boolean {
    const { refused, why = refused, witnessed, segment, bytes } = answer
    if (refused === 'busy') {
      this.#later(retryMs, this.#why)
      return false
    }
    if (refused !== undefined && refused !== 'elsewhere') {
      this.#refused(String(why), refused === 'not witnessed' ? retryMs : refusedRetryMs)
      return false
    }
    this.#elsewhere = refused === undefined ? 0 : this.#elsewhere + 1
    if (this.#elsewhere > elsewhereMax) {
      this.#elsewhere = 0
      this.#refused(`the copy ends at byte ${bytes} of ${segment || 'nothing'}, and is not gone on with from there`)
      return false
    }
    this.#place = { segment, bytes }
    this.#size = witnessed ?? this.#size
    this.#why = undefined
    // What has no seal yet may have to be sent once more.
    if (piece?.endsWithSeal === true && refused === undefined) this.#removeOld(this.#place)
    return true
  }

  /** Told once for each reason. */
  #refused(why: string, againMs = refusedRetryMs): void {
    if (why !== this.#why) this.#options.onRefused(why)
    this.#later(againMs, why)
  }

  #removeOld(place: Place): void {
    const { keepBytesMax } = this.#options
    if (keepBytesMax !== undefined) this.#pieces.removeBeyond(keepBytesMax, place)
  }

  #later(ms: number, why: string | undefined): void {
    this.#why = why
    if (this.#stopped) return
    const again = (): void => {
      this.#retry = undefined
      unawaited(nothingEnds, 'handing over the record', this.#goOn())
    }
    clearTimeout(this.#retry)
    this.#retry = after(nothingEnds, 'handing over the record', ms, again).unref()
  }

  #countWaiting(): void {
    try {
      this.#waitingBytes = this.#pieces.waitingBytes(this.#place ?? { segment: '', bytes: 0 })
    } catch (reason) {
      containOwnFault('counting what was not collected', reason)
      this.#refused(`this log cannot be read: ${codeOf(reason)}`)
    }
  }
}

function codeOf(reason: unknown): string {
  return reason instanceof Error && 'code' in reason ? String(reason.code) : 'unknown error'
}

/** It is away, or it is there and says no. */
function unansweredWhy(reason: unknown): string {
  const isRefusal = reason instanceof RingfenceError && reason.code !== 'UNAVAILABLE'
  return isRefusal ? `the control plane refuses it: ${reason.code}: ${reason.message}` : 'the control plane is away'
}
