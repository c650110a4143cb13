/**
 * A Cassandra node that keeps everything it was asked: TLS with client certificates, AUTHENTICATE, versions 3 to 5, and answers that say
 * what they answer. A test can take requests over, to answer them late, wrongly or not at all.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { withTracingId } from '../../src/cql/answers/tracing.ts'
import {
  authenticateEnvelope,
  authSuccessEnvelope,
  eventEnvelope,
  preparedEnvelope,
  readyEnvelope,
  rowsEnvelope,
  setKeyspaceEnvelope,
  unpreparedEnvelope,
  voidEnvelope,
} from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Inbound } from '../../src/cql/inbound.ts'
import {
  Flag,
  headerFlags,
  headerOpcode,
  headerStream,
  headerVersion,
  Opcode,
  type ProtocolVersion,
} from '../../src/cql/protocol.ts'
import {
  BatchView,
  ExecuteView,
  PrepareView,
  QueryView,
  readBatch,
  readExecute,
  readPrepare,
  readQuery,
  readRegister,
} from '../../src/cql/requests.ts'
import type { CqlEvent } from '../../src/cql/responses.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { Outbox } from '../../src/session/outbox.ts'
import { Turn } from '../../src/session/turn.ts'
import { FakeSchema, type FakeTable } from './fake-schema.ts'
import { type FakePlace, FakeTopology } from './fake-topology.ts'

/** What the sidecar's own connection asks is not counted as a client's request: before it registers for events, and all after it. */
const ownTexts = /FROM system\.local/
const ringTexts = /tokens FROM system\./

/** An event of the node: a table was made. */
export const tableCreated = {
  type: 'SCHEMA_CHANGE',
  change: 'CREATED',
  target: 'TABLE',
  keyspace: 'shop',
  name: 't',
  argTypes: [],
} as const

export interface NodeRequest {
  readonly opcode: number
  readonly flags: number
  readonly stream: number
  readonly connection: NodeConnection
  /** Of QUERY and PREPARE, of the prepared statement of EXECUTE, of a batch's parts joined by `; `. */
  readonly text: string
  /** The first bound value of a QUERY or an EXECUTE. */
  readonly value: string | undefined
  readonly envelope: Buffer
  /** Gives the ordinary answer. */
  answer(): void
  /** Gives another; its stream is set here. */
  reply(envelope: Buffer): void
}

export class NodeConnection {
  readonly #node: FakeNode
  readonly socket: TLSSocket
  readonly #inbound = new Inbound('requests', 64 * 1024 * 1024)
  readonly #outbox: Outbox
  version: ProtocolVersion = 4
  keyspace = ''
  registered: string[] = []
  /** Since it registered: a sidecar asks once before and once after it reads the schema. */
  versionsAsked = 0
  /** Questions for the ring: two for each time that it is read. */
  ringAsked = 0

  constructor(node: FakeNode, socket: TLSSocket) {
    this.#node = node
    this.socket = socket
    this.#outbox = new Outbox(socket, new Turn())
    // As Cassandra does.
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#inbound.push(chunk, this))
    socket.on('error', () => {})
  }

  /** A long answer is on its way: what is written past it would stand within it. */
  get isSending(): boolean {
    return this.#outbox.hasLong
  }

