/**
 * How a session on a mesh link begins: its passport is verified, perhaps by asking somebody, then it takes a place, and its client is made.
 *
 *   OPEN ─▶ passport ─▶ a place ─▶ LinkedClient over an enforced session ─▶ the node ─▶ OPENED
 *             └────────────┴── CLOSE {code, message, cause, words}
 *
 * Rule: a session exists only after its passport was verified here; what a gateway says of its clients is not believed without.
 */

import type { RefusedLogIn } from '../audit/record.ts'
import type { ByteAccount } from '../base/bytes-budget.ts'
import { after, containOwnFault, type Owner, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { withoutAddressText } from '../cql/answers/addresses.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { type Passport, type SaidClient, verifyPassport } from '../identity/passport.ts'
import type { Trust } from '../identity/proofs/proof.ts'
import { refuseRevoked } from '../identity/proofs/registry.ts'
import { workloadKeyOf } from '../identity/proofs/workload.ts'
import { LogInRefused, type RefusalCause } from '../identity/refusal.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { type Close, type Open, openSchema, readControl } from '../link/protocol.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Client, ClientInfo, LimitAnswers } from '../session/backend.ts'
import type { Refusals } from '../session/doors.ts'
import type { Leave, Places } from '../session/places.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { type ClientLink, LinkedClient } from './linked-client.ts'
import type { EnforcedSession } from './session.ts'

export interface LinkedOpen {
  /** The gateway's name for the client's connection. */
  readonly session: string
  readonly version: ProtocolVersion
  readonly keyspace: string
  readonly events: readonly string[]
  readonly driverName: string | undefined
  readonly gateway: SpiffeId
  readonly limitAnswers: LimitAnswers | undefined
}

export interface OpeningHost {
  readonly log: Logger
  readonly credentials: () => Credentials
  readonly trust: () => Trust
  /** @throws OVERLOADED while nothing can be recorded */
  readonly mayOpen: () => void
  /** Of a verified client; closed with its session. */
  readonly account: (info: ClientInfo) => ByteAccount
  /** For the sessions of all links. */
  readonly places: Places
  readonly refusals: Refusals
  /** A passport was refused for what its client showed; `words` say why. */
  readonly refusedLogIn: (refused: RefusedLogIn & { readonly cause: RefusalCause }, words: string) => void
  /** Undefined where it can be decided at once whether the client may use a keyspace; else when it can (`Judge.readyToUse`). */
  readonly ready: (info: ClientInfo, version: ProtocolVersion, keyspace: string) => Promise<void> | undefined
  /** Makes the session of a verified client; `open` connects it to the node. Throws where `keyspace` may not be used. */
  readonly session: (client: Client, open: LinkedOpen) => EnforcedSession
}

/** The link on which sessions are opened. */
export interface OpeningLink extends ClientLink, Owner {
  readonly gateway: SpiffeId
  readonly gatewayLeafDer: Buffer
  isOpen(number: number): boolean
  admitted(client: LinkedClient): void
  opened(client: LinkedClient): void
  refused(number: number, reason: Close): void
}

/** What is known of a session before its passport is good. */
interface Asked {
  session?: string
  /** As the gateway says. */
  client?: SaidClient
}

interface Verifying {
  /** The gateway said PAUSE meanwhile. */
  answersPaused: boolean
}

export class LinkOpenings {
  readonly #host: OpeningHost
  readonly #link: OpeningLink
  /** Sessions whose passports take time to verify. */
  readonly #verifying = new Map<number, Verifying>()
  readonly #refusals = new Repeated()

  constructor(host: OpeningHost, link: OpeningLink) {
    this.#host = host
    this.#link = link
  }

  /** Throws LINK where the number is in use. What is wrong with one session is told to the gateway, for others live on this link. */
  open(number: number, message: Buffer): void {
    if (number === 0 || this.#link.isOpen(number) || this.#verifying.has(number))
      throw new RingfenceError('LINK', `session ${number} is open already`)
    const asked: Asked = {}
    try {
      this.#host.mayOpen()
      const open = readControl(openSchema, message)
      asked.session = open.session
      const passport = verifyPassport(open.passport, {
        gatewayLeafDer: this.#link.gatewayLeafDer,
        trust: this.#host.trust(),
        nowMs: Date.now(),
        audience: this.#host.credentials().spiffeId,
        signed: (client) => {
          asked.client = client
        },
      })
      if (passport instanceof Promise) this.#openLater(number, open, this.#readyFor(open, passport), asked)
      else {
        const ready = this.#ready(open, passport)
        if (ready === undefined) this.#admit(number, open, passport)
        else this.#openLater(number, open, this.#whenReady(passport, ready), asked)
      }
    } catch (reason) {
      this.#refuse(number, reason, asked)
    }
  }

  /** A session that begins in a keyspace is decided on when it is admitted. */
  async #readyFor(open: Open, verifying: Promise<Passport>): Promise<Passport> {
    const passport = await verifying
    await this.#ready(open, passport)
    return passport
  }

