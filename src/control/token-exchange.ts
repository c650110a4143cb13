/**
 * A token of an identity provider, or a pre-signed request of AWS, for a certificate of this mesh (RFC 8693).
 *
 *   form ─▶ bounds of refused attempts ─▶ evidence ─▶ Proofs.verify ─▶ may it have one? ─▶ budgets ─▶ certificate, record
 *
 * Rule: a certificate says no more than its token did, and ends with it. What is heard of a refusal tells no valid name from an invalid
 * one, and no token stands in a log, a record or an answer.
 */
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { PresignedUse, Replays } from '../identity/aws/replays.ts'
import { evidenceOfPassword, proofs } from '../identity/proofs/index.ts'
import type { Trust } from '../identity/proofs/proof.ts'
import { LogInRefused, type RefusalCause } from '../identity/refusal.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { IssuedCertificate } from '../mesh/enrolment.ts'
import {
  certificateType,
  type ExchangeAnswer,
  type ExchangeRequest,
  exchangeGrant,
  exchangePath,
  isTypeOf,
} from '../mesh/exchange.ts'
import type { LogInRefusals } from '../session/refusals.ts'
import type { Logger } from '../telemetry/log.ts'
import { type Enrolment, isOfMesh } from './enrolment.ts'
import { OauthFault } from './oauth.ts'
import type { Store } from './store.ts'

export interface TokenExchangeOptions {
  readonly enrolment: Enrolment
  readonly store: Store
  /** Who used them first, in the whole mesh. */
  readonly presignedUses: Pick<Replays, 'use'>
  /** As it stands now. */
  readonly trust: () => Trust
  /** A token may have named a key that is not known. */
  readonly wantKeys: () => void
  readonly refusals: LogInRefusals
  readonly clock: Clock
  readonly log: Logger
}

export class TokenExchange {
  readonly #options: TokenExchangeOptions
  readonly #refusals: LogInRefusals

  constructor(options: TokenExchangeOptions) {
    this.#options = options
    this.#refusals = options.refusals
  }

  /** @throws OauthFault; RingfenceError OVERLOADED */
  async exchange(request: ExchangeRequest, address: string): Promise<ExchangeAnswer> {
    this.#checkRequest(request)
    const { subject_token: token, subject_token_type: type, csr } = request
    const trust = this.#options.trust()
    let claimed: string | undefined
    try {
      if (!isTypeOf(type, token)) throw new LogInRefused('type', 'subject_token_type is not that of the token')
      const evidence = evidenceOfPassword(token)
      claimed = evidence.claimed
      this.#refusals.beforeAttempt(address, claimed)
      const identity = await proofs.verify(evidence, {
        nowMs: this.#options.clock.now(),
        trust,
        gateway: undefined,
        named: undefined,
        address,
        spend: (principal, key, endMs) => this.#spend({ principal, key, address, endMs }),
        from: addressBlock(address),
      })
      const lifeMs = lifeOf(identity, trust)
      if (claimed !== undefined) this.#refusals.entered(address, claimed)
      return this.#answer(identity, await this.#issue(identity, csr, lifeMs))
    } catch (reason) {
      if (!(reason instanceof RingfenceError) || reason.code !== 'IDENTITY' || reason instanceof OauthFault)
        throw reason
      this.#options.wantKeys()
      throw this.#refused(reason, address, claimed)
    }
  }

