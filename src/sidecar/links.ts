/**
 * The sidecar's end of a mesh link: frames become requests of the sessions that gateways opened on it, and answers to questions about the node.
 *
 *   frame ─▶ LinkServer ─┬▶ OPEN ─▶ link-openings.ts ─▶ LinkedClient, over an enforced session
 *                        ├▶ a request ─▶ its session's LinkedClient
 *                        └▶ PING, SCHEMA?, RING?, TABLE?
 */
import type { TLSSocket } from 'node:tls'
import { after, contain, contained, containFault, nothingEnds, settle, timerMsMax } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { headerOpcode, headerStream, headerVersion } from '../cql/protocol.ts'
import { ownCertificate } from '../identity/proofs/index.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
import type { CallerFacts } from '../identity/revoked/revocations.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { FairSender, SessionQueue } from '../link/fair-sender.ts'
import { Pieces } from '../link/pieces.ts'
import type { Close, Hello } from '../link/protocol.ts'
import {
  Control,
  controlEnvelope,
  controlVersion,
  frameBodyBytesMax,
  givenSchema,
  helloSchema,
  linkProtocol,
  numberedSchema,
  readControl,
  ringQuerySchema,
  schemaQuerySchema,
  tableQuerySchema,
  tableSchema,
  tryControl,
} from '../link/protocol.ts'
import { FrameSplitter } from '../link/splitter.ts'
import type { Accepted } from '../session/arrivals.ts'
import { LogIn } from '../session/log-in.ts'
import { Outbox } from '../session/outbox.ts'
import type { PlaceBounds } from '../session/places.ts'
import type { Revocable } from '../session/thrown-out.ts'
import { LinkOpenings, type OpeningHost, type OpeningLink } from './link-openings.ts'
import type { LinkedClient } from './linked-client.ts'

/** As limits.ts has them. */
export const linkedBounds: PlaceBounds = {
  name: 'linkedSessions',
  max: limits.linkedSessionsMax,
  perAddressMax: limits.linkedSessionsPerAddressMax,
  perIdentityMax: limits.linkedSessionsPerIdentityMax,
}

export interface LinkHost extends OpeningHost {
  readonly hello: () => Hello
  readonly schemaVersion: () => Promise<string>
  /** The control envelope that answers RING_QUERY `id`; borrowed. */
  readonly ring: (id: number) => Buffer
  /** Names in order; empty for a table that is virtual or not known. */
  readonly partitionKey: (keyspace: string, table: string) => readonly string[]
  readonly turn: ConstructorParameters<typeof Outbox>[1]
  readonly onClosed: (link: LinkServer) => void
}

export class LinkServer implements OpeningLink, Revocable {
  readonly #host: LinkHost
  readonly #socket: TLSSocket
  readonly #outbox: Outbox
  readonly sender: FairSender
  /** The other end knows PAUSE and PIECE. */
  readonly #inPieces: boolean
  readonly #splitter: FrameSplitter
  readonly #pieces = new Pieces(limits.messageBytesMax)
  /** Of the link itself. */
  readonly #ownQueue = new SessionQueue(0, () => {})
  readonly gateway: SpiffeId
  readonly gatewayLeafDer: Buffer
  /** The gateway. */
  readonly revocable: CallerFacts
  readonly #sessions = new Map<number, LinkedClient>()
  readonly #openings: LinkOpenings
  readonly #expiry: NodeJS.Timeout

  /** `accepted` has an ALPN of `LINK_PROTOCOLS`. Throws `IDENTITY` when the peer is no gateway. */
  constructor(accepted: Accepted, host: LinkHost) {
    const { entry } = accepted
    assert(!(entry instanceof LogIn), 'a link is never asked who it is')
    if (entry.refusal !== undefined) throw new RingfenceError('OVERLOADED', entry.refusal)
    const { identity, evidence } = entry.info
    const leaf = evidence === undefined ? undefined : ownCertificate(evidence)
    const gatewayPrefix = `spiffe://${trustDomainOf(host.credentials().spiffeId)}/ringfence/gateway/`
    if (leaf === undefined || !identity.subject.startsWith(gatewayPrefix)) {
      throw new RingfenceError('IDENTITY', `${identity.subject} is no gateway of this mesh`)
    }
    this.#host = host
    this.#openings = new LinkOpenings(host, this)
    this.gateway = identity.subject
    this.revocable = identity
    this.gatewayLeafDer = leaf
    this.#socket = accepted.socket as TLSSocket
    this.#outbox = new Outbox(this.#socket, host.turn, { framing: 'prefixed', shared: true })
    this.#inPieces = accepted.protocol === linkProtocol
    this.sender = new FairSender({ outbox: this.#outbox, inPieces: this.#inPieces })
    this.#splitter = new FrameSplitter(this.#inPieces ? frameBodyBytesMax : limits.messageBytesMax)
    this.#socket.on(
      'drain',
      contained(this, 'room in a mesh link', () => this.sender.pump()),
    )
    // A link lives no longer than the certificate it was opened with; gateways move their sessions well before.
    const lifeMs = Math.min(Math.max(identity.expiresAtMs - Date.now(), 0), timerMsMax)
    this.#expiry = after(this, 'the end of a gateway certificate', lifeMs, () =>
      this.destroy('the gateway certificate expired'),
    )
    this.#socket.on(
      'data',
      contained(this, 'bytes of a gateway', (chunk: Buffer) => this.#onData(chunk)),
    )
    this.#socket.on('error', (error) => host.log.info({ reason: error.message }, 'mesh link failed'))
    this.#socket.on(
      'close',
      contained(this, 'the end of a mesh link', () => this.#onClose()),
    )
    this.sendHello()
  }

