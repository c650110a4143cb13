/**
 * The revocations in force, and whom they mean.
 *
 *   parts, as they were pushed ─▶ Revocations ─ find ◀─ who a session is of, when it begins
 *                                     └─ what was added ─▶ the sessions that are open (`session/thrown-out.ts`)
 *
 * Rule: exact entries are found by one look into a map, however many there are; patterns are few, and looked at one by one.
 */
import type { VerifiedPeer } from '../certificate.ts'
import type { TokenIdentity } from '../providers/in-force.ts'
import { matchesSegments, personOf, segmentsOf, userIdOf } from '../spiffe.ts'
import type { BehindFacts, ShownCertificate, TokenFacts } from '../verified.ts'
import { type Revocation, type RevokedKind, tokenName } from './revocation.ts'

/** What is compared of a caller. */
export interface CallerFacts {
  readonly subject: string
  readonly person?: string | undefined
  readonly gateway?: string | undefined
  readonly certificate?: ShownCertificate | undefined
  readonly token?: TokenFacts | undefined
  /** The token that `token` was made for. */
  readonly source?: TokenFacts | undefined
  /** The transaction token by which a person stands behind the whole session. */
  readonly behind?: BehindFacts | undefined
}

interface Pattern {
  readonly entry: Revocation
  readonly segments: readonly string[]
}

/** Parts of the mesh, and Cassandra's nodes: a pattern means them only where it says so by its own first segment. */
const ofMesh: ReadonlySet<string> = new Set(['ringfence', 'cassandra'])
/** In `spiffe://<trust domain>/<first>/…`. */
const firstSegment = 3

