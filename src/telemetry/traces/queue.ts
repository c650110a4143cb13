/**
 * Spans that wait for the collector. They are sent in parts, one part at a time, apart from whatever serves clients.
 *
 * Rule: there are at most so many, of so many bytes. What has no room, and what the collector does not take, is dropped and counted; nobody waits.
 */
import { after, nothingEnds, settle } from '../../base/contained.ts'
import { Fifo } from '../../base/fifo.ts'
import { counter, type Family, gauge } from '../metrics/family.ts'
import type { Span } from './span.ts'

/** What became of one part. `again` is for a collector that is away or busy, which may say for how long; `refused` counts those of a part that it took. */
export type Sent = 'taken' | 'refused' | 'again' | { readonly refused: number } | { readonly againMs: number }

export interface SpanQueueOptions {
  /** Never rejects. */
  readonly send: (spans: readonly Span[]) => Promise<Sent>
  readonly spansMax?: number
  readonly bytesMax?: number
  readonly partMax?: number
  /** How long spans wait for others. */
  readonly waitMs?: number
}

const spansUsualMax = 4_096
const bytesUsualMax = 4 * 1024 * 1024
/** A part is written in one turn of the event loop. */
const partUsualMax = 256
const waitUsualMs = 1_000
const pauseMsMin = 1_000
const pauseMsMax = 30_000
const askedPart = 3 / 4
/** Of a span without its texts. */
const spanBytes = 256

export class SpanQueue {
  readonly #options: Required<SpanQueueOptions>
  readonly #waiting: Fifo<Span> = new Fifo()
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #pauseMs = 0
  /** Parts are sent by `close` only. */
  #isClosing = false
  /** Nothing more is taken. */
  #closed = false
  #taken = 0
  #full = 0
  #refused = 0

  constructor(options: SpanQueueOptions) {
    this.#options = {
      spansMax: spansUsualMax,
      bytesMax: bytesUsualMax,
      partMax: partUsualMax,
      waitMs: waitUsualMs,
      ...options,
    }
  }

  /**
   * For the spans of one more request; where there is none, that is counted.
   * @param isAsked somebody else chose it: a quarter is kept for what is chosen here
   */
  hasRoom(isAsked: boolean = false): boolean {
    const { spansMax, bytesMax } = this.#options
    const part = isAsked ? askedPart : 1
    const isFree = this.#waiting.length < spansMax * part && this.#bytes < bytesMax * part
    if (isFree && !this.#closed) return true
    this.#full++
    return false
  }

  add(span: Span): void {
    const { spansMax, bytesMax, partMax, waitMs } = this.#options
    const bytes = bytesOf(span)
    if (this.#closed || this.#waiting.length >= spansMax || this.#bytes + bytes > bytesMax) {
      this.#full++
      return
    }
    this.#waiting.push(span)
    this.#bytes += bytes
    if (this.#isClosing) return
    // While the collector is away the pause goes on, however many come.
    if (this.#pauseMs === 0 && this.#waiting.length === partMax) this.#arm(0)
    else if (this.#timer === undefined) this.#arm(waitMs)
  }

  /** Sends what waits, once, for at most so long; then nothing more is taken. */
  async close(msMax: number): Promise<void> {
    this.#isClosing = true
    clearTimeout(this.#timer)
    const late = new Promise<void>((resolve) => void setTimeout(resolve, msMax).unref())
    this.#pauseMs = 0
    const all = async (): Promise<void> => {
      await this.#sending
      while (this.#waiting.length > 0 && this.#pauseMs === 0 && !this.#closed) await this.#part()
    }
    await Promise.race([all(), late])
    this.#closed = true
  }

  families(): Family[] {
    const dropped = [
      { labels: { cause: 'full' }, value: this.#full },
      { labels: { cause: 'refused' }, value: this.#refused },
    ]
    return [
      counter('ringfence_trace_spans', 'Spans that the collector has taken.', this.#taken),
      counter('ringfence_trace_spans_dropped', 'Spans that were not sent, or not taken, by cause.', dropped),
      gauge('ringfence_trace_waiting_spans', 'Spans that are not sent yet.', this.#waiting.length),
      gauge('ringfence_trace_waiting_spans_limit', 'So many may wait.', this.#options.spansMax),
    ]
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = after(nothingEnds, 'the export of spans', ms, () => {
      if (this.#sending !== undefined) return
      this.#sending = this.#part()
      const over = (): void => this.#over()
      settle(nothingEnds, 'the export of spans', this.#sending, over, over)
    })
    this.#timer.unref()
  }

  /** One part was sent, or not taken. */
  #over(): void {
    this.#sending = undefined
    this.#timer = undefined
    if (this.#waiting.length > 0 && !this.#isClosing) this.#arm(this.#pauseMs || this.#wait())
  }

  #wait(): number {
    return this.#waiting.length >= this.#options.partMax ? 0 : this.#options.waitMs
  }

  async #part(): Promise<void> {
    const spans: Span[] = []
    for (const span of this.#waiting) {
      if (spans.length === this.#options.partMax) break
      spans.push(span)
    }
    const sent = await this.#options.send(spans)
    if (sent === 'again' || (typeof sent === 'object' && 'againMs' in sent)) {
      const ms = sent === 'again' ? this.#pauseMs * 2 : sent.againMs
      this.#pauseMs = Math.min(pauseMsMax, Math.max(pauseMsMin, ms))
      return
    }
    this.#pauseMs = 0
    for (const span of spans) {
      this.#waiting.shift()
      this.#bytes -= bytesOf(span)
    }
    const refused = sent === 'taken' ? 0 : sent === 'refused' ? spans.length : Math.min(spans.length, sent.refused)
    this.#refused += refused
    this.#taken += spans.length - refused
  }
}

/** About as many as it takes. */
function bytesOf({ name, attributes }: Span): number {
  let bytes = spanBytes + name.length
  for (const [key, value] of attributes) bytes += key.length + (typeof value === 'string' ? 2 * value.length : 8)
  return bytes
}
