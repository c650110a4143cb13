/**
 * A proof: one way to show who one is. A kind of proof is one file of this folder and its line in `index.ts`; nothing outside this folder
 * knows which kinds there are.
 *
 *   connection ── atConnection ──▶ evidence ─┐
 *   AUTH_RESPONSE ── asks ───────▶ evidence ─┼─▶ Proofs.verify ─▶ VerifiedIdentity
 *   passport of a gateway ───────▶ evidence ─┘
 *
 * Rule: `verify` believes nobody. It is called at the gateway, and again at the sidecar with the same evidence.
 */
import type { z } from 'zod'
import type { Spend } from '../aws/sts.ts'
import type { Leaf } from '../certificate.ts'
import { KeyRing } from '../jwt/keys.ts'
import { Providers } from '../providers/in-force.ts'
import { Revocations } from '../revoked/revocations.ts'
import { type SpiffeId, trustDomainOf } from '../spiffe.ts'
import type { BehindFacts, Claims, ClaimsOf, ShownCertificate, ShownToken } from '../verified.ts'

/** What one shows. It travels in passports and stays in memory with its session; it is never logged or recorded. */
export interface Evidence {
  /** `Proof.evidence.name` of its kind. */
  readonly kind: string
  /** Certificates in DER, leaf first; empty where the kind has none. */
  readonly chain: readonly Buffer[]
  /** What else the kind shows, as JSON. */
  readonly shown?: unknown
  /** Whom it claims to be about, unverified; attempts are counted by it. It travels nowhere. */
  readonly claimed?: string | undefined
}

/** What a connection is known by before its first byte of CQL. */
export interface Connected {
  /** What the client showed in the TLS handshake, leaf first, verified by TLS down to the trust bundle. */
  readonly certificates: readonly Buffer[]
  /** The identity that is configured for all who come by this listener. */
  readonly listenerIdentity: SpiffeId | undefined
}

/** Whom a process trusts, as it stands now. */
export interface Trust {
  readonly trustDomain: string
  /** Roots, PEM. */
  readonly bundlePem: string
  /** Identity providers with their keys. */
  readonly providers: Providers
  /** Public keys of the control plane's transaction tokens; without them none is good. */
  readonly txnKeys?: KeyRing
  /** Who is thrown out. It stays the same object while what is in it changes. */
  readonly revocations: Revocations
}

/** What a process trusts by its own credentials, and by its policy. */
export function trustOf(
  { spiffeId, bundlePem }: { readonly spiffeId: SpiffeId; readonly bundlePem: string },
  providers = Providers.none,
  revocations = Revocations.none,
  txnKeys = KeyRing.none,
): Trust {
  return { trustDomain: trustDomainOf(spiffeId), bundlePem, providers, txnKeys, revocations }
}

export interface ProofCheck {
  readonly nowMs: number
  readonly trust: Trust
  /** The certificate of the gateway that shows the evidence; undefined where the connection to this process itself shows it. */
  readonly gateway: Leaf | undefined
  /** Whom the passport, or the listener's configuration, names. */
  readonly named: SpiffeId | undefined
  /** Of the client; through a gateway it is the gateway's word. */
  readonly address: string
  /** Where what is bound to the address that used it first counts once, instead. */
  readonly spend?: Spend | undefined
  /** Under what address questions to a server outside are counted, where that is another: an IPv6 address counts with its /64. */
  readonly from?: string | undefined
}

export interface Proved {
  readonly subject: SpiffeId
  /** Of the subject, where it may be another than the mesh's own. */
  readonly trustDomain?: string | undefined
  /** Where it is not given, the one in the subject counts (`personOf`). */
  readonly person?: string | undefined
  readonly groups?: readonly string[] | undefined
  readonly role?: string | undefined
  readonly claims?: Claims | undefined
  /** Where the workload and the person behind it were each proved by evidence of their own. */
  readonly claimsOf?: ClaimsOf | undefined
  /** Each one of `Proof.proves`, or of the proof for which a certificate was got; where it is not given, the proof's own word. */
  readonly methods?: readonly string[]
  readonly token?: ShownToken | undefined
  readonly certificate?: ShownCertificate | undefined
  /** The transaction token that says who the person is, where one does for the whole session. */
  readonly behind?: BehindFacts | undefined
  readonly expiresAtMs: number
  /** What was shown; its hash is told. */
  readonly hashed: Buffer | string
}

/** One log-in by AUTH_RESPONSE and AUTH_CHALLENGE. */
export interface Exchange {
  /**
   * A Buffer is the next AUTH_CHALLENGE. Undefined says that this is no answer of this kind; another kind that asks by the same class
   * name may know it.
   * @throws RingfenceError IDENTITY; the client hears no more than that it is refused. CREDENTIALS: it hears the words.
   */
  answer(token: Buffer): Buffer | Omit<Evidence, 'kind'> | undefined
}

export interface Proof<Shown = unknown> {
  /** The word of `authentication` of a listener; and, where `proves` is not given, of `when: {authentication: …}` and of the record. */
  readonly method: string
  /** The words that it may prove for `when: {authentication: …}` and the record, where they are others. */
  readonly proves?: readonly string[]
  readonly evidence: {
    /** The word in a passport. */
    readonly name: string
    /** Of `Evidence.shown`. */
    readonly schema: z.ZodType<Shown>
  }
  /** Its subject alone says who it is, where `Proved.methods` is not given; see `identityKey`. */
  readonly bySubject?: true
  /** What the connection itself shows; undefined where it shows nothing of this kind. Such a client is READY at once. */
  readonly atConnection?: (connection: Connected) => Omit<Evidence, 'kind'> | undefined
  /** How it is asked for, where the connection shows nothing. */
  readonly asks?: {
    /** AUTHENTICATE names it: drivers choose what to answer by it. */
    readonly className: string
    /** False where the connection lacks what must be shown besides. */
    readonly needs?: (connection: Connected) => boolean
    /** Why nobody can be verified by it now, in words; undefined where somebody can. */
    readonly unavailable?: (check: ProofCheck) => string | undefined
    begin(connection: Connected): Exchange
  }
  /** May be asynchronous. @throws RingfenceError IDENTITY */
  verify(evidence: Evidence & { readonly shown: Shown }, check: ProofCheck): Proved | Promise<Proved>
}
