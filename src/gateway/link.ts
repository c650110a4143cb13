/**
 * The gateway's end of one mesh link. It lives as long as the shorter of the two certificates allows; a new one is opened well
 * before, and the sessions move over.
 */

import type { KeyObject } from 'node:crypto'
import { createPrivateKey } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { ByteAccount } from '../base/bytes-budget.ts'
import { overloaded } from '../base/bytes-budget.ts'
import { after, contain, contained, containFault, every, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportLine, transportWords } from '../base/transport-fault.ts'
import { errorEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerOpcode, headerStream, headerVersion } from '../cql/protocol.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
import type { CallerFacts, Revocations } from '../identity/revoked/revocations.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { FairSender, SessionQueue } from '../link/fair-sender.ts'
import { Pieces } from '../link/pieces.ts'
import type { Close, Hello, Open } from '../link/protocol.ts'
import {
  Control,
  closeSchema,
  controlEnvelope,
  controlVersion,
  frameBodyBytesMax,
  helloSchema,
  linkProtocol,
  linkProtocols,
  tryControl,
} from '../link/protocol.ts'
import { FrameSplitter } from '../link/splitter.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { SidecarEndpoint } from '../mesh/endpoints.ts'
import { cqlFault } from '../session/fault.ts'
import { Outbox } from '../session/outbox.ts'
import { connectToPeer } from '../session/peer-socket.ts'
import type { Revocable } from '../session/thrown-out.ts'
import type { Turn } from '../session/turn.ts'
import { LinkQuestions } from './link-questions.ts'
import { verifySidecar } from './verify-sidecar.ts'

/** A session's end of a link. */
export interface LinkUser extends Owner {
  /** Where what waits of the session is counted. */
  readonly account: ByteAccount
  onOpened(): void
  onFrame(buffer: Buffer, start: number, end: number): void
  /** Too much of the session waits at the sidecar, or no longer. */
  onPaused(paused: boolean): void
  /** The session is over on this link. */
  onClosed(reason: Close): void
  /** The link will close; move when nothing is in flight. */
  onDraining(): void
}

export interface GatewayLinkOptions {
  readonly endpoint: SidecarEndpoint
  /** `RemoteSidecar.index` of the sidecar. */
  readonly sidecarIndex: number
  readonly credentials: Credentials
  readonly turn: Turn
  readonly revocations: Revocations
  readonly onHello: (link: GatewayLink) => void
  readonly onClosed: (link: GatewayLink, reason: string) => void
}

const pingMs = 5000
const pingsMissedMax = 3

/** Of a CLOSE that does not say why in a way that is understood. */
const unsaid: Close = { code: 'LINK', message: 'the sidecar ended the session' }

let lastSerial = 0

export class GatewayLink implements Owner, Revocable {
  readonly endpoint: SidecarEndpoint
  readonly credentials: Credentials
  /** No other link of this process has it, before or after. */
  readonly serial: number = ++lastSerial
  readonly sidecarIndex: number
  /** The key of the certificate shown on this link: passports are signed with it. */
  readonly key: KeyObject
  readonly questions: LinkQuestions
  readonly #options: GatewayLinkOptions
  readonly #socket: TLSSocket
  readonly #outbox: Outbox
  /** These are of the protocol that was agreed on. */
  #sender: FairSender
  #splitter: FrameSplitter
  #inPieces = false
  readonly #pieces = new Pieces(limits.answerBytesMax)
  readonly #users = new Map<number, LinkUser>()
  #lastNumber = 0
  #hello: Hello | undefined
  #draining = false
  #closed = false
  #reason = 'closed by the sidecar'
  #secured = false
  /** What came before the sidecar was known to be who it should be. */
  #early: Buffer[] | undefined = []
  #earlyBytes = 0
  #pingsMissed = 0
  #ping: NodeJS.Timeout | undefined
  #peerNotAfterMs = 0
  #peer: CallerFacts | undefined

