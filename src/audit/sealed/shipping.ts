/**
 * Hands a log over to who collects it: one piece at a time, from where the copy ends.
 *
 * Rule: that the collector is away, busy or full holds nothing up and loses nothing: the log's own segments are what waits. None of them is
 * removed before the copy has it.
 */
import { after, nothingEnds, unawaited } from '../../base/contained.ts'
import { type CollectAnswer, type CollectRequest, collectedPieceBytesMax } from '../../mesh/collection.ts'
import type { Place } from './collected-log.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { PiecesOfLog } from './pieces-of-log.ts'

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

export class RecordShipping {
  readonly #options: ShippingOptions
  readonly #pieces: PiecesOfLog
  #place: Place | undefined
  #signed: { readonly size: number; readonly key: NoteKey } | undefined
  #going: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #why: string | undefined
  #waitingBytes = 0
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
    const size = openCheckpoint(checkpoint, key)?.size ?? 0
    this.#signed = { size, key }
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
      this.#countWaiting()
    } finally {
      this.#going = undefined
    }
  }

  /** False where there is nothing more to do now. */
  async #one(): Promise<boolean> {
    const signed = this.#signed
    if (signed === undefined) return false
    const piece = this.#place && (await this.#pieces.next(this.#place, signed.size))
    if (this.#place !== undefined && piece === undefined) return false
    const { segment, bytes, frames } = piece ?? { segment: '', bytes: 0, frames: Buffer.alloc(0) }
    let answer: CollectAnswer
    try {
      answer = await this.#options.ask({ key: signed.key.text, segment, bytes, frames: frames.toString('base64') })
    } catch {
      this.#later(retryMs, 'the control plane is away')
      return false
    }
    const { refused, why = refused } = answer
    if (refused === undefined || refused === 'elsewhere') {
      this.#place = { segment: answer.segment, bytes: answer.bytes }
      this.#why = undefined
      if (piece !== undefined && refused === undefined) this.#removeOld(this.#place)
      return true
    }
    if (refused === 'busy') this.#later(retryMs, this.#why)
    else {
      if (why !== this.#why) this.#options.onRefused(String(why))
      this.#later(refused === 'not witnessed' ? retryMs : refusedRetryMs, why)
    }
    return false
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
    this.#waitingBytes = this.#pieces.waitingBytes(this.#place ?? { segment: '', bytes: 0 })
  }
}