  send(envelope: Buffer, stream = headerStream(envelope, 0)): void {
    this.#outbox.write(envelope, 0, envelope.length, stream)
  }

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    if (this.#node.isDeaf) return
    const envelope = Buffer.from(buffer.subarray(start, end))
    this.version = headerVersion(envelope, 0) as ProtocolVersion
    const stream = headerStream(envelope, 0)
    switch (headerOpcode(envelope, 0)) {
      case Opcode.STARTUP:
        this.send(authenticateEnvelope(this.version, stream, this.#node.authenticator))
        if (this.version >= 5) {
          this.#inbound.useSegments('none')
          this.#outbox.use('segments')
        }
        return
      case Opcode.AUTH_RESPONSE:
        this.send(authSuccessEnvelope(this.version, stream))
        return
      case Opcode.REGISTER:
        this.registered = readRegister(wholeEnvelope(envelope), this.version)
        this.send(readyEnvelope(this.version, stream))
        return
      default:
        this.#node.handle(this.#read(envelope, stream))
    }
  }

  #read(envelope: Buffer, stream: number): NodeRequest {
    const opcode = headerOpcode(envelope, 0)
    const flags = headerFlags(envelope, 0)
    const { version } = this
    let text = ''
    let value: string | undefined
    let missing: Buffer | undefined
    let answer: Buffer
    if (opcode === Opcode.QUERY) {
      const view = new QueryView()
      readQuery(view, wholeEnvelope(envelope), version)
      text = view.text
      const { params } = view
      if (params.valueCount > 0 && params.valueAt(0) >= 0) {
        value = envelope.toString('utf8', params.valueStart, params.valueEnd)
      }
      const state =
        params.pagingStateStart < 0 ? undefined : envelope.subarray(params.pagingStateStart, params.pagingStateEnd)
      const page = { size: params.pageSize, state }
      answer = this.#node.schema.answer(version, stream, text, value, page) ?? this.#answerQuery(text, stream)
    } else if (opcode === Opcode.PREPARE) {
      const view = new PrepareView()
      readPrepare(view, wholeEnvelope(envelope), version)
      text = view.text
      answer = this.#prepare(text, stream)
    } else if (opcode === Opcode.EXECUTE) {
      const view = new ExecuteView()
      readExecute(view, wholeEnvelope(envelope), version)
      const id = Buffer.from(envelope.subarray(view.idStart, view.idEnd))
      const known = this.#node.prepared.get(id.toString('hex'))
      if (known === undefined) missing = id
      text = known ?? ''
      if (view.params.valueCount > 0 && view.params.valueAt(0) >= 0) {
        value = envelope.toString('utf8', view.params.valueStart, view.params.valueEnd)
      }
      answer = /^USE /i.test(text) ? this.#answerQuery(text, stream) : echo(version, stream, `${text} <- ${value}`)
    } else {
      const view = new BatchView()
      readBatch(view, wholeEnvelope(envelope), version)
      const texts: string[] = []
      for (const part of view.parts) {
        const id = part.text === undefined ? Buffer.from(envelope.subarray(part.idStart, part.idEnd)) : undefined
        const known = part.text ?? this.#node.prepared.get(id?.toString('hex') ?? '')
        if (known === undefined) missing ??= id
        texts.push(known ?? '?')
      }
      text = texts.join('; ')
      answer = voidEnvelope(version, stream)
    }
    const given =
      missing === undefined ? answer : unpreparedEnvelope(version, stream, missing, 'the fake node forgot it')
    return {
      opcode,
      flags,
      stream,
      connection: this,
      text,
      value,
      envelope,
      answer: () => {
        if (opcode === Opcode.PREPARE) this.#node.learn(text, this.keyspace)
        if (/^USE /i.test(text) && opcode !== Opcode.PREPARE && missing === undefined) this.keyspace = keyspaceOf(text)
        this.send((flags & Flag.TRACING) === 0 ? given : withTracingId(wholeEnvelope(given), this.#node.trace(text)))
      },
      reply: (other) => this.send(other, stream),
    }
  }

  #answerQuery(text: string, stream: number): Buffer {
    const { version } = this
    if (/^USE /i.test(text)) return setKeyspaceEnvelope(version, stream, keyspaceOf(text))
    const answer = this.#node.topology.answer(version, stream, text)
    if (answer !== undefined) return answer
    return echo(version, stream, text)
  }

  #prepare(text: string, stream: number): Buffer {
    const markers = [...text.matchAll(/\?|:(\w+)/g)].map(([, name]) => name)
    const columns = markers.map((name, i) => ({ name: name ?? `v${i}`, type: { kind: 'text' } as const }))
    const [, keyspace = 'shop', table = 'items'] = /FROM (system_schema)\.(\w+)/.exec(text) ?? []
    return preparedEnvelope(this.version, stream, {
      id: idOf(text, this.keyspace),
      resultMetadataId: Buffer.alloc(16, 9),
      bind: { keyspace, table, columns, pkIndexes: keyMarkers(text) },
      result: undefined,
    })
  }
}

/** The marker of the key of a table of one key column `k`, where the statement binds it: all that path tests prepare. */
function keyMarkers(text: string): number[] {
  const [, columns, values] = /\(([^)]*)\) VALUES \(([^)]*)\)/.exec(text) ?? []
  const before =
    columns === undefined || values === undefined
      ? /^(.*)\bk = (?:\?|:)/.exec(text)?.[1]
      : values.split(',')[columns.split(/, ?/).indexOf('k')]?.includes('?')
        ? values.split(',').slice(0, columns.split(/, ?/).indexOf('k')).join()
        : undefined
  return before === undefined ? [] : [[...before.matchAll(/\?|:\w+/g)].length]
}

