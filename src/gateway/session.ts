/**
 * A client's session as the gateway holds it: on one mesh link at a time, moved to another when that one goes.
 *
 *   unlinked ──OPEN──▶ opening ──OPENED──▶ linked ──link draining, nothing in flight──▶ unlinked …
 *                                            └── link lost with requests in flight ──▶ the client's connection ends
 *
 * Rule: what was sent and not answered is never sent again; whether the node acted is then unknown, and only the driver may
 * decide. What was not sent yet may wait and go elsewhere.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { headerFlags, headerOpcode, headerStream, Opcode, ResultKind } from '../cql/protocol.ts'
import { readRegister } from '../cql/requests.ts'
import { bodyStart, readSetKeyspace } from '../cql/responses.ts'
import { signPassport } from '../identity/passport.ts'
import type { Close } from '../link/protocol.ts'
import type { Backend, Client, StartupInfo } from '../session/backend.ts'
import type { TopologyDesk } from './desk.ts'
import type { GatewayLink, LinkUser } from './link.ts'
import type { MeshLinks } from './links.ts'
import { eventForClient } from './topology/events.ts'

/** How long a request waits for a link when its session has none. */
const RELINK_MS_MAX = 5000
/** Refusals that another sidecar would repeat. */
const FINAL_CODES: ReadonlySet<string> = new Set(['IDENTITY', 'UNAUTHORIZED'])

type Waiter = { readonly resolve: () => void; readonly reject: (reason: RingfenceError) => void }

export class LinkedSession implements Backend, LinkUser {
  readonly #client: Client
  readonly #startup: StartupInfo
  readonly #links: MeshLinks
  readonly #desk: TopologyDesk
  readonly #onClosed: (session: LinkedSession) => void
  #link: GatewayLink | undefined
  #number = 0
  #opened = false
  #opening: Waiter | undefined
  #linking = false
  #inFlight = 0
  #held: Buffer[] = []
  #keyspace = ''
  #events: readonly string[] = []
  #closed = false

  constructor(
    client: Client,
    startup: StartupInfo,
    links: MeshLinks,
    desk: TopologyDesk,
    onClosed: (session: LinkedSession) => void,
  ) {
    this.#client = client
    this.#startup = startup
    this.#links = links
    this.#desk = desk
    this.#onClosed = onClosed
  }

