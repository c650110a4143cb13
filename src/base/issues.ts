/**
 * What zod finds wrong with a value, in the words and at the places of the document that it came from: which key, what was found, and what
 * would be valid.
 */
import type { z } from 'zod'
import { assert } from './errors.ts'
import { list, lowerFirst, nearest, quote, unknownWord } from './words.ts'

export type DocumentPath = readonly PropertyKey[]

export interface Explained {
  readonly path: DocumentPath
  readonly message: string
  /** True when the last step of the path is a key that itself is at fault. */
  readonly atKey: boolean
  readonly missing?: string
  /** For an unknown key: the valid one that is near. */
  readonly meant?: string | undefined
}

/** A misspelt key is also a missing one; the reader needs to hear it once. */
export function withoutEchoes(found: readonly Explained[]): Explained[] {
  const meant = new Set(found.map((one) => `${pathText(one.path.slice(0, -1))} ${one.meant}`))
  return found.filter((one) => one.missing === undefined || !meant.has(`${pathText(one.path)} ${one.missing}`))
}

export function explainIssues(schema: z.ZodType, issues: readonly z.core.$ZodIssue[]): Explained[] {
  return issues.flatMap((issue): Explained[] => {
    const { path } = issue
    const last = path.at(-1)
    if (issue.code === 'unrecognized_keys') {
      const valid = keysAt(schema, path)
      return issue.keys.map((key) => {
        return {
          path: [...path, key],
          message: unknownWord('key', key, valid),
          atKey: true,
          meant: nearest(key, valid),
        }
      })
    }
    const typed = issue.code === 'invalid_type' || issue.code === 'invalid_value'
    if (typed && issue.input === undefined && typeof last === 'string') {
      return [{ path: path.slice(0, -1), message: `missing key ${quote(last)}`, atKey: false, missing: last }]
    }
    if (issue.code === 'invalid_type') {
      const message = `expected ${typeWord(issue.expected)}, found ${foundWord(issue.input)}`
      return [{ path, message, atKey: false }]
    }
    if (issue.code === 'invalid_value') {
      const { input } = issue
      const plain = typeof input === 'string' || typeof input === 'number' || typeof input === 'boolean'
      const valid = issue.values.map(String)
      const message = plain
        ? unknownWord('value', String(input), valid)
        : `expected one of ${list(valid)}, found ${foundWord(input)}`
      return [{ path, message, atKey: false }]
    }
    if (issue.code === 'invalid_union' && 'discriminator' in issue) {
      const { input } = issue
      const given = isRecord(input) && typeof last === 'string' ? input[last] : undefined
      if (given === undefined)
        return [{ path: path.slice(0, -1), message: `missing key ${quote(String(last))}`, atKey: false }]
      const valid = ('options' in issue ? (issue.options ?? []) : []).map(String)
      return [{ path, message: unknownWord('value', String(given), valid), atKey: false }]
    }
    if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      // The alternative that went furthest before it failed is the one that was meant.
      const alternatives: readonly (readonly z.core.$ZodIssue[])[] = issue.errors
      const depth = (option: readonly z.core.$ZodIssue[]): number => Math.max(...option.map((one) => one.path.length))
      const meant = [...alternatives].sort((a, b) => depth(b) - depth(a) || a.length - b.length)[0]!
      const option = alternativesAt(schema, path)[alternatives.indexOf(meant)] ?? schema
      return explainIssues(option, meant).map((one) => ({ ...one, path: [...path, ...one.path] }))
    }
    return [{ path, message: lowerFirst(issue.message), atKey: false }]
  })
}

// What zod calls the inside of a schema, as far as it is walked here (zod 4, `schema.def`).
interface SchemaDef {
  readonly type: string
  readonly shape?: Record<string, z.ZodType>
  readonly catchall?: z.ZodType
  readonly element?: z.ZodType
  readonly innerType?: z.ZodType
  readonly valueType?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly in?: z.ZodType
}

function defOf(schema: z.ZodType): SchemaDef {
  return schema.def as unknown as SchemaDef
}

function innermost(schema: z.ZodType): z.ZodType {
  const { innerType, in: input } = defOf(schema)
  const next = innerType ?? input
  return next === undefined ? schema : innermost(next)
}

function schemasAt(schema: z.ZodType, path: DocumentPath): z.ZodType[] {
  const here = innermost(schema)
  const { options, shape, element, valueType } = defOf(here)
  if (options !== undefined) return path.length === 0 ? [here] : options.flatMap((option) => schemasAt(option, path))
  const [step, ...rest] = path
  if (step === undefined) return [here]
  const child = typeof step === 'string' && shape !== undefined && Object.hasOwn(shape, step) ? shape[step] : undefined
  const next = child ?? element ?? valueType
  return next === undefined ? [] : schemasAt(next, rest)
}

function alternativesAt(schema: z.ZodType, path: DocumentPath): readonly z.ZodType[] {
  return schemasAt(schema, path).flatMap((found) => defOf(found).options ?? [])
}

function keysAt(schema: z.ZodType, path: DocumentPath): string[] {
  const own = schemasAt(schema, path)
  // A union has the keys of all its alternatives.
  const whole = own.flatMap((found) => [found, ...(defOf(found).options ?? []).map(innermost)])
  return [...new Set(whole.flatMap((found) => Object.keys(defOf(found).shape ?? {})))]
}

const knownStrict = new WeakSet<z.ZodType>()

/** Our own fault if a schema would swallow unknown keys. */
export function assertStrict(schema: z.ZodType): void {
  if (knownStrict.has(schema)) return
  knownStrict.add(schema)
  const { type, shape, catchall, element, innerType, valueType, options, in: input } = defOf(schema)
  if (type === 'object') {
    assert(
      catchall !== undefined && defOf(catchall).type === 'never',
      'a schema of a document is made of z.strictObject',
    )
  }
  const inside = [...Object.values(shape ?? {}), ...(options ?? []), element, innerType, valueType, input]
  for (const part of inside) if (part !== undefined) assertStrict(part)
}

export function pathText(path: DocumentPath): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? String(step) : `.${String(step)}`
  }
  return text
}

function typeWord(expected: string): string {
  const words = new Map([
    ['array', 'a list'],
    ['object', 'a map of keys'],
    ['record', 'a map of keys'],
    ['string', 'text'],
    ['int', 'a whole number'],
    ['number', 'a number'],
    ['boolean', 'true or false'],
  ])
  return words.get(expected) ?? expected
}

function foundWord(input: unknown): string {
  if (input === null || input === undefined) return 'nothing'
  if (Array.isArray(input)) return 'a list'
  if (typeof input === 'object') return 'a map of keys'
  if (typeof input === 'string') return `the text ${quote(input)}`
  return String(input)
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
