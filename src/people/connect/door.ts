/**
 * A connection to a door of the mesh as a person: TLS, the STARTUP of a tool as it came, the token as the password of PLAIN, up to AUTH_SUCCESS.
 *
 * Rule: nothing is sent before the other end has shown a certificate of a gateway or sidecar, by the roots of the profile and no others.
 */
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { after, contained, type Owner } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { printable } from '../../base/printable.ts'
import { transportWords } from '../../base/transport-fault.ts'
import { authResponseEnvelope } from '../../cql/encode.ts'
import type { EnvelopeSink } from '../../cql/envelope-sink.ts'
import { Inbound } from '../../cql/inbound.ts'
import { CqlErrorCode, headerOpcode, headerStream, Opcode } from '../../cql/protocol.ts'
import { readError } from '../../cql/responses.ts'
import { readLeaf } from '../../identity/certificate.ts'
import { pathSegmentsOf } from '../../identity/spiffe.ts'
import { meshPaths } from '../../mesh/roles.ts'
import { startupRefusalCode } from '../../session/refusals.ts'
import { type Framing, framed } from './framing.ts'

const keepAliveMs = 30_000

export interface Door {
  readonly address: string
  readonly port: number
  /** The roots of the mesh. */
  readonly caPem: string
}

/** The door's own words, in answer to the log-in. */
class DoorRefused extends RingfenceError {
  readonly cqlCode: number

  constructor(cqlCode: number, words: string) {
    const hint = 'the log of the gateway or sidecar says why (log-in refused)'
    super('IDENTITY', `the door refuses the log-in: ${printable(words)}`, { hint })
    this.cqlCode = cqlCode
  }
}

/**
 * @param startup the whole envelope
 * @returns the connection, paused: what the tool sends next is to go to it, byte by byte
 * @throws RingfenceError UNAVAILABLE, IDENTITY, UPSTREAM
 */
export function enterDoor(door: Door, startup: Buffer, framing: Framing, token: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => new Entering(door, startup, framing, token, resolve, reject))
}

class Entering implements EnvelopeSink, Owner {
  readonly #socket: TLSSocket
  readonly #where: string
  readonly #startup: Buffer
  readonly #framing: Framing
  readonly #token: string
  readonly #resolve: (socket: TLSSocket) => void
  readonly #reject: (reason: unknown) => void
  readonly #inbound = new Inbound('responses', limits.authMessageBytesMax)
  readonly #timer: NodeJS.Timeout
  #asked = false
  #isOver = false

  constructor(
    { address, port, caPem }: Door,
    startup: Buffer,
    framing: Framing,
    token: string,
    resolve: (socket: TLSSocket) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#where = `${address}:${port}`
    this.#startup = startup
    this.#framing = framing
    this.#token = token
    this.#resolve = resolve
    this.#reject = reject
    this.#socket = connect({
      host: address,
      port,
      ca: [caPem],
      minVersion: 'TLSv1.3',
      ...(isIP(address) === 0 ? { servername: address } : {}),
      checkServerIdentity: (_host, certificate) => faultOfDoor(certificate.raw),
    })
    this.#socket.setNoDelay(true)
    // A network that went away is noticed, also where the tool says nothing.
    this.#socket.setKeepAlive(true, keepAliveMs)
    this.#inbound.expectVersion(framing.version)
    this.#timer = after(this, 'the time of a door', limits.handshakeTimeoutMs, () => this.#away('no answer in time'))
    this.#socket.on(
      'data',
      contained(this, 'the answer of a door', (chunk: Buffer) => this.#inbound.push(chunk, this)),
    )
    this.#socket.on(
      'secureConnect',
      contained(this, 'a door', () => void this.#socket.write(this.#startup)),
    )
    this.#socket.on(
      'error',
      contained(this, 'a door that is away', (cause: Error) => {
        if (cause instanceof RingfenceError) this.#fail(cause)
        else this.#away(transportWords('it', cause))
      }),
    )
    this.#socket.on(
      'close',
      contained(this, 'the end of a door', () => this.#away('it closed the connection')),
    )
  }

  onFault(reason: unknown): void {
    this.#fail(RingfenceError.from(reason, 'UPSTREAM'))
  }

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const opcode = headerOpcode(buffer, start)
    if (opcode === Opcode.ERROR) {
      const { code, message } = readError({ bytes: buffer, start, end })
      this.#fail(new DoorRefused(code, message))
    } else if (opcode === Opcode.AUTHENTICATE && !this.#asked) {
      this.#asked = true
      this.#answer(headerStream(buffer, start))
    } else if (opcode === Opcode.AUTH_SUCCESS && this.#asked) {
      // What was pushed with it is looked at when this is over.
      this.#inbound.stop()
      this.#entered()
    } else if (opcode === Opcode.READY) {
      const hint = 'its listener needs "authentication: token" or "either"'
      this.#fail(new RingfenceError('UPSTREAM', `the door ${this.#where} does not ask who is there`, { hint }))
    } else {
      this.#fail(new RingfenceError('UPSTREAM', `the door ${this.#where} answers what is none (opcode ${opcode})`))
    }
  }

  #answer(stream: number): void {
    const { version, lz4 } = this.#framing
    if (version >= 5) this.#inbound.useSegments(lz4 ? 'lz4' : 'none')
    else if (lz4) this.#inbound.useBodyCompression()
    const plain = Buffer.from(`\0token\0${this.#token}`)
    this.#socket.write(framed(authResponseEnvelope(version, stream, plain), this.#framing))
  }

  #entered(): void {
    this.#end()
    this.#socket.pause()
    // It has nothing to say before it is asked.
    if (this.#inbound.waits) {
      this.#socket.destroy()
      this.#reject(new RingfenceError('UPSTREAM', `the door ${this.#where} answers what was not asked`))
    } else this.#resolve(this.#socket)
  }

  #away(words: string): void {
    this.#fail(
      new RingfenceError('UNAVAILABLE', `the door ${this.#where} cannot be used: ${printable(words)}`, {
        hint: 'is it up, and are --door and --ca of ringfence login right',
      }),
    )
  }

  #fail(reason: RingfenceError): void {
    if (this.#isOver) return
    this.#end()
    this.#socket.destroy()
    this.#reject(reason)
  }

  /** The connection is the tool's from now on, or is destroyed. */
  #end(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#socket.removeAllListeners('data')
  }
}

/** TLS has verified the chain. Any workload of the mesh has a certificate by the same roots: a token is shown to proxies only. */
function faultOfDoor(certDer: Buffer): RingfenceError | undefined {
  try {
    const { spiffeId } = readLeaf(certDer)
    const [own, role = ''] = pathSegmentsOf(spiffeId)
    if (own === 'ringfence' && (role === meshPaths.gateway || role === meshPaths.sidecar)) return undefined
    return new RingfenceError('IDENTITY', `${spiffeId} is no gateway and no sidecar; nothing was shown to it`, {
      hint: 'is --door of ringfence login right',
    })
  } catch (reason) {
    return RingfenceError.from(reason, 'IDENTITY')
  }
}

/** In answer to STARTUP every driver comes back after these; some never do after 0x0100. */
export function codeForTool(reason: unknown, driverName: string | undefined): number {
  const isBusy = reason instanceof DoorRefused && reason.cqlCode === CqlErrorCode.OVERLOADED
  return isBusy || startupRefusalCode(driverName) === 'OVERLOADED' ? CqlErrorCode.OVERLOADED : CqlErrorCode.SERVER_ERROR
}
