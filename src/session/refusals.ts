/**
 * What the client of a refused log-in hears, and what is kept of it: for the log, for the record, and for `ringfence identity why`.
 *
 * What the client hears goes by what two drivers do with it. After any ERROR in answer to AUTH_RESPONSE the Python driver stays away from
 * that host for the life of its Cluster. After 0x0100 the C++ driver closes its pools for good. The others try again. So a cause that
 * passes is told in words only to drivers that come back, or to a client that was never here, where a person reads it.
 *
 * Rule: of a cause that stays the client hears one text, whoever it claims to be.
 */

import { TokenBucket } from '../base/bucket.ts'
import { type Cache, createCache } from '../base/cache.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { LogInRefused, type RefusalCause, type RefusedEvidence, refusalClass } from '../identity/refusal.ts'
import { addressBlock } from '../mesh/address-block.ts'
import { RefusedLogIns, type RefusedPart, reportedBounds } from '../mesh/refused-log-ins.ts'
import type { Logger } from '../telemetry/log.ts'

/** `auto`: by driver and cause. `words`: always an ERROR. `silent`: never one. */
export const refusalModes = ['auto', 'words', 'silent'] as const
export type RefusalMode = (typeof refusalModes)[number]

/** As far as they differ in what they do with a refusal. */
export type DriverKind = 'returns' | 'cpp' | 'python'

