/**
 * A client of a drill: it logs in by a certificate and asks one question over and over, as somebody would who does not stop where he is refused.
 * It says when it was refused and when its socket was closed, by the clock of this process.
 */
import { isIP } from 'node:net'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { queryEnvelope, startupEnvelope } from '../../cql/encode.ts'
import type { Envelope } from '../../cql/envelope.ts'
import { envelopeHeaderBytes, headerBodyBytes, headerOpcode, Opcode } from '../../cql/protocol.ts'
import { readError } from '../../cql/responses.ts'
import { verifyPeer } from '../../identity/certificate.ts'
import { isReserved, type SpiffeId } from '../../identity/spiffe.ts'
import type { ProbeCertificate } from '../check/probe.ts'
import { question } from '../check/way-through.ts'
import type { HostPort } from '../options.ts'

/** v4 has bare envelopes throughout, and everything that speaks CQL speaks it. */
const version = 4
const answerBytesMax = 1024 * 1024
/** It measures no finer than that, and takes little of what its identity may ask for. */
const askEveryMs = 20
const unansweredMax = 64
const unauthorized = 0x2100
const revokedWord = /\brevoked\b/

export interface SessionOrder {
  readonly target: HostPort
  readonly certificate: ProbeCertificate
  readonly trustDomain: string
  readonly openMsMax: number
}

export class AskingSession {
  /** Questions that were answered. */
  answered = 0
  /** When it was refused because it is revoked; undefined until then. */
  refusedAtMs: number | undefined
  closedAtMs: number | undefined
  /** Of the gateway or sidecar that ended its TLS. */
  serverId: SpiffeId | undefined
  readonly #socket: TLSSocket
  readonly #opened: (fault?: Error) => void
  #received: Buffer = Buffer.alloc(0)
  #isReady = false
  #unanswered = 0
  #stream = 0
  #timer: NodeJS.Timeout | undefined
  #fault = 'it ended the connection'

  private constructor({ target, certificate, trustDomain }: SessionOrder, opened: (fault?: Error) => void) {
    const { address: host, port } = target
    const { certificatePem: cert, keyPem: key, bundlePem: ca } = certificate
    this.#opened = opened
    this.#socket = connect({
      host,
      port,
      cert,
      key,
      ca,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      // In the place of a host name: it is to be a gateway or sidecar of this mesh.
      checkServerIdentity: (_, peer) => this.#checkServer(peer, trustDomain),
    })
    this.#socket.on('secureConnect', () => {
      this.#socket.write(startupEnvelope(version, 0, new Map([['CQL_VERSION', '3.0.0']])))
    })
    this.#socket.on('data', (data: Buffer) => {
      try {
        this.#onData(data)
      } catch {
        this.#fail('it does not speak CQL')
      }
    })
    this.#socket.on('error', ({ message }) => {
      this.#fault = message
    })
    this.#socket.on('close', () => {
      clearInterval(this.#timer)
      this.closedAtMs = performance.now()
      this.#opened(new Error(this.#fault))
    })
  }

  /** Resolves when a question was answered. Rejects with what the other side did, in words. */
  static async open(order: SessionOrder): Promise<AskingSession> {
    let session: AskingSession | undefined
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        const { openMsMax } = order
        timer = setTimeout(() => reject(new Error(`no answer within ${openMsMax / 1000} s`)), openMsMax)
        session = new AskingSession(order, (fault) => (fault === undefined ? resolve() : reject(fault)))
      })
      return session!
    } catch (reason) {
      session?.close()
      throw reason
    } finally {
      clearTimeout(timer)
    }
  }

  /** From here on nothing more is noted. */
  close(): void {
    clearInterval(this.#timer)
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  #onData(data: Buffer): void {
    const bytes = this.#received.length === 0 ? data : Buffer.concat([this.#received, data])
    let start = 0
    while (bytes.length - start >= envelopeHeaderBytes) {
      const end = start + envelopeHeaderBytes + headerBodyBytes(bytes, start)
      if (end - start > answerBytesMax) throw new Error('it is longer than any answer to the question')
      if (end > bytes.length) break
      this.#onAnswer({ bytes, start, end })
      start = end
    }
    this.#received = bytes.subarray(start)
  }

  #onAnswer(answer: Envelope): void {
    const opcode = headerOpcode(answer.bytes, answer.start)
    if (!this.#isReady) {
      if (opcode === Opcode.READY) this.#begin()
      else if (opcode === Opcode.ERROR) this.#fail(readError(answer).message)
      else this.#fail('it asks for more than a certificate')
      return
    }
    this.#unanswered--
    if (opcode === Opcode.RESULT) this.#isAnswered()
    else if (opcode === Opcode.ERROR) {
      const { code, message } = readError(answer)
      const now = performance.now()
      if (code === unauthorized && revokedWord.test(message)) this.refusedAtMs ??= now
      // Policy may refuse the question: that is an answer, and the session goes on.
      else if (code === unauthorized) this.#isAnswered()
      else this.#opened(new Error(message))
    }
  }

  #checkServer({ raw }: PeerCertificate, trustDomain: string): Error | undefined {
    try {
      const { spiffeId } = verifyPeer(raw, Date.now(), trustDomain)
      this.serverId = spiffeId
      return isReserved(spiffeId) ? undefined : new Error('it is no gateway or sidecar of this mesh')
    } catch (reason) {
      return reason instanceof Error ? reason : new Error(String(reason))
    }
  }

  #begin(): void {
    this.#isReady = true
    this.#ask()
    this.#timer = setInterval(() => this.#ask(), askEveryMs)
  }

  #ask(): void {
    if (this.#unanswered >= unansweredMax || !this.#socket.writable) return
    this.#unanswered++
    this.#stream = (this.#stream + 1) % 0x4000
    this.#socket.write(queryEnvelope(version, this.#stream, question, {}))
  }

  #isAnswered(): void {
    this.answered++
    this.#opened()
  }

  #fail(fault: string): void {
    this.#fault = fault
    this.#socket.destroy()
  }
}
