/** AWS outbound identity federation: tokens of `sts:GetWebIdentityToken`, of one account, verified by keys that AWS publishes. */
import { z } from 'zod'
import { awsSubject } from '../aws/arn.ts'
import { webIdentityOf } from '../aws/web-identity.ts'
import type { JsonObject } from '../jwt/json.ts'
import { algorithms } from '../jwt/keys.ts'
import { usualTypes } from '../jwt/verify.ts'
import {
  awsAccount,
  claimsFor,
  forPolicyShape,
  issuer,
  keySourceOf,
  keysShape,
  keysUrlFaults,
  listOf,
  rulesOf,
  tokenShape,
} from './common.ts'
import { providerType } from './provider.ts'

const schema = z.strictObject({
  type: z.literal('aws'),
  /** `https://<id>.tokens.sts.global.api.aws`, as `aws iam enable-outbound-web-identity-federation` tells it. */
  issuer,
  ...tokenShape,
  algorithms: listOf(z.enum(algorithms)).default(['RS256', 'ES384']),
  ...keysShape,
  accounts: listOf(awsAccount).optional(),
  organizations: listOf(
    z.string().regex(/^o-[a-z0-9]{10,32}$/, 'expected an organization such as o-abc1234567'),
  ).optional(),
  /** Names in AWS's own claims: `org_id`, `principal_tags.team`. */
  claims: forPolicyShape,
})

export const aws = providerType<z.infer<typeof schema>>({
  name: 'aws',
  schema,
  faults: (spec) => keysUrlFaults(spec, spec.issuer),
  tokens: (spec) => rulesOf(spec, spec.issuer, usualTypes),
  keySource: (spec) => keySourceOf(spec, spec.issuer),
  keysAgeMsMax: (spec) => spec.keysMaxAge,
  identify({ spec }, token, trustDomain) {
    const { principal, claims } = webIdentityOf(token.claims, spec)
    return {
      subject: awsSubject(principal, trustDomain),
      role: principal.arn,
      claims: claimsFor(claims as JsonObject, spec.claims.forPolicy),
    }
  },
})
