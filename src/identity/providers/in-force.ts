/**
 * The identity providers in force in a process: their documents, which come with the policy, and their keys, which the control plane fetches.
 *
 * Rule: what was verified is remembered only as long as neither its provider's document nor its keys change.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Cache, createCache } from '../../base/cache.ts'
import { sha256Hex } from '../../base/digest.ts'
import { limits } from '../../base/limits.ts'
import { stsHosts } from '../aws/hosts.ts'
import { checkPresignedLength, hostOfPresigned } from '../aws/presigned.ts'
import type { StsCheck, StsProved } from '../aws/sts.ts'
import { KeyRing, type PublicJwk } from '../jwt/keys.ts'
import {
  checkUnsigned,
  readToken,
  shortText,
  type UnverifiedToken,
  type VerifiedToken,
  verifyToken,
} from '../jwt/verify.ts'
import { Outside } from '../outside/outside.ts'
import { LogInRefused, type RefusedEvidence } from '../refusal.ts'
import { typeOf } from './index.ts'
import type { AnyProviderType, Identified, ProviderDocument } from './provider.ts'

/** The keys of one provider, as they were fetched. */
export interface KeySet {
  readonly provider: string
  /** Of whom they are: keys are never used for a provider that has another issuer by now. */
  readonly issuer: string
  readonly keys: readonly PublicJwk[]
  readonly fetchedAtMs: number
}

/** Who shows a token, and until when. */
export interface TokenIdentity extends Identified {
  /** `ProviderType.name`. */
  readonly method: string
  readonly provider: string
  readonly issuer: string | undefined
  /** `sub`. */
  readonly tokenSubject: string
  readonly tokenId: string | undefined
  readonly hash: string
  /** `kid` of the key that signed it. */
  readonly keyId: string | undefined
  readonly expiresAtMs: number
}

/** Whose keys are called: the issuer, or the provider's own word where its type has none. */
export function issuerOf({ name, spec }: ProviderDocument): string {
  const { keyedBy, tokens } = typeOf(spec)
  return keyedBy?.(spec) ?? tokens(spec).issuer ?? name
}

interface TokenCheck {
  readonly trustDomain: string
  readonly nowMs: number
  /** Address of whoever shows it. */
  readonly from: string
}

class Provider {
  readonly document: ProviderDocument
  readonly type: AnyProviderType
  readonly issuer: string
  readonly keySet: KeySet | undefined
  readonly #ring: KeyRing
  /** By the hash of the token. */
  readonly #verified: Cache<TokenIdentity>

