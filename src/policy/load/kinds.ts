/** The words of kinds `Role`, `RoleBinding`, `AccessPolicy` and `CedarPolicy`. */
import { z } from 'zod'
import { proofs } from '../../identity/proofs/index.ts'
import { days } from '../conditions.ts'
import { operationGroups, permissions } from '../policy.ts'
import { subjects } from './subjects.ts'

const operationWords = [...permissions, ...operationGroups.keys()]
/** As drivers and `cqlsh` write them (native_protocol_v5.spec §3). */
const consistencyLevels = [
  'ANY',
  'ONE',
  'TWO',
  'THREE',
  'QUORUM',
  'ALL',
  'LOCAL_QUORUM',
  'EACH_QUORUM',
  'SERIAL',
  'LOCAL_SERIAL',
  'LOCAL_ONE',
] as const

const nonEmpty = <T extends z.ZodType>(element: T) =>
  z.array(element).min(1, 'the list is empty, so the rule can never do anything')

/** Cassandra's own shape of keyspace and table names (`SchemaConstants.PATTERN_WORD_CHARS`), with an optional `*` at the end. */
const objectPattern = z
  .string()
  .regex(/^(\*|\w{1,222}\*?)$/, 'a name has letters, digits and "_"; "*" may stand alone or at its end')
const wellFormed = (text: string): boolean => text.isWellFormed()
const anyNamePattern = z
  .string()
  .regex(/^[^*]{0,256}\*?$/, '"*" may stand alone or at the end of a name only')
  .min(1, 'a name is empty')
  .refine(wellFormed, 'a name has half a surrogate pair')
const functionPattern = z
  .string()
  .regex(
    /^(\*|(\*|\w{1,222}\*?)\.(\*|[^*.]{1,256}\*?))$/,
    'a function is written keyspace.name, where each part may end with "*"',
  )
  .refine(wellFormed, 'a name has half a surrogate pair')

/** A word of the registry of proofs, as it stands when a policy is read. */
const authenticationMethod = z.string().refine((text) => proofs.methods.includes(text), {
  error: () => `expected one of ${proofs.methods.map((method) => JSON.stringify(method)).join('|')}`,
})
const claimValue = z.union([z.string(), z.number(), z.boolean()])
const mode = z.enum(['enforce', 'observe']).default('enforce')

export const when = z.strictObject({
  clientAddresses: nonEmpty(z.string()).optional(),
  hours: z.string().optional(),
  days: nonEmpty(z.enum(days)).optional(),
  consistency: nonEmpty(z.enum(consistencyLevels)).optional(),
  authentication: nonEmpty(authenticationMethod).optional(),
  claims: z.record(z.string(), z.union([claimValue, nonEmpty(claimValue)])).optional(),
  conditional: z.boolean().optional(),
  rowsMax: z.int().min(1, 'must be at least 1').max(2_147_483_647, 'a LIMIT is at most 2147483647').optional(),
})

const ruleShape = {
  keyspaces: nonEmpty(objectPattern).optional(),
  tables: nonEmpty(objectPattern).optional(),
  columns: nonEmpty(anyNamePattern).optional(),
  functions: nonEmpty(functionPattern).optional(),
  roles: nonEmpty(anyNamePattern).optional(),
  cluster: z.literal(true, '"cluster" is true or absent').optional(),
  operations: nonEmpty(z.enum(operationWords as [string, ...string[]])),
  when: when.optional(),
}

const rule = z.strictObject(ruleShape)
const role = z.strictObject({ rules: nonEmpty(rule) })
const roleBinding = z.strictObject({ role: z.string(), subjects })
const accessPolicy = z.strictObject({
  effect: z.enum(['allow', 'deny']).default('allow'),
  mode,
  subjects,
  ...ruleShape,
})
const cedarPolicy = z.strictObject({ mode, cedar: z.string() })

export type WhenSpec = z.infer<typeof when>
export type RuleSpec = z.infer<typeof rule>
export type RoleSpec = z.infer<typeof role>
export type RoleBindingSpec = z.infer<typeof roleBinding>
export type AccessPolicySpec = z.infer<typeof accessPolicy>
export type CedarPolicySpec = z.infer<typeof cedarPolicy>
export type AccessSpec = RoleSpec | RoleBindingSpec | AccessPolicySpec | CedarPolicySpec

/** By kind, for `parseDocuments`. */
export const accessSchemas: ReadonlyMap<string, z.ZodType<AccessSpec>> = new Map<string, z.ZodType<AccessSpec>>([
  ['Role', role],
  ['RoleBinding', roleBinding],
  ['AccessPolicy', accessPolicy],
  ['CedarPolicy', cedarPolicy],
])
