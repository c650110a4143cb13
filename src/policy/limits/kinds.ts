/**
 * Rate limits: how much may be done in a time, by whom, to what. They permit nothing and deny nothing for good: what is over a limit may come
 * later.
 *
 * The rule one must not break: what is forgotten, unknown or too much to look at counts as more, never as less.
 *
 *   YAML ─ kinds.ts ─▶ specs ─ compile.ts ─▶ RateLimitRule (rules.ts) ─ weight.ts ─▶ units of one request ─ sidecar/limits ─▶ goes, waits or is refused
 *
 * This file: the words of kind `RateLimitPolicy`.
 */
import { z } from 'zod'
import { subjects } from '../load/subjects.ts'
import { operationGroups, permissions } from '../policy.ts'
import { units } from './words.ts'

export const rateLimitKind = 'RateLimitPolicy'
const nonEmpty = <T extends z.ZodType>(element: T) =>
  z.array(element).min(1, 'the list is empty, so the limit can never do anything')
const objectPattern = z
  .string()
  .regex(/^(\*|\w{1,222}\*?)$/, 'a name has letters, digits and "_"; "*" may stand alone or at its end')
const operationWords = [...permissions, ...operationGroups.keys()].filter((word) => word !== 'UNMASK')

/** A number in a time: `100/s`, `6000/m`, `1000000/d`, of bytes also `10MiB/s`. */
const rate = z
  .string()
  .regex(
    /^[1-9]\d{0,14}(?:KiB|MiB|GiB)?\/[smhd]$/,
    'a rate is written like 100/s, 6000/m, 20000/h or 1000000/d; bytes also like 10MiB/s',
  )
const duration = z.string().regex(/^[0-9]{1,9}(?:ms|s|m|h|d)$/, 'a duration is written like 250ms, 2s or 5m')
const override = z.strictObject({
  subjects,
  perIdentity: z.union([z.literal('none'), rate]).optional(),
  perPerson: z.union([z.literal('none'), rate]).optional(),
})

const rateLimit = z.strictObject({
  mode: z.enum(['enforce', 'observe']).default('enforce'),
  subjects: subjects.optional(),
  exceptSubjects: subjects.optional(),
  clientAddresses: nonEmpty(z.string()).optional(),
  keyspaces: nonEmpty(objectPattern).optional(),
  tables: nonEmpty(objectPattern).optional(),
  operations: nonEmpty(z.enum(operationWords as [string, ...string[]])).optional(),
  statements: nonEmpty(z.string().max(4096, 'a statement has at most 4096 characters')).optional(),
  unit: z.enum(units).default('requests'),
  total: rate.optional(),
  perIdentity: rate.optional(),
  perPerson: rate.optional(),
  perAddress: rate.optional(),
  overrides: nonEmpty(override).optional(),
  burst: duration.optional(),
  maxDelay: duration.optional(),
})
export type RateLimitSpec = z.infer<typeof rateLimit>

/** By kind, for `parseDocuments`. */
export const rateLimitSchemas: ReadonlyMap<string, z.ZodType<RateLimitSpec>> = new Map([[rateLimitKind, rateLimit]])
