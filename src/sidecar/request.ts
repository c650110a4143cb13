/**
 * One request of a client, from its arrival to its answer: its bytes, what was read of them, the judged statement, the permit, its place at the
 * node, and in the end what became of it. It is also the event that consumers are told of (`audit/event.ts`).
 *
 *   arrive ─▶ request stages ─▶ answered here
 *               │    ▲    └───▶ sent ─▶ answer ─▶ answer stages ─▶ given
 *               └ waits
 *
 * Rule: a request object is used again only if nobody else can hold it: it was answered within the call that brought it or its answer. What
 * any timer, promise or queue has seen is left to the garbage collector.
 */
import type { EventSession, TransactionEvent } from '../audit/event.ts'
import type { AuditOutcome } from '../audit/record.ts'
import type { Envelope } from '../cql/envelope.ts'
import { headerFlags, headerOpcode, headerStream } from '../cql/protocol.ts'
import type { ParamsView } from '../cql/requests.ts'
import type { Decision, Denial, Permit } from '../policy/engine.ts'
import type { Trace } from '../telemetry/traces/span.ts'
import type { KnownTexts } from './analyst.ts'
import type { BoundValues } from './bound.ts'
import { InFlight } from './in-flight.ts'
import type { BatchVerdict } from './large-batch.ts'
import type { StatementCharges } from './limits/charges.ts'
import type { SessionLimits } from './limits/rate-limits.ts'
import type { Judged } from './statement.ts'

/** Whoever hears what became of a request at the node; see `InFlight`. */
export interface RequestOwner {
  onAnswer(request: Request): void
  onUnfit(request: Request, answerBytes: number): void
  onTimeout(request: Request): void
  onLost(request: Request): void
  /** A fault of ours in one of these; ends the session. */
  onFault(reason: unknown): void
}

const nothing = Buffer.alloc(0)

export class Request extends InFlight implements TransactionEvent {
  readonly kind = 'request'
  session!: EventSession
  owner!: RequestOwner
  opcode = 0
  /** Of the header. */
  flags = 0
  /** The client's own stream id. */
  stream = 0
  /** The answer that a gateway sent along; see `given.ts`. */
  given: Buffer | undefined
  /** Of an answer that is made here; empty where the node could not be asked for one, undefined before. */
  tracingId: Buffer | undefined
  /** What the other thread said of its texts. */
  known: KnownTexts = undefined
  /** Where it is traced; see `traced.ts`. */
  trace: Trace | undefined
  /** Of values that are long and stand beside a paging state. */
  valuesDigest: Buffer | undefined
  /** What became of a large BATCH. */
  batchVerdict: BatchVerdict | undefined
  /** How often the node did not have its statement. */
  replays = 0
  /** It was charged to what limits it; see `stages/limit.ts`. */
  limited = false
  /** It was counted among what is wanted of its limits, whether it waited or was put off. */
  wanted = false
  /** When it began to wait; 0 where it did not. */
  heldMicros = 0
  /** What its answer is to be charged to. */
  charges: StatementCharges | undefined
  /** Those of whoever asked when it was charged: there may be a new policy since. */
  limits: SessionLimits | undefined
  /** What was charged for its answer before. */
  expectedRows = 0
  expectedBytes = 0
  /** The product of the sizes of its bound IN lists. */
  listFactor = 1
  /** That a BATCH message writes to, where somebody counted; else 1. */
  partitions = 1
  /** For the client, beside its answer. */
  limitNote: string | undefined
  /** A limit in observe mode that it is over. */
  limitObserved: string | undefined

  // Read anew each time that it is served.

  /** Of QUERY and PREPARE. */
  text = ''
  /** The request's own (v5). */
  keyspace: string | undefined
  /** Of EXECUTE: where the prepared id stands. */
  idStart = 0
  idEnd = 0
  /** Of QUERY and EXECUTE. Borrowed until the next request is read. */
  params: ParamsView | undefined
  /** Its values. Borrowed until the next request is authorised. */
  bound: BoundValues | undefined
  consistency = 0
  /** Where its custom payload stands; −1 where it has none. */
  payloadStart = -1
  payloadEnd = -1
  judged: Judged | undefined
  denial: Denial | undefined
  declare permit: Permit | undefined
  /** The bytes as they came, where others are to be sent. */
  #came: Buffer | undefined

  // The answer on its way to the client. Borrowed like the bytes of the request.

  readonly answer: { -readonly [Field in keyof Envelope]: Envelope[Field] } = { bytes: nothing, start: 0, end: 0 }
  /** Of a RESULT; 0 for any other. */
  resultKind = 0
  /** Where the answer is in the list of stages. */
  answerStage = 0

  // What became of it.

  outcome: AuditOutcome = 'ok'
  rule = ''
  code = -1
  message = ''
  messageIsOurs = false
  rows = -1
  bytesOut = 0
  latencyMicros = 0
  waitedMicros = 0
  /** In 32 bits, as the time of `begin`; 0 where it did not come from a client. */
  #arrivedMicros = 0
  recordNumber = 0
  recordAsked = 0

