/**
 * Who is there: what a connection itself shows is verified, and where it shows nothing and the listener takes proofs that are asked for, what
 * is behind it gets a `LogIn` in place of an identity.
 *
 * Rule: a connection counts with the handshakes until it is known who is there and it has its place.
 */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { containOwnFault, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { proofs } from '../identity/proofs/index.ts'
import type { Connected, Evidence, Proof, ProofCheck, Trust } from '../identity/proofs/proof.ts'
import { type AskingProof, askedOf, shownBy } from '../identity/proofs/registry.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientAddresses } from './backend.ts'
import type { Doors } from './doors.ts'
import { type Entered, LogIn } from './log-in.ts'
import type { Leave } from './places.ts'
import type { LogInRefusals, RefusalMode } from './refusals.ts'
import { reset } from './reset.ts'
import { refuseAsGoodAsOver } from './session-end.ts'

export interface Accepted {
  readonly socket: Socket | TLSSocket
  /** Ends it so that a client notices that has not heard READY. */
  readonly reset: () => void
  readonly addresses: ClientAddresses
  /** The application protocol that TLS settled on, such as `ringfence/1`. */
  readonly protocol: string | undefined
  /** Who is there, where the connection shows it; else the client is asked. */
  readonly entry: Entered | LogIn
  /** It may ask to be told of its end; true where it does not say. */
  readonly gracefulDisconnect?: boolean | undefined
}

/** A connection of which it is not known yet who is there. */
export interface Arrival {
  readonly raw: Socket
  readonly socket: Socket | TLSSocket
  readonly addresses: ClientAddresses
  readonly protocol: string | undefined
  /** It counts with the handshakes no longer. */
  readonly proved: Leave
}

export interface ArrivalsOptions {
  /** The one identity of everybody who comes in by a plain listener. */
  readonly identity: SpiffeId | undefined
  readonly authentication: readonly string[] | undefined
  readonly refusal: RefusalMode | undefined
  readonly gracefulDisconnect: boolean | undefined
  readonly trust: () => Trust
  /** Application protocols besides plain CQL: those of mesh links. */
  readonly protocols: readonly string[]
  readonly doors: Doors
  readonly refusals: LogInRefusals
  readonly log: Logger
  readonly nowMs: () => number
  /** Where clients come, as refusals name it. */
  readonly where: () => string
  readonly onAccepted: (accepted: Accepted) => void
}

export class Arrivals {
  readonly #options: ArrivalsOptions
  /** The kinds of proof that it takes. */
  readonly #taken: readonly Proof[]
  readonly #asked: readonly AskingProof[]

  constructor(options: ArrivalsOptions) {
    this.#options = options
    this.#taken = proofs.taken(options.authentication)
    this.#asked = askedOf(this.#taken)
  }

  /** Verifies what the connection itself shows; asks where it shows nothing. */
  prove(arrival: Arrival, certificates: readonly Buffer[]): void {
    const connection = { certificates, listenerIdentity: this.#options.identity }
    // A mesh link shows its certificate, whatever clients are asked for here.
    const taken = this.#isLink(arrival) ? proofs.taken(undefined) : this.#taken
    const evidence = shownBy(taken, connection)
    if (evidence === undefined) {
      this.#ask(arrival, connection)
      return
    }
    const enter = (identity: VerifiedIdentity): void => {
      if (!this.#isLink(arrival)) refuseAsGoodAsOver(identity, this.#options.nowMs())
      if (!arrival.raw.destroyed) this.#give(arrival, this.#enter(arrival, identity, evidence))
    }
    try {
      const identity = proofs.verify(evidence, this.#check(arrival))
      if (identity instanceof Promise) {
        const refused = (reason: unknown): void => this.#refuse(arrival, reason)
        settle({ onFault: refused }, 'a proof', identity, enter, refused)
      } else enter(identity)
    } catch (reason) {
      this.#refuse(arrival, reason)
    }
  }

  /** Counts with the handshakes until it has proved who it is. A mesh link is never asked. */
  #ask(arrival: Arrival, connection: Connected): void {
    const asked = this.#asked.filter(({ asks }) => asks.needs?.(connection) !== false)
    if (this.#isLink(arrival)) reset(arrival.raw)
    else if (asked.length === 0)
      this.#tell(arrival, notGood('the client shows no certificate, and nobody comes in here without'))
    else this.#give(arrival, this.#logIn(arrival, asked, connection))
  }

  /** TLS says that what was shown is not good. */
  refuseCertificate(arrival: Arrival, reason: unknown): void {
    if (this.#isLink(arrival)) this.#shut(arrival, reason)
    else this.#tell(arrival, notGood(certificateWords(reason)))
  }

  /** A TLS alert names no cause, and one driver stays away for good after it. So what is wrong with a certificate is said in answer to STARTUP. */
  #tell(arrival: Arrival, refused: LogInRefused): void {
    this.#give(arrival, this.#logIn(arrival, [], { certificates: [], listenerIdentity: undefined }, refused))
  }

  #logIn(arrival: Arrival, asked: readonly AskingProof[], connection: Connected, refusedBefore?: LogInRefused): LogIn {
    return new LogIn({
      asked,
      connection,
      ...(refusedBefore === undefined ? {} : { refusedBefore }),
      address: arrival.addresses.address,
      port: arrival.addresses.port,
      listener: this.#options.where(),
      check: () => this.#check(arrival),
      enter: ({ identity, evidence }) => this.#enter(arrival, identity, evidence),
      refusals: this.#options.refusals,
      refusal: this.#options.refusal ?? 'auto',
    })
  }

  /** It is known who is there. Where there is no place for it, it counts with the handshakes until it has been told and is gone. */
  #enter(arrival: Arrival, identity: VerifiedIdentity, evidence: Evidence): Entered {
    const { raw, addresses, proved } = arrival
    // Its place would never be given back.
    if (raw.destroyed) throw new RingfenceError('UNAVAILABLE', 'the client is gone')
    const info = { identity, evidence, ...addresses }
    const refusal = this.#options.doors.enter(raw, info, this.#isLink(arrival))
    if (refusal === undefined) proved()
    return { info, refusal }
  }

  #give({ raw, socket, addresses, protocol }: Arrival, entry: Entered | LogIn): void {
    const { gracefulDisconnect } = this.#options
    this.#options.onAccepted({ socket, reset: () => reset(raw), addresses, protocol, entry, gracefulDisconnect })
  }

  #isLink({ protocol }: Arrival): boolean {
    return protocol !== undefined && this.#options.protocols.includes(protocol)
  }

  #check({ addresses: { address } }: Arrival): ProofCheck {
    const { nowMs, trust } = this.#options
    return {
      nowMs: nowMs(),
      trust: trust(),
      gateway: undefined,
      named: this.#options.identity,
      address,
      from: addressBlock(address),
    }
  }

  /** A client hears why it is refused for what its connection shows. A mesh link does not, nor does anybody hear of a fault of ours. */
  #refuse(arrival: Arrival, reason: unknown): void {
    const isOfClient = reason instanceof RingfenceError && reason.code === 'IDENTITY'
    if (isOfClient && !this.#isLink(arrival) && !arrival.raw.destroyed) this.#tell(arrival, inWords(reason))
    else this.#shut(arrival, reason)
  }

  #shut({ raw, addresses }: Pick<Arrival, 'raw' | 'addresses'>, reason: unknown): void {
    containOwnFault('a client that comes', reason)
    this.#options.log.warn({ peer: addresses.address, reason: String(reason) }, 'client refused')
    this.#remember(addresses, reason, reason instanceof Error ? reason.message : String(reason))
    reset(raw)
  }

  /** Who is refused for what the connection itself shows. */
  #remember({ address, port }: ClientAddresses, reason: unknown, words: string): void {
    // What TLS says is a word; an error that is none of ours says nothing of the client.
    const isOfClient = !(reason instanceof Error) || reason instanceof RingfenceError
    const { why: cause, evidence } =
      reason instanceof LogInRefused ? reason : ({ why: isOfClient ? 'certificate' : 'other', evidence: {} } as const)
    const refused = { client: { address, port }, driver: undefined, cause, evidence, gateway: undefined }
    if (cause === 'revoked') this.#options.refusals.takeDown(refused)
    this.#options.refusals.remember(refused, words, this.#options.where())
  }
}

function notGood(words: string): LogInRefused {
  return new LogInRefused('certificate', words, { words })
}

/** Who shows a certificate has its key, so it may hear what is wrong; but nothing that quotes what it showed. */
function inWords(reason: RingfenceError): LogInRefused {
  const { message } = reason
  if (!(reason instanceof LogInRefused))
    return new LogInRefused('certificate', message, { words: notGoodWords, cause: reason })
  const { why, evidence, words = why === 'revoked' ? revokedWords : notGoodWords } = reason
  return new LogInRefused(why, message, { evidence, words, cause: reason })
}

/** By which revocation, and of what, is for who reads the record. */
const revokedWords = 'access was revoked'
const notGoodWords = "the client's certificate is not good"

/** Of what TLS says of a certificate that it does not accept. */
function certificateWords(reason: unknown): string {
  const code = String(reason)
  if (code.includes('CERT_HAS_EXPIRED')) return "the client's certificate has expired"
  if (code.includes('CERT_NOT_YET_VALID')) return "the client's certificate is not valid yet, or a clock is wrong"
  if (/ISSUER|SELF_SIGNED|SIGNATURE/.test(code))
    return "the client's certificate is of an authority that is not known here"
  return notGoodWords
}