  async #whenReady(passport: Passport, ready: Promise<void>): Promise<Passport> {
    await ready
    return passport
  }

  #ready({ keyspace, version }: Open, passport: Passport): Promise<void> | undefined {
    if (keyspace === undefined) return undefined
    return this.#host.ready(infoOf(passport), version as ProtocolVersion, keyspace)
  }

  /** The gateway gave it up. */
  cancel(number: number): void {
    this.#verifying.delete(number)
  }

  /** The numbers of those that were being verified. */
  cancelAll(): number[] {
    const numbers = [...this.#verifying.keys()]
    this.#verifying.clear()
    return numbers
  }

  /** PAUSE or RESUME came for a session that is not there yet. */
  pause(number: number, paused: boolean): void {
    const verifying = this.#verifying.get(number)
    if (verifying !== undefined) verifying.answersPaused = paused
  }

  /** The proof is verified by asking somebody, or the client's rules are gathered. The gateway sends nothing of the session before OPENED, and may give it up. */
  #openLater(number: number, open: Open, passport: Promise<Passport>, asked: Asked): void {
    if (this.#verifying.size >= limits.handshakesMax) {
      passport.catch(() => {})
      throw new RingfenceError('OVERLOADED', 'handshakesMax reached')
    }
    const verifying: Verifying = { answersPaused: false }
    const isOver = (): boolean => {
      clearTimeout(timer)
      return this.#verifying.get(number) !== verifying || !this.#verifying.delete(number)
    }
    const refuse = (reason: unknown): void => {
      if (!isOver()) this.#refuse(number, reason, asked)
    }
    const timer = after(this.#link, 'a passport that takes long', limits.handshakeTimeoutMs, () =>
      refuse(new RingfenceError('IDENTITY', 'handshakeTimeoutMs passed')),
    )
    this.#verifying.set(number, verifying)
    const admit = (verified: Passport): void => {
      if (isOver()) return
      try {
        this.#admit(number, open, verified, verifying.answersPaused)
      } catch (reason) {
        this.#refuse(number, reason, asked)
      }
    }
    settle(this.#link, 'a passport', passport, admit, refuse)
  }

  #admit(number: number, open: Open, passport: Passport, answersPaused = false): void {
    const { account } = this.#host
    const info = infoOf(passport)
    // Its rules may have been gathered meanwhile.
    refuseRevoked(info.identity, this.#host.trust().revocations, Date.now())
    const version = open.version as ProtocolVersion
    const client = new LinkedClient({ link: this.#link, number, info, account: account(info), version })
    try {
      if (answersPaused) this.#link.sender.pause(client.queue)
      client.takePlace(this.#placeFor(client))
      client.begin(
        this.#host.session(client, {
          session: open.session,
          version,
          keyspace: open.keyspace ?? '',
          events: open.events,
          driverName: passport.driverName,
          gateway: this.#link.gateway,
          limitAnswers: open.limitAnswers,
        }),
      )
    } catch (reason) {
      client.abandon()
      throw reason
    }
    this.#link.admitted(client)
    settle(
      client,
      'the beginning of a linked session',
      client.open(),
      () => this.#link.opened(client),
      (reason) => client.close(reason instanceof Error ? reason.message : String(reason)),
    )
  }

  #refuse(number: number, reason: unknown, { client, session }: Asked): void {
    containOwnFault('a session that opens on a mesh link', reason)
    const refusal = RingfenceError.from(reason, 'LINK')
    if (reason instanceof LogInRefused) {
      const { why: cause, evidence } = reason
      const { gateway } = this.#link
      this.#host.refusedLogIn({ client, driver: undefined, cause, evidence, gateway, session }, reason.message)
    }
    // What had no place was counted already.
    const repeated = refusal.code === 'OVERLOADED' ? undefined : this.#refusals.due(refusal.message)
    if (repeated !== undefined) {
      this.#host.log.warn({ gateway: this.#link.gateway, reason: refusal.message, repeated }, 'session refused')
    }
    // The gateway tells its client, who is to know no address of what stands behind.
    const { code } = refusal
    this.#link.refused(number, { code, message: withoutAddressText(refusal.message), ...toldOf(reason) })
  }

  /** Throws OVERLOADED where there is none. */
  #placeFor(client: LinkedClient): Leave {
    const { places, refusals } = this.#host
    const identity = workloadKeyOf(client.info.identity)
    const { address } = client.info
    const place = places.take({
      identity,
      address: addressBlock(address),
      displace: () => {
        const reason = 'its place was taken by an identity with fewer'
        refusals.count(reason, { identity, address })
        client.close(reason)
      },
    })
    if (typeof place !== 'string') return place
    refusals.count(place, { identity, address })
    throw new RingfenceError('OVERLOADED', place)
  }
}

/** Why what the client showed is not believed: the gateway's table says what that client hears (`session/refusals.ts`). */
function toldOf(reason: unknown): Pick<Close, 'cause' | 'words'> {
  if (!(reason instanceof LogInRefused)) return {}
  const { why: cause, words } = reason
  return words === undefined ? { cause } : { cause, words: withoutAddressText(words) }
}

function infoOf({ identity, clientAddress, clientPort }: Passport): ClientInfo {
  return {
    identity,
    evidence: undefined,
    address: clientAddress,
    port: clientPort,
    dialledAddress: '',
    dialledPort: 0,
  }
}
