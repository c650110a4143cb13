/**
 * A client's session as the gateway holds it: a lane on the mesh link of each sidecar that it has had a reason to ask, one of them its
 * home. What can be told to be about one row goes to a replica of it; PREPARE, USE, REGISTER and what cannot be told go home.
 *
 *   request ─▶ desk (system.local, …) ─▶ router: which place? ─▶ a lane there, open and with the statement ─▶ sent
 *                                                            ├▶ a lane there, without it: PREPARE first, then sent
 *                                                            └▶ no lane there yet: one is opened, and this request goes elsewhere
 *
 * Rule: what was sent and not answered is never sent again; whether the node acted is then unknown, and only the driver may
 * decide: it is told so, by an error on that stream, or by the end of the connection where there is nothing else to go on with. What was not
 * sent yet may wait and go elsewhere.
 */
import { randomBytes } from 'node:crypto'
import { overloaded, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { PREPARED_ID_BYTES } from '../cql/prepared-ids.ts'
import {
  CqlErrorCode,
  HEADER_BYTES,
  headerFlags,
  headerOpcode,
  headerStream,
  Opcode,
  ResultKind,
} from '../cql/protocol.ts'
import { BatchView, QueryView, readBatch, readQuery, readRegister } from '../cql/requests.ts'
import { bodyStart, errorCode, readError, readSetKeyspace } from '../cql/responses.ts'
import type { Close } from '../link/protocol.ts'
import type { Backend, Client, StartupInfo } from '../session/backend.ts'
import type { TopologyDesk } from './desk.ts'
import { FirstPrepare } from './first-prepare.ts'
import { Hedger } from './hedge.ts'
import type { HedgeClock } from './hedge-clock.ts'
import type { Lane, LaneHost } from './lane.ts'
import { Lanes, type LanesOptions } from './lanes.ts'
import { learnStatement } from './learn.ts'
import type { MeshLinks } from './links.ts'
import type { Place } from './place.ts'
import type { Router } from './routing/router.ts'
import { executeAt, isSerial } from './routing/routing-key.ts'
import type { Keyed, Statement, StatementTable } from './routing/statements.ts'
import { eventForClient } from './topology/events.ts'

/** How long a request waits for a link when its session has none. */
const RELINK_MS_MAX = 5000
/** Refusals that another sidecar would repeat. */
const FINAL_CODES: ReadonlySet<string> = new Set(['IDENTITY', 'UNAUTHORIZED'])
/** A longer PREPARE is not remembered: its EXECUTEs go home. */
const PREPARE_BYTES_MAX = 16 * 1024
/** Of one session, under way: more are not remembered. */
const PREPARES_MAX = 256
/** Requests of one session that wait for their statements to be prepared; more go where these are. */
const WAITING_MAX = 128
/** Any text in which USE could be the statement. */
const MAY_USE = /\buse\b/i

const query = new QueryView()
const batch = new BatchView()

/** What all sessions of a gateway share. */
export interface SessionServices {
  readonly links: MeshLinks
  readonly desk: TopologyDesk
  readonly router: Router
  readonly hedgeClock: HedgeClock
  readonly nowMicros: () => number
  readonly onClosed: (session: LinkedSession) => void
}

export class LinkedSession implements Backend, LaneHost {
  readonly #client: Client
  readonly #startup: StartupInfo
  readonly #services: SessionServices
  readonly #statements: StatementTable
  readonly #ofLanes: Omit<LanesOptions, 'host'>
  readonly #lanes: Lanes
  readonly #firstPrepare: FirstPrepare
  /** Copies of PREPAREs that are under way, by stream. */
  readonly #preparing = new Map<number, Buffer>()
  /** For reads that a policy lets be sent twice; made for the first of them. */
  #hedger: Hedger | undefined
  #home: Lane | undefined
  /** The lane that is to be the home, while it opens. */
  #homeOpening: { readonly lane: Lane; readonly done: PromiseWithResolvers<void> } | undefined
  /** Lanes by which no more requests should go for now, those of hedged reads among them. */
  #lanesPaused = 0
  #linking = false
  /** The stream of what may be a USE; −1 while none is under way. What comes behind it goes the same way. */
  #using = -1
  #held: Buffer[] = []
  #keyspace = ''
  #events: readonly string[] = []
  #closed = false

  constructor(client: Client, startup: StartupInfo, services: SessionServices) {
    this.#client = client
    this.#firstPrepare = new FirstPrepare(client.account)
    this.#startup = startup
    this.#services = services
    const { nowMicros } = services
    this.#ofLanes = { client, startup, session: randomBytes(8).toString('hex'), nowMicros }
    this.#lanes = new Lanes({ ...this.#ofLanes, host: this })
    this.#statements = services.router.statements.open(`${startup.version} ${client.info.identity.key}`)
  }

  /** Resolves when a sidecar has taken the session. Throws `UNAVAILABLE` or what the sidecar said. */
  async open(): Promise<void> {
    const place = await this.#services.links.chooseWithin(RELINK_MS_MAX)
    if (place?.link === undefined) throw new RingfenceError('UNAVAILABLE', 'no node of the cluster is reachable')
    if (this.#closed) throw new RingfenceError('UNAVAILABLE', 'the client is gone')
    const done = Promise.withResolvers<void>()
    const lane = this.#lanes.open(place, place.link, this.#keyspace, this.#events)
    this.#homeOpening = { lane, done }
    await done.promise
    const before = this.#home
    this.#setHome(lane)
    before?.leave()
  }

  request(buffer: Buffer, start: number, end: number): void {
    if (this.#answerHere(buffer, start, end)) return
    this.#dispatch(buffer, start, end)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#services.desk.forget(this.#client)
    this.#takeHeld()
    this.#lanes.close()
    this.#firstPrepare.close()
    this.#hedger?.close()
    this.#setHome(undefined)
    this.#statements.sessions--
    this.#services.onClosed(this)
  }

  pauseAnswers(paused: boolean): void {
    this.#lanes.pauseAnswers(paused)
    this.#hedger?.pauseAnswers(paused)
  }

  /** Called now and then. */
  giveUpIdle(): void {
    this.#lanes.giveUpIdle(this.#home)
    this.#hedger?.giveUpIdle()
  }

  // --- where a request goes

  #dispatch(buffer: Buffer, start: number, end: number): void {
    switch (headerOpcode(buffer, start)) {
      case Opcode.EXECUTE:
        this.#execute(buffer, start, end)
        return
      case Opcode.QUERY:
        this.#query(buffer, start, end)
        return
      case Opcode.BATCH:
        this.#batch(buffer, start, end)
        return
      case Opcode.PREPARE:
        if (end - start <= PREPARE_BYTES_MAX && this.#preparing.size < PREPARES_MAX) {
          this.#preparing.set(headerStream(buffer, start), Buffer.from(buffer.subarray(start, end)))
        }
    }
    this.#sendHome(buffer, start, end)
  }

  #execute(buffer: Buffer, start: number, end: number): void {
    const idAt = executeAt(buffer, start, end) + 2
    const statement =
      idAt + PREPARED_ID_BYTES <= end ? this.#statements.ids.find(buffer, idAt, idAt + PREPARED_ID_BYTES) : undefined
    if (statement === undefined) {
      this.#sendHome(buffer, start, end)
      return
    }
    const { router } = this.#services
    const place = router.only ?? router.placeOfExecute(statement, this.#startup.version, buffer, start, end)
    if (place !== undefined && this.#hedged(statement, place, buffer, start, end)) return
    const lane = place === undefined ? undefined : this.#lanes.at(place, this.#keyspace)
    if (lane !== undefined && statement.isOn(lane.link)) this.#send(lane, buffer, start, end)
    else this.#prepareFirst(lane, [statement], buffer, start, end)
  }

  /** True when the request went out as one that another replica may be asked for as well. */
  #hedged(statement: Statement, place: Place, buffer: Buffer, start: number, end: number): boolean {
    const { router, hedgeClock } = this.#services
    const afterMs = router.hedgeAfterMs(statement)
    const { version } = this.#startup
    if (afterMs === 0 || isSerial(version, buffer, start, end)) return false
    this.#hedger ??= new Hedger(this.#ofLanes, hedgeClock, {
      another: ({ statement: its, first, request }) =>
        router.replicaOfExecute(its, version, request, 0, request.length, first),
      paused: (lane) => this.onLanePaused(lane),
      answer: ({ clientStream }, answer, from, to) => this.#client.answer(answer, from, to, clientStream),
      lost: ({ clientStream }, reason) => this.#lose(clientStream, reason),
    })
    return this.#hedger.execute(statement, place, afterMs, buffer, start, end)
  }

  #query(buffer: Buffer, start: number, end: number): void {
    readQuery(query, buffer, start, end, this.#startup.version, headerFlags(buffer, start))
    const { text, params } = query
    const { router } = this.#services
    const mayUse = this.#using < 0 && MAY_USE.test(text)
    if (mayUse || this.#using >= 0 || router.only !== undefined) {
      this.#sendHome(buffer, start, end)
      if (mayUse) this.#using = headerStream(buffer, start)
      return
    }
    const route =
      params.valueCount === 0
        ? undefined
        : router.texts.of(text, params.keyspace ?? this.#keyspace, this.#statements.share)
    const place = (route === undefined ? undefined : router.placeOfParams(route, params)) ?? router.leastLoaded()
    const lane = place === undefined ? undefined : this.#laneForText(place)
    if (lane === undefined) this.#sendHome(buffer, start, end)
    else this.#send(lane, buffer, start, end)
  }

  #batch(buffer: Buffer, start: number, end: number): void {
    const { router } = this.#services
    if (this.#using >= 0 || router.only !== undefined) {
      this.#sendHome(buffer, start, end)
      return
    }
    readBatch(batch, buffer, start, end, this.#startup.version, headerFlags(buffer, start))
    const statements = new Set<Statement>()
    const keyed: Keyed[] = []
    for (const part of batch.parts) {
      if (part.text !== undefined) {
        keyed.push(router.texts.of(part.text, batch.keyspace ?? this.#keyspace, this.#statements.share))
        continue
      }
      const statement = this.#statements.ids.find(buffer, part.idStart, part.idEnd)
      if (statement === undefined) {
        this.#sendHome(buffer, start, end)
        return
      }
      statements.add(statement)
      keyed.push(statement.keyed)
    }
    const place = router.placeOfBatch(batch, keyed) ?? router.leastLoaded()
    const lane = place === undefined ? undefined : this.#laneForText(place)
    const wanted = [...statements]
    if (lane !== undefined && hasAll(lane, wanted)) this.#send(lane, buffer, start, end)
    else this.#prepareFirst(lane, wanted, buffer, start, end)
  }

  /** `lane` is where the request should go, if there is one; its sidecar has not all of `statements`. */
  #prepareFirst(
    lane: Lane | undefined,
    statements: readonly Statement[],
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (lane !== undefined && this.#beginPrepare(lane, statements, buffer, start, end)) return
    const home = this.#home
    const atHome = home?.usable === true && hasAll(home, statements)
    const other = atHome ? home : this.#lanes.find((each) => hasAll(each, statements))
    if (other !== undefined) this.#send(other, buffer, start, end)
    // Where it cannot be prepared, home says UNPREPARED, and the driver prepares again.
    else if (home?.usable !== true || !this.#beginPrepare(home, statements, buffer, start, end)) {
      this.#sendHome(buffer, start, end)
    }
  }

  #beginPrepare(lane: Lane, statements: readonly Statement[], buffer: Buffer, start: number, end: number): boolean {
    const now = this.#services.nowMicros()
    const missing = statements.filter((each) => !each.isOn(lane.link))
    if (this.#firstPrepare.size >= WAITING_MAX) return false
    if (!missing.every((each) => each.mayPrepare(lane.link, lane.keyspace, now))) return false
    const stream = headerStream(buffer, start)
    const prepare = this.#firstPrepare.begin(lane, Buffer.from(buffer.subarray(start, end)), missing)
    try {
      this.#sendAs(stream, lane, prepare, 0, prepare.length)
    } catch (reason) {
      this.#firstPrepare.drop(stream)
      throw reason
    }
    return true
  }

  /** As `Lanes.at`, with the keyspace in force there that is in force here. */
  #laneForText(place: Place): Lane | undefined {
    const lane = this.#lanes.at(place, this.#keyspace)
    if (lane === undefined || lane.keyspace === this.#keyspace) return lane
    if (lane !== this.#home) this.#lanes.replace(lane, this.#keyspace)
    return undefined
  }

  #setHome(lane: Lane | undefined): void {
    if (this.#home !== undefined) this.#home.place.load.homes--
    if (lane !== undefined) lane.place.load.homes++
    this.#home = lane
  }

  // --- sending, or waiting

  #sendHome(buffer: Buffer, start: number, end: number): void {
    const home = this.#home
    if (home?.usable === true) this.#send(home, buffer, start, end)
    else this.#hold(buffer, start, end)
  }

  #send(lane: Lane, buffer: Buffer, start: number, end: number): void {
    this.#sendAs(headerStream(buffer, start), lane, buffer, start, end)
  }

  #sendAs(stream: number, lane: Lane, buffer: Buffer, start: number, end: number): void {
    lane.send(buffer, start, end, stream, this.#services.nowMicros())
  }

  #hold(buffer: Buffer, start: number, end: number): void {
    if (this.#held.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    const verdict = this.#client.account.take(end - start)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#client.pause()
    this.#held.push(Buffer.from(buffer.subarray(start, end)))
    this.#relink()
  }

  /** A new home; what waits for one goes on then. */
  #relink(): void {
    if (this.#linking || this.#closed) return
    this.#linking = true
    this.open().then(
      () => {
        this.#linking = false
        this.#letGo()
      },
      (reason: unknown) => {
        this.#linking = false
        this.#failHeld(reason)
        // Without a session there is nothing to register events with or to speak for the client: its driver opens another.
        this.#client.close('no node of the cluster is reachable')
      },
    )
  }

  /** What waited for a home waits no longer. */
  #takeHeld(): readonly Buffer[] {
    const held = this.#held
    this.#held = []
    for (const { length } of held) this.#client.account.give(length)
    return held
  }

  #letGo(): void {
    const held = this.#takeHeld()
    for (const request of held) this.#again(request)
  }

  /** A request that was not sent yet. */
  #again(request: Buffer): void {
    if (this.#closed) return
    try {
      this.request(request, 0, request.length)
    } catch (reason) {
      this.#client.fault(reason, headerStream(request, 0))
    }
  }

  #failHeld(reason: unknown): void {
    const held = this.#takeHeld()
    this.#using = -1
    for (const request of held) this.#client.fault(reason, headerStream(request, 0))
  }

  // --- what comes back

  onLaneOpened(lane: Lane): void {
    if (this.#homeOpening?.lane !== lane) return
    const { done } = this.#homeOpening
    this.#homeOpening = undefined
    done.resolve()
  }

  onLanePaused(lane: Lane): void {
    const before = this.#lanesPaused
    this.#lanesPaused += lane.paused ? 1 : -1
    if ((before === 0) !== (this.#lanesPaused === 0)) this.#client.halt(this.#lanesPaused > 0)
  }

  onLaneFrame(lane: Lane, buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    if (stream < 0) {
      if (lane === this.#home && eventForClient(buffer, start, end) !== undefined)
        this.#client.event(buffer, start, end)
      return
    }
    lane.answered(stream, this.#services.nowMicros())
    if (this.#firstPrepare.size > 0 && this.#firstPrepare.has(stream)) {
      this.#firstPrepared(stream, buffer, start, end)
      return
    }
    const opcode = headerOpcode(buffer, start)
    let kind = 0
    if (opcode === Opcode.RESULT) kind = this.#onResult(lane, stream, buffer, start, end)
    else if (opcode === Opcode.ERROR) this.#onError(lane, buffer, start, end)
    if (this.#preparing.size > 0) this.#preparing.delete(stream)
    if (stream === this.#using) this.#using = -1
    if (kind === ResultKind.SCHEMA_CHANGE) this.#answerWhenAgreed(Buffer.from(buffer.subarray(start, end)), stream)
    else this.#client.answer(buffer, start, end, stream)
  }

  /** What the client asks next may go to another node, which is to know the new schema by then. */
  #answerWhenAgreed(answer: Buffer, stream: number): void {
    this.#services.desk
      .schemaAgreed()
      .then(() => {
        if (!this.#closed) this.#client.answer(answer, 0, answer.length, stream)
      })
      .catch((reason: unknown) => this.#client.fault(reason, stream))
  }

  /** The result's kind. */
  #onResult(lane: Lane, stream: number, buffer: Buffer, start: number, end: number): number {
    lane.place.load.succeeded()
    const at = headerFlags(buffer, start) === 0 ? start + HEADER_BYTES : bodyStart(buffer, start, end)
    const kind = buffer.readInt32BE(at)
    if (kind === ResultKind.SET_KEYSPACE) {
      lane.keyspace = readSetKeyspace(buffer, start, end)
      this.#keyspace = lane.keyspace
    } else if (kind === ResultKind.PREPARED) {
      const prepare = this.#preparing.get(stream)
      if (prepare !== undefined) {
        const { router } = this.#services
        learnStatement(router, this.#statements, lane, this.#startup.version, prepare, buffer, start, end)
      }
    }
    return kind
  }

  #onError(lane: Lane, buffer: Buffer, start: number, end: number): void {
    const code = errorCode(buffer, start, end)
    lane.erred(code, this.#services.nowMicros())
    if (code !== CqlErrorCode.UNPREPARED) return
    const { preparedId } = readError(buffer, start, end)
    if (preparedId === undefined) return
    this.#statements.ids.find(preparedId, 0, preparedId.length)?.forget(lane.link)
  }

  #firstPrepared(stream: number, buffer: Buffer, start: number, end: number): void {
    const now = this.#services.nowMicros()
    const outcome = this.#firstPrepare.answered(stream, this.#startup.version, now, buffer, start, end)
    const { lane } = outcome
    try {
      if ('prepare' in outcome) this.#sendAs(stream, lane, outcome.prepare, 0, outcome.prepare.length)
      else if (outcome.ready && lane.usable) this.#send(lane, outcome.request, 0, outcome.request.length)
      else if (outcome.ready || lane !== this.#home) this.#again(outcome.request)
      else this.#client.answer(buffer, start, end, stream)
    } catch (reason) {
      // The link is everybody's: what is wrong with one request must not end it.
      this.#firstPrepare.drop(stream)
      this.#client.fault(reason, stream)
    }
  }

  onLaneDraining(lane: Lane): void {
    // Without a request, too, for the events.
    if (lane === this.#home) this.#relink()
  }

  onLaneClosed(lane: Lane, reason: Close): void {
    this.#lanes.gone(lane)
    if (this.#homeOpening?.lane === lane) {
      const { done } = this.#homeOpening
      this.#homeOpening = undefined
      done.reject(new RingfenceError(reason.code === 'UNAUTHORIZED' ? 'UNAUTHORIZED' : 'UNAVAILABLE', reason.message))
      return
    }
    const wasHome = lane === this.#home
    if (wasHome) this.#setHome(undefined)
    if (this.#closed || !lane.wasOpen) return
    const unsent = this.#firstPrepare.lost(lane)
    const waiting = new Set(unsent.map((request) => headerStream(request, 0)))
    const lost = lane.streamsInFlight.filter((stream) => !waiting.has(stream))
    const alone = this.#lanes.find(() => true) === undefined
    if (FINAL_CODES.has(reason.code) || (lost.length > 0 && alone)) {
      this.#client.close(reason.message)
      return
    }
    for (const stream of lost) this.#lose(stream, reason.message)
    for (const request of unsent) this.#again(request)
    if (wasHome && (this.#held.length > 0 || this.#events.length > 0)) this.#relink()
  }

  /** It was sent and will not be answered. Drivers try OVERLOADED again where the request is idempotent, and only there. */
  #lose(stream: number, reason: string): void {
    if (stream === this.#using) this.#using = -1
    this.#preparing.delete(stream)
    this.#client.fault(new RingfenceError('OVERLOADED', `${reason}; whether the node acted is not known`), stream)
  }

  /** The desk has the answer to a request: the sidecar judges it, and gives this answer if it permits it. */
  readonly #give = (request: Buffer, answer: Buffer): void => {
    if (this.#closed) return
    const stream = headerStream(request, 0)
    try {
      const home = this.#home
      if (home?.usable === true) {
        home.sendGiven(answer, request, 0, request.length, stream, this.#services.nowMicros())
      } else this.#hold(request, 0, request.length)
    } catch (reason) {
      this.#client.fault(reason, stream)
    }
  }

  /** REGISTER is remembered for the next home; what is asked of the virtual topology goes there with its answer. */
  #answerHere(buffer: Buffer, start: number, end: number): boolean {
    const opcode = headerOpcode(buffer, start)
    if (opcode === Opcode.REGISTER) {
      const { version } = this.#startup
      const types = readRegister(buffer, start, end, version, headerFlags(buffer, start))
      this.#events = [...new Set([...this.#events, ...types])]
      this.#services.desk.register(this.#client, version, this.#events)
      return false
    }
    const { desk } = this.#services
    const asking = {
      client: this.#client,
      version: this.#startup.version,
      keyspace: this.#keyspace,
      share: this.#statements.share,
      give: this.#give,
    }
    return desk.request(asking, opcode, buffer, start, end)
  }
}

function hasAll({ link }: Lane, statements: readonly Statement[]): boolean {
  return statements.every((statement) => statement.isOn(link))
}
