/**
 * Tokens of Kubernetes service accounts, projected into a Pod with an audience of ours: verified by the keys of the cluster, or by asking its
 * API server each time, so that the token of a Pod that was deleted is not taken.
 */
import { z } from 'zod'
import type { JsonObject } from '../jwt/json.ts'
import { usualTypes } from '../jwt/verify.ts'
import { serviceAccountOf, serviceAccountSubject } from '../kubernetes/service-account.ts'
import { LogInRefused } from '../refusal.ts'
import {
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
  type: z.literal('kubernetes'),
  /** `--service-account-issuer` of the cluster. */
  issuer,
  ...tokenShape,
  ...keysShape,
  /** Each proxy asks the API server of its own configuration; no keys are fetched. */
  tokenReview: z.boolean().default(false),
  /** Service accounts of these only. */
  namespaces: listOf(z.string().min(1).max(63)).optional(),
  /** Names in the claim `kubernetes.io`: `pod.name`, `node.name`. */
  claims: forPolicyShape,
})

export const kubernetes = providerType<z.infer<typeof schema>>({
  name: 'kubernetes',
  schema,
  faults(spec) {
    if (!spec.tokenReview) return keysUrlFaults(spec, spec.issuer)
    return spec.jwks === undefined ? [] : [{ path: ['jwks'], message: '"jwks" and "tokenReview" exclude each other' }]
  },
  tokens: (spec) => rulesOf(spec, spec.issuer, usualTypes),
  keySource: (spec) => (spec.tokenReview ? undefined : keySourceOf(spec, spec.issuer)),
  keysAgeMsMax: (spec) => spec.keysMaxAge,
  isReviewed: ({ tokenReview }) => tokenReview,
  identify({ spec }, token, trustDomain) {
    const account = serviceAccountOf(token.claims)
    if (spec.namespaces !== undefined && !spec.namespaces.includes(account.namespace)) {
      throw new LogInRefused('account', `the namespace ${account.namespace} may not log in here`)
    }
    return {
      subject: serviceAccountSubject(account, trustDomain),
      claims: claimsFor(account.claims as JsonObject, spec.claims.forPolicy),
    }
  },
})
