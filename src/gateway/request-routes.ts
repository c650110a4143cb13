/**
 * Which upstream session a request goes by.
 *
 *   EXECUTE, BATCH ─▶ router: which sidecar? ─▶ a session there that has the statements ─▶ sent
 *                                           ├▶ one that has not: PREPARE first, then sent
 *                                           └▶ no session there yet: one is opened, and this request goes elsewhere,
 *                                              but to a sidecar that is ejected only where all are
 *   QUERY ─▶ router ─▶ a session there with the client's keyspace in force, or the primary
 *   PREPARE, REGISTER, what cannot be routed ─▶ the primary
 */
import { preparedIdBytes } from '../cql/prepared-ids.ts'
import { Opcode } from '../cql/protocol.ts'
import { BatchView, batchPartCount, QueryView, readBatch, readQuery } from '../cql/requests.ts'
import type { FirstPrepare } from './first-prepare.ts'
import { Hedger } from './hedge.ts'
import type { Learning } from './learn.ts'
import type { Passing } from './passing.ts'
import type { Primary } from './primary.ts'
import type { RemoteSidecar } from './remote-sidecar.ts'
import { executeAt, isSerial } from './routing/routing-key.ts'
import type { Keyed, Statement } from './routing/statements.ts'
import type { SessionState } from './session-state.ts'
import type { UpstreamSession } from './upstream-session.ts'

/** Any text in which USE could be the statement. */
const useWord = /\buse\b/i

// Filled anew for each envelope; nothing of them is kept after the call.
const query = new QueryView()
const batch = new BatchView()

/** A larger BATCH is not read here: 65,535 parts would take the loop 25 ms, and nodes warn of far smaller ones. */
const routedBatchPartsMax = 2048
const routedBatchBytesMax = 1024 * 1024

export class RequestRoutes {
  readonly #state: SessionState
  readonly #primary: Primary
  readonly #firstPrepare: FirstPrepare
  readonly #learning: Learning
  /** For reads that a policy lets be sent twice; made for the first of them. */
  #hedger: Hedger | undefined

  constructor(state: SessionState, primary: Primary, firstPrepare: FirstPrepare, learning: Learning) {
    this.#state = state
    this.#primary = primary
    this.#firstPrepare = firstPrepare
    this.#learning = learning
  }

  get hedger(): Hedger | undefined {
    return this.#hedger
  }

  /** Sends one request, or lets it wait. Throws OVERLOADED where there is no room for that. */
  send(request: Passing): void {
    switch (request.opcode) {
      case Opcode.EXECUTE:
        this.#execute(request)
        return
      case Opcode.QUERY:
        this.#query(request)
        return
      case Opcode.BATCH:
        this.#batch(request)
        return
      case Opcode.PREPARE:
        this.#learning.asked(request)
    }
    this.#primary.send(request)
  }

  #execute(request: Passing): void {
    const { statements, services, startup, upstreams, keyspace } = this.#state
    const idAt = executeAt(request) + 2
    const idEnd = idAt + preparedIdBytes
    const statement = idEnd <= request.end ? statements.ids.find(request.bytes, idAt, idEnd) : undefined
    if (statement === undefined) {
      this.#primary.send(request)
      return
    }
    const { router } = services
    const sidecar = router.only ?? router.sidecarOfExecute(statement, startup.version, request)
    if (sidecar !== undefined && this.#hedged(statement, sidecar, request)) return
    const upstream = sidecar === undefined ? undefined : upstreams.at(sidecar, keyspace)
    if (upstream !== undefined && statement.isOn(upstream.link)) this.#sendTo(upstream, request)
    else this.#prepareFirst(upstream, [statement], request)
  }

