/** JWT-SVIDs of a trust domain, our own or one that we federate with, by the keys of its bundle. */
import { z } from 'zod'
import { jwtSvidAlgorithms, jwtSvidSubject } from '../jwt-svid.ts'
import { LogInRefused } from '../refusal.ts'
import { parseTrustDomain, pathSegmentsOf } from '../spiffe.ts'
import { claimsFor, forPolicyShape, keySourceOf, keysShape, listOf, rulesOf, tokenShape, urlFault } from './common.ts'
import { providerType } from './provider.ts'

const schema = z.strictObject({
  type: z.literal('spiffe'),
  trustDomain: z.string().refine(isTrustDomain, 'expected a trust domain such as partner.example, without scheme'),
  ...tokenShape,
  algorithms: listOf(z.enum(jwtSvidAlgorithms)).default(['RS256', 'ES256', 'ES384']),
  ...keysShape,
  /** Its bundle, as its SPIFFE bundle endpoint shows it (https_web), or the key set of SPIRE's OIDC discovery provider. */
  jwks: z.string().max(2048),
  claims: forPolicyShape,
})

export const spiffe = providerType<z.infer<typeof schema>>({
  name: 'spiffe',
  schema,
  faults({ jwks, allowPrivate }) {
    const message = urlFault(jwks, allowPrivate)
    return message === undefined ? [] : [{ path: ['jwks'], message }]
  },
  trustDomain: ({ trustDomain }) => trustDomain,
  keyedBy: ({ trustDomain }) => `spiffe://${trustDomain}`,
  // JWT-SVID §2.2 and §3: `typ` is JWT or JOSE where it is there; of the claims `sub`, `aud` and `exp` are required.
  tokens: (spec) => ({ ...rulesOf(spec, undefined, ['', 'jwt', 'jose']), issuedAtMayMiss: true, keyUse: 'jwt-svid' }),
  keySource: (spec) => keySourceOf(spec, ''),
  keysAgeMsMax: (spec) => spec.keysMaxAge,
  recognises: ({ trustDomain }, { claims: { sub } }) =>
    typeof sub === 'string' && sub.startsWith(`spiffe://${trustDomain}/`),
  identify({ spec }, token) {
    const subject = jwtSvidSubject(token.subject, spec.trustDomain)
    // It would be somebody whom an identity provider knows, and this is none.
    if (pathSegmentsOf(subject)[0] === 'user')
      throw new LogInRefused('claims', `${subject} is a person, and a JWT-SVID is of a workload`)
    return { subject, trustDomain: spec.trustDomain, claims: claimsFor(token.claims, spec.claims.forPolicy) }
  },
})

function isTrustDomain(text: string): boolean {
  try {
    return parseTrustDomain(text) === text
  } catch {
    return false
  }
}
