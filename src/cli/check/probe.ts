/**
 * One connection as a stranger or a client would make it: STARTUP, a password where one is asked for, one query. It trusts nobody and
 * judges nothing; it says what the other side did.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { authResponseEnvelope, queryEnvelope, startupEnvelope } from '../../cql/encode.ts'
import { envelopeHeaderBytes, headerOpcode, headerVersion, Opcode, responseBit } from '../../cql/protocol.ts'
import { readAuthenticate, readError, readRows } from '../../cql/responses.ts'
import type { HostPort } from '../options.ts'

/** v4 has bare envelopes throughout, and everything that speaks CQL speaks it. */
const version = 4
const answerMsMax = 5_000
const answerBytesMax = 1024 * 1024

export interface ProbeCertificate {
  readonly certificatePem: string
  readonly keyPem: string
  readonly bundlePem: string
}

/** How to come: in the clear, by TLS without a certificate, or with one. */
export type ProbeWay = 'plain' | 'tls' | ProbeCertificate

/** What the other side did. `text` is its own word or the system's. */
export type ProbeAnswer =
  | { readonly kind: 'unreachable'; readonly text: string }
  /** It took the connection and ended it, or answered what is no CQL. */
  | { readonly kind: 'closed'; readonly text: string }
  /** It took the connection and said nothing. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'asks'; readonly authenticator: string; readonly passwordTaken: boolean; readonly refusal: string }
  | { readonly kind: 'error'; readonly code: number; readonly text: string }

export interface ProbeResult {
  readonly answer: ProbeAnswer
  /** The peer's certificate as DER; undefined without TLS. */
  readonly peerDer: Buffer | undefined
  /** Why the peer's chain does not lead to the bundle of the certificate that was shown; undefined where it does. */
  readonly chainFault: string | undefined
  /** The first cell of each row, where a query was given and answered. */
  readonly rows: readonly string[] | undefined
  readonly queryError: { readonly code: number; readonly text: string } | undefined
}

export interface ProbeOrder {
  readonly target: HostPort
  readonly way: ProbeWay
  /** Tried where a password is asked for. */
  readonly password?: readonly [string, string]
  /** Sent when it is ready. */
  readonly query?: string
  readonly timeoutMs?: number
}

/** Never rejects. */
export function probe(order: ProbeOrder): Promise<ProbeResult> {
  return new Promise((resolve) => new Probe(order, resolve))
}

class Probe {
  readonly #order: ProbeOrder
  readonly #resolve: (result: ProbeResult) => void
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #connected = false
  #authenticator: string | undefined
  #asked = false
  #peerDer: Buffer | undefined
  #chainFault: string | undefined

