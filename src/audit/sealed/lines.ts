/**
 * The sealed record as the lines that `docs/audit.md` describes. Segments are given in order; what one left open counts in those that follow.
 * What was defined counts to the end of its block, which may be in the next segment.
 *
 * Rule: nothing is verified here, and nothing that a segment says is believed to be whole: what cannot be read is left out.
 */
import { printable } from '../../base/printable.ts'
import { consistencyNames, Opcode } from '../../cql/protocol.ts'
import { proxyPart, requestPart } from '../record.ts'
import { flag, frameKind } from './format.ts'
import { FrameReader } from './frames.ts'
import { eventIn, headIn, seqOf } from './head.ts'

interface Asked {
  readonly statement: number
  readonly verdict: number
  readonly opcode: number
  readonly consistency: number
  readonly batchSize: number
}

interface Intent {
  readonly ms: number
  readonly session: number
  readonly asked: number
  readonly bytesIn: number
  /** What its numbers stand for, where they are about to mean something else. */
  told?: { readonly session: string; readonly middle: string }
}

/** Of what has no statement the opcode is 0, which is no request. */
const opcodeParts = new Map<number, string>(
  Object.entries(Opcode)
    .filter(([, code]) => code !== 0)
    .map(([name, code]) => [code, requestPart(name)] as const),
)
const notKnown =
  ',"outcome":"lost","error":{"code":0,"message":"what became of it is not known: the sidecar was ended"}'
const notHere =
  ',"outcome":"lost","error":{"code":0,"message":"how it ended is not in what was read: it was under way, or the sidecar was ended"}'

/** Whether a line of this time is wanted; `at` is where its frame begins in the bytes that were given, −1 for one that has no end. */
export type Wanted = (ms: number, at: number) => boolean

/** What a line begins with: nothing else in it says these. */
const said = new Set(['time', 'seq', 'proxy'])

/** Fields of a line as a segment has them; the empty text for what would make another line, or say again whose this one is. */
function wellFormed(text: string): string {
  try {
    const fields: unknown = JSON.parse(`{${text}}`)
    const isPart = !/[\r\n]/.test(text) && Object.keys(fields as object).every((name) => !said.has(name))
    return isPart ? text : ''
  } catch {
    return ''
  }
}

function partOf(text: string): string {
  const part = wellFormed(text)
  return part === '' ? '' : `,${part}`
}

export class SealedLines {
  readonly #onLine: (line: string) => void
  readonly #wanted: Wanted
  #texts = new Map<number, string>()
  #asked = new Map<number, Asked>()
  readonly #open = new Map<number, Intent>()
  #proxy = ''
  #number = 0
  #ms = 0
  #at = -1

  /** @param onLine a line of JSON without its line feed */
  constructor(onLine: (line: string) => void, wanted: Wanted = () => true) {
    this.#onLine = onLine
    this.#wanted = wanted
  }

  /** A segment, or whole frames of one that go on where those before ended. */
  segment(bytes: Buffer): void {
    const reader = new FrameReader(bytes)
    while (reader.next()) {
      this.#at = reader.start
      this.#frame(reader)
    }
    this.#at = -1
  }

  /** One block alone, as it lies beside a proof. @param numberBefore of its header */
  block(frames: Buffer, numberBefore: number): void {
    this.#forget()
    this.#number = numberBefore
    const reader = new FrameReader(frames)
    while (reader.next()) this.#frame(reader)
  }

