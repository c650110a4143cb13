/** The types of identity providers. A new one is a file beside this and its place in this list. */
import { z } from 'zod'
import { assert } from '../../base/errors.ts'
import { aws } from './aws.ts'
import { awsSts } from './aws-sts.ts'
import { kubernetes } from './kubernetes.ts'
import { oidc } from './oidc.ts'
import type { AnyProviderType, ProviderSpec } from './provider.ts'
import { spiffe } from './spiffe.ts'

export const providerTypes: readonly AnyProviderType[] = [oidc, aws, awsSts, kubernetes, spiffe]

/** Of `spec` of kind `IdentityProvider`. */
export const providerSchema = z.discriminatedUnion(
  'type',
  providerTypes.map(({ schema }) => schema) as unknown as [z.ZodObject<{ type: z.ZodLiteral<string> }>],
) as unknown as z.ZodType<ProviderSpec>

export function typeOf({ type }: ProviderSpec): AnyProviderType {
  const found = providerTypes.find(({ name }) => name === type)
  assert(found !== undefined, 'a spec was read by the schema of its type')
  return found
}
