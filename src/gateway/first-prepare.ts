/**
 * Requests of one session that wait because their sidecar does not have their statements yet. It is given the PREPARE first, under the
 * request's own stream id, which nothing else uses meanwhile.
 *
 *   EXECUTE 7 ─▶ (kept)  PREPARE 7 ─▶ sidecar ─▶ PREPARED 7 (not the client's to see) ─▶ EXECUTE 7 ─▶ sidecar
 *
 * Rule: a request that waits here was not sent to anybody, so it may go elsewhere.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { copyOf, type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import { Opcode, type ProtocolVersion, ResultKind } from '../cql/protocol.ts'
import { readPrepared, resultKind } from '../cql/responses.ts'
import type { Passing } from './passing.ts'
import type { Statement } from './routing/statements.ts'
import type { UpstreamSession } from './upstream-session.ts'

/** Requests of one session that wait at one time; more go where their statements are. */
const waitingMax = 128

interface WaitingRequest {
  readonly upstream: UpstreamSession
  readonly request: Buffer
  /** Not empty; the first is being prepared. */
  readonly missing: Statement[]
}

/** What became of a request that waited: it is ready to be sent to `upstream`, or its statements are not to be had there. */
export interface Prepared {
  readonly upstream: UpstreamSession
  readonly request: Buffer
  readonly ready: boolean
}

export interface FirstPrepareOptions {
  /** Whose the requests that wait are. */
  readonly account: ByteAccount
  readonly version: ProtocolVersion
  readonly nowMicros: () => number
}

export class FirstPrepare {
  readonly #options: FirstPrepareOptions
  readonly #byStream = new Map<number, WaitingRequest>()

  constructor(options: FirstPrepareOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#byStream.size
  }

  has(stream: number): boolean {
    return this.#byStream.has(stream)
  }

  /**
   * Keeps the request, and sends the first PREPARE of those of `statements` that `upstream` does not have. False where none may be prepared
   * there now: then nothing was kept. Throws OVERLOADED where there is no room.
   */
  begin(upstream: UpstreamSession, statements: readonly Statement[], given: Envelope, stream: number): boolean {
    if (this.#byStream.size >= waitingMax) return false
    const { account, nowMicros } = this.#options
    const missing = statements.filter((each) => !each.isOn(upstream.link))
    const now = nowMicros()
    if (!missing.every((each) => each.mayPrepare(upstream.link, upstream.keyspace, now))) return false
    if (account.take(given.end - given.start) === Verdict.REFUSE) throw overloaded()
    const request = copyOf(given)
    request.writeInt16BE(stream, 2)
    const waiting = { upstream, request, missing }
    this.#byStream.set(stream, waiting)
    this.#prepareNext(stream, waiting)
    return true
  }

  /**
   * What came of a PREPARE, which is not the client's to see. Undefined where the next PREPARE of the same request was sent. Throws
   * OVERLOADED where it could not be: the request waits no longer then.
   */
  answered(answer: Passing): Prepared | undefined {
    const { stream } = answer
    const waiting = this.#byStream.get(stream)!
    const { upstream, request, missing } = waiting
    const statement = missing[0]!
    if (!isPreparedAs(statement, this.#options.version, answer)) {
      statement.refused(upstream.link, this.#options.nowMicros())
      this.#forget(stream, waiting)
      return { upstream, request, ready: false }
    }
    statement.nowOn(upstream.link)
    missing.shift()
    if (missing.length > 0) {
      this.#prepareNext(stream, waiting)
      return undefined
    }
    this.#forget(stream, waiting)
    return { upstream, request, ready: true }
  }

  /** Nobody waits for it any more. */
  drop(stream: number): void {
    const waiting = this.#byStream.get(stream)
    if (waiting === undefined) return
    this.#forget(stream, waiting)
    waiting.missing[0]?.forget(waiting.upstream.link)
  }

  /** The session is over: what it was about to prepare may be prepared by another. */
  close(): void {
    for (const stream of this.#byStream.keys()) this.drop(stream)
  }

  /** The requests that waited for an upstream session that is gone. */
  lost(upstream: UpstreamSession): Buffer[] {
    const requests: Buffer[] = []
    for (const [stream, waiting] of this.#byStream) {
      if (waiting.upstream !== upstream) continue
      this.#forget(stream, waiting)
      requests.push(waiting.request)
    }
    return requests
  }

  #prepareNext(stream: number, { upstream, missing }: WaitingRequest): void {
    const statement = missing[0]!
    statement.preparing(upstream.link)
    try {
      upstream.send(wholeEnvelope(statement.prepare), stream, this.#options.nowMicros())
    } catch (reason) {
      this.drop(stream)
      throw reason
    }
  }

  #forget(stream: number, { request }: WaitingRequest): void {
    this.#byStream.delete(stream)
    this.#options.account.give(request.length)
  }
}

/** Another id would be another statement: the text means something else there. */
function isPreparedAs(statement: Statement, version: ProtocolVersion, answer: Passing): boolean {
  if (answer.opcode !== Opcode.RESULT || resultKind(answer) !== ResultKind.PREPARED) return false
  return readPrepared(answer, version).id.equals(statement.id)
}
