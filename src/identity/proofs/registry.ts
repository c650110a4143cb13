/** The kinds of proof that a process knows, and the one place where a `VerifiedIdentity` is made. */
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import { LogInRefused } from '../refusal.ts'
import { revokedText } from '../revoked/revocation.ts'
import type { Revocations } from '../revoked/revocations.ts'
import { isReserved, personOf, trustDomainOf } from '../spiffe.ts'
import type { PersonBehind } from '../txn/token.ts'
import {
  behalfKey,
  type Claims,
  type ClaimsOf,
  claimsOfEither,
  identityKey,
  type VerifiedIdentity,
  verifiedIdentity,
} from '../verified.ts'
import type { Connected, Evidence, Exchange, Proof, ProofCheck, Proved } from './proof.ts'

const word = /^[a-z][a-z0-9-]{0,31}$/
const personCharsMax = 1024
const none: Claims = {}

/** How it may be known on whose behalf a request comes: by a transaction token, or by a name that policy lets its workload say. */
export const behalfMethods = { token: 'txn-token', name: 'impersonation' } as const

/** A person that was found to stand behind one request. */
export interface Behind extends PersonBehind {
  readonly method: (typeof behalfMethods)[keyof typeof behalfMethods]
  readonly expiresAtMs: number
  /** What was shown. */
  readonly hash: string
}

/** A kind that is asked for in the handshake. */
export type AskingProof = Proof & { readonly asks: NonNullable<Proof['asks']> }

export class Proofs {
  readonly #byMethod = new Map<string, Proof>()
  readonly #byEvidence = new Map<string, Proof>()
  /** What a policy is tried with where nobody says how the caller proved itself. */
  readonly usual: string

  /** @param first is the `usual` method */
  constructor(first: Proof, ...more: readonly Proof[]) {
    this.usual = first.method
    for (const each of [first, ...more]) this.register(each)
  }

  /** Once for each kind, before listeners are opened and policies are read. */
  register<Shown>(proof: Proof<Shown>): void {
    const { method, evidence } = proof
    if (!word.test(method) || !word.test(evidence.name)) {
      throw new RingfenceError('CONFIG', `not a word for a kind of proof: ${JSON.stringify([method, evidence.name])}`)
    }
    if (this.#byMethod.has(method) || this.#byEvidence.has(evidence.name)) {
      throw new RingfenceError('CONFIG', `there is a kind of proof ${method} already`)
    }
    this.#byMethod.set(method, proof as Proof)
    this.#byEvidence.set(evidence.name, proof as Proof)
  }