  /** Nothing but the call under way holds it. */
  #reusable = true

  /** An envelope that a client sent, borrowed. */
  arrive(session: EventSession, owner: RequestOwner, buffer: Buffer, start: number, end: number): this {
    this.use(buffer, start, end)
    this.session = session
    this.owner = owner
    this.opcode = headerOpcode(buffer, start)
    this.flags = headerFlags(buffer, start)
    this.stream = headerStream(buffer, start)
    this.bytesIn = end - start
    return this
  }

  /** What consumers know it as. */
  get statement(): Judged | undefined {
    return this.judged
  }

  get decision(): Decision | undefined {
    return this.denial ?? this.permit
  }

  /** A client sent it. */
  cameAt(nowMicros: number): void {
    this.#arrivedMicros = nowMicros | 0
  }

  /** Since a client sent it; 0 where none did. */
  sinceArrivalMicros(nowMicros: number): number {
    return this.#arrivedMicros === 0 ? 0 : ((nowMicros | 0) - this.#arrivedMicros) | 0
  }

  override begin(nowMicros: number): void {
    super.begin(nowMicros)
    if (this.#arrivedMicros !== 0) this.waitedMicros = ((nowMicros | 0) - this.#arrivedMicros) | 0
  }

  /** From now on it may be held for longer than the call: its bytes are its own. */
  hold(): void {
    if (!this.#reusable) return
    this.#reusable = false
    const copy = Buffer.from(this.view())
    this.use(copy, 0, copy.length)
  }

  /** The node did not act on it; `bytes` are ours, as the client could have sent them. */
  cameBack(bytes: Buffer): void {
    this.#reusable = false
    this.kept = false
    this.batchVerdict = undefined
    this.given = undefined
    this.#came = undefined
    this.use(bytes, 0, bytes.length)
    // The node was sent no custom payload.
    this.flags = headerFlags(bytes, 0)
  }

  /** A PREPARE of the sidecar's own. */
  prepare(session: EventSession, owner: RequestOwner, envelope: Buffer, judged: Judged, permit: Permit): this {
    this.arrive(session, owner, envelope, 0, envelope.length)
    this.judged = judged
    this.permit = permit
    return this
  }

  /** Other bytes go to the node than came. */
  rewrite(bytes: Buffer): void {
    this.#came ??= this.view()
    this.use(bytes, 0, bytes.length)
  }

  /** Serves it from its beginning: nothing that was decided before is good. */
  restart(): void {
    if (this.#came !== undefined) this.use(this.#came, 0, this.#came.length)
    this.#came = undefined
    this.permit = undefined
    this.denial = undefined
    this.bytesIn = this.byteCount
  }

  setAnswer(bytes: Buffer, start: number, end: number): void {
    const { answer } = this
    answer.bytes = bytes
    answer.start = start
    answer.end = end
    this.bytesOut = end - start
  }

  override onAnswer(buffer: Buffer, start: number, end: number): void {
    this.setAnswer(buffer, start, end)
    this.owner.onAnswer(this)
  }

  override onUnfit(answerBytes: number): void {
    this.owner.onUnfit(this, answerBytes)
  }

  override onTimeout(): void {
    this.owner.onTimeout(this)
  }

  override onLost(): void {
    this.owner.onLost(this)
  }

  override onFault(reason: unknown): void {
    this.owner.onFault(reason)
  }

  override over(): void {
    if (this.#reusable && !this.kept && free.length < freeMax) {
      this.clear()
      free.push(this)
    }
  }

  override clear(): void {
    super.clear()
    // Nobody is to use an empty one.
    this.session = undefined as never
    this.owner = undefined as never
    this.given = undefined
    this.tracingId = undefined
    this.trace = undefined
    this.known = undefined
    this.valuesDigest = undefined
    this.batchVerdict = undefined
    this.replays = 0
    this.limited = false
    this.wanted = false
    this.heldMicros = 0
    this.charges = undefined
    this.limits = undefined
    this.listFactor = 1
    this.partitions = 1
    this.limitNote = undefined
    this.limitObserved = undefined
    this.text = ''
    this.keyspace = undefined
    this.params = undefined
    this.bound = undefined
    this.consistency = 0
    this.payloadStart = -1
    this.judged = undefined
    this.denial = undefined
    this.#came = undefined
    this.setAnswer(nothing, 0, 0)
    this.outcome = 'ok'
    this.rule = ''
    this.code = -1
    this.message = ''
    this.messageIsOurs = false
    this.rows = -1
    this.bytesOut = 0
    this.latencyMicros = 0
    this.waitedMicros = 0
    this.#arrivedMicros = 0
    this.recordNumber = 0
    this.recordAsked = 0
  }
}

/** Kept for the next ones; more are left to the garbage collector. */
const freeMax = 4096
const free: Request[] = []

/** An empty one. */
export function takeRequest(): Request {
  return free.pop() ?? new Request()
}
