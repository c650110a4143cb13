/** Who asks, as people write it in tests of a policy and on the command line. */
import { InvalidArgumentError } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { awsPrincipalOf, awsSubject } from '../../identity/aws/arn.ts'
import { parseSpiffeId, personOf, type SpiffeId, trustDomainOf } from '../../identity/spiffe.ts'
import { type ClaimValue, claimsOfEither } from '../../identity/verified.ts'
import type { CompiledPolicy } from '../../policy/policy.ts'
import { idOfPerson, type Principal } from '../../policy/principal.ts'
import { trustDomainsOf } from '../../policy/providers.ts'

export interface Who {
  /** A SPIFFE id. */
  readonly as?: string | undefined
  readonly person?: string | undefined
  readonly groups?: readonly string[] | undefined
  readonly role?: string | undefined
  /** Of the person, where one stands behind a workload. */
  readonly claims?: Readonly<Record<string, ClaimValue>> | undefined
  /** Of the workload with a person behind it. As a rule it has a certificate, which says none. */
  readonly workloadClaims?: Readonly<Record<string, ClaimValue>> | undefined
}

/** What is wrong with which part of it. */
export interface WhoFault {
  readonly key: keyof Who
  readonly message: string
}

/** @param trustDomain of ids that are not written out; see `trustDomainIn` */
export function principalOf(who: Who, trustDomain: string): Principal | WhoFault {
  const { as, person, groups, role, claims, workloadClaims } = who
  if (as === undefined && person === undefined && role === undefined) {
    return { key: 'as', message: 'nobody asks; give a SPIFFE id (as), a person, or a role' }
  }
  for (const name of [person, ...(groups ?? [])]) {
    if (name === undefined || /^[^/]+\/./.test(name)) continue
    const key = name === person ? 'person' : 'groups'
    return { key, message: `${JSON.stringify(name)} is not written <identity provider>/<name>, such as corp/alice` }
  }
  const cloud = role === undefined ? undefined : awsPrincipalOf(role)
  if (cloud?.arn !== role) {
    const message = `${JSON.stringify(role)} is not the ARN of a role, such as arn:aws:iam::123456789012:role/etl`
    return { key: 'role', message }
  }
  let spiffeId: SpiffeId
  try {
    if (as !== undefined) spiffeId = parseSpiffeId(as)
    else if (person !== undefined) spiffeId = idOfPerson(person, trustDomain)
    else spiffeId = awsSubject(cloud!, trustDomain)
  } catch (reason) {
    return { key: as === undefined ? 'role' : 'as', message: RingfenceError.from(reason, 'CONFIG').message }
  }
  const isBehind = person !== undefined && personOf(spiffeId) !== person
  if (!isBehind && workloadClaims !== undefined)
    return { key: 'workloadClaims', message: 'nobody stands behind a workload here, so claims are those of who asks' }
  if (!isBehind || (claims === undefined && workloadClaims === undefined)) {
    return { spiffeId, person, groups, role, claims }
  }
  const claimsOf = { workload: workloadClaims ?? {}, person: claims ?? {} }
  return { spiffeId, person, groups, role, claims: claimsOfEither(claimsOf), claimsOf }
}

/** `name=value`. */
export function parseClaim(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('a claim is written name=value')
  return [text.slice(0, at), text.slice(at + 1)]
}

/** A claim that is given several times is a list. */
export function claimsFrom(pairs: readonly (readonly [string, string])[] = []): Record<string, string[]> {
  const claims = new Map<string, string[]>()
  for (const [name, value] of pairs) claims.set(name, [...(claims.get(name) ?? []), value])
  return Object.fromEntries(claims)
}

export function isFault(one: Principal | WhoFault): one is WhoFault {
  return 'message' in one
}

/** The trust domain that a policy speaks of, where it is one only, those apart with which it federates. */
export function trustDomainIn(policy: CompiledPolicy | undefined): string {
  const ids = policy?.rules.flatMap(({ subjects }) => subjects.flatMap(({ spiffeId }) => spiffeId ?? [])) ?? []
  const named = [...new Set(ids.map((id) => trustDomainOf(id as SpiffeId)))]
  const federated = trustDomainsOf(policy?.providers ?? [])
  // A provider may be of JWT-SVIDs of the mesh's own trust domain.
  const own = named.length === 1 ? named : named.filter((one) => !federated.includes(one))
  const [only, ...others] = own
  return only === undefined || others.length > 0 ? 'unknown.invalid' : only
}

/** Whether a policy looks at what only the evidence of a caller says: groups, role, claims. */
export function asksOfProviders({ rules, cedar, data }: CompiledPolicy): boolean {
  const masked = data.masks.flatMap(({ subjects = [], exceptSubjects }) => [...subjects, ...exceptSubjects])
  const subjects = [...[...rules, ...cedar].flatMap((rule) => rule.subjects), ...masked]
  return (
    subjects.some(({ group, role }) => group !== undefined || role !== undefined) ||
    rules.some(({ when }) => when?.claims !== undefined) ||
    cedar.some(({ text }) => /\b(?:groups|role|claims)\b/.test(text))
  )
}