  /** @param before of the same name: what it remembers holds on where neither document nor keys are others */
  constructor(document: ProviderDocument, keySet: KeySet | undefined, before: Provider | undefined) {
    this.document = document
    this.type = typeOf(document.spec)
    this.issuer = issuerOf(document)
    this.keySet = keySet?.issuer === this.issuer ? keySet : undefined
    const keys = this.keySet?.keys ?? []
    const isSame =
      before !== undefined &&
      isDeepStrictEqual(before.document, document) &&
      isDeepStrictEqual(before.#ring.keys, keys) &&
      before.issuer === this.issuer
    this.#ring = isSame ? before.#ring : new KeyRing(keys)
    this.#verified = isSame ? before.#verified : createCache(limits.verifiedTokensMax)
  }

  /** Another says whether its tokens are good. */
  get isReviewed(): boolean {
    return this.type.isReviewed?.(this.document.spec) === true
  }

  /** It has keys that are not too old, or somebody to ask. */
  canVerify(nowMs: number, outside: Outside): boolean {
    const { keySet, type, document } = this
    if (this.isReviewed) return outside.tokenReviews !== undefined
    return keySet !== undefined && nowMs - keySet.fetchedAtMs <= type.keysAgeMsMax(document.spec)
  }

  known(hash: string, nowMs: number): TokenIdentity | undefined {
    const known = this.#verified.get(hash)
    return known !== undefined && nowMs < known.expiresAtMs ? known : undefined
  }

  async verify(
    token: UnverifiedToken,
    { trustDomain, nowMs, from }: TokenCheck,
    outside: Outside,
  ): Promise<TokenIdentity> {
    const { type, document } = this
    if (this.isReviewed) return this.#review(token, { trustDomain, nowMs, from }, outside)
    const verified = await verifyToken(token, type.tokens(document.spec), this.#ring, nowMs)
    const found = this.#identify(verified, trustDomain)
    this.#verified.set(token.hash, found)
    return found
  }

  /** Asked each time: what `TokenReviews` remembers is for seconds. */
  async #review(
    token: UnverifiedToken,
    { trustDomain, nowMs, from }: TokenCheck,
    outside: Outside,
  ): Promise<TokenIdentity> {
    const { type, document } = this
    const rules = type.tokens(document.spec)
    const found = checkUnsigned(token, rules, nowMs)
    const username = await outside.tokenReviews?.usernameOf(token.text, rules.audiences, nowMs, from)
    if (username !== found.subject) throw new LogInRefused('claims', 'the API server names another than the token does')
    return this.#identify(found, trustDomain)
  }

  #identify(verified: VerifiedToken, trustDomain: string): TokenIdentity {
    const { type, document } = this
    const { issuer, subject: tokenSubject, tokenId, hash, keyId, expiresAtMs } = verified
    const identified = type.identify(document, verified, trustDomain)
    return {
      ...identified,
      method: type.name,
      provider: document.name,
      issuer,
      tokenSubject,
      tokenId,
      hash,
      keyId,
      expiresAtMs,
    }
  }
}

/** One state of them. */
export class Providers {
  static readonly none = new Providers([], [], undefined, () => {}, Outside.none)
  readonly #byName: ReadonlyMap<string, Provider>
  readonly #byIssuer: ReadonlyMap<string, Provider>
  readonly #wantsKeys: (provider: string) => void
  readonly #outside: Outside

  constructor(
    documents: readonly ProviderDocument[],
    keySets: readonly KeySet[],
    before: Providers | undefined,
    wantsKeys: (provider: string) => void,
    outside: Outside,
  ) {
    const setOf = new Map(keySets.map((set) => [set.provider, set]))
    const earlier = before === undefined ? undefined : before.#byName
    const made = documents.map((one) => new Provider(one, setOf.get(one.name), earlier?.get(one.name)))
    this.#byName = new Map(made.map((one) => [one.document.name, one]))
    this.#byIssuer = new Map(made.map((one) => [one.issuer, one]))
    this.#wantsKeys = wantsKeys
    this.#outside = outside
    outside.prepare({ sts: this.takesPresigned, tokenReviews: made.some(({ isReviewed }) => isReviewed) })
  }