  /** The words of `when: {authentication: …}`. */
  get methods(): readonly string[] {
    return [
      ...[...this.#byMethod.values()].flatMap(({ method, proves = [method] }) => proves),
      ...Object.values(behalfMethods),
    ]
  }

  /** The words of a list in `authentication` of a listener. */
  get ways(): readonly string[] {
    return [...this.#byMethod.keys()]
  }

  /** Those that a listener takes, in the order in which they are tried. Where it does not say: what connections themselves show. */
  taken(methods: readonly string[] | undefined): readonly Proof[] {
    if (methods === undefined)
      return [...this.#byMethod.values()].filter(({ atConnection }) => atConnection !== undefined)
    return methods.map((method) => {
      const proof = this.#byMethod.get(method)
      if (proof === undefined)
        throw new RingfenceError('CONFIG', `there is no way to prove who one is called ${method}`)
      return proof
    })
  }

  /** @throws RingfenceError IDENTITY, now or later */
  verify(evidence: Evidence, check: ProofCheck): VerifiedIdentity | Promise<VerifiedIdentity> {
    const proof = this.#byEvidence.get(evidence.kind)
    if (proof === undefined)
      throw new RingfenceError('IDENTITY', `evidence of the kind ${evidence.kind} is not known here`)
    const shown = proof.evidence.schema.safeParse(evidence.shown)
    if (!shown.success) throw new RingfenceError('IDENTITY', `evidence of the kind ${evidence.kind} is not understood`)
    const proved = proof.verify({ ...evidence, shown: shown.data }, check)
    return proved instanceof Promise
      ? proved.then((late) => identityOf(proof, late, check))
      : identityOf(proof, proved, check)
  }
}

/** What a connection shows of one of `taken`. */
export function shownBy(taken: readonly Proof[], connection: Connected): Evidence | undefined {
  for (const { evidence, atConnection } of taken) {
    const shown = atConnection?.(connection)
    if (shown !== undefined) return { kind: evidence.name, ...shown }
  }
  return undefined
}

/** Those of `taken` that are asked for by the class name of the first of them: one AUTHENTICATE names one class. */
export function askedOf(taken: readonly Proof[]): readonly AskingProof[] {
  const asking = taken.filter((proof): proof is AskingProof => proof.asks !== undefined)
  return asking.filter(({ asks }) => asks.className === asking[0]?.asks.className)
}

/** One log-in with several kinds that ask by the same class name: the first that knows the first answer goes on with it. */
export class Conversation {
  readonly #asked: readonly AskingProof[]
  readonly #connection: Connected
  #with: { readonly kind: string; readonly exchange: Exchange } | undefined

  constructor(asked: readonly AskingProof[], connection: Connected) {
    this.#asked = asked
    this.#connection = connection
  }

  /** The next AUTH_CHALLENGE, or the evidence that was asked for. @throws RingfenceError IDENTITY, CREDENTIALS */
  answer(token: Buffer): Buffer | Evidence {
    const before = this.#with
    if (before !== undefined) return stepOf(before.kind, before.exchange.answer(token)) ?? refused()
    for (const { evidence, asks } of this.#asked) {
      const exchange = asks.begin(this.#connection)
      const step = stepOf(evidence.name, exchange.answer(token))
      if (step === undefined) continue
      this.#with = { kind: evidence.name, exchange }
      return step
    }
    return refused()
  }
}

function stepOf(kind: string, step: ReturnType<Exchange['answer']>): Buffer | Evidence | undefined {
  return step === undefined || Buffer.isBuffer(step) ? step : { kind, ...step }
}

function refused(): never {
  throw new LogInRefused('malformed', 'the answer to AUTHENTICATE is of no kind that is taken here')
}

/**
 * The caller with a person behind it, for one request.
 * @throws LogInRefused for a caller that is a person or has one behind it
 */
export function onBehalfOf(caller: VerifiedIdentity, behind: Behind): VerifiedIdentity {
  const { subject, role, gateway } = caller
  if (caller.person !== undefined) throw new LogInRefused('other', 'the session has a person already')
  const { person, groups, method, expiresAtMs, hash } = behind
  const { claims, claimsOf } = claimsOfBoth(caller.claims, behind.claims)
  const who = { subject, person, groups, role, methods: [...caller.methods, method], claims, claimsOf }
  return verifiedIdentity({
    ...who,
    expiresAtMs: Math.min(caller.expiresAtMs, expiresAtMs),
    evidenceHash: hash,
    token: undefined,
    gateway,
    key: behalfKey(caller.key, who),
  })
}

export function claimsOfBoth(workload: Claims = none, person: Claims = none): { claims: Claims; claimsOf: ClaimsOf } {
  const claimsOf = { workload, person }
  return { claims: claimsOfEither(claimsOf), claimsOf }
}

function identityOf(proof: Proof, proved: Proved, check: ProofCheck): VerifiedIdentity {
  const {
    subject,
    groups = [],
    role,
    claims = none,
    claimsOf,
    methods = [proof.method],
    token,
    certificate,
    behind,
    expiresAtMs,
  } = proved
  const { trustDomain = check.trust.trustDomain } = proved
  if (trustDomainOf(subject) !== trustDomain) {
    throw new RingfenceError('IDENTITY', `${subject} is not of the trust domain ${trustDomain}`)
  }
  // The mesh's own parts have certificates. What a client answers is never proof of being one of them.
  if (proof.asks !== undefined && isReserved(subject)) {
    throw new RingfenceError('IDENTITY', `${subject} is the mesh's own and is proved by its certificate only`)
  }
  if (!(expiresAtMs > check.nowMs)) throw new RingfenceError('IDENTITY', `the proof of ${subject} has expired`)
  const person = proved.person ?? personOf(subject)
  if (person !== undefined && (person === '' || person.length > personCharsMax)) {
    throw new RingfenceError('IDENTITY', `the name of the person behind ${subject} is empty or too long`)
  }
  const who = { subject, person, groups: [...new Set(groups)].sort(), role, methods, claims, claimsOf }
  const identity = verifiedIdentity({
    ...who,
    expiresAtMs,
    evidenceHash: sha256Hex(proved.hashed),
    token,
    certificate,
    behind,
    gateway: check.gateway?.spiffeId,
    key: identityKey(who, proof.bySubject === true && proved.methods === undefined),
  })
  refuseRevoked(identity, check.trust.revocations, check.nowMs)
  return identity
}

/** To be called again where something took its time after it was verified. @throws LogInRefused */
export function refuseRevoked(identity: VerifiedIdentity, revocations: Revocations, nowMs: number): void {
  const found = revocations.find(identity, nowMs)
  if (found === undefined) return
  const { subject, person, token, evidenceHash } = identity
  throw new LogInRefused('revoked', revokedText(found.id), {
    evidence: {
      provider: token?.provider,
      issuer: token?.issuer,
      tokenId: token?.id,
      hash: token?.hash ?? evidenceHash,
      claimed: person ?? subject,
    },
  })
}
