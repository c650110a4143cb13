/**
 * The data rules: what binds by the data that a statement touches, not by who may touch it. Masks on columns, how long rows live, and
 * limits that bind administrators too.
 *
 * The rule one must not break: a limit that cannot be judged is not met. A value that cannot be read, a column that cannot be masked, a
 * table that is not known: each is a refusal.
 *
 *   YAML ─ kinds.ts ─▶ specs ─ compile.ts ─▶ DataRules (rules.ts) ─ evaluate.ts ─▶ denial, masks, checks ─ check.ts ─▶ verdict on one request
 *
 * This file: the words of kinds `DataClass`, `MaskingPolicy`, `RetentionPolicy` and `Guardrail`.
 */
import { z } from 'zod'
import { subjects } from '../load/subjects.ts'

/** Cassandra's longest TTL, 20 years (`cql3/Attributes.java`). */
const ttlSecondsMax = 630_720_000

const nonEmpty = <T extends z.ZodType>(element: T) =>
  z.array(element).min(1, 'the list is empty, so the rule can never do anything')

const objectPattern = z
  .string()
  .regex(/^(\*|\w{1,222}\*?)$/, 'a name has letters, digits and "_"; "*" may stand alone or at its end')
const columnPattern = z
  .string()
  .regex(/^[^*]{0,256}\*?$/, '"*" may stand alone or at the end of a name only')
  .min(1, 'a name is empty')

const units = new Map([
  ['ms', 0.001],
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
])

/** Seconds of `500ms`, `3600s`, `90m`, `12h`, `90d`. */
const seconds = z.string().transform((text, context) => {
  const match = /^([0-9]{1,9})(ms|s|m|h|d)$/.exec(text)
  if (match !== null) return Number(match[1]) * units.get(match[2]!)!
  const shown = JSON.stringify(text.slice(0, 64))
  context.addIssue({ code: 'custom', message: `${shown} is not a duration; write it like 3600s, 12h or 90d` })
  return z.NEVER
})

const ttl = seconds.refine(
  (value) => Number.isInteger(value) && value >= 1 && value <= ttlSecondsMax,
  `a TTL is whole seconds, from 1s to 7300d (${ttlSecondsMax}s), which is Cassandra's longest`,
)

const mode = z.enum(['enforce', 'observe']).default('enforce')
const whole = (max: number) => z.int().min(1, 'must be at least 1').max(max, `must be at most ${max}`)
const onOff = z.enum(['allow', 'deny'])

export const dataClass = z.strictObject({
  columns: nonEmpty(
    z.strictObject({ keyspace: objectPattern, table: objectPattern, columns: nonEmpty(columnPattern) }),
  ).optional(),
  /** Every column of these. */
  tables: nonEmpty(z.strictObject({ keyspace: objectPattern, table: objectPattern })).optional(),
})

/** What a policy is about: a class, or names. */
const about = {
  dataClass: z.string().optional(),
  keyspaces: nonEmpty(objectPattern).optional(),
  tables: nonEmpty(objectPattern).optional(),
}

const keepCharactersMax = 64
const kept = z.int().min(0, 'must be at least 0').max(keepCharactersMax, `must be at most ${keepCharactersMax}`)

const maskingPolicy = z.strictObject({
  mode,
  subjects: subjects.optional(),
  exceptSubjects: subjects.optional(),
  ...about,
  columns: nonEmpty(columnPattern).optional(),
  // YAML reads `mask: null` as nothing; both spellings mean the mask of that name.
  mask: z.preprocess((value) => (value === null ? 'null' : value), z.enum(['full', 'partial', 'hash', 'null'])),
  keepStart: kept.optional(),
  keepEnd: kept.optional(),
})

const retentionPolicy = z.strictObject({
  mode,
  ...about,
  maxTtl: ttl.optional(),
  requireTtl: z.literal(true).optional(),
  defaultTtl: ttl.optional(),
  legalHold: z.literal(true).optional(),
})

/** By its full name: those that Cassandra takes without a package are its own. */
const className = z
  .string()
  .regex(/^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)+$/, 'a class is written with its package, such as org.example.Index')

const guardrail = z.strictObject({
  mode,
  keyspaces: about.keyspaces,
  tables: about.tables,
  pageSizeMax: whole(2_147_483_647).optional(),
  inValuesMax: whole(65_535).optional(),
  partitionsPerBatchMax: whole(65_535).optional(),
  limitMax: whole(2_147_483_647).optional(),
  scans: onOff.optional(),
  allowFiltering: onOff.optional(),
  timestampFutureMax: seconds.optional(),
  timestampPastMax: seconds.optional(),
  nowInSeconds: onOff.optional(),
  allowedClasses: nonEmpty(className).optional(),
})

export type DataClassSpec = z.infer<typeof dataClass>
export type MaskingPolicySpec = z.infer<typeof maskingPolicy>
export type RetentionPolicySpec = z.infer<typeof retentionPolicy>
export type GuardrailSpec = z.infer<typeof guardrail>
export type DataSpec = DataClassSpec | MaskingPolicySpec | RetentionPolicySpec | GuardrailSpec

/** For `parseDocuments`, by kind. */
export const dataSchemas: ReadonlyMap<string, z.ZodType<DataSpec>> = new Map<string, z.ZodType<DataSpec>>([
  ['DataClass', dataClass],
  ['MaskingPolicy', maskingPolicy],
  ['RetentionPolicy', retentionPolicy],
  ['Guardrail', guardrail],
])