export class Revocations {
  /** Nothing is revoked. */
  static readonly none = new Revocations()
  readonly #exact: Readonly<Record<RevokedKind, Map<string, Revocation>>> = {
    id: new Map(),
    'one-certificate': new Map(),
    key: new Map(),
    person: new Map(),
    'one-token': new Map(),
    'issuer-key': new Map(),
    authority: new Map(),
  }
  #patterns: readonly Pattern[] = []
  /** By all that they say: a control plane that was restored may give a number to another. */
  readonly #parts = new Map<number, ReadonlyMap<string, Revocation>>()

  static of(entries: readonly Revocation[]): Revocations {
    const made = new Revocations()
    made.setPart(0, entries)
    return made
  }

  get size(): number {
    let size = 0
    for (const part of this.#parts.values()) size += part.size
    return size
  }

  /** Replaces one part; gives what is in it that was not before. */
  setPart(index: number, entries: readonly Revocation[]): readonly Revocation[] {
    const before = this.#parts.get(index)
    const now = new Map<string, Revocation>()
    for (const entry of entries) {
      const text = JSON.stringify(entry)
      now.set(text, before?.get(text) ?? entry)
    }
    this.#parts.set(index, now)
    const added = [...now].filter(([text]) => before?.has(text) !== true).map(([, entry]) => entry)
    const gone = [...(before ?? [])].filter(([text]) => !now.has(text)).map(([, entry]) => entry)
    // What comes in the place of another is there before that goes.
    for (const entry of added) this.#add(entry)
    for (const entry of gone) this.#remove(entry)
    return added
  }

  /** The revocation that means the caller; undefined where none does. */
  find(caller: CallerFacts, nowMs: number): Revocation | undefined {
    const { subject, person, gateway, certificate, token, source, behind } = caller
    const exact = this.#exact
    return (
      inForce(exact.id.get(subject), nowMs) ??
      (person === undefined ? undefined : inForce(exact.person.get(person), nowMs)) ??
      (gateway === undefined ? undefined : inForce(exact.id.get(gateway), nowMs)) ??
      (certificate === undefined ? undefined : this.#byCertificate(certificate, nowMs)) ??
      (token === undefined ? undefined : this.#byToken(token, nowMs)) ??
      (source === undefined ? undefined : this.#byToken(source, nowMs)) ??
      (behind === undefined ? undefined : this.#byToken(behind, nowMs)) ??
      (behind?.source === undefined ? undefined : this.#byToken(behind.source, nowMs)) ??
      (this.#patterns.length === 0 ? undefined : this.#byPattern(subject, person, nowMs))
    )
  }

  /** A public key, by the SHA-256 of its SubjectPublicKeyInfo. */
  findKey(key: string, nowMs: number): Revocation | undefined {
    return inForce(this.#exact.key.get(key), nowMs)
  }

  /** Some authority of the mesh is revoked. */
  get haveAuthority(): boolean {
    return this.#exact.authority.size > 0
  }

  /** An authority of the mesh, by the identifier of its key. What does not say who signed it may be of any that is revoked. */
  findAuthority(authority: string | undefined, nowMs: number): Revocation | undefined {
    const { authority: revoked } = this.#exact
    if (revoked.size === 0) return undefined
    if (authority !== undefined) return inForce(revoked.get(authority), nowMs)
    return [...revoked.values()].find((entry) => inForce(entry, nowMs) !== undefined)
  }

  #byCertificate({ serial, key, authority }: ShownCertificate, nowMs: number): Revocation | undefined {
    return (
      inForce(this.#exact['one-certificate'].get(serial), nowMs) ??
      this.findKey(key, nowMs) ??
      this.findAuthority(authority, nowMs)
    )
  }

  #byToken({ provider, id, hash, key }: TokenFacts, nowMs: number): Revocation | undefined {
    const { 'one-token': token } = this.#exact
    for (const text of [id, hash]) {
      if (text === undefined || token.size === 0) continue
      const value = tokenName(text)
      const found =
        inForce(token.get(keyOf(undefined, value)), nowMs) ?? inForce(token.get(keyOf(provider, value)), nowMs)
      if (found !== undefined) return found
    }
    if (key === undefined || provider === undefined) return undefined
    return inForce(this.#exact['issuer-key'].get(keyOf(provider, key)), nowMs)
  }

  #byPattern(subject: string, person: string | undefined, nowMs: number): Revocation | undefined {
    const given = segmentsOf(subject)
    const asPerson = person === undefined ? undefined : personSegments(person, given[2] ?? '')
    for (const { entry, segments } of this.#patterns) {
      if (inForce(entry, nowMs) === undefined) continue
      if (means(segments, given) || (asPerson !== undefined && means(segments, asPerson))) return entry
    }
    return undefined
  }

  #add(entry: Revocation): void {
    const { kind, value, provider } = entry
    if (isPattern(entry)) this.#patterns = [...this.#patterns, { entry, segments: segmentsOf(value) }]
    else this.#exact[kind].set(keyOf(provider, value, kind), entry)
  }

  #remove(entry: Revocation): void {
    const { kind, value, provider } = entry
    const key = keyOf(provider, value, kind)
    if (isPattern(entry)) this.#patterns = this.#patterns.filter((one) => one.entry !== entry)
    else if (this.#exact[kind].get(key) === entry) this.#exact[kind].delete(key)
  }
}

/** Of who shows a certificate. */
export function factsOfPeer({ spiffeId, certificate, exchanged }: VerifiedPeer): CallerFacts {
  return { subject: spiffeId, person: exchanged?.person ?? personOf(spiffeId), certificate, token: exchanged?.token }
}

/** Of who shows a token. */
export function factsOf(token: TokenIdentity): CallerFacts {
  const { subject, person, provider, tokenId: id, hash, keyId: key } = token
  return { subject, person, token: { provider, id, hash, key } }
}

export function isPattern({ kind, value }: Pick<Revocation, 'kind' | 'value'>): boolean {
  return kind === 'id' && value.includes('*')
}

function means(pattern: readonly string[], given: readonly string[]): boolean {
  const first = given[firstSegment] ?? ''
  if (ofMesh.has(first) && pattern[firstSegment] !== first) return false
  return matchesSegments(pattern, given)
}

/** Of the person behind a workload, as of one who comes alone. */
function personSegments(person: string, trustDomain: string): readonly string[] | undefined {
  const slash = person.indexOf('/')
  try {
    return segmentsOf(userIdOf(trustDomain, person.slice(0, slash), person.slice(slash + 1)))
  } catch {
    // A name that is too long for an id: it is found by the name only.
    return undefined
  }
}

function inForce(entry: Revocation | undefined, nowMs: number): Revocation | undefined {
  return entry === undefined || (entry.untilMs !== undefined && nowMs >= entry.untilMs) ? undefined : entry
}

/** Only what is of a provider has one in its key. */
function keyOf(provider: string | undefined, value: string, kind: RevokedKind = 'one-token'): string {
  return kind === 'one-token' || kind === 'issuer-key' ? `${provider ?? ''}\n${value}` : value
}