  /** True when the request went out as one that another replica may be asked for as well. */
  #hedged(statement: Statement, sidecar: RemoteSidecar, request: Passing): boolean {
    const { services, startup } = this.#state
    const afterMs = services.router.hedgeAfterMs(statement)
    if (afterMs === 0 || isSerial(startup.version, request)) return false
    this.#hedger ??= new Hedger(this.#state, this.#firstPrepare)
    return this.#hedger.execute(statement, sidecar, afterMs, request)
  }

  #query(request: Passing): void {
    const state = this.#state
    const { router } = state.services
    readQuery(query, request, state.startup.version)
    const { text, params } = query
    const mayUse = !state.usePending && useWord.test(text)
    if (mayUse || state.usePending || router.only !== undefined) {
      this.#primary.send(request)
      if (mayUse) state.useSent(request.stream)
      return
    }
    const route =
      params.valueCount === 0
        ? undefined
        : router.texts.of(text, params.keyspace ?? state.keyspace, state.statements.share)
    const sidecar = (route === undefined ? undefined : router.sidecarOfParams(route, params)) ?? router.leastLoaded()
    const upstream = sidecar === undefined ? undefined : this.#withKeyspace(sidecar)
    if (upstream === undefined) this.#primary.send(request)
    else this.#sendTo(upstream, request)
  }

  #batch(request: Passing): void {
    const state = this.#state
    const { router } = state.services
    const { version } = state.startup
    const isLarge =
      request.byteCount > routedBatchBytesMax || batchPartCount(batch, request, version) > routedBatchPartsMax
    if (state.usePending || router.only !== undefined || isLarge) {
      this.#primary.send(request)
      return
    }
    readBatch(batch, request, version)
    const statements = new Set<Statement>()
    const keyed: Keyed[] = []
    for (const part of batch.parts) {
      if (part.text !== undefined) {
        keyed.push(router.texts.of(part.text, batch.keyspace ?? state.keyspace, state.statements.share))
        continue
      }
      const statement = state.statements.ids.find(request.bytes, part.idStart, part.idEnd)
      if (statement === undefined) {
        this.#primary.send(request)
        return
      }
      statements.add(statement)
      keyed.push(statement.keyed)
    }
    const sidecar = router.sidecarOfBatch(batch, keyed) ?? router.leastLoaded()
    const upstream = sidecar === undefined ? undefined : this.#withKeyspace(sidecar)
    const wanted = [...statements]
    if (upstream !== undefined && hasAll(upstream, wanted)) this.#sendTo(upstream, request)
    else this.#prepareFirst(upstream, wanted, request)
  }

  /** `upstream` is where the request should go, if there is one; its sidecar does not have all of `statements`. */
  #prepareFirst(upstream: UpstreamSession | undefined, statements: readonly Statement[], request: Passing): void {
    if (upstream !== undefined && this.#firstPrepare.begin(upstream, statements, request, request.stream)) return
    const now = this.#state.services.nowMicros()
    const has = (each: UpstreamSession) => hasAll(each, statements) && !this.#primary.ejected(each, now)
    const primary = this.#primary.ready(now)
    const other = primary !== undefined && hasAll(primary, statements) ? primary : this.#state.upstreams.find(has)
    if (other !== undefined) this.#sendTo(other, request)
    // Where it cannot be prepared, the primary says UNPREPARED, and the driver prepares again.
    else if (primary === undefined || !this.#firstPrepare.begin(primary, statements, request, request.stream)) {
      this.#primary.send(request)
    }
  }

  /** The session there, if its keyspace in force is the client's; else one that has it is opened for requests to come. */
  #withKeyspace(sidecar: RemoteSidecar): UpstreamSession | undefined {
    const { upstreams, keyspace } = this.#state
    const upstream = upstreams.at(sidecar, keyspace)
    if (upstream === undefined || upstream.keyspace === keyspace) return upstream
    if (upstream !== this.#primary.current) upstreams.replace(upstream, keyspace)
    return undefined
  }

  #sendTo(upstream: UpstreamSession, request: Passing): void {
    upstream.send(request, request.stream, this.#state.services.nowMicros())
  }
}

function hasAll({ link }: UpstreamSession, statements: readonly Statement[]): boolean {
  return statements.every((statement) => statement.isOn(link))
}
