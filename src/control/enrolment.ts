/**
 * Join tokens and the signing of certificates for those who enrol with one or renew. A token is `<secret>.<root fingerprint>`, with more of those while
 * the mesh trusts several roots: the holder checks the control plane's chain against them before it shows the secret. Only the secret's hash is kept.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { TokenBucket } from '../base/bucket.ts'
import { createCache } from '../base/cache.ts'
import type { Clock } from '../base/clock.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import type { VerifiedPeer } from '../identity/certificate.ts'
import { exchangedOf } from '../identity/exchanged.ts'
import { refuseRevoked } from '../identity/proofs/registry.ts'
import { LogInRefused } from '../identity/refusal.ts'
import { revokedText } from '../identity/revoked/revocation.ts'
import { factsOfPeer, type Revocations } from '../identity/revoked/revocations.ts'
import {
  isReserved,
  parseSpiffeId,
  pathSegmentsOf,
  personOf,
  type SpiffeId,
  trustDomainOf,
} from '../identity/spiffe.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { parseHostName, parseIpAddress } from '../mesh/alt-names.ts'
import type { EnrolRequest, IssuedCertificate } from '../mesh/enrolment.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { type CertificateAuthority, type IssuedLeaf, keyOfRequest } from './ca.ts'
import { thrownOut } from './callers.ts'
import type { AgentRow, AltNames, Issuance, Store } from './store.ts'

/** Ten minutes, as SPIRE's. */
export const tokenTtlMsDefault = 600_000
const tokenTtlMsMax = 24 * 60 * 60 * 1000
/**
 * Signatures a second, and how many may come at once. Each kind has a budget that the others do not draw on: an expired certificate
 * cannot be renewed, so nothing that others ask for may be in the way of a renewal.
 */
const signingsPerSecond = 50
const signingsBurst = 200
/** For one identity, so that a loop somewhere does not take everybody's share. */
const signingsPerIdentityBurst = 20
/** What lives shorter is over before it can be used. */
const exchangedMsMin = 1_000
const tokenOver = 'the token expires within a second; get a new one'
const identitiesRememberedMax = 10_000

export interface TokenOrder extends AltNames {
  readonly spiffeId: SpiffeId
  readonly role: AgentRole
  readonly ttlMs: number
}