  /**
   * What an address may use again elsewhere is exchanged once, also by a control plane that was started again. What another address logged in
   * with is not.
   */
  #spend(use: PresignedUse): boolean {
    const { presignedUses, store, clock } = this.#options
    const { principal: owner, key, endMs } = use
    if (!presignedUses.use(use, clock.now())) return false
    const bounds = {
      entriesMax: limits.exchangedRememberedMax,
      entriesPerOwnerMax: limits.exchangedRememberedPerIdentityMax,
    }
    const outcome = store.spendOnce({ key, owner, endMs }, bounds, clock.now())
    if (outcome === 'full')
      throw new RingfenceError('OVERLOADED', 'too many pre-signed requests were exchanged in the last 15 minutes')
    return outcome === 'noted'
  }

  async #issue(identity: VerifiedIdentity, csr: string, lifeMs: number) {
    try {
      return await this.#options.enrolment.exchange(identity, csr, lifeMs)
    } catch (reason) {
      if (!(reason instanceof RingfenceError) || reason.code !== 'IDENTITY' || reason instanceof LogInRefused)
        throw reason
      // The token is good, the signing request is not: that may be said.
      throw new OauthFault('invalid_request', reason.message)
    }
  }

  #checkRequest({ grant_type, requested_token_type, actor_token, audience, resource, scope }: ExchangeRequest): void {
    if (grant_type !== exchangeGrant)
      throw new OauthFault('unsupported_grant_type', `the only grant_type here is ${exchangeGrant}`)
    if (requested_token_type !== undefined && requested_token_type !== certificateType)
      throw new OauthFault('invalid_request', `the only requested_token_type here is ${certificateType}`)
    if (actor_token !== undefined) throw new OauthFault('invalid_request', 'actor_token is not supported')
    const target = `spiffe://${this.#options.trust().trustDomain}`
    if (resource !== undefined || (audience !== undefined && audience !== target))
      throw new OauthFault('invalid_target', `certificates are for ${target} only`)
    if (scope !== undefined) throw new OauthFault('invalid_scope', 'a certificate has no scope')
  }

  #refused(reason: RingfenceError, address: string, claimed: string | undefined): OauthFault {
    const answer = this.#refusals.answer('words', {
      address,
      port: 0,
      listener: exchangePath,
      driverName: undefined,
      reason,
      claimed,
    })
    const words = answer.kind === 'error' ? answer.error.message : 'refused'
    const why: RefusalCause = reason instanceof LogInRefused ? reason.why : 'other'
    if (why === 'too-many-attempts') return new OauthFault('temporarily_unavailable', words, 429)
    const isAway = why === 'no-keys' || why === 'verifier-away'
    return isAway ? new OauthFault('temporarily_unavailable', words, 503) : new OauthFault('invalid_request', words)
  }

  #answer(identity: VerifiedIdentity, issued: IssuedCertificate & { notAfterMs: number }): ExchangeAnswer {
    const { person, methods, token } = identity
    const { spiffeId, certificatePem, bundlePem, bundleSequence, nowMs, notAfterMs } = issued
    const { provider, issuer, id: tokenId, hash: tokenHash } = token ?? {}
    this.#options.log.info(
      { spiffeId, person, methods, provider, issuer, tokenId, tokenHash, notAfterMs },
      'certificate issued for a token',
    )
    return {
      access_token: certificatePem,
      issued_token_type: certificateType,
      token_type: 'N_A',
      expires_in: Math.max(0, Math.floor((notAfterMs - nowMs) / 1000)),
      spiffe_id: spiffeId,
      bundle: bundlePem,
      bundle_sequence: bundleSequence,
      now_ms: nowMs,
    }
  }
}

/** How long a certificate for it may live. @throws LogInRefused where there is none */
function lifeOf({ subject, token }: VerifiedIdentity, { providers, trustDomain }: Trust): number {
  const evidence = { provider: token?.provider, issuer: token?.issuer, tokenId: token?.id, hash: token?.hash }
  if (trustDomainOf(subject) !== trustDomain) {
    throw new LogInRefused(
      'not-supported',
      `${subject} is of another trust domain, whose certificates are not made here`,
      {
        evidence,
        words: 'this mesh makes certificates of its own trust domain only; log in with the token itself',
      },
    )
  }
  if (isOfMesh(subject)) throw new LogInRefused('claims', `${subject} is the mesh's own`, { evidence })
  const lifeMs = token === undefined ? 0 : providers.certificateMsMax(token.provider)
  if (lifeMs === 0) {
    throw new LogInRefused('not-supported', `certificateLife of ${token?.provider} allows no certificates`, {
      evidence,
      words: 'there are no certificates for tokens of this identity provider; log in with the token itself',
    })
  }
  return lifeMs
}
