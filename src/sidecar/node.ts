/**
 * The sidecar's own connection to its node: is it there, what does it say of itself, what are its schema and ring, and which events does it send.
 * The state is told to gateways; while the node is away, or its schema was never read, drivers are not let in, so that they go elsewhere.
 */

import { after, containOwnFault, every, type Owner, settle, unawaited } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { tracingIdOf } from '../cql/answers/tracing.ts'
import { queryEnvelope, registerEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { Flag, headerFlags, headerOpcode, Opcode } from '../cql/protocol.ts'
import { uuidText } from '../cql/reader.ts'
import { readEvent, readRows } from '../cql/responses.ts'
import type { Hello } from '../link/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { nodeError } from './node-error.ts'
import { RingWatch } from './ring/watch.ts'
import { type Ask, readSchemaVersion } from './schema/load.ts'
import { SchemaWatch } from './schema/watch.ts'
import type { UpstreamTarget } from './upstream.ts'
import { Upstream } from './upstream.ts'

const retryMsMin = 100
const retryMsMax = 2000
/** A node that is alive but stuck is found out by a question now and then. */
const heartbeatMs = 5000
const heartbeatMissesMax = 3
const protocolVersion = 4

const local = 'SELECT cluster_name, data_center, rack, release_version, partitioner, host_id FROM system.local'
/** The mesh asks it for the answers of its own too: of the topology, and of a schema that it has read before. */
const traced = 'SELECT schema_version FROM system.local'
const flagsAt = 1

export interface NodeOptions {
  readonly name: string
  readonly target: UpstreamTarget
  readonly turn: Turn
  readonly log: Logger
  /** Whether a permit of a client is of the policy and the schema in force. */
  readonly inForce: (permit: Permit) => boolean
  readonly onEvent: (buffer: Buffer, start: number, end: number) => void
  /** Called when `hello` changed. */
  readonly onChange: (hello: Hello) => void
}

export class NodeMonitor implements Owner {
  readonly schema: SchemaWatch
  readonly ring: RingWatch
  readonly #options: NodeOptions
  #credentials: Credentials
  #upstream: Upstream | undefined
  /** Events that clients have not heard of yet, and the last of them. */
  #eventsWaiting = 0
  #lastEvent: Promise<unknown> = Promise.resolve()
  #hello: Hello
  #retryMs = retryMsMin
  readonly #away = new Repeated()
  #timer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #stopped = false

  /** Asks over this connection. Rejects with `UPSTREAM` when the node is away. */
  readonly asking: Ask = (envelope, permit) => {
    const upstream = this.#upstream
    if (upstream?.usable !== true) return Promise.reject(new RingfenceError('UPSTREAM', 'the node is away'))
    return upstream.ask(envelope, permit)
  }

  constructor(options: NodeOptions, credentials: Credentials) {
    this.#options = options
    this.schema = new SchemaWatch(options.log)
    // In the same turn, so that no link carries an answer out of the new schema before the news of it.
    this.schema.onChange((schemaEpoch) => this.#set({ ...this.#hello, schemaEpoch }))
    this.ring = new RingWatch({
      log: options.log,
      schema: this.schema,
      onChange: (ring) => this.#set({ ...this.#hello, ring }),
    })
    this.#credentials = credentials
    this.#hello = {
      name: options.name,
      ready: false,
      clusterName: '',
      dataCenter: '',
      rack: '',
      releaseVersion: '',
      partitioner: '',
      hostId: '',
      ring: '',
      schemaEpoch: 0,
    }
  }

  get hello(): Hello {
    return this.#hello
  }

  start(): void {
    this.ring.start()
    this.#open()
  }

  /** The connection ends and is opened anew. */
  onFault(): void {
    this.#upstream?.destroy('a fault of our own')
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearInterval(this.#heartbeat)
    this.ring.stop()
    this.schema.stop()
    this.#upstream?.destroy('the sidecar stops')
  }

  /** Used from the next connection on; the present one is replaced without a moment of not being ready. */
  setCredentials(credentials: Credentials): void {
    const { certificatePem } = this.#credentials
    this.#credentials = credentials
    if (this.#upstream !== undefined && credentials.certificatePem !== certificatePem) this.#open()
  }

  /** The node's schema version now, as its text. Throws `UPSTREAM` when the node is away. */
  async schemaVersion(): Promise<string> {
    const upstream = this.#upstream
    if (upstream === undefined) throw new RingfenceError('UPSTREAM', 'the node is away')
    return await readSchemaVersion((envelope) => upstream.ask(envelope))
  }

  /** Has the node trace a question of the sidecar's own; its tracing id. Throws `UPSTREAM` where there is none. */
  async trace(): Promise<Buffer> {
    const envelope = queryEnvelope(protocolVersion, 0, traced, {})
    envelope[flagsAt] = headerFlags(envelope, 0) | Flag.TRACING
    const answer = await this.asking(envelope)
    const id = tracingIdOf(wholeEnvelope(answer))
    if (id === undefined) throw new RingfenceError('UPSTREAM', 'the node traced nothing')
    return id
  }

  #open(): void {
    unawaited(this, 'connecting to the node', this.#connect())
  }

  async #connect(): Promise<void> {
    const { target, turn, log, name } = this.#options
    let opened: Upstream | undefined
    try {
      const upstream = await Upstream.open({
        target,
        credentials: this.#credentials,
        version: protocolVersion,
        keyspace: '',
        turn,
        inForce: this.#options.inForce,
        onEvent: (buffer, start, end) => this.#event(upstream, buffer, start, end),
        onClosed: (closed, reason) => this.#lost(closed, reason),
      })
      opened = upstream
      const { texts, hostId } = await introduction(upstream)
      const registered = await upstream.ask(
        registerEnvelope(protocolVersion, 0, ['TOPOLOGY_CHANGE', 'STATUS_CHANGE', 'SCHEMA_CHANGE']),
      )
      if (headerOpcode(registered, 0) !== Opcode.READY) throw nodeError(registered)
      // After REGISTER, so that no change falls between what is read and what is told.
      await this.schema.attach(upstream)
      if (this.#stopped) {
        upstream.destroy('the sidecar stops')
        return
      }
      const [clusterName = '', dataCenter = '', rack = '', releaseVersion = '', partitioner = ''] = texts
      const before = this.#upstream
      this.#upstream = upstream
      this.ring.attach(upstream)
      before?.retire()
      this.#retryMs = retryMsMin
      this.#away.over()
      this.#watch(upstream)
      this.#set({
        ...this.#hello,
        name,
        ready: true,
        clusterName,
        dataCenter,
        rack,
        releaseVersion,
        partitioner,
        hostId,
      })
    } catch (reason) {
      opened?.destroy('its first questions were not answered')
      containOwnFault('the connection of a sidecar itself', reason)
      const why = wordsOf(reason)
      const repeated = this.#away.due(why)
      if (repeated !== undefined) log.warn({ reason: why, repeated }, 'the node is not reachable')
      this.#retry()
    }
  }

  /**
   * A new connection's events count for schema and ring before the connection takes the old one's place. Clients hear of them in the
   * node's order: what comes while the schema is read waits behind it.
   */
  #event(upstream: Upstream, buffer: Buffer, start: number, end: number): void {
    const event = readEvent({ bytes: buffer, start, end })
    if (event.type !== 'SCHEMA_CHANGE') this.ring.changed()
    if (event.type !== 'SCHEMA_CHANGE' && this.#eventsWaiting === 0) {
      if (upstream === this.#upstream) this.#options.onEvent(buffer, start, end)
      return
    }
    const copy = Buffer.from(buffer.subarray(start, end))
    // Who may hear of a change is known when it was read: a view is there for whoever may see its base.
    const read = event.type === 'SCHEMA_CHANGE' ? this.schema.onNotice(event) : undefined
    const before = this.#lastEvent
    // It resolves with nothing: else each would hold all that came before it.
    this.#lastEvent = Promise.all([read, before]).then(() => {})
    this.#eventsWaiting++
    settle(this, 'an event of the node', this.#lastEvent, () => {
      this.#eventsWaiting--
      if (upstream === this.#upstream) this.#options.onEvent(copy, 0, copy.length)
    })
  }

  #watch(upstream: Upstream): void {
    clearInterval(this.#heartbeat)
    let misses = 0
    this.#heartbeat = every(this, 'a question to the node now and then', heartbeatMs, () => {
      if (++misses > heartbeatMissesMax) upstream.destroy('the node does not answer')
      settle(
        this,
        'the schema version of the node',
        readSchemaVersion((envelope) => upstream.ask(envelope)),
        (version) => {
          misses = 0
          this.schema.heard(version)
        },
        () => {},
      )
    })
    this.#heartbeat.unref()
  }

  #lost(closed: Upstream, reason: string): void {
    this.schema.detach(closed)
    this.ring.detach(closed)
    if (closed !== this.#upstream) return
    this.#upstream = undefined
    clearInterval(this.#heartbeat)
    if (this.#stopped) return
    this.#options.log.warn({ reason }, 'the node is away')
    this.#set({ ...this.#hello, ready: false })
    this.#retry()
  }

  #retry(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#timer = after(this, 'connecting to the node', this.#retryMs * (0.5 + Math.random() / 2), () => this.#open())
    this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax)
  }

  #set(hello: Hello): void {
    const same = JSON.stringify(hello) === JSON.stringify(this.#hello)
    this.#hello = hello
    if (!same) this.#options.onChange(hello)
  }
}

/** The message, and what to do about it where that is known. */
function wordsOf(reason: unknown): string {
  if (!(reason instanceof RingfenceError)) return reason instanceof Error ? reason.message : String(reason)
  return reason.hint === undefined ? reason.message : `${reason.message}; ${reason.hint}`
}

/** What the node says of itself, in the order of `local`. */
async function introduction(upstream: Upstream): Promise<{ texts: string[]; hostId: string }> {
  const answer = await upstream.ask(queryEnvelope(protocolVersion, 0, local, {}))
  if (headerOpcode(answer, 0) !== Opcode.RESULT) throw nodeError(answer)
  const row = readRows(wholeEnvelope(answer), protocolVersion).rows[0] ?? []
  const id = row.at(-1)
  return {
    texts: row.slice(0, -1).map((value) => value?.toString('utf8') ?? ''),
    hostId: id?.length === 16 ? uuidText(id, 0) : '',
  }
}