export class Enrolment {
  readonly #ca: CertificateAuthority
  readonly #store: Store
  readonly #clock: Clock
  readonly #svidTtlMs: number
  readonly #revocations: Revocations
  readonly #budgets = {
    /** For who has shown a token that is good. */
    enrol: new TokenBucket(signingsBurst, signingsPerSecond),
    renewProxy: new TokenBucket(signingsBurst, signingsPerSecond),
    renewOther: new TokenBucket(signingsBurst, signingsPerSecond),
    exchange: new TokenBucket(signingsBurst, signingsPerSecond),
  }
  readonly #budgetOf = createCache<TokenBucket>(identitiesRememberedMax)
  /** Who is being enrolled or renewed; few, for each has drawn on a budget. */
  readonly #underWay = new Set<{ readonly spiffeId: string; isForgotten: boolean }>()

  constructor(ca: CertificateAuthority, store: Store, clock: Clock, svidTtlMs: number, revocations: Revocations) {
    this.#ca = ca
    this.#store = store
    this.#clock = clock
    this.#svidTtlMs = svidTtlMs
    this.#revocations = revocations
  }

  /** @throws RingfenceError USAGE */
  makeToken(order: TokenOrder): { token: string; expiresAtMs: number } {
    checkRole(order.spiffeId, order.role, this.#ca.trustDomain)
    this.#refuseOrder(order.spiffeId)
    checkAltNames(order, order.role)
    this.#checkListenerIdentities(order)
    if (!(order.ttlMs > 0 && order.ttlMs <= tokenTtlMsMax)) {
      throw new RingfenceError('USAGE', 'a join token lives for at most 24h', { hint: '--ttl 600s is the default' })
    }
    const secret = randomBytes(32).toString('base64url')
    const nowMs = this.#clock.now()
    const expiresAtMs = nowMs + order.ttlMs
    this.#store.addToken({ ...order, hash: sha256Hex(secret), expiresAtMs }, nowMs)
    return { token: [secret, ...this.#ca.rootFingerprints].join('.'), expiresAtMs }
  }

  /** One answer for a token that is unknown, spent, late or for another role, so that guessing learns nothing. */
  async enrol(request: EnrolRequest): Promise<IssuedCertificate> {
    // The token first: without a good one nothing else of the request is looked at, and no budget is drawn on.
    const nowMs = this.#clock.now()
    const hash = sha256Hex(request.token.split('.')[0] ?? '')
    const row = this.#store.token(hash)
    const refused = new RingfenceError(
      'IDENTITY',
      'join token is not valid: unknown, used, expired or for another role',
      {
        hint: 'ringfence token generate makes a new one; each works once, for ten minutes',
      },
    )
    if (row === undefined || !timingSafeEqual(Buffer.from(row.hash), Buffer.from(hash))) throw refused
    if (row.usedAtMs !== undefined || nowMs > row.expiresAtMs || row.role !== request.role) throw refused
    take(this.#budgets.enrol, this.#micros())
    const publicKey = await this.#keyOf(request.csrPem)
    if (this.#isRevoked(row.spiffeId)) throw refused
    if (!this.#store.spendToken(hash, nowMs)) throw refused
    const { spiffeId, role, ipAddresses, dnsNames, listenerIdentities } = row
    const names = { ipAddresses, dnsNames, listenerIdentities }
    this.#store.putAgent({ spiffeId, role, name: request.name, ...names }, nowMs)
    const id = parseSpiffeId(spiffeId)
    const order = { spiffeId: id, publicKey, ttlMs: this.#svidTtlMs, ...names }
    const leaf = await this.#unlessForgotten(id, () => this.#ca.issue(order))
    return this.#record(id, leaf, 'enrol', `token ${hash.slice(0, 12)}`)
  }

  /** The same identity and names again for a new key; the caller proved who it is with its present certificate. */
  async renew(caller: VerifiedPeer, csrPem: string): Promise<IssuedCertificate> {
    const { spiffeId, exchanged, certificate } = caller
    // It would be good for ever, and after nobody trusts that authority any more.
    if (!this.#ca.hasSigned(certificate.authority)) {
      throw new RingfenceError(
        'IDENTITY',
        `the certificate of ${spiffeId} is of another authority and is not renewed here`,
        {
          hint: 'take its certificates from the Workload API that gave this one',
        },
      )
    }
    // It would outlive the token, and forget what that said.
    if (exchanged !== undefined) {
      throw new RingfenceError('IDENTITY', `the certificate of ${spiffeId} was got for a token and is not renewed`, {
        hint: 'exchange a token again',
      })
    }
    take(this.#ownBudget(spiffeId), this.#micros())
    const agent = this.#store.agent(spiffeId)
    if (agent === undefined) throw notEnrolled(spiffeId)
    const isProxy = agent.role === 'gateway' || agent.role === 'sidecar'
    take(isProxy ? this.#budgets.renewProxy : this.#budgets.renewOther, this.#micros())
    const leaf = await this.#unlessForgotten(spiffeId, () => this.#renewed(caller, agent, csrPem))
    return this.#record(spiffeId, leaf, 'renew', spiffeId)
  }

  async #renewed(caller: VerifiedPeer, agent: AgentRow, csrPem: string): Promise<IssuedLeaf> {
    const publicKey = await this.#keyOf(csrPem)
    // It may have come meanwhile.
    const revoked = this.#revocations.find(factsOfPeer(caller), this.#clock.now())
    if (revoked !== undefined) throw thrownOut(caller, revoked)
    const { ipAddresses, dnsNames, listenerIdentities } = agent
    const names = { ipAddresses, dnsNames, listenerIdentities }
    return this.#ca.issue({ spiffeId: caller.spiffeId, publicKey, ttlMs: this.#svidTtlMs, ...names })
  }

  /** Who was deleted: what is being signed for it is given to nobody, for it is not among the certificates that were revoked. */
  forget(spiffeId: string): void {
    for (const one of this.#underWay) if (one.spiffeId === spiffeId) one.isForgotten = true
  }

  /** It may be deleted while it is signed for, and have enrolled again. @throws RingfenceError IDENTITY */
  async #unlessForgotten(spiffeId: SpiffeId, sign: () => Promise<IssuedLeaf>): Promise<IssuedLeaf> {
    const one = { spiffeId, isForgotten: false }
    this.#underWay.add(one)
    try {
      const leaf = await sign()
      if (one.isForgotten) throw notEnrolled(spiffeId)
      return leaf
    } finally {
      this.#underWay.delete(one)
    }
  }

  /** A certificate that says who `identity` is just as its token did; it ends at the latest when that does. */
  async exchange(
    identity: VerifiedIdentity,
    csr: string,
    lifeMs: number,
  ): Promise<IssuedCertificate & { notAfterMs: number }> {
    const { subject: spiffeId, key, token } = identity
    const role = this.#store.agent(spiffeId)?.role
    if (role !== undefined && role !== 'workload')
      throw new LogInRefused('claims', `${spiffeId} is that of a ${role}, and no token speaks for it`)
    const exchanged = exchangedOf(identity)
    if (exchanged === undefined || token === undefined) throw tooMuch()
    take(this.#ownBudget(key), this.#micros())
    take(this.#budgets.exchange, this.#micros())
    const publicKey = await this.#keyOf(csr)
    refuseRevoked(identity, this.#revocations, this.#clock.now())
    const ttlMs = Math.min(lifeMs, this.#svidTtlMs, identity.expiresAtMs - this.#clock.now())
    if (ttlMs < exchangedMsMin) throw new LogInRefused('expired', 'the token is as good as over', { words: tokenOver })
    const leaf = await this.#ca.issue({ spiffeId, publicKey, ttlMs, exchanged })
    const issued = this.#record(spiffeId, leaf, 'exchange', `token ${token.hash} of ${token.provider}`)
    return { ...issued, notAfterMs: leaf.notAfterMs }
  }

  /** Key and certificate for a node, a test or a tool. @param by who asked for it @throws RingfenceError USAGE */
  async mint(
    order: Omit<AltNames, 'listenerIdentities'> & { spiffeId: SpiffeId; ttlMs: number },
    by: string,
  ): Promise<IssuedCertificate & { keyPem: string }> {
    const { spiffeId } = order
    checkTrustDomain(spiffeId, this.#ca.trustDomain)
    if (pathSegmentsOf(spiffeId).slice(0, 2).join('/') === 'ringfence/control-plane') {
      throw new RingfenceError('USAGE', 'certificates of the control plane are not minted')
    }
    this.#refuseOrder(spiffeId)
    checkAltNames(order, 'node')
    if (!(order.ttlMs >= 1_000 && order.ttlMs <= 365 * 24 * 60 * 60 * 1000)) {
      throw new RingfenceError('USAGE', 'a minted certificate lives for 1s to 365d')
    }
    const { keyPem, ...leaf } = await this.#ca.mint(order)
    return { ...this.#record(spiffeId, leaf, 'mint', by), keyPem }
  }

  /** What a gateway may claim without a client's proof is said by an operator, here, and by nobody else. */
  #checkListenerIdentities({ role, listenerIdentities }: TokenOrder): void {
    if (listenerIdentities.length > 0 && role !== 'gateway') {
      throw new RingfenceError('USAGE', `only a gateway's token names listener identities, not that of a ${role}`)
    }
    for (const text of listenerIdentities) {
      const id = parseSpiffeId(text)
      checkTrustDomain(id, this.#ca.trustDomain)
      if (isOfMesh(id)) {
        throw new RingfenceError('USAGE', `${id} is the mesh's own and no identity for a listener`)
      }
    }
  }

  #isRevoked(spiffeId: string): boolean {
    const id = parseSpiffeId(spiffeId)
    return this.#revocations.find({ subject: id, person: personOf(id) }, this.#clock.now()) !== undefined
  }

  /** Of an operator, who may have forgotten. */
  #refuseOrder(spiffeId: SpiffeId): void {
    if (!this.#isRevoked(spiffeId)) return
    throw new RingfenceError('USAGE', `${spiffeId} is revoked`, {
      hint: 'ringfence identity revocations shows by whom and why; ringfence identity restore lets it in again',
    })
  }

  /** @throws RingfenceError IDENTITY for one that is revoked, too */
  async #keyOf(csrPem: string): Promise<CryptoKey> {
    const publicKey = await keyOfRequest(csrPem)
    const spki = Buffer.from(await crypto.subtle.exportKey('spki', publicKey))
    const revoked = this.#revocations.findKey(sha256Hex(spki), this.#clock.now())
    if (revoked !== undefined)
      throw new RingfenceError('IDENTITY', `the key of the request: ${revokedText(revoked.id)}`)
    return publicKey
  }

  #record(spiffeId: SpiffeId, leaf: IssuedLeaf, reason: Issuance['reason'], caller: string): IssuedCertificate {
    const nowMs = this.#clock.now()
    const { serial, notAfterMs, certificatePem } = leaf
    this.#store.addIssuance({ serial, spiffeId, reason, caller, issuedAtMs: nowMs, notAfterMs })
    const { bundlePem, bundleSequence } = this.#ca.keys.told
    return { spiffeId, certificatePem, bundlePem, bundleSequence, nowMs }
  }

  #ownBudget(spiffeId: string): TokenBucket {
    const own = this.#budgetOf.get(spiffeId) ?? new TokenBucket(signingsPerIdentityBurst, 1)
    this.#budgetOf.set(spiffeId, own)
    return own
  }

  #micros(): number {
    return this.#clock.monotonic() * 1000
  }
}

function notEnrolled(spiffeId: string): RingfenceError {
  return new RingfenceError('IDENTITY', `${spiffeId} is not enrolled`, { hint: 'enrol with a join token' })
}

function take(budget: TokenBucket, nowMicros: number): void {
  if (budget.take(nowMicros)) return
  throw new RingfenceError('OVERLOADED', 'too many certificates are asked for', { hint: 'try again within 30s' })
}

function tooMuch(): LogInRefused {
  return new LogInRefused('not-supported', 'what the token says is more than exchangedBytesMax', {
    words: 'the groups and claims of this token are too many for a certificate; log in with the token itself',
  })
}

/** Ids of the mesh's own parts and of its Cassandra nodes. */
export function isOfMesh(id: SpiffeId): boolean {
  return isReserved(id) || pathSegmentsOf(id)[0] === 'cassandra'
}

function checkTrustDomain(spiffeId: SpiffeId, trustDomain: string): void {
  if (trustDomainOf(spiffeId) !== trustDomain) {
    throw new RingfenceError('USAGE', `${spiffeId} is not of the trust domain ${trustDomain}`)
  }
}

/** A gateway's token is for a gateway's id, and so on; nobody else gets an id below /ringfence/. */
function checkRole(spiffeId: SpiffeId, role: AgentRole, trustDomain: string): void {
  checkTrustDomain(spiffeId, trustDomain)
  const [, part] = pathSegmentsOf(spiffeId)
  const proxy = role === 'gateway' || role === 'sidecar'
  const fits = isReserved(spiffeId) ? role !== 'workload' && part === role : !proxy
  if (!fits) {
    const path = proxy ? `/ringfence/${role}/<name>` : '/svc/<service> or /user/<idp>/<subject>'
    throw new RingfenceError('USAGE', `${spiffeId} is not an id for the role ${role}`, {
      hint: `spiffe://${trustDomain}${path}`,
    })
  }
}

/** @throws RingfenceError USAGE */
export function checkAltNames(
  { ipAddresses, dnsNames }: Omit<AltNames, 'listenerIdentities'>,
  role: AgentRole | 'control',
): void {
  // Drivers connect to nodes, sidecars and gateways, and most check the name or address that they connected to.
  if (role === 'workload' && ipAddresses.length + dnsNames.length > 0) {
    throw new RingfenceError('USAGE', 'a workload carries no addresses or host names')
  }
  for (const address of ipAddresses) parseIpAddress(address)
  for (const name of dnsNames) parseHostName(name)
}