  private constructor(options: GatewayLinkOptions) {
    const { address, port } = options.endpoint
    this.#options = options
    this.endpoint = options.endpoint
    this.sidecarIndex = options.sidecarIndex
    this.credentials = options.credentials
    this.key = createPrivateKey(options.credentials.keyPem)
    this.#socket = connectToPeer(
      { address, port, protocols: linkProtocols },
      options.credentials,
      contained(this, 'bytes of a sidecar', (chunk: Buffer) => this.#onData(chunk)),
    )
    this.#socket.once('secureConnect', () => {
      this.#secured = true
    })
    this.#outbox = new Outbox(this.#socket, options.turn, { framing: 'prefixed', shared: true })
    this.questions = new LinkQuestions(this, this.#outbox)
    this.#sender = new FairSender({ outbox: this.#outbox, inPieces: false })
    this.#splitter = new FrameSplitter(limits.answerBytesMax)
    this.#socket.on(
      'drain',
      contained(this, 'a sidecar that took its bytes', () => this.#sender.pump()),
    )
    this.#socket.on('error', (error) => {
      // Before it is open the reason is for our log; afterwards clients are told it.
      this.#reason = this.#secured ? transportWords('the sidecar', error) : transportLine('it', error)
    })
    this.#socket.on(
      'close',
      contained(this, 'the end of a link', () => this.#onClose()),
    )
  }

  /** Resolves when TLS is done and the sidecar is who it should be. Throws `LINK` or `IDENTITY`. */
  static async open(options: GatewayLinkOptions): Promise<GatewayLink> {
    const link = new GatewayLink(options)
    const timer = after(link, 'a handshake', limits.handshakeTimeoutMs, () => link.destroy('handshakeTimeoutMs passed'))
    try {
      await new Promise<void>((resolve, reject) => {
        link.#socket.once('secureConnect', resolve)
        link.#socket.once('close', () =>
          reject(new RingfenceError('LINK', `cannot reach the sidecar: ${link.#reason}`)),
        )
      })
      link.#verify()
    } catch (reason) {
      link.destroy(String(reason))
      throw reason
    } finally {
      clearTimeout(timer)
    }
    if (link.#closed) throw new RingfenceError('LINK', `mesh link lost: ${link.#reason}`)
    const early = link.#early ?? []
    link.#early = undefined
    for (const chunk of early) link.#onData(chunk)
    link.#ping = every(link, 'a ping', pingMs, () => link.#sendPing())
    return link
  }

  /** Takes sessions: the sidecar's node is there and the link is not about to close. */
  get usable(): boolean {
    return !this.#closed && !this.#draining && this.#hello?.ready === true
  }

  get draining(): boolean {
    return this.#draining
  }

  get closed(): boolean {
    return this.#closed
  }

  get hello(): Hello | undefined {
    return this.#hello
  }

  /** When the first of the two certificates ends. */
  get notAfterMs(): number {
    return Math.min(this.credentials.notAfterMs, this.#peerNotAfterMs)
  }

  /** Opens a session; `onOpened` or `onClosed` of `user` follows. */
  openSession(user: LinkUser, open: Open): SessionQueue {
    const number = this.#nextNumber()
    this.#users.set(number, user)
    this.#outbox.send(controlEnvelope(Control.OPEN, open), number)
    return new SessionQueue(number, (bytes) => user.account.give(bytes))
  }

  /** The way of the sessions' requests to the sidecar. */
  get sender(): FairSender {
    return this.#sender
  }

  /** The sidecar sends nothing more of the session, or goes on. An older one cannot be told. */
  pauseAnswers(number: number, paused: boolean): void {
    if (!this.#inPieces || this.#closed) return
    this.#outbox.send(controlEnvelope(paused ? Control.PAUSE : Control.RESUME, {}), number)
  }

  closeSession(queue: SessionQueue): void {
    const number = queue.session
    this.#sender.drop(queue)
    this.#pieces.drop(number)
    if (!this.#users.delete(number) || this.#closed) return
    this.#outbox.send(controlEnvelope(Control.CLOSE, { code: 'DONE', message: '' }), number)
    if (this.#draining && this.#users.size === 0) this.destroy('recycled')
  }

  /** Takes no new sessions; closes when the last one has moved. */
  drain(): void {
    if (this.#draining) return
    this.#draining = true
    for (const user of [...this.#users.values()]) contain(user, 'a link that drains', () => user.onDraining())
    if (this.#users.size === 0) this.destroy('recycled')
  }

  /** The sidecar, when it is known who it is. */
  get revocable(): CallerFacts | undefined {
    return this.#peer
  }

  throwOut(by: Revocation): void {
    this.destroy(`the sidecar is thrown out: ${revokedText(by.id)}`)
  }

  /** Part of `Owner`. */
  onFault(): void {
    this.destroy('a fault of our own')
  }

  destroy(reason: string): void {
    this.#reason = reason
    this.#socket.destroy()
  }

  #verify(): void {
    const { peer, notAfterMs, protocol } = verifySidecar(this.#socket, this.#options)
    this.#peer = peer
    this.#peerNotAfterMs = notAfterMs
    if (protocol !== linkProtocol) return
    this.#inPieces = true
    this.#sender = new FairSender({ outbox: this.#outbox, inPieces: true })
    this.#splitter = new FrameSplitter(frameBodyBytesMax)
  }

  get sidecarId(): SpiffeId {
    return this.endpoint.spiffeId as SpiffeId
  }

  #nextNumber(): number {
    do this.#lastNumber = this.#lastNumber >= 0xffff_fffe ? 1 : this.#lastNumber + 1
    while (this.#users.has(this.#lastNumber))
    return this.#lastNumber
  }

  #onData(chunk: Buffer): void {
    if (this.#early !== undefined) {
      this.#earlyBytes += chunk.length
      if (this.#earlyBytes > limits.unauthenticatedBytesMax) this.destroy('unauthenticatedBytesMax reached')
      else this.#early.push(Buffer.from(chunk))
      return
    }
    this.#pingsMissed = 0
    try {
      this.#splitter.push(chunk, this)
    } catch (reason) {
      if (reason instanceof RingfenceError) this.destroy(reason.message)
      else containFault(this, 'bytes of a sidecar', reason)
    }
  }

  /** Part of `FrameSink`. */
  onFrame(number: number, buffer: Buffer, start: number, end: number): void {
    if (headerVersion(buffer, start) !== controlVersion) {
      // A session that was closed here may still have answers under way.
      this.#give(this.#users.get(number), buffer, start, end)
      return
    }
    switch (headerOpcode(buffer, start)) {
      case Control.HELLO:
        // Without one that is understood the link takes no further sessions, and keeps those that it has.
        this.#hello = tryControl(helloSchema, buffer.subarray(start, end))
        this.#options.onHello(this)
        return
      case Control.OPENED:
        this.#tell(number, (user) => user.onOpened())
        return
      case Control.CLOSE: {
        const user = this.#users.get(number)
        this.#users.delete(number)
        this.#pieces.drop(number)
        if (user !== undefined) {
          const why = tryControl(closeSchema, buffer.subarray(start, end)) ?? unsaid
          contain(user, 'the end of a session on a link', () => user.onClosed(why))
        }
        if (this.#draining && this.#users.size === 0) this.destroy('recycled')
        return
      }
      case Control.PAUSE:
        this.#tell(number, (user) => user.onPaused(true))
        return
      case Control.RESUME:
        this.#tell(number, (user) => user.onPaused(false))
        return
      case Control.PIECE:
        this.#piece(number, buffer, start, end)
        return
      case Control.PONG:
        return
      case Control.DRAIN:
        this.drain()
        return
      default:
        this.questions.answered(headerOpcode(buffer, start), buffer.subarray(start, end))
    }
  }

  /** A fault in it ends its client, not the link. */
  #give(user: LinkUser | undefined, buffer: Buffer, start: number, end: number): void {
    try {
      user?.onFrame(buffer, start, end)
    } catch (reason) {
      containFault(user!, 'an answer for a session', reason)
    }
  }

  #tell(number: number, what: (user: LinkUser) => void): void {
    const user = this.#users.get(number)
    if (user !== undefined) contain(user, 'word for a session', () => what(user))
  }

  /** A part of a long answer, or of one about the link itself. */
  #piece(number: number, buffer: Buffer, start: number, end: number): void {
    const user = this.#users.get(number)
    if (!this.#inPieces) throw new RingfenceError('LINK', 'a piece from an end that sends whole envelopes')
    if (user === undefined && number !== 0) return
    const whole = this.#pieces.add(number, user?.account, buffer, start, end)
    if (whole === undefined) return
    if (!this.#pieces.refused) {
      if (headerVersion(whole, 0) === controlVersion && headerOpcode(whole, 0) === Control.PIECE) {
        throw new RingfenceError('LINK', 'a piece made of pieces')
      }
      this.onFrame(number, whole, 0, whole.length)
      return
    }
    const { code, message } = cqlFault(overloaded())
    const envelope = errorEnvelope(
      (headerVersion(whole, 0) & 0x7f) as ProtocolVersion,
      headerStream(whole, 0),
      code,
      message,
    )
    this.#give(user, envelope, 0, envelope.length)
  }

  #sendPing(): void {
    if (++this.#pingsMissed > pingsMissedMax) this.destroy('the sidecar does not answer')
    else this.#outbox.send(controlEnvelope(Control.PING, {}), 0)
  }

  #onClose(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#ping)
    this.#outbox.close()
    this.#sender.close()
    this.#pieces.dropAll()
    this.questions.close()
    const users = [...this.#users.values()]
    this.#users.clear()
    for (const user of users) {
      contain(user, 'the end of a link', () => user.onClosed({ code: 'LINK', message: this.#reason }))
    }
    this.#options.onClosed(this, this.#reason)
  }
}
