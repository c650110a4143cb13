/**
 * Requests of one session that wait because the sidecar they should go to does not have their statements yet: it is given the PREPARE
 * first, under the request's own stream id, which nothing else uses meanwhile.
 *
 *   EXECUTE 7 ─▶ (kept)  PREPARE 7 ─▶ sidecar ─▶ PREPARED 7 (not the client's to see) ─▶ EXECUTE 7 ─▶ sidecar
 *
 * Rule: a request that waits here was not sent to anybody, so it may go elsewhere.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { headerOpcode, headerStream, Opcode, type ProtocolVersion, ResultKind } from '../cql/protocol.ts'
import { readPrepared, resultKind } from '../cql/responses.ts'
import type { Lane } from './lane.ts'
import type { Statement } from './routing/statements.ts'

export interface WaitingRequest {
  readonly lane: Lane
  readonly request: Buffer
  /** Not empty; the first is being prepared. */
  readonly missing: Statement[]
}

export class FirstPrepare {
  readonly #account: ByteAccount
  readonly #byStream = new Map<number, WaitingRequest>()

  /** `account`: whose the requests that wait are. */
  constructor(account: ByteAccount) {
    this.#account = account
  }

  get size(): number {
    return this.#byStream.size
  }

  has(stream: number): boolean {
    return this.#byStream.has(stream)
  }

  /** The PREPARE to send now, under the stream of `request`, which is kept. Throws OVERLOADED where there is no room for it. */
  begin(lane: Lane, request: Buffer, missing: Statement[]): Buffer {
    if (this.#account.take(request.length) === Verdict.REFUSE) throw overloaded()
    const waiting = { lane, request, missing }
    this.#byStream.set(headerStream(request, 0), waiting)
    return next(waiting)
  }

  /**
   * What came of a PREPARE: the next one to send, or the request with `ready`: whether all its statements are there now. In either case
   * the answer is not the client's.
   */
  answered(
    stream: number,
    version: ProtocolVersion,
    nowMicros: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): { readonly prepare: Buffer; readonly lane: Lane } | (WaitingRequest & { readonly ready: boolean }) {
    const waiting = this.#byStream.get(stream)!
    const { lane, missing } = waiting
    const statement = missing[0]!
    if (!isPreparedAs(statement, version, buffer, start, end)) {
      statement.refused(lane.link, nowMicros)
      this.#forget(stream, waiting)
      return { ...waiting, ready: false }
    }
    statement.nowOn(lane.link)
    missing.shift()
    if (missing.length > 0) return { prepare: next(waiting), lane }
    this.#forget(stream, waiting)
    return { ...waiting, ready: true }
  }

  /** Nobody waits for it any more. */
  drop(stream: number): void {
    const waiting = this.#byStream.get(stream)
    if (waiting === undefined) return
    this.#forget(stream, waiting)
    waiting.missing[0]?.forget(waiting.lane.link)
  }

  /** The session is over: what it was about to prepare may be prepared by another. */
  close(): void {
    for (const stream of this.#byStream.keys()) this.drop(stream)
  }

  /** The requests that waited for a lane that is gone. */
  lost(lane: Lane): Buffer[] {
    const requests: Buffer[] = []
    for (const [stream, waiting] of this.#byStream) {
      if (waiting.lane !== lane) continue
      this.#forget(stream, waiting)
      requests.push(waiting.request)
    }
    return requests
  }

  #forget(stream: number, { request }: WaitingRequest): void {
    this.#byStream.delete(stream)
    this.#account.give(request.length)
  }
}

function next({ lane, missing }: WaitingRequest): Buffer {
  const statement = missing[0]!
  statement.preparing(lane.link)
  return statement.prepare
}

/** Another id would be another statement: the text means something else there. */
function isPreparedAs(
  statement: Statement,
  version: ProtocolVersion,
  buffer: Buffer,
  start: number,
  end: number,
): boolean {
  if (headerOpcode(buffer, start) !== Opcode.RESULT || resultKind(buffer, start, end) !== ResultKind.PREPARED)
    return false
  return readPrepared(buffer, start, end, version).id.equals(statement.id)
}