  /** Resolves when a sidecar has taken the session. Throws `UNAVAILABLE` or what the sidecar said. */
  async open(): Promise<void> {
    const link = await this.#links.chooseWithin(RELINK_MS_MAX)
    if (link === undefined) throw new RingfenceError('UNAVAILABLE', 'no node of the cluster is reachable')
    if (this.#closed) throw new RingfenceError('UNAVAILABLE', 'the client is gone')
    const { info } = this.#client
    const [leafDer, ...intermediatesDer] = info.certificates
    const evidence =
      leafDer === undefined
        ? ({ kind: 'listener', spiffeId: info.identity.spiffeId } as const)
        : ({ kind: 'svid', leafDer, intermediatesDer } as const)
    const now = Date.now()
    const passport = signPassport(
      {
        evidence,
        clientAddress: info.address,
        clientPort: info.port,
        driverName: this.#startup.driverName,
        expiresAtMs: Math.min(info.identity.notAfterMs, now + limits.sessionMsMax),
        audience: link.sidecarId,
      },
      { spiffeId: link.credentials.spiffeId, key: link.key },
      now,
    )
    if (link.closed) throw new RingfenceError('UNAVAILABLE', 'the mesh link was lost')
    this.#link = link
    this.#opened = false
    await new Promise<void>((resolve, reject) => {
      this.#opening = { resolve, reject }
      this.#number = link.openSession(this, {
        passport,
        version: this.#startup.version,
        ...(this.#keyspace === '' ? {} : { keyspace: this.#keyspace }),
        events: [...this.#events],
      })
    })
  }

  request(buffer: Buffer, start: number, end: number): void {
    if (this.#answerHere(buffer, start, end)) return
    const link = this.#link
    // While a session is to move, what comes waits, so that it comes to have nothing in flight.
    if (!this.#opened || link === undefined || link.draining || this.#linking) {
      this.#hold(buffer, start, end)
      return
    }
    this.#send(link, buffer, start, end)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#held = []
    this.#link?.closeSession(this.#number)
    this.#link = undefined
    this.#onClosed(this)
  }

  onOpened(): void {
    this.#opened = true
    const opening = this.#opening
    this.#opening = undefined
    opening?.resolve()
  }

  onFrame(buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    if (stream < 0) {
      if (eventForClient(buffer, start, end) !== undefined) this.#client.event(buffer, start, end)
      return
    }
    this.#inFlight--
    if (headerOpcode(buffer, start) === Opcode.RESULT) {
      const at = headerFlags(buffer, start) === 0 ? start + 9 : bodyStart(buffer, start, end)
      if (buffer.readInt32BE(at) === ResultKind.SET_KEYSPACE) this.#keyspace = readSetKeyspace(buffer, start, end)
    }
    this.#client.answer(buffer, start, end, stream)
    if (this.#inFlight === 0 && this.#link?.draining === true) this.#move()
  }

  onClosed(reason: Close): void {
    const opening = this.#opening
    this.#opening = undefined
    this.#link = undefined
    this.#opened = false
    if (opening !== undefined) {
      const code = reason.code === 'UNAUTHORIZED' ? 'UNAUTHORIZED' : 'UNAVAILABLE'
      opening.reject(new RingfenceError(code, reason.message))
      return
    }
    if (this.#closed) return
    if (this.#inFlight > 0 || FINAL_CODES.has(reason.code)) this.#client.close(reason.message)
    else if (this.#held.length > 0 || this.#events.length > 0) this.#relink()
  }

  onDraining(): void {
    if (this.#inFlight === 0 && this.#opened) this.#move()
  }

  #answerHere(buffer: Buffer, start: number, end: number): boolean {
    const opcode = headerOpcode(buffer, start)
    if (opcode === Opcode.REGISTER) {
      const { version } = this.#startup
      const types = readRegister(buffer, start, end, version, headerFlags(buffer, start))
      this.#events = [...new Set([...this.#events, ...types])]
      return false
    }
    return this.#desk.request(this.#client, this.#startup.version, this.#keyspace, opcode, buffer, start, end)
  }

  #send(link: GatewayLink, buffer: Buffer, start: number, end: number): void {
    if (link.waitingBytes > limits.outboxBytesMax) throw new RingfenceError('OVERLOADED', 'the mesh link is congested')
    this.#inFlight++
    link.write(this.#number, buffer, start, end, headerStream(buffer, start))
  }

  #hold(buffer: Buffer, start: number, end: number): void {
    if (this.#held.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    this.#held.push(Buffer.from(buffer.subarray(start, end)))
    if (this.#link === undefined && !this.#linking) this.#relink()
    else if (this.#link?.draining === true && this.#inFlight === 0 && this.#opened) this.#move()
  }

  /** Leaves a draining link; nothing is in flight on it. */
  #move(): void {
    const link = this.#link
    this.#link = undefined
    this.#opened = false
    link?.closeSession(this.#number)
    this.#relink()
  }

  #relink(): void {
    if (this.#linking || this.#closed) return
    this.#linking = true
    this.open().then(
      () => {
        this.#linking = false
        this.#letGo()
      },
      (reason: unknown) => {
        this.#linking = false
        this.#failHeld(reason)
      },
    )
  }

  #letGo(): void {
    const held = this.#held
    this.#held = []
    for (const request of held) {
      if (this.#closed) return
      try {
        const link = this.#link
        if (link === undefined || !this.#opened || link.draining) this.#hold(request, 0, request.length)
        else this.#send(link, request, 0, request.length)
      } catch (reason) {
        this.#client.fault(reason, headerStream(request, 0))
      }
    }
  }

  #failHeld(reason: unknown): void {
    const held = this.#held
    this.#held = []
    for (const request of held) this.#client.fault(reason, headerStream(request, 0))
    // Without a session there is nothing to register events with or to speak for the client: its driver opens another.
    this.#client.close('no node of the cluster is reachable')
  }
}
