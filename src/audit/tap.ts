/**
 * Transactions as they happen, for those who look (`/tap` of a sidecar): lines of the record without their number, of what matches a filter.
 *
 * Rule: nobody waits for who looks. Who reads slowly, or wants much, loses lines, and is told how many.
 */
import { z } from 'zod'
import { after, contained, nothingEnds } from '../base/contained.ts'
import type { TransactionEvent } from './event.ts'
import { isNamed, touches } from './named.ts'
import { type AuditSink, appendTransaction, proxyPart, type RefusedLogIn, refusedLine } from './record.ts'
import { partsOf, verdictOfEvent } from './recorded.ts'
import type { Looking, Tapped } from './tapped.ts'
import { targetOf } from './verdict.ts'

const name = z.string().min(1).max(512)

/** As a query of a URL has it: what it names must all be so. */
export const tapFilterSchema = z
  .strictObject({
    /** As `isNamed` reads it; so is `workload`. */
    person: name.optional(),
    workload: name.optional(),
    keyspace: name.optional(),
    table: name.optional(),
    verdict: z.enum(['allow', 'deny', 'observe']).optional(),
    /** What did not end well: with an error, a refusal too, or without an answer. */
    errors: z.literal('true').optional(),
    /** Took so long at least, in the mesh and at the node. */
    slowMs: z
      .string()
      .regex(/^\d{1,9}(\.\d{1,3})?$/)
      .transform(Number)
      .optional(),
  })
  .refine(({ keyspace, table }) => table === undefined || keyspace !== undefined, 'a table is of a keyspace')

export type TapFilter = z.output<typeof tapFilterSchema>

/** So many may look at one time. */
export const tapsMax = 4
/** Of one who looks: bytes that wait, and lines in a second. */
export const tapBounds = { waitingBytesMax: 256 * 1024, linesPerSecondMax: 1_000 } as const
/** Where nothing else is told, it is told so often what was left out. */
const leftOutEveryMs = 1_000
const place = 'who looks at transactions'

export interface TapsOptions {
  readonly tapped: Tapped
  /** The sidecar's name. */
  readonly proxy: string
  /** Of the policy in force. */
  readonly revision: () => number
  readonly nowMs?: () => number
}

/** All who look at one sidecar. */
export class Taps implements Looking {
  readonly #tapped: Tapped
  readonly #revision: () => number
  readonly #nowMs: () => number
  readonly #proxyPart: string
  readonly #taps = new Set<Tap>()
  #line = ''
  readonly #sink: AuditSink

  constructor({ tapped, proxy, revision, nowMs = Date.now }: TapsOptions) {
    this.#tapped = tapped
    this.#revision = revision
    this.#nowMs = nowMs
    this.#proxyPart = proxyPart(proxy)
    this.#sink = {
      begin: () => this.#begin(),
      append: (line) => {
        this.#line = line
      },
    }
  }

  get size(): number {
    return this.#taps.size
  }

  ended(event: TransactionEvent): void {
    let line: string | undefined
    for (const tap of this.#taps) {
      if (!wants(tap.filter, event) || !tap.hasRoom(this.#nowMs())) continue
      line ??= this.#lineOf(event)
      tap.add(line)
    }
  }

  /** Who that was is not known, so nobody hears of it who asks for somebody, for a table, or for what took long. */
  refused(logIn: RefusedLogIn): void {
    for (const tap of this.#taps) {
      const { person, workload, keyspace, verdict = 'deny', slowMs } = tap.filter
      const isWanted = verdict === 'deny' && [person, workload, keyspace, slowMs].every((each) => each === undefined)
      if (isWanted && tap.hasRoom(this.#nowMs())) tap.add(this.#begin() + refusedLine(logIn))
    }
  }

  /**
   * Lines from now on, until `gone`; undefined where too many look. The first says that it begins, so that whoever asks knows from when on
   * nothing is missed.
   */
  follow(filter: TapFilter, gone: AbortSignal): AsyncIterable<string> | undefined {
    if (this.#taps.size >= tapsMax) return undefined
    const leftOut = (count: number): string => `${this.#begin()},"event":"left out","count":${count}}\n`
    const tap = new Tap(filter, leftOut)
    if (gone.aborted) return tap.pieces('', gone)
    this.#taps.add(tap)
    this.#tapped.tell(this)
    const end = (): void => {
      this.#taps.delete(tap)
      if (this.#taps.size === 0) this.#tapped.tell(undefined)
      tap.end()
    }
    gone.addEventListener('abort', contained(nothingEnds, place, end), { once: true })
    return tap.pieces(`${this.#begin()},"event":"looking"}\n`, gone)
  }

  #begin(): string {
    return `{"time":"${new Date(this.#nowMs()).toISOString()}"${this.#proxyPart}`
  }

  #lineOf(event: TransactionEvent): string {
    appendTransaction(this.#sink, partsOf(event, this.#revision()), event)
    return this.#line
  }
}

function wants(filter: TapFilter, event: TransactionEvent): boolean {
  const { person, workload, keyspace, table, verdict, errors, slowMs } = filter
  const { who } = event.session
  if (verdict !== undefined && verdictOfEvent(event) !== verdict) return false
  if (errors !== undefined && event.outcome === 'ok') return false
  if (slowMs !== undefined && event.latencyMicros + event.waitedMicros < 1_000 * slowMs) return false
  if (person !== undefined && !isNamed(who.person, person)) return false
  if (workload !== undefined && !isNamed(who.workload, workload)) return false
  if (keyspace === undefined) return true
  const { statement } = event
  return statement !== undefined && touches({ ...targetOf(statement.facts), tables: statement.tables }, keyspace, table)
}

/** One who looks. */
class Tap {
  readonly filter: TapFilter
  readonly #leftOutLine: (count: number) => string
  #waiting: string[] = []
  #bytes = 0
  #second = 0
  #ofSecond = 0
  #leftOut = 0
  /** Runs while there is something left out that was not told. */
  #timer: NodeJS.Timeout | undefined
  #isDue = false
  #wake: (() => void) | undefined

  constructor(filter: TapFilter, leftOutLine: (count: number) => string) {
    this.filter = filter
    this.#leftOutLine = leftOutLine
  }

  /** False where it has no room for another line, which counts as left out. */
  hasRoom(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#ofSecond = 0
    }
    if (this.#bytes < tapBounds.waitingBytesMax && this.#ofSecond < tapBounds.linesPerSecondMax) return true
    this.#leftOut++
    this.#timer ??= after(nothingEnds, place, leftOutEveryMs, () => {
      this.#isDue = true
      this.#awake()
    }).unref()
    return false
  }

  add(line: string): void {
    this.#ofSecond++
    this.#waiting.push(line)
    this.#bytes += Buffer.byteLength(line)
    this.#awake()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#awake()
  }

  async *pieces(first: string, gone: AbortSignal): AsyncGenerator<string> {
    if (first !== '') yield first
    while (!gone.aborted) {
      const piece = this.#take()
      if (piece !== '') yield piece
      else await this.#more()
    }
  }

  /** All that waits as one piece; empty where nothing does. */
  #take(): string {
    if (this.#waiting.length === 0 && !this.#isDue) return ''
    let piece = this.#waiting.join('')
    if (this.#leftOut > 0) piece += this.#leftOutLine(this.#leftOut)
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    this.#leftOut = 0
    this.#waiting = []
    this.#bytes = 0
    return piece
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #awake(): void {
    this.#wake?.()
    this.#wake = undefined
  }
}