  get sessionsOpen(): number {
    return this.#sessions.size
  }

  clients(): Iterable<LinkedClient> {
    return this.#sessions.values()
  }

  /** Its gateway is thrown out: nothing more is believed of it. */
  throwOut(by: Revocation): void {
    this.destroy(`its gateway: ${revokedText(by.id)}`)
  }

  sendHello(): void {
    this.#outbox.send(controlEnvelope(Control.HELLO, helloSchema.parse(this.#host.hello())), 0)
  }

  /** Asks the gateway to move its sessions away, each when nothing of it is in flight; it closes the link after the last. */
  drain(): void {
    this.sendHello()
    this.#outbox.send(controlEnvelope(Control.DRAIN, {}), 0)
  }

  /** Ends every session, each with a reason that its gateway can act on. */
  closeSessions(code: string, message: string): void {
    for (const [number, client] of this.#sessions) {
      this.#sendClose(number, { code, message })
      contain(client, 'the end of a linked session', () => this.#forget(client))
    }
    this.#sessions.clear()
    for (const number of this.#openings.cancelAll()) this.#sendClose(number, { code, message })
  }

  destroy(reason: string): void {
    this.#host.log.info({ gateway: this.gateway, reason }, 'mesh link closed')
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    try {
      this.#splitter.push(chunk, this)
    } catch (reason) {
      if (!(reason instanceof RingfenceError)) {
        containFault(this, 'bytes of a gateway', reason)
        return
      }
      this.#host.log.error({ err: reason, gateway: this.gateway }, 'mesh link broken')
      this.#socket.destroy()
    }
  }

  /** Part of `FrameSink`. */
  onFrame(number: number, buffer: Buffer, start: number, end: number): void {
    if (headerVersion(buffer, start) === controlVersion) this.#control(number, buffer, start, end)
    // A session that was closed here may still have frames under way.
    else this.#request(this.#sessions.get(number), buffer, start, end)
  }

  /** A fault in it ends its session, not the link. */
  #request(client: LinkedClient | undefined, buffer: Buffer, start: number, end: number): void {
    try {
      client?.request(buffer, start, end)
    } catch (reason) {
      containFault(client!, 'a request of a linked session', reason)
    }
  }

  isOpen(number: number): boolean {
    return this.#sessions.has(number)
  }

  /** Its requests are served from now on. */
  admitted(client: LinkedClient): void {
    this.#sessions.set(client.queue.session, client)
  }

  /** It is connected to the node, unless it has ended meanwhile. */
  opened(client: LinkedClient): void {
    const number = client.queue.session
    if (this.#sessions.get(number) === client) this.#outbox.send(controlEnvelope(Control.OPENED, {}), number)
  }

  refused(number: number, reason: Close): void {
    this.#sendClose(number, reason)
  }

  /** A fault of ours in something that is about this link. */
  onFault(): void {
    this.destroy('internal error in the mesh')
  }

  drop(number: number, reason: Close): void {
    const client = this.#sessions.get(number)
    if (client === undefined) return
    this.#sessions.delete(number)
    this.#pieces.drop(number)
    const { queue } = client
    if (queue.paused || queue.waitingBytes === 0) {
      this.sender.drop(queue)
      this.#sendClose(number, reason)
      return
    }
    // Behind the answers that the client was given.
    const close = closeEnvelope(reason)
    client.account.add(close.length)
    this.sender.enqueue(queue, close, 0, close.length, 0)
  }

  tell(number: number, control: number): void {
    if (this.#inPieces) this.#outbox.send(controlEnvelope(control, {}), number)
  }

  #sendClose(number: number, reason: Close): void {
    this.#outbox.send(closeEnvelope(reason), number)
  }

  #control(number: number, buffer: Buffer, start: number, end: number): void {
    if (this.#outbox.waitingBytes + this.#ownQueue.waitingBytes > limits.linkWaitingBytesMax) {
      this.destroy('the gateway asks and does not take its answers')
      return
    }
    switch (headerOpcode(buffer, start)) {
      case Control.OPEN:
        this.#openings.open(number, buffer.subarray(start, end))
        return
      case Control.CLOSE: {
        const client = this.#sessions.get(number)
        this.#sessions.delete(number)
        this.#openings.cancel(number)
        if (client !== undefined) this.#forget(client)
        return
      }
      case Control.PAUSE: {
        const client = this.#sessions.get(number)
        if (client !== undefined) this.sender.pause(client.queue)
        else this.#openings.pause(number, true)
        return
      }
      case Control.RESUME: {
        const client = this.#sessions.get(number)
        if (client !== undefined) this.sender.resume(client.queue)
        else this.#openings.pause(number, false)
        return
      }
      case Control.PIECE:
        this.#piece(number, buffer, start, end)
        return
      case Control.GIVEN:
        this.#sessions.get(number)?.given(readControl(givenSchema, buffer.subarray(start, end)).answer)
        return
      case Control.PING:
        this.#outbox.send(controlEnvelope(Control.PONG, {}), 0)
        return
      case Control.SCHEMA_QUERY: {
        const id = tryControl(schemaQuerySchema, buffer.subarray(start, end))?.id
        if (id === undefined) return
        const tell = (versions: string[]): void =>
          this.#outbox.send(controlEnvelope(Control.SCHEMA, { id, versions }), 0)
        settle(
          this,
          'a schema version',
          this.#host.schemaVersion(),
          (version) => tell([version]),
          () => tell([]),
        )
        return
      }
      case Control.RING_QUERY: {
        const id = tryControl(ringQuerySchema, buffer.subarray(start, end))?.id
        if (id === undefined) return
        const envelope = this.#host.ring(id)
        this.sender.enqueue(this.#ownQueue, envelope, 0, envelope.length, 0)
        return
      }
      case Control.TABLE_QUERY: {
        const question = tryControl(tableQuerySchema, buffer.subarray(start, end))
        const id = question?.id ?? tryControl(numberedSchema, buffer.subarray(start, end))?.id
        if (id === undefined) return
        const known = question === undefined ? [] : this.#host.partitionKey(question.keyspace, question.table)
        const answer = { id, partitionKey: known }
        // A key that the message cannot hold is as good as not known.
        const held = tableSchema.safeParse(answer).success
        this.#outbox.send(controlEnvelope(Control.TABLE, held ? answer : { id, partitionKey: [] }), 0)
        return
      }
      // A kind that only a newer gateway knows is left unanswered, as by an older sidecar it would be.
    }
  }

  /** A part of a long request. */
  #piece(number: number, buffer: Buffer, start: number, end: number): void {
    const client = this.#sessions.get(number)
    if (client === undefined || !this.#inPieces) return
    const whole = this.#pieces.add(number, client.account, buffer, start, end)
    if (whole === undefined) return
    if (this.#pieces.refused) {
      contain(client, 'a request of a linked session', () => client.refuse(headerStream(whole, 0)))
    } else if (headerVersion(whole, 0) === controlVersion) {
      if (headerOpcode(whole, 0) === Control.GIVEN) this.#control(number, whole, 0, whole.length)
      else throw new RingfenceError('LINK', 'a control message in pieces')
    } else this.#request(client, whole, 0, whole.length)
  }

  /** Nobody waits any more for what there is of the session. */
  #forget(client: LinkedClient): void {
    this.sender.drop(client.queue)
    this.#pieces.drop(client.queue.session)
    client.abandon()
  }

  #onClose(): void {
    clearTimeout(this.#expiry)
    this.#outbox.close()
    for (const client of this.#sessions.values()) {
      contain(client, 'the end of a linked session', () => this.#forget(client))
    }
    this.#sessions.clear()
    contain(nothingEnds, 'the end of a mesh link', () => {
      this.#openings.cancelAll()
      this.sender.close()
    })
    this.#host.onClosed(this)
  }
}

function closeEnvelope({ message, ...rest }: Close): Buffer {
  return controlEnvelope(Control.CLOSE, { ...rest, message: message.slice(0, 1024) })
}