  constructor(order: ProbeOrder, resolve: (result: ProbeResult) => void) {
    this.#order = order
    this.#resolve = resolve
    const { target, way, timeoutMs = answerMsMax } = order
    const { address: host, port } = target
    this.#socket =
      way === 'plain'
        ? connectTcp({ host, port }, () => this.#begin())
        : connectTls(
            {
              host,
              port,
              // Who answers is looked at by the caller, from the certificate itself.
              rejectUnauthorized: false,
              checkServerIdentity: () => undefined,
              ...(isIP(host) === 0 ? { servername: host } : {}),
              ...(way === 'tls' ? {} : { cert: way.certificatePem, key: way.keyPem, ca: way.bundlePem }),
            },
            () => {
              this.#lookAtPeer(this.#socket as TLSSocket)
              this.#begin()
            },
          )
    this.#socket.on('connect', () => {
      this.#connected = true
    })
    this.#socket.setTimeout(timeoutMs, () =>
      this.#end(this.#connected ? { kind: 'silent' } : { kind: 'unreachable', text: 'no answer in time' }),
    )
    this.#socket.on('data', (data: Buffer) => this.#onData(data))
    this.#socket.on('error', (error) => this.#lost(error.message))
    this.#socket.on('close', () => this.#lost('it ended the connection'))
  }

  #lookAtPeer(socket: TLSSocket): void {
    this.#peerDer = socket.getPeerX509Certificate()?.raw
    // An error code such as UNABLE_TO_GET_ISSUER_CERT_LOCALLY, typed as an Error and given as text.
    if (!socket.authorized) this.#chainFault = String(socket.authorizationError)
  }

  #begin(): void {
    this.#socket.write(startupEnvelope(version, 0, new Map([['CQL_VERSION', '3.0.0']])))
  }

  #onData(data: Buffer): void {
    this.#received = Buffer.concat([this.#received, data])
    const buffer = this.#received
    if (buffer.length < envelopeHeaderBytes) {
      // A TLS alert (record type 0x15) is shorter than a header, and the end of it.
      if (buffer[0] === 0x15) this.#end({ kind: 'closed', text: 'it answered with TLS' })
      return
    }
    const isCql = (buffer[0]! & responseBit) !== 0 && [3, 4, 5, 6].includes(headerVersion(buffer, 0) & 0x7f)
    const bodyBytes = buffer.readUInt32BE(5)
    if (!isCql || bodyBytes > answerBytesMax) {
      this.#end({ kind: 'closed', text: 'it does not speak CQL' })
      return
    }
    const end = envelopeHeaderBytes + bodyBytes
    if (buffer.length < end) return
    this.#received = buffer.subarray(end)
    try {
      this.#onEnvelope(buffer, end)
    } catch {
      this.#end({ kind: 'closed', text: 'it answered with what is no CQL' })
    }
  }

  #onEnvelope(buffer: Buffer, end: number): void {
    switch (headerOpcode(buffer, 0)) {
      case Opcode.READY:
      case Opcode.AUTH_SUCCESS:
        this.#isReady()
        return
      case Opcode.AUTHENTICATE:
        this.#authenticator = readAuthenticate({ bytes: buffer, start: 0, end })
        this.#authenticate()
        return
      case Opcode.RESULT:
        this.#answered(
          readRows({ bytes: buffer, start: 0, end }, version).rows.map(([cell]) => cell?.toString('utf8') ?? ''),
        )
        return
      case Opcode.ERROR: {
        const { code, message } = readError({ bytes: buffer, start: 0, end })
        if (this.#asked) this.#answered(undefined, { code, text: message })
        else if (this.#authenticator !== undefined) this.#end(this.#refusedLogIn(message))
        else this.#end({ kind: 'error', code, text: message })
        return
      }
      default:
        this.#end({ kind: 'closed', text: `it answered with opcode ${headerOpcode(buffer, 0)}` })
    }
  }

  /** PLAIN (RFC 4616) where there is a password to try; an empty token where the certificate is to speak. */
  #authenticate(): void {
    const { password } = this.#order
    const token = password === undefined ? Buffer.alloc(0) : Buffer.from(`\0${password[0]}\0${password[1]}`)
    this.#socket.write(authResponseEnvelope(version, 0, token))
  }

  #refusedLogIn(refusal: string): ProbeAnswer {
    return { kind: 'asks', authenticator: this.#authenticator ?? '', passwordTaken: false, refusal }
  }

  #isReady(): void {
    const { query } = this.#order
    if (query === undefined) {
      this.#answered(undefined)
      return
    }
    this.#asked = true
    this.#socket.write(queryEnvelope(version, 0, query, {}))
  }

  #answered(rows: readonly string[] | undefined, queryError?: ProbeResult['queryError']): void {
    const authenticator = this.#authenticator
    const answer: ProbeAnswer =
      authenticator === undefined
        ? { kind: 'ready' }
        : { kind: 'asks', authenticator, passwordTaken: true, refusal: '' }
    this.#end(answer, rows, queryError)
  }

  #lost(text: string): void {
    if (!this.#connected) this.#end({ kind: 'unreachable', text })
    else if (this.#authenticator !== undefined) this.#end(this.#refusedLogIn(text))
    else this.#end({ kind: 'closed', text })
  }

  #end(answer: ProbeAnswer, rows?: readonly string[], queryError?: ProbeResult['queryError']): void {
    this.#socket.removeAllListeners()
    this.#socket.on('error', () => {})
    this.#socket.destroy()
    this.#resolve({ answer, peerDer: this.#peerDer, chainFault: this.#chainFault, rows, queryError })
  }
}
