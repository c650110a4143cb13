/** The gateway's end of a mesh link in a test's hand: it sends what a test says and keeps what comes. */
import assert from 'node:assert/strict'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { z } from 'zod'
import { headerOpcode } from '../../src/cql/protocol.ts'
import {
  Control,
  controlEnvelope,
  type Hello,
  helloSchema,
  linkProtocol,
  type Ring,
  ringSchema,
  tableSchema,
} from '../../src/link/protocol.ts'
import { FrameSplitter } from '../../src/link/splitter.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { until } from './world.ts'

export class RawLink {
  readonly socket: TLSSocket
  readonly frames: { session: number; opcode: number; text: string }[] = []
  closed = false
  #lastId = 0

  private constructor(socket: TLSSocket) {
    this.socket = socket
    const splitter = new FrameSplitter(256 * 1024 * 1024)
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('data', (chunk: Buffer) =>
      splitter.push(chunk, {
        onFrame: (session, buffer, start, end) =>
          this.frames.push({
            session,
            opcode: headerOpcode(buffer, start),
            text: buffer.toString('utf8', start + 9, end),
          }),
      }),
    )
  }

  /** `protocol`: of the mesh link, by ALPN. */
  static async open(port: number, credentials: Credentials, protocol = linkProtocol): Promise<RawLink> {
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = credentials
    const options = { port, host: '127.0.0.1', key, cert, ca, ALPNProtocols: [protocol] }
    const socket = connectTls({ ...options, checkServerIdentity: () => undefined })
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    })
    return new RawLink(socket)
  }

  send(session: number, envelope: Buffer): void {
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(session)
    this.socket.write(Buffer.concat([prefix, envelope]))
  }

  /** What is said to the opening of a session: `opened`, or the code and message of its CLOSE. */
  async offer(session: number, passport: string, keyspace?: string): Promise<string> {
    this.send(
      session,
      controlEnvelope(Control.OPEN, {
        passport,
        version: 4,
        session: '0123456789abcdef',
        events: [],
        ...(keyspace === undefined ? {} : { keyspace }),
      }),
    )
    const isAnswer = (frame: { session: number; opcode: number }): boolean =>
      frame.session === session && (frame.opcode === Control.OPENED || frame.opcode === Control.CLOSE)
    await until('the session is answered', () => this.closed || this.frames.some(isAnswer))
    const answer = this.frames.find(isAnswer)
    if (answer === undefined) return 'link closed'
    return answer.opcode === Control.OPENED ? 'opened' : answer.text
  }

  /** Control messages of the link itself with an opcode, oldest first. */
  bodies<T>(opcode: number, schema: z.ZodType<T>): T[] {
    return this.frames
      .filter((frame) => frame.session === 0 && frame.opcode === opcode)
      .map(({ text }) => schema.parse(JSON.parse(text)))
  }

  /** The answer to a question of the link itself, as its schema has it. */
  async ask<T extends { id: number }>(
    [question, body]: readonly [number, { id: number }],
    [answer, schema]: readonly [number, z.ZodType<T>],
  ): Promise<T> {
    const found = (): T | undefined => this.bodies(answer, schema).find(({ id }) => id === body.id)
    this.send(0, controlEnvelope(question, body))
    await until('the question is answered', () => this.closed || found() !== undefined)
    return found() ?? assert.fail('the link was closed')
  }

  async ring(id = ++this.#lastId): Promise<Ring> {
    return await this.ask([Control.RING_QUERY, { id }], [Control.RING, ringSchema])
  }

  async partitionKey(keyspace: string, table: string): Promise<readonly string[]> {
    const query = { id: ++this.#lastId, keyspace, table }
    return (await this.ask([Control.TABLE_QUERY, query], [Control.TABLE, tableSchema])).partitionKey
  }

  /** What the sidecar said of itself last. */
  get hello(): Hello | undefined {
    return this.bodies(Control.HELLO, helloSchema).at(-1)
  }
}