/** Cassandra's MD5 of keyspace and text; the fake one takes any text with a dot in it for fully qualified. */
export function idOf(text: string, keyspace: string): Buffer {
  return createHash('md5')
    .update(text.includes('.') ? '' : keyspace)
    .update(text)
    .digest()
}

/** A row that says what was asked. */
export function echo(version: ProtocolVersion, stream: number, text: string): Buffer {
  const columns = [{ name: 'echo', type: { kind: 'text' } as const }]
  return rowsEnvelope(version, stream, { keyspace: 'shop', table: 'items', columns }, [[Buffer.from(text)]])
}

function keyspaceOf(text: string): string {
  const name = text.slice(4).trim()
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase()
}

export class FakeNode {
  readonly #server: Server
  readonly connections = new Set<NodeConnection>()
  /** Connections that were ever made. */
  accepted = 0
  /** Everything but the handshakes and the sidecar's own questions. */
  readonly requests: NodeRequest[] = []
  readonly prepared = new Map<string, string>()
  /** True: the request was taken over. */
  intercept: ((request: NodeRequest) => boolean) | undefined
  /** The same for what the sidecar's own connection asks. */
  interceptOwn: ((request: NodeRequest) => boolean) | undefined
  readonly schema = new FakeSchema()
  readonly topology: FakeTopology
  /** What the sidecar's own connection asked of the schema's tables. */
  readonly schemaReads: string[] = []
  /** Texts that were traced, by tracing ids in hex. */
  readonly traces = new Map<string, string>()
  /** What it asks for in answer to STARTUP. */
  authenticator = 'org.apache.cassandra.auth.MutualTlsAuthenticator'
  /** What comes is not answered at all. */
  isDeaf = false
  #port = 0

  /** Alone in its ring, where `place` does not say otherwise. */
  constructor(credentials: Credentials, place: Partial<FakePlace> = {}) {
    this.topology = new FakeTopology({
      hostId: randomUUID(),
      dataCenter: 'dc1',
      rack: 'rack1',
      tokens: ['0'],
      ...place,
    })
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = credentials
    this.#server = createServer({ key, cert, ca, requestCert: true, minVersion: 'TLSv1.3' }, (socket) => {
      const connection = new NodeConnection(this, socket)
      this.connections.add(connection)
      this.accepted++
      socket.on('close', () => this.connections.delete(connection))
    })
    this.#server.on('tlsClientError', () => {})
  }

  get port(): number {
    return this.#port
  }

  /** Its files were written anew, and it has read them. */
  renew({ keyPem: key, certificatePem: cert, bundlePem: ca }: Credentials): void {
    this.#server.setSecureContext({ key, cert, ca, minVersion: 'TLSv1.3' })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Takes no further connection; those that are there stay. */
  refuse(): void {
    this.#server.close()
  }

  /** Cuts every connection and takes no more. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const { socket } of this.connections) socket.destroy()
    await closed
  }

  handle(request: NodeRequest): void {
    const own = request.connection.registered.length > 0
    if (own && ringTexts.test(request.text)) request.connection.ringAsked++
    else if (own && ownTexts.test(request.text)) request.connection.versionsAsked++
    else if (own) this.schemaReads.push(request.text)
    if (own || ownTexts.test(request.text)) {
      if (this.interceptOwn?.(request) !== true) request.answer()
      return
    }
    this.requests.push(request)
    if (this.intercept?.(request) !== true) request.answer()
  }

  trace(text: string): Buffer {
    const id = Buffer.from(randomUUID().replaceAll('-', ''), 'hex')
    this.traces.set(id.toString('hex'), text)
    return id
  }

  learn(text: string, keyspace: string): void {
    this.prepared.set(idOf(text, keyspace).toString('hex'), text)
  }

  texts(): string[] {
    return this.requests.map(({ text }) => text)
  }

  /** Makes tables as a CREATE TABLE over another node would: they are there, and every connection that registered is told. */
  migrate(...tables: FakeTable[]): void {
    this.schema.add(...tables)
    const { topology } = this
    topology.schemaVersion = Buffer.alloc(16, topology.schemaVersion[0]! + 1)
    for (const { keyspace, name } of tables) {
      this.emit({ type: 'SCHEMA_CHANGE', change: 'CREATED', target: 'TABLE', keyspace, name, argTypes: [] })
    }
  }

  /** As Cassandra does: to every connection that registered. */
  emit(event: CqlEvent): void {
    for (const each of this.connections) {
      if (each.registered.includes(event.type)) each.send(eventEnvelope(each.version, event), -1)
    }
  }
}