/** DRIVER_NAME is a claim; who claims another one harms itself. What is not known is treated as the most delicate. */
export function driverKind(name: string | undefined): DriverKind {
  if (name === undefined) return 'python'
  if (/c\/c\+\+|\bcpp\b|cpp-/i.test(name)) return 'cpp'
  if (/java\b|node\.?js|gocql|rust|c#|csharp|\.net/i.test(name)) return 'returns'
  return 'python'
}

/**
 * Who cannot log in, whatever it would answer, hears that in answer to STARTUP by an error after which every driver tries again: a server's
 * error. gocql takes that for a version that is not spoken, and shows none of its words.
 */
export function startupRefusalCode(driverName: string | undefined): 'UPSTREAM' | 'OVERLOADED' {
  return /gocql/i.test(driverName ?? '') ? 'OVERLOADED' : 'UPSTREAM'
}

/** What leaves. `closes`: nothing but the end of the connection. */
export type RefusalAnswer =
  | { readonly kind: 'error'; readonly error: RingfenceError; readonly ends: boolean }
  | { readonly kind: 'closes' }

export interface Refused {
  readonly address: string
  readonly port: number
  /** Where the client came: its address and port, or its path. */
  readonly listener: string | undefined
  readonly driverName: string | undefined
  readonly reason: unknown
  /** As `Evidence.claimed`. */
  readonly claimed: string | undefined
  /** It is refused for what its connection shows, such as its certificate. Nothing is tried by it that could be guessed. */
  readonly isOfConnection?: boolean
}

export interface TakenDown {
  /** Undefined where a gateway showed it, and said nothing of its client that it signed. */
  readonly client: { readonly address: string; readonly port: number } | undefined
  readonly driver: string | undefined
  readonly cause: RefusalCause
  readonly evidence: RefusedEvidence
  readonly gateway: string | undefined
  /** Its name for the client's connection. */
  readonly session?: string | undefined
}

/** So many claimed identities of those that were refused last are known by the name that they are shown by. */
const shownMax = 1_000

/** How often log-ins under one name may be refused before the next one is not looked at. */
class Attempts {
  readonly #burst: number
  readonly #perSecond: number
  readonly #buckets: Cache<TokenBucket> = createCache(limits.clientsRememberedMax)

  constructor(burst: number, perSecond: number) {
    this.#burst = burst
    this.#perSecond = perSecond
  }

  mayTry(name: string, nowMicros: number): boolean {
    return this.#buckets.get(name)?.isEmpty(nowMicros) !== true
  }

  refused(name: string, nowMicros: number): void {
    const bucket = this.#buckets.get(name) ?? new TokenBucket(this.#burst, this.#perSecond)
    this.#buckets.set(name, bucket)
    bucket.take(nowMicros)
  }
}

function attemptsOfAddresses(): Attempts {
  return new Attempts(limits.logInsRefusedPerAddressBurstMax, limits.logInsRefusedPerAddressPerSecondMax)
}

const oneText = 'these credentials are not accepted here'
/** So long a client counts as one that was here. */
const seenMsMax = 24 * 3_600_000

export class LogInRefusals {
  readonly #log: Logger
  readonly #takeDown: (refused: TakenDown) => boolean
  readonly #nowMs: () => number
  /** What is written down of who is refused for what its connection shows: it takes nothing from others at the address. */
  readonly #ofConnections = attemptsOfAddresses()
  /** The same of who is thrown out: whom nobody knows, with whatever certificate, cannot keep him off the record. */
  readonly #ofThrownOut = attemptsOfAddresses()
  readonly #byAddress = attemptsOfAddresses()
  readonly #byClaimed = new Attempts(limits.logInsRefusedPerClaimBurstMax, limits.logInsRefusedPerClaimPerSecondMax)
  /** The same of who had a session from that address as who is claimed: what others do at the address or by the name counts above, and not here. */
  readonly #hereByAddress = new Attempts(
    limits.logInsRefusedPerAddressBurstMax,
    limits.logInsRefusedPerAddressPerSecondMax,
  )
  readonly #hereByClaimed = new Attempts(limits.logInsRefusedPerClaimBurstMax, limits.logInsRefusedPerClaimPerSecondMax)
  /** When one of an address, and of a claimed identity, had a session here. */
  readonly #seen: Cache<number> = createCache(limits.clientsRememberedMax)
  /** Since the last report. */
  readonly #recent = new RefusedLogIns(reportedBounds)
  /** By whom evidence claims to be about: the same as people write it. */
  readonly #shown: Cache<string> = createCache(shownMax)

  /** @param takeDown writes it down; false where it cannot, and then the client hears nothing */
  constructor(log: Logger, nowMs: () => number, takeDown: (refused: TakenDown) => boolean = () => true) {
    this.#log = log
    this.#nowMs = nowMs
    this.#takeDown = takeDown
  }

  /** A client has a session; `claimed` as in its evidence. */
  entered(address: string, claimed: string): void {
    this.#seen.set(seenKey(address, claimed), this.#nowMs())
  }

  /**
   * Refusals are bounded by address and by who is claimed; who is verified is not counted.
   * @throws LogInRefused
   */
  beforeAttempt(address: string, claimed: string | undefined): void {
    const nowMicros = this.#nowMs() * 1000
    const block = addressBlock(address)
    // Who was here from this address is kept out neither by others who claim to be the same, nor by strangers at the address.
    const mayTry = this.#wasHere(address, claimed)
      ? this.#hereByAddress.mayTry(block, nowMicros) && this.#hereByClaimed.mayTry(seenKey(address, claimed), nowMicros)
      : this.#byAddress.mayTry(block, nowMicros) &&
        (claimed === undefined || this.#byClaimed.mayTry(claimed, nowMicros))
    if (mayTry) return
    throw new LogInRefused('too-many-attempts', 'too many log-ins were refused before', {
      words: 'too many log-ins were refused before; try again later',
    })
  }

  /** For who asks why: what was refused by whatever part of this process. */
  remember(refused: TakenDown, words: string, listener: string | undefined): void {
    const { client, driver, cause, evidence, gateway, session } = refused
    const { hash: tokenHash, claimed, provider, issuer, tokenId } = evidence
    const nowMs = this.#nowMs()
    const times = { count: 1, firstMs: nowMs, lastMs: nowMs }
    const whence = { listener, address: client?.address, driver, gateway, session }
    this.#recent.add({ cause, words, ...times, ...whence, claimed, provider, issuer, tokenId, tokenHash })
  }

  /** A part of the mesh that is thrown out, which hears nothing: it is on record, as far as refusals of an address are looked at. */
  takeDown(refused: TakenDown): void {
    const block = addressBlock(refused.client?.address ?? '')
    const nowMicros = this.#nowMs() * 1000
    if (this.#mayWrite(block, refused.cause, nowMicros)) this.#takeDown(refused)
  }

  /** What was refused since this was called before, for the report. */
  takeRecent(): RefusedPart {
    return this.#recent.drain()
  }

  /** Writes it down, and says what the client is told. */
  answer(mode: RefusalMode, refused: Refused): RefusalAnswer {
    const { address, port, listener, driverName, reason, claimed, isOfConnection = false } = refused
    const nowMicros = this.#nowMs() * 1000
    // It would else keep out who logs in at the same address by a token.
    if (!isOfConnection) this.#count(address, claimed, nowMicros)
    const { cause, evidence } = told(reason)
    const isWritten = !isOfConnection || this.#mayWrite(addressBlock(address), cause, nowMicros)
    const message = reason instanceof Error ? reason.message : String(reason)
    const { hash: tokenHash, ...rest } = evidence
    if (isWritten)
      this.#log.warn(
        { peer: address, driver: driverName, cause, ...rest, tokenHash, reason: message },
        'log-in refused',
      )
    const taken: TakenDown = { client: { address, port }, driver: driverName, cause, evidence, gateway: undefined }
    const isTakenDown = !isWritten || this.#takeDown(taken)
    if (claimed !== undefined && evidence.claimed !== undefined) this.#shown.set(claimed, evidence.claimed)
    const shown = evidence.claimed ?? (claimed === undefined ? undefined : this.#shown.get(claimed))
    this.remember({ ...taken, evidence: { ...evidence, claimed: shown } }, message, listener)
    if (mode === 'silent' || !isTakenDown) return { kind: 'closes' }
    const kind = driverKind(driverName)
    const isTemporary = refusalClass(reason) !== 'permanent'
    // What is not supported is about nobody: whoever tries it hears what to do.
    const mayHear = isTemporary || cause === 'not-supported'
    const words = (mayHear && reason instanceof LogInRefused ? reason.words : undefined) ?? oneText
    if (!isTemporary) return { kind: 'error', error: new RingfenceError('CREDENTIALS', words), ends: false }
    // A server's error: this driver tries again.
    if (kind === 'cpp') return { kind: 'error', error: new RingfenceError('UPSTREAM', words), ends: true }
    if (mode === 'auto' && kind === 'python' && this.#wasHere(address, claimed)) return { kind: 'closes' }
    return { kind: 'error', error: new RingfenceError('CREDENTIALS', words), ends: false }
  }

  #count(address: string, claimed: string | undefined, nowMicros: number): void {
    if (this.#wasHere(address, claimed)) {
      this.#hereByAddress.refused(addressBlock(address), nowMicros)
      this.#hereByClaimed.refused(seenKey(address, claimed), nowMicros)
    } else {
      this.#byAddress.refused(addressBlock(address), nowMicros)
      if (claimed !== undefined) this.#byClaimed.refused(claimed, nowMicros)
    }
  }

  /** Of who is refused for what its connection shows. */
  #mayWrite(block: string, cause: RefusalCause, nowMicros: number): boolean {
    const those = cause === 'revoked' ? this.#ofThrownOut : this.#ofConnections
    if (!those.mayTry(block, nowMicros)) return false
    those.refused(block, nowMicros)
    return true
  }

  #wasHere(address: string, claimed: string | undefined): boolean {
    const seenMs = claimed === undefined ? undefined : this.#seen.get(seenKey(address, claimed))
    return seenMs !== undefined && this.#nowMs() - seenMs < seenMsMax
  }
}

function told(reason: unknown): { cause: RefusalCause; evidence: RefusedEvidence } {
  return reason instanceof LogInRefused
    ? { cause: reason.why, evidence: reason.evidence }
    : { cause: 'other', evidence: {} }
}

function seenKey(address: string, claimed: string | undefined): string {
  return `${addressBlock(address)} ${claimed}`
}
