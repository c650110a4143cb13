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
import type { Leaf } from '../certificate.ts'
import { type SpiffeId, trustDomainOf } from '../spiffe.ts'
import type { Claims } from '../verified.ts'

/** What one shows. It travels in passports and stays in memory with its session; it is never logged or recorded. */
export interface Evidence {
  /** `Proof.evidence.name` of its kind. */
  readonly kind: string
  /** Certificates in DER, leaf first; empty where the kind has none. */
  readonly chain: readonly Buffer[]
  /** What else the kind shows, as JSON. */
  readonly shown?: unknown
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
}

/** What a process trusts by its own credentials. */
export function trustOf({ spiffeId, bundlePem }: { readonly spiffeId: SpiffeId; readonly bundlePem: string }): Trust {
  return { trustDomain: trustDomainOf(spiffeId), bundlePem }
}

export interface ProofCheck {
  readonly nowMs: number
  readonly trust: Trust
  /** The certificate of the gateway that shows the evidence; undefined where the connection to this process itself shows it. */
  readonly gateway: Leaf | undefined
  /** Whom the passport, or the listener's configuration, names. */
  readonly named: SpiffeId | undefined
}

export interface Proved {
  readonly subject: SpiffeId
  /** Where it is not given, the one in the subject counts (`personOf`). */
  readonly person?: string | undefined
  readonly claims?: Claims
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
  /** The word of `when: {authentication: …}`, of `authentication` of a listener, and of the record. */
  readonly method: string
  readonly evidence: {
    /** The word in a passport. */
    readonly name: string
    /** Of `Evidence.shown`. */
    readonly schema: z.ZodType<Shown>
  }
  /** Its subject alone says who it is; see `identityKey`. */
  readonly bySubject?: true
  /** What the connection itself shows; undefined where it shows nothing of this kind. Such a client is READY at once. */
  readonly atConnection?: (connection: Connected) => Omit<Evidence, 'kind'> | undefined
  /** How it is asked for, where the connection shows nothing. */
  readonly asks?: {
    /** AUTHENTICATE names it: drivers choose what to answer by it. */
    readonly className: string
    begin(): Exchange
  }
  /** May be asynchronous. @throws RingfenceError IDENTITY */
  verify(evidence: Evidence & { readonly shown: Shown }, check: ProofCheck): Proved | Promise<Proved>
}
