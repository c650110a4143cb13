/** OpenID Connect: Okta, Entra ID, Keycloak, Google and whoever else signs tokens with keys that are public. */
import { z } from 'zod'
import { awsPartitions } from '../aws/arn.ts'
import { usualTypes } from '../jwt/verify.ts'
import { LogInRefused } from '../refusal.ts'
import { parseSpiffeId, pathSegmentsOf, type SpiffeId, userIdOf } from '../spiffe.ts'
import {
  claimsFor,
  groupsAt,
  issuer,
  keySourceOf,
  keysShape,
  keysUrlFaults,
  listOf,
  nameAt,
  tokenShape,
} from './common.ts'
import { providerType } from './provider.ts'

const claim = z.string().min(1, 'the name of a claim is empty').max(256)
const group = z.string().min(1, 'the name of a group is empty').max(1024)

const schema = z.strictObject({
  type: z.literal('oidc'),
  issuer,
  ...tokenShape,
  ...keysShape,
  /** Of these clients only: `azp` or `client_id`. */
  authorizedParties: listOf(z.string().min(1).max(1024)).optional(),
  userName: z.enum(['any', 'claimed']).default('any'),
  claims: z
    .strictObject({
      person: claim.optional(),
      workload: claim.optional(),
      /** Before what `workload` says, below the trust domain: `svc/`. */
      workloadPrefix: z
        .string()
        .regex(/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]*)*$/, 'expected the beginning of a path such as svc/')
        .optional(),
      groups: claim.optional(),
      /** Groups whose names begin otherwise are left out; the others lose this beginning. */
      groupsPrefix: z.string().max(256).default(''),
      forPolicy: listOf(claim).default([]),
    })
    .prefault({}),
  /** Without one of these there is no log-in. */
  allowedGroups: listOf(group).optional(),
})

/** First segments of ids that other ways in give, or the mesh itself. */
const taken: ReadonlySet<string> = new Set(['ringfence', 'user', 'ns', ...awsPartitions])

export const oidc = providerType<z.infer<typeof schema>>({
  name: 'oidc',
  schema,
  faults(spec) {
    const found = keysUrlFaults(spec, spec.issuer)
    const tell = (path: readonly string[], message: string): void => void found.push({ path, message })
    const { claims } = spec
    if (claims.workload !== undefined && claims.workloadPrefix === undefined)
      tell(['claims', 'workload'], '"workload" needs a "workloadPrefix", such as svc/')
    if (claims.workload === undefined && claims.workloadPrefix !== undefined)
      tell(['claims', 'workloadPrefix'], '"workloadPrefix" is for "workload"')
    if (taken.has(claims.workloadPrefix?.split('/')[0] ?? ''))
      tell(
        ['claims', 'workloadPrefix'],
        `ids below ${JSON.stringify(claims.workloadPrefix)} are given by another way in`,
      )
    if (spec.allowedGroups !== undefined && claims.groups === undefined)
      tell(['allowedGroups'], '"allowedGroups" needs "claims.groups", which says where groups stand')
    return found
  },
  tokens: (spec) => ({
    issuer: spec.issuer,
    audiences: spec.audiences,
    algorithms: spec.algorithms,
    types: usualTypes,
    authorizedParties: spec.authorizedParties,
    leewayMs: spec.leeway,
    lifeMsMax: spec.lifeMax,
  }),
  keySource: (spec) => keySourceOf(spec, spec.issuer),
  keysAgeMsMax: (spec) => spec.keysMaxAge,
  identify({ name, spec }, { claims }, trustDomain) {
    const { workload, workloadPrefix = '', groups: groupsPath, groupsPrefix, forPolicy } = spec.claims
    const groups = groupsPath === undefined ? [] : groupsAt(claims, groupsPath, groupsPrefix)
    if (spec.allowedGroups !== undefined && !spec.allowedGroups.some((one) => groups.includes(one)))
      throw new LogInRefused('group', 'the token has none of the groups that may log in')
    const personPath = spec.claims.person ?? (workload === undefined ? 'sub' : undefined)
    const personName = personPath === undefined ? undefined : nameAt(claims, personPath)
    const workloadName = workload === undefined ? undefined : nameAt(claims, workload)
    const subject =
      workloadName === undefined
        ? userIdOf(trustDomain, name, personName ?? '')
        : workloadIdOf(`spiffe://${trustDomain}/${workloadPrefix}${workloadName}`)
    return {
      subject,
      person: personName === undefined ? undefined : `${name}/${personName}`,
      groups: groups.map((one) => `${name}/${one}`),
      claims: claimsFor(claims, forPolicy),
      userNames: spec.userName === 'any' ? undefined : [personName, workloadName].filter((one) => one !== undefined),
    }
  },
})

/** A prefix may end within a segment, so that its first one is known with the name only. @throws LogInRefused */
function workloadIdOf(text: string): SpiffeId {
  const id = parseSpiffeId(text)
  if (taken.has(pathSegmentsOf(id)[0] ?? '')) throw new LogInRefused('claims', `${id} is given by another way in`)
  return id
}
