/**
 * Who asks, as policy sees it. A session has a workload, a person, or both.
 *
 * Rule: where both are there, each is a *party* that is judged by itself, and what counts is what both may: the workload by its SPIFFE id, the
 * person by name, groups and SPIFFE id. Of a party nothing is known that is the other's, and a claim or a way to prove oneself gives it
 * something only where it is of its own evidence. What denies, and what is given to the pair, looks at the evidence of both.
 */
import { sha256Hex } from '../base/digest.ts'
import { printable } from '../base/printable.ts'
import { behalfMethods } from '../identity/proofs/registry.ts'
import { pathSegmentsOf, personOf, type SpiffeId, trustDomainOf, userIdOf } from '../identity/spiffe.ts'
import { type Claims, type ClaimsOf, type ClaimValue, saidByBoth, type VerifiedIdentity } from '../identity/verified.ts'

export interface Principal {
  readonly spiffeId: SpiffeId
  /** The person, or the one behind the workload, written `<identity provider>/<subject>`. */
  readonly person?: string | undefined
  /** Each `<identity provider>/<group>`. */
  readonly groups?: readonly string[] | undefined
  /** Of a cloud, by its ARN. */
  readonly role?: string | undefined
  /** Those that policy may ask for, of either. */
  readonly claims?: Claims | undefined
  /** Of whom they are said, where a person stands behind a workload; else one piece of evidence says them of both. */
  readonly claimsOf?: ClaimsOf | undefined
  /** See `VerifiedIdentity`; absent where a policy is only tried, and nobody is there. */
  readonly key?: string
}

/** `when: {claims: …}`: of each claim one of these values. */
export type WantedClaims = ReadonlyMap<string, readonly string[]>

/** Under what answers for it are remembered: no two different principals have the same. */
export function principalKey({ key, spiffeId, person, groups = [], role, claims = {}, claimsOf }: Principal): string {
  const all = claimsOf === undefined ? [claims] : [claimsOf.workload, claimsOf.person]
  const said = all.map((one) => Object.entries(one).sort())
  return key ?? JSON.stringify([spiffeId, person ?? null, groups, role ?? null, ...said])
}

/** Whom policy sees in a caller. */
export function principalOf({ subject, person, groups, role, claims, claimsOf, key }: VerifiedIdentity): Principal {
  return { spiffeId: subject, person, groups, role, claims, claimsOf, key }
}

/** One whose permission counts by itself. */
export interface Party {
  /** A workload or a person, alone. */
  readonly who: Principal
  /** The workload with the person behind it, of which this is one; undefined where there is one only. */
  readonly pair: Principal | undefined
  /** Which of the two. */
  readonly side?: Side | undefined
}

type Side = keyof ClaimsOf

/**
 * The ways that proved one of a pair. One way says both of them. Of several the first is the workload's, and the others are the person's; where
 * the person was found for one request, the last is hers alone.
 */
export function waysOf(authentication: string, side: Side | undefined): readonly string[] {
  const ways = authentication.split('+')
  if (side === undefined || ways.length === 1) return ways
  const ofPerson = isBehalf(ways.at(-1)!) ? ways.length - 1 : 1
  return side === 'person' ? ways.slice(ofPerson) : ways.slice(0, ofPerson)
}

function isBehalf(way: string): boolean {
  return way === behalfMethods.token || way === behalfMethods.name
}

/** The principal itself where it is a workload or a person alone; else the workload, then the person behind it. */
export function partiesOf(principal: Principal): readonly [Party] | readonly [Party, Party] {
  const { spiffeId, groups, role, claims, claimsOf } = principal
  const own = personOf(spiffeId)
  const person = principal.person ?? own
  if (person === undefined) return [{ who: principal, pair: undefined }]
  if (person === own) return [{ who: { ...principal, person }, pair: undefined }]
  const isCloud = isCloudRole(spiffeId)
  const workload: Principal = {
    spiffeId,
    person: own,
    claims: claimsOf?.workload ?? claims,
    role: isCloud ? role : undefined,
  }
  const personId = idOfPerson(person, trustDomainOf(spiffeId))
  const behind: Principal = {
    spiffeId: personId,
    person,
    groups,
    claims: claimsOf?.person ?? claims,
    role: isCloud ? undefined : role,
  }
  return [
    { who: workload, pair: principal, side: 'workload' },
    { who: behind, pair: principal, side: 'person' },
  ]
}

/** For people: the person by name where it stands behind a workload, else the SPIFFE id. The name is the provider's, in whatever letters. */
export function partyName(party: Principal, whole: Principal): string {
  if (party.spiffeId === whole.spiffeId) return party.spiffeId
  return `${printable(party.person ?? '')} (through ${whole.spiffeId})`
}

/** What a claim says, as policy compares it: each value of a list by itself; nothing where it is absent or is no such thing. */
export function claimTexts(value: ClaimValue | undefined): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((one: ClaimValue) => (Array.isArray(one) ? [] : claimTexts(one)))
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [String(value)] : []
}

/** Whether each claim that is asked for has one of the values; one that is absent has none. */
export function claimsHold(wanted: WantedClaims | undefined, { claims = {} }: Principal): boolean {
  if (wanted === undefined) return true
  for (const [name, values] of wanted) {
    const said = Object.hasOwn(claims, name) ? claimTexts(claims[name]) : []
    if (!said.some((one) => values.includes(one))) return false
  }
  return true
}

/**
 * Whether of each claim that is asked for, and that both say, both have one of the values. What one of them says would else be belied by the other,
 * where it is given to the two of them together.
 */
export function bothSay(wanted: WantedClaims | undefined, { claimsOf }: Principal): boolean {
  if (wanted === undefined || claimsOf === undefined) return true
  const { workload, person } = claimsOf
  const holds = (values: readonly string[], said: ClaimValue | undefined): boolean =>
    claimTexts(said).some((one) => values.includes(one))
  return saidByBoth(claimsOf).every((name) => {
    const values = wanted.get(name)
    return values === undefined || (holds(values, workload[name]) && holds(values, person[name]))
  })
}

/** Both, where they say a claim twice: once as the workload says it, and once as the person does. */
export function asEachSays(pair: Principal): readonly Principal[] {
  const { claims, claimsOf } = pair
  if (claimsOf === undefined || saidByBoth(claimsOf).length === 0) return []
  const { workload, person } = claimsOf
  return [workload, person].map((said) => ({ ...pair, claims: { ...claims, ...said } }))
}

/** The id of a person who logs in without a workload, or has a certificate. A name that is too long for one has its hash there. */
export function idOfPerson(person: string, trustDomain: string): SpiffeId {
  const slash = person.indexOf('/')
  try {
    return userIdOf(trustDomain, person.slice(0, slash), person.slice(slash + 1))
  } catch {
    return userIdOf(trustDomain, 'none', sha256Hex(person))
  }
}

/** The id stands for a role of a cloud, so that the role is the workload's. */
function isCloudRole(spiffeId: SpiffeId): boolean {
  return /^aws(?:-cn|-us-gov)?$/.test(pathSegmentsOf(spiffeId)[0] ?? '')
}