  /** What was begun, and of which nothing that was read says how it ended. */
  end(): void {
    for (const number of [...this.#open.keys()]) this.#unknown(number, notHere)
  }

  #frame(reader: FrameReader): void {
    switch (reader.kind) {
      case frameKind.head:
        this.#head(reader.rest())
        break
      case frameKind.seal:
        this.#forget()
        break
      case frameKind.session:
      case frameKind.statement:
      case frameKind.verdict:
        this.#texts.set(reader.number(), wellFormed(reader.rest().toString('utf8')))
        break
      case frameKind.asked:
        this.#asked.set(reader.number(), {
          statement: reader.number(),
          verdict: reader.number(),
          opcode: reader.byte(),
          consistency: reader.byte() - 1,
          batchSize: reader.number(),
        })
        break
      case frameKind.time:
        this.#ms = reader.milliseconds()
        break
      case frameKind.intent:
        this.#open.set(++this.#number, {
          ms: this.#ms,
          session: reader.number(),
          asked: reader.number(),
          bytesIn: reader.number(),
        })
        break
      case frameKind.outcome:
        this.#outcome(reader)
        break
      case frameKind.whole:
        this.#number++
        this.#end(reader, this.#number, reader.byte(), undefined)
        break
      case frameKind.event:
        this.#event(reader.rest())
        break
      case frameKind.unknown:
        this.#unknown(reader.number(), notKnown)
        break
      default:
    }
  }

  #head(json: Buffer): void {
    const head = headIn(json)
    if (head === undefined) return
    this.#proxy = proxyPart(String(head.proxy))
    this.#number = head.number
    if (!head.continues) this.#forget()
  }

  /** What was defined counts no longer. */
  #forget(): void {
    for (const intent of this.#open.values())
      intent.told ??= { session: this.#part(intent.session), middle: this.#middle(intent.asked) }
    this.#texts = new Map()
    this.#asked = new Map()
  }

  #outcome(reader: FrameReader): void {
    const flags = reader.byte()
    const number = this.#number - reader.number()
    const intent = this.#open.get(number)
    this.#open.delete(number)
    this.#end(reader, number, flags, intent)
  }

  #end(reader: FrameReader, number: number, flags: number, intent: Intent | undefined): void {
    if (!this.#wanted(this.#ms, this.#at)) return
    const refs = (flags & flag.refs) !== 0
    const session = refs ? reader.number() : (intent?.session ?? 0)
    const asked = refs ? reader.number() : (intent?.asked ?? 0)
    const bytesIn = refs ? reader.number() : (intent?.bytesIn ?? 0)
    const rows = reader.number() - 1
    const bytesOut = reader.number()
    const latency = reader.number()
    const error = (flags & flag.error) === 0 ? '' : partOf(reader.text())
    const evidence = (flags & flag.evidence) === 0 ? '' : partOf(reader.text())
    const trace = (flags & flag.trace) === 0 ? '' : partOf(reader.text())
    const outcome = (flags & flag.lost) !== 0 ? 'lost' : (flags & flag.refused) !== 0 ? 'error' : 'ok'
    this.#onLine(
      this.#beginning(this.#ms, number) +
        this.#part(session) +
        evidence +
        trace +
        this.#middle(asked) +
        `,"outcome":"${outcome}"${error}${rows >= 0 ? `,"rows":${rows}` : ''}` +
        `,"bytesIn":${bytesIn},"bytesOut":${bytesOut},"latencyMicros":${latency}}`,
    )
  }

  #unknown(number: number, why: string): void {
    const intent = this.#open.get(number)
    if (intent === undefined) return
    this.#open.delete(number)
    const { ms, bytesIn } = intent
    if (!this.#wanted(ms, this.#at)) return
    const { session, middle } = intent.told ?? {
      session: this.#part(intent.session),
      middle: this.#middle(intent.asked),
    }
    this.#onLine(
      `${this.#beginning(ms, number)}${session}${middle}${why},"bytesIn":${bytesIn},"bytesOut":0,"latencyMicros":0}`,
    )
  }

  #event(json: Buffer): void {
    const event = eventIn(json)
    this.#number = seqOf(event) ?? this.#number + 1
    if (event === undefined || !this.#wanted(this.#ms, this.#at)) return
    // Its own number stands there already. Whose the key is, and why, tells a verifier, and nobody else, something.
    const { seq: _, proxy: __, time: ___, ...fields } = event.event === 'log key' ? { event: event.event } : event
    this.#onLine(`${this.#beginning(this.#ms, this.#number)},${printable(JSON.stringify(fields)).slice(1)}`)
  }

  #beginning(ms: number, number: number): string {
    return `{"time":"${new Date(ms).toISOString()}","seq":${number}${this.#proxy}`
  }

  #part(number: number): string {
    const text = this.#texts.get(number)
    return text === undefined || text === '' ? '' : `,${text}`
  }

  #middle(number: number): string {
    const asked = this.#asked.get(number)
    if (asked === undefined) return ''
    const { statement, verdict, opcode, consistency, batchSize } = asked
    const level = consistencyNames[consistency]
    return (
      this.#part(statement) +
      (opcodeParts.get(opcode) ?? '') +
      (batchSize > 0 ? `,"batchSize":${batchSize}` : '') +
      (level === undefined ? '' : `,"consistency":"${level}"`) +
      this.#part(verdict)
    )
  }
}
