/** A CQL client without a driver's manners: it sends what a test says and keeps what comes. */

import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { authResponseEnvelope, startupEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Inbound } from '../../src/cql/inbound.ts'
import { ownBytes } from '../../src/cql/own-bytes.ts'
import { headerOpcode, headerStream, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readError, readRows } from '../../src/cql/responses.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { Outbox } from '../../src/session/outbox.ts'
import { Turn } from '../../src/session/turn.ts'

const answerMsMax = 8000

export interface ClientOptions {
  readonly port: number
  readonly host?: string
  /** Undefined: no TLS. */
  readonly credentials?: (Partial<Credentials> & Pick<Credentials, 'bundlePem'>) | undefined
  /** The address that the connection comes from. */
  readonly localAddress?: string
  readonly version?: ProtocolVersion
  /** Sent before TLS. */
  readonly preamble?: Buffer
  readonly compression?: 'lz4'
  /** DRIVER_NAME of STARTUP. */
  readonly driverName?: string
  readonly oneHost?: boolean
  /** Further options of STARTUP. */
  readonly startup?: Readonly<Record<string, string>>
}

export class RawClient {
  readonly version: ProtocolVersion
  readonly socket: Socket | TLSSocket
  readonly #options: ClientOptions
  readonly #inbound = new Inbound('responses', 256 * 1024 * 1024)
  readonly #outbox: Outbox
  readonly #waiting = new Map<number, (envelope: Buffer) => void>()
  /** Envelopes that nobody waited for, in order. */
  readonly unasked: Buffer[] = []
  readonly closed: Promise<string>
  isClosed = false
  #framed = false
  #onUnasked: (() => void) | undefined

  private constructor(options: ClientOptions, socket: Socket | TLSSocket) {
    this.#options = options
    this.version = options.version ?? 4
    this.socket = socket
    this.#outbox = new Outbox(socket, new Turn())
    let reason = 'end'
    socket.on('error', (error) => {
      reason = error.message
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true
        this.#onUnasked?.()
        resolve(reason)
      })
    })
    socket.on('data', (chunk: Buffer) => this.#inbound.push(chunk, this))
  }

  /** Resolves when the connection, with its TLS, is there. TLS 1.3 says so before the server has looked at the certificate. */
  static async connect(options: ClientOptions): Promise<RawClient> {
    const raw = connectTcp({
      port: options.port,
      host: options.host ?? '127.0.0.1',
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
    })
    await new Promise<void>((resolve, reject) => {
      raw.once('connect', resolve)
      raw.once('error', reject)
    })
    if (options.preamble !== undefined) raw.write(options.preamble)
    if (options.credentials === undefined) return new RawClient(options, raw)
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = options.credentials
    const secure = connectTls({
      socket: raw,
      ...(key === undefined ? {} : { key, cert }),
      ca,
      checkServerIdentity: () => undefined,
    })
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve)
      secure.once('error', reject)
      secure.once('close', () => reject(new Error('closed within the TLS handshake')))
    })
    return new RawClient(options, secure)
  }

  /** Connected and READY. */
  static async open(options: ClientOptions): Promise<RawClient> {
    const client = await RawClient.connect(options)
    const answer = await client.startup()
    if (headerOpcode(answer, 0) !== Opcode.READY) throw new Error(`no READY: ${describe(answer)}`)
    return client
  }

  async startup(stream = 0): Promise<Buffer> {
    const { compression, driverName, oneHost, startup = {} } = this.#options
    const options = new Map([['CQL_VERSION', '3.0.0'], ...Object.entries(startup)])
    if (compression !== undefined) options.set('COMPRESSION', compression)
    if (driverName !== undefined) options.set('DRIVER_NAME', driverName)
    if (oneHost === true) options.set('RINGFENCE_ONE_HOST', 'true')
    return this.ask(startupEnvelope(this.version, stream, options))
  }

  /** Answers to AUTHENTICATE with the token of SASL PLAIN. */
  async logIn(user: string, password: string, stream = 0): Promise<Buffer> {
    return this.ask(authResponseEnvelope(this.version, stream, Buffer.from(`\0${user}\0${password}`)))
  }

  /** Part of `EnvelopeSink`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const envelope = ownBytes({ bytes: buffer, start, end })
    const opcode = headerOpcode(envelope, 0)
    if ((opcode === Opcode.READY || opcode === Opcode.AUTHENTICATE) && !this.#framed) {
      this.#framed = true
      const lz4 = this.#options.compression === 'lz4'
      if (this.version >= 5) {
        this.#inbound.useSegments(lz4 ? 'lz4' : 'none')
        this.#outbox.use(lz4 ? 'segments-lz4' : 'segments')
      } else if (lz4) {
        this.#inbound.useBodyCompression()
        this.#outbox.use('body-lz4')
      }
    }
    const stream = headerStream(envelope, 0)
    const waiting = this.#waiting.get(stream)
    if (waiting !== undefined) {
      this.#waiting.delete(stream)
      waiting(envelope)
      return
    }
    this.unasked.push(envelope)
    this.#onUnasked?.()
  }

  send(envelope: Buffer): void {
    this.#outbox.send(envelope)
  }

  /** The answer on the stream of `envelope`. Throws when the connection ends first. */
  ask(envelope: Buffer, msMax = answerMsMax): Promise<Buffer> {
    const stream = headerStream(envelope, 0)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer on stream ${stream}`)), msMax)
      this.#waiting.set(stream, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      void this.closed.then((reason) => {
        clearTimeout(timer)
        reject(new Error(`closed: ${reason}`))
      })
      this.send(envelope)
    })
  }

  /** The next envelope that nobody asked for; throws when the connection ends without one. */
  async next(waitMs = answerMsMax): Promise<Buffer> {
    const until = performance.now() + waitMs
    while (this.unasked.length === 0) {
      if (this.isClosed) throw new Error('closed')
      if (performance.now() > until) throw new Error('nothing came')
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        this.#onUnasked = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return this.unasked.shift()!
  }

  close(): void {
    this.socket.destroy()
  }
}

/** An answer in words: `echo: …` of the fake node's rows, `0x2100 …` of an error, else the opcode. */
export function describe(envelope: Buffer): string {
  const opcode = headerOpcode(envelope, 0)
  if (opcode === Opcode.ERROR) {
    const { code, message } = readError(wholeEnvelope(envelope))
    return `0x${code.toString(16).padStart(4, '0')} ${message}`
  }
  if (opcode === Opcode.RESULT && envelope.readInt32BE(9) === 2) {
    return `echo: ${readRows(wholeEnvelope(envelope), envelope[0]! & 0x7f).rows[0]?.[0]?.toString() ?? ''}`
  }
  if (opcode === Opcode.RESULT) return `result ${envelope.readInt32BE(9)}`
  return `opcode ${opcode}`
}
