/**
 * One connection of a tool to `ringfence connect`:
 *
 *     greeting ──STARTUP──▶ (asked ──AUTH_RESPONSE──▶) entering ──the door said AUTH_SUCCESS──▶ passing
 *
 * Then bytes go both ways as they come, for both connections have the same version, the same compression and the same framing by then; a side that
 * does not read stops the other.
 *
 * Rule: before `passing` a tool may send OPTIONS, STARTUP and, where it was asked, one AUTH_RESPONSE, and nothing behind these that was not
 * waited for. What is wrong with the log-in is told in answer to STARTUP, where every driver comes back.
 */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { after, contained, type Owner, settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import {
  authenticateEnvelope,
  authSuccessEnvelope,
  errorEnvelope,
  readyEnvelope,
  startupEnvelope,
  supportedEnvelope,
} from '../../cql/encode.ts'
import { type Envelope, wholeEnvelope } from '../../cql/envelope.ts'
import type { EnvelopeSink } from '../../cql/envelope-sink.ts'
import { Inbound } from '../../cql/inbound.ts'
import {
  CqlErrorCode,
  headerOpcode,
  headerStream,
  headerVersion,
  Opcode,
  type ProtocolVersion,
} from '../../cql/protocol.ts'
import { readAuthResponse, readStartup } from '../../cql/requests.ts'
import { plainClassName } from '../../identity/proofs/plain.ts'
import { driverKind } from '../../session/refusals.ts'
import { newestVersion, oneHostOption, startupOf, supportedOptions } from '../../session/startup.ts'
import { codeForTool, type Door, enterDoor } from './door.ts'
import type { Framing } from './framing.ts'
import { framed } from './framing.ts'
import type { Guard } from './guard.ts'

/** An end that takes nothing of what the other has left for it is given up then. */
const lastBytesMsMax = 30_000
const optionsMax = 32

export interface ToolHost {
  readonly door: Door
  readonly guard: Guard
  /** Whoever is asked for a password is a person, also where the driver is one that never comes back after an ERROR. */
  readonly isForPerson: boolean
  /** A token that is good now. @throws LogInDue and others */
  token(): Promise<string>
  /** A word for whoever looks at the terminal. */
  say(words: string): void
  closed(tool: Tool): void
}

type Phase = 'greeting' | 'asked' | 'entering' | 'passing' | 'closed'

export class Tool implements Owner, EnvelopeSink {
  readonly #host: ToolHost
  readonly #socket: Socket
  readonly #inbound = new Inbound('requests', limits.authMessageBytesMax)
  #timer: NodeJS.Timeout
  #phase: Phase = 'greeting'
  #door: TLSSocket | undefined
  #startup: Buffer = Buffer.alloc(0)
  #framing: Framing = { version: 4, lz4: false }
  #driverName: string | undefined
  /** Of what waits for an answer. */
  #stream = 0
  #options = 0
  /** It gave the password of the credentials file. */
  #wasAsked = false

  constructor(host: ToolHost, socket: Socket) {
    this.#host = host
    this.#socket = socket
    socket.setNoDelay(true)
    this.#timer = after(this, 'the time of a tool', limits.handshakeTimeoutMs, () => this.close())
    socket.on(
      'data',
      contained(this, 'bytes of a tool', (chunk: Buffer) => this.#inbound.push(chunk, this)),
    )
    // `close` follows.
    socket.on('error', () => {})
    socket.on(
      'close',
      contained(this, 'the end of a tool', (hadError: boolean) => this.#toolClosed(hadError)),
    )
  }

  close(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    clearTimeout(this.#timer)
    this.#socket.destroy()
    this.#door?.destroy()
    this.#host.closed(this)
  }

  onFault(reason: unknown): void {
    const fault = RingfenceError.from(reason, 'PROTOCOL')
    const { faultStream, faultVersion } = this.#inbound
    const isSpoken = faultVersion >= 3 && faultVersion <= newestVersion
    const version = (isSpoken ? faultVersion : newestVersion) as ProtocolVersion
    if (this.#phase !== 'greeting') this.close()
    else this.#last(errorEnvelope(version, faultStream, CqlErrorCode.PROTOCOL_ERROR, fault.message))
  }

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const opcode = headerOpcode(buffer, start)
    const stream = headerStream(buffer, start)
    const version = headerVersion(buffer, start) as ProtocolVersion
    if (opcode === Opcode.OPTIONS && this.#phase === 'greeting' && this.#options++ < optionsMax) {
      this.#socket.write(supportedEnvelope(version, stream, supportedOptions))
    } else if (opcode === Opcode.STARTUP && this.#phase === 'greeting') {
      this.#inbound.stop()
      this.#started(wholeEnvelope(Buffer.from(buffer.subarray(start, end))), version, stream)
    } else if (opcode === Opcode.AUTH_RESPONSE && this.#phase === 'asked') {
      this.#inbound.stop()
      const answer = readAuthResponse({ bytes: buffer, start, end }, version)
      this.#stream = stream
      if (this.#host.guard.isRight(Buffer.from(answer ?? []))) this.#enter()
      else this.#refuse(CqlErrorCode.BAD_CREDENTIALS, 'this is not the user and password of the credentials file')
    } else throw new RingfenceError('PROTOCOL', 'a request before the connection is ready')
  }

  #started(startup: Envelope, version: ProtocolVersion, stream: number): void {
    const { info, lz4 } = startupOf(startup, version)
    // What it is told of others it would try to reach without TLS.
    const options = readStartup(startup, version).set(oneHostOption, 'true')
    this.#startup = startupEnvelope(version, stream, options)
    this.#inbound.expectVersion(version)
    this.#framing = { version, lz4 }
    this.#driverName = info.driverName
    this.#stream = stream
    if (this.#host.guard.kind !== 'credentials') {
      this.#enter()
      return
    }
    this.#socket.pause()
    settle(
      this,
      'a log-in that is looked at first',
      this.#host.token(),
      () => this.#ask(),
      (reason) => this.#notEntered(reason),
    )
  }

  /** For the password of the credentials file. */
  #ask(): void {
    if (this.#phase !== 'greeting') return
    this.#nothingBehind()
    const { version, lz4 } = this.#framing
    this.#phase = 'asked'
    if (version >= 5) this.#inbound.useSegments(lz4 ? 'lz4' : 'none')
    else if (lz4) this.#inbound.useBodyCompression()
    this.#socket.write(authenticateEnvelope(version, this.#stream, plainClassName))
    this.#socket.resume()
  }

  #enter(): void {
    this.#wasAsked = this.#phase === 'asked'
    this.#phase = 'entering'
    this.#socket.pause()
    settle(
      this,
      'a log-in at the door',
      this.#enterDoor(),
      (socket) => this.#pass(socket),
      (reason) => this.#notEntered(reason),
    )
  }

  async #enterDoor(): Promise<TLSSocket> {
    const { door } = this.#host
    return await enterDoor(door, this.#startup, this.#framing, await this.#host.token())
  }

  #pass(door: TLSSocket): void {
    if (this.#phase !== 'entering') {
      door.destroy()
      return
    }
    this.#door = door
    this.#nothingBehind()
    clearTimeout(this.#timer)
    this.#phase = 'passing'
    const { version } = this.#framing
    this.#socket.write(
      this.#wasAsked
        ? framed(authSuccessEnvelope(version, this.#stream), this.#framing)
        : readyEnvelope(version, this.#stream),
    )
    this.#socket.removeAllListeners('data')
    door.on('error', () => {})
    door.on(
      'close',
      contained(this, 'the end of a door', () => this.#doorClosed()),
    )
    // Each stops the other while its own end does not take what comes (`highWaterMark`), and hands on the end.
    this.#socket.pipe(door)
    door.pipe(this.#socket)
  }

  /** The tool still gets what the door has sent. */
  #doorClosed(): void {
    if (this.#socket.destroyed) this.close()
    if (this.#phase === 'closed') return
    this.#socket.end()
    this.#closeSoon()
  }

  /** The door still gets what the tool has sent. */
  #toolClosed(hadError: boolean): void {
    if (this.#phase === 'closed') return
    if (hadError || this.#phase !== 'passing' || this.#door?.destroyed !== false) {
      this.close()
      return
    }
    this.#door.end()
    this.#closeSoon()
  }

  #closeSoon(): void {
    clearTimeout(this.#timer)
    this.#timer = after(this, 'the last bytes of a connection', lastBytesMsMax, () => this.close())
  }

  /** Who sends more before it has its answer is no driver, and what comes then would be read in another framing. */
  #nothingBehind(): void {
    if (this.#inbound.waits || this.#inbound.collectingBytes > 0) {
      throw new RingfenceError('PROTOCOL', 'bytes came before the connection is ready')
    }
  }

  #notEntered(reason: unknown): void {
    if (this.#phase === 'closed') return
    const { message, hint } = RingfenceError.from(reason, 'UNAVAILABLE')
    const words = hint === undefined ? message : `${message} (${hint})`
    this.#host.say(words)
    // It would stay away for good, and nobody reads it.
    if (this.#wasAsked && !this.#host.isForPerson && driverKind(this.#driverName) === 'python') this.close()
    else this.#refuse(codeForTool(reason, this.#driverName), words)
  }

  #refuse(code: number, words: string): void {
    const envelope = errorEnvelope(this.#framing.version, this.#stream, code, words)
    const isFramed = this.#phase === 'asked' || this.#wasAsked
    this.#last(isFramed ? framed(envelope, this.#framing) : envelope)
  }

  #last(bytes: Buffer): void {
    this.#socket.removeAllListeners('data')
    this.#socket.resume()
    this.#socket.end(bytes)
    this.#closeSoon()
  }
}