  /** At least one of them can verify a token now. */
  canVerify(nowMs: number): boolean {
    return [...this.#byName.values()].some((one) => one.canVerify(nowMs, this.#outside))
  }

  /** So long may a certificate live that is got for what one of them signed; 0 where there are none, also for one that is gone. */
  certificateMsMax(provider: string): number {
    return this.#byName.get(provider)?.document.spec.certificateLife ?? 0
  }

  /** That token was verified here, by a document and keys that are in force still. */
  knows(text: string, nowMs: number): boolean {
    const hash = sha256Hex(text)
    return [...this.#byName.values()].some((one) => one.known(hash, nowMs) !== undefined)
  }

  /** One of them has the keys of that trust domain. */
  federates(trustDomain: string): boolean {
    return [...this.#byName.values()].some(({ type, document }) => type.trustDomain?.(document.spec) === trustDomain)
  }

  /** At least one of them takes pre-signed requests. */
  get takesPresigned(): boolean {
    return [...this.#byName.values()].some(({ type }) => type.presigned !== undefined)
  }

  /** AWS STS says who signed it, asked by the provider of its partition. @throws LogInRefused, later */
  async verifyPresigned(password: string, check: StsCheck): Promise<StsProved & { readonly provider: string }> {
    checkPresignedLength(password)
    const host = hostOfPresigned(password)
    for (const { document, type } of this.#byName.values()) {
      const spec = type.presigned?.(document.spec)
      if (spec === undefined || !stsHosts(spec.partition, spec.regions).has(host)) continue
      const provider = document.name
      const proved = await this.#outside.sts.verify(password, spec, check).catch((reason: unknown) => {
        throw reason instanceof LogInRefused ? reason.with({ provider }) : reason
      })
      return { ...proved, provider }
    }
    throw new LogInRefused('issuer', 'no identity provider here takes pre-signed requests of that host')
  }

  /**
   * At once where the token is known, else later.
   * @param from address of whoever shows it
   * @throws LogInRefused, now or later
   */
  verify(text: string, trustDomain: string, nowMs: number, from: string): TokenIdentity | Promise<TokenIdentity> {
    const token = readToken(text)
    const { iss, jti, sub } = token.claims
    const issuer = shortText(iss)
    const provider = (issuer === undefined ? undefined : this.#byIssuer.get(issuer)) ?? this.#recognising(token)
    const name = provider?.document.name
    const evidence: RefusedEvidence = {
      provider: name,
      issuer,
      tokenId: shortText(jti),
      hash: token.hash,
      claimed: claimedBy(name, shortText(sub)),
    }
    if (provider === undefined)
      throw new LogInRefused('issuer', 'no identity provider here has the issuer of the token', { evidence })
    const known = provider.known(token.hash, nowMs)
    if (!provider.canVerify(nowMs, this.#outside)) {
      this.#wantsKeys(provider.document.name)
      if (provider.isReviewed) {
        throw new LogInRefused('verifier-away', 'this process knows no Kubernetes API server that it could ask', {
          evidence,
          words: 'the Kubernetes API server cannot be asked here; try again',
        })
      }
      throw new LogInRefused('no-keys', `the keys of ${name} were never fetched, or are too old`, {
        evidence,
        words: `the keys of the identity provider ${name} are not here yet, or are too old; try again`,
      })
    }
    if (known !== undefined) return known
    return provider.verify(token, { trustDomain, nowMs, from }, this.#outside).catch((reason: unknown) => {
      if (!(reason instanceof LogInRefused)) throw reason
      if (reason.why === 'unknown-key') this.#wantsKeys(provider.document.name)
      throw reason.with(evidence)
    })
  }

  #recognising(token: UnverifiedToken): Provider | undefined {
    return [...this.#byName.values()].find(({ type, document }) => type.recognises?.(document.spec, token) === true)
  }
}

function claimedBy(provider: string | undefined, subject: string | undefined): string | undefined {
  if (subject === undefined) return undefined
  return provider === undefined ? subject : `${provider}/${subject}`
}

/** They change: with the policy, and with each key set. */
export class ProvidersInForce {
  #documents: readonly ProviderDocument[] = []
  #keySets: readonly KeySet[] = []
  /** Of whom a token named a key that is not known, since `takeWanted`. */
  readonly #wanted = new Set<string>()
  readonly #outside: Outside
  #current = Providers.none

  constructor(outside: Outside = Outside.none) {
    this.#outside = outside
  }

  get current(): Providers {
    return this.#current
  }

  setDocuments(documents: readonly ProviderDocument[]): void {
    this.#documents = documents
    this.#make()
  }

  setKeySets(keySets: readonly KeySet[]): void {
    this.#keySets = keySets
    this.#make()
  }

  /** The providers whose keys are to be fetched anew. */
  takeWanted(): readonly string[] {
    const wanted = [...this.#wanted]
    this.#wanted.clear()
    return wanted
  }

  #make(): void {
    this.#current = new Providers(
      this.#documents,
      this.#keySets,
      this.#current,
      (name) => this.#wanted.add(name),
      this.#outside,
    )
  }
}
