/**
 * Files that people write: YAML documents of the shape `apiVersion`, `kind`, `metadata.name`, `spec`.
 *
 * Strict on purpose: an unknown key, a duplicate key or a value of the wrong type is an error, because a misspelt key that is
 * silently ignored in a security policy is a hole. Every error says where (`file:line:column`), what, and what would be valid.
 */

import type { Document, Node } from 'yaml'
import { isAlias, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml'
import { z } from 'zod'
import { assert, RingfenceError } from './errors.ts'

export const documentApiVersion = 'ringfence.dev/v1alpha1'

/** Where something stands in its file; both count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

export interface Problem extends Position {
  readonly message: string
}

export type DocumentPath = readonly PropertyKey[]

export interface ParsedDocument<Spec = unknown> {
  readonly kind: string
  /** `metadata.name`: 1 to 253 letters, digits, `.`, `_`, `-`. */
  readonly name: string
  readonly spec: Spec
  /** The position of what stands at a path such as `['spec', 'rules', 0]`, or of the nearest thing around it. */
  position(path: DocumentPath): Position
}

/** The documents of a file that are well-formed, though others of it may not be. */
export interface Documents<Spec> {
  readonly documents: readonly ParsedDocument<Spec>[]
  /** All documents of the file are among them: what one of them refers to and is not there is nowhere. */
  readonly complete: boolean
}

/**
 * Parses a file of one or more documents. `schemas` holds a schema of `spec` for each kind that is allowed; every object in it must
 * be a `z.strictObject`. `check` finds what a schema cannot, in the documents that are well-formed. Throws a `CONFIG` error with one line
 * for each problem found, never just the first.
 */
export function parseDocuments<Spec>(
  source: string,
  fileName: string,
  schemas: ReadonlyMap<string, z.ZodType<Spec>>,
  check?: (found: Documents<Spec>, problems: Problem[]) => void,
): ParsedDocument<Spec>[] {
  for (const schema of schemas.values()) assertStrict(schema)
  const lines = new LineCounter()
  const problems: Problem[] = []
  const parsed: ParsedDocument<Spec>[] = []
  for (const document of readYaml(source, fileName, lines)) {
    const faults = [...document.errors, ...document.warnings]
    const broken = faults.find(({ code }) => !readableFaults.has(code))
    // What follows the first fault of a document that cannot be read on is mostly its echo.
    for (const fault of broken === undefined ? faults : [broken]) {
      problems.push({ ...positionOf(lines, fault.pos[0]), message: plainYamlMessage(fault.message) })
    }
    const blank = document.contents === null || (isScalar(document.contents) && document.contents.value === null)
    if (broken !== undefined || blank) continue
    const result = readDocument(document, lines, schemas, problems)
    if (result !== undefined) parsed.push(result)
  }
  if (parsed.length > 0) check?.({ documents: parsed, complete: problems.length === 0 }, problems)
  if (problems.length === 0 && parsed.length === 0) {
    problems.push({
      line: 1,
      column: 1,
      message: `the file holds no document; valid kinds are ${list(schemas.keys())}`,
    })
  }
  if (problems.length > 0) throw configError(fileName, problems)
  return parsed
}

/** Of a file that holds one document of one kind. Throws as `parseDocuments` does. */
export function parseOneDocument<Spec>(
  source: string,
  fileName: string,
  kind: string,
  schema: z.ZodType<Spec>,
): ParsedDocument<Spec> {
  const [document] = parseDocuments(source, fileName, new Map([[kind, schema]]), ({ documents }, problems) => {
    if (documents.length === 1) return
    problems.push({ line: 1, column: 1, message: `expected one document of kind ${kind}, found ${documents.length}` })
  })
  assert(document !== undefined, 'there is one')
  return document
}

/** One `CONFIG` error out of several problems: a line `file:line:column: message` for each, in the order of the file. */
export function configError(fileName: string, problems: readonly Problem[]): RingfenceError {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
  const shown = sorted.slice(0, problemsShownMax).map((p) => `${fileName}:${p.line}:${p.column}: ${p.message}`)
  if (sorted.length > problemsShownMax) shown.push(`${fileName}: and ${sorted.length - problemsShownMax} more problems`)
  return new RingfenceError('CONFIG', shown.join('\n'))
}

const durationUnits = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])

/** Milliseconds of `250ms`, `30s`, `5m`, `1h`; undefined when it is none of these. */
export function parseDuration(text: string): number | undefined {
  const match = /^([0-9]{1,9})(ms|s|m|h)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * durationUnits.get(match[2]!)!
}

/** A schema of a duration as people write it; its output is in milliseconds. */
export const duration = z.string().transform((text, context) => {
  const milliseconds = parseDuration(text)
  if (milliseconds !== undefined) return milliseconds
  context.addIssue({ code: 'custom', message: `${quote(text)} is not a duration; write it like 30s, 5m or 1h` })
  return z.NEVER
})

/** The candidate that was probably meant: at most two edits away (one for short words), case ignored; undefined when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = (word.length <= 3 ? 1 : 2) + 1
  if (word.length > 64) return undefined
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** `"x" is not …; did you mean "y"?` with what is valid; for schemas and validators that word their own refusals. */
export function unknownWord(what: string, word: string, candidates: Iterable<string>): string {
  const valid = [...candidates]
  const meant = nearest(word, valid)
  const hint = meant === undefined ? '' : `, did you mean ${quote(meant)}?`
  return `unknown ${what} ${quote(word)}${hint}${valid.length === 0 ? '' : `${hint === '' ? ';' : ''} valid: ${list(valid)}`}`
}

// ---- inside ----

const problemsShownMax = 50
/** Faults of a YAML text behind which the document means something all the same. */
const readableFaults: ReadonlySet<string> = new Set(['DUPLICATE_KEY', 'TAG_RESOLVE_FAILED'])
const namePattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$/

const envelope = z.strictObject({
  apiVersion: z.literal(documentApiVersion),
  kind: z.string(),
  metadata: z.strictObject({
    name: z
      .string()
      .regex(namePattern, 'a name is 1 to 253 letters, digits, ".", "_" or "-", and does not begin with "." or "-"'),
  }),
  spec: z.unknown(),
})

function readYaml(source: string, fileName: string, lines: LineCounter): Document.Parsed[] {
  try {
    return parseAllDocuments(source, { lineCounter: lines, prettyErrors: false, stringKeys: true }) as Document.Parsed[]
  } catch (reason) {
    // The composer is recursive, so hostile nesting ends in a RangeError.
    throw new RingfenceError('CONFIG', `${fileName}:1:1: not readable as YAML, or nested too deeply`, { cause: reason })
  }
}

function readDocument<Spec>(
  document: Document.Parsed,
  lines: LineCounter,
  schemas: ReadonlyMap<string, z.ZodType<Spec>>,
  problems: Problem[],
): ParsedDocument<Spec> | undefined {
  const position = (path: DocumentPath): Position => positionOf(lines, offsetAt(document, path, false))
  const before = problems.length
  // An object of ours cannot carry this key faithfully, so no document may. Nor can what a tag says be held to anything.
  const tagged: number[] = []
  visit(document, {
    Pair(_, pair) {
      const isProto = isScalar(pair.key) && pair.key.value === '__proto__'
      if (isProto && isNode(pair.key)) {
        problems.push({ ...positionOf(lines, startOf(pair.key) ?? 0), message: 'unknown key "__proto__"' })
      }
      return isProto ? visit.REMOVE : undefined
    },
    Node(_, node) {
      if (isUnknownTag(document, node)) tagged.push(startOf(node) ?? -1)
    },
  })

  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 100 })
  } catch (reason) {
    problems.push({ ...position([]), message: 'the aliases of this document expand to too much' })
    assert(reason instanceof Error, 'yaml throws errors')
    return undefined
  }
  const report = (schema: z.ZodType, error: z.ZodError, prefix: DocumentPath): void => {
    const issues: readonly z.core.$ZodIssue[] = error.issues
    for (const found of withoutEchoes(explainIssues(schema, issues))) {
      const path = [...prefix, ...found.path]
      const offset = offsetAt(document, path, found.atKey)
      if (tagged.includes(offset)) continue
      const at = positionOf(lines, offset)
      const where = pathText(found.atKey ? path.slice(0, -1) : path)
      problems.push({ ...at, message: where === '' ? found.message : `${where}: ${found.message}` })
    }
  }
  const outer = envelope.safeParse(value, { reportInput: true })
  if (!outer.success) report(envelope, outer.error, [])
  const kind = isRecord(value) ? value.kind : undefined
  const schema = typeof kind === 'string' ? schemas.get(kind) : undefined
  if (schema === undefined) {
    if (typeof kind === 'string') {
      problems.push({ ...position(['kind']), message: unknownWord('kind', kind, schemas.keys()) })
    }
    return undefined
  }
  const spec = isRecord(value) ? value.spec : undefined
  if (spec === undefined) return undefined
  const inner = schema.safeParse(spec, { reportInput: true })
  if (!inner.success) report(schema, inner.error, ['spec'])
  if (!outer.success || !inner.success || problems.length > before) return undefined
  return { kind: outer.data.kind, name: outer.data.metadata.name, spec: inner.data, position }
}

interface Explained {
  readonly path: DocumentPath
  readonly message: string
  /** True when the last step of the path is a key that itself is at fault. */
  readonly atKey: boolean
  readonly missing?: string
  /** For an unknown key: the valid one that is near. */
  readonly meant?: string | undefined
}

/** A misspelt key is also a missing one; the reader needs to hear it once. */
function withoutEchoes(found: readonly Explained[]): Explained[] {
  const meant = new Set(found.map((one) => `${pathText(one.path.slice(0, -1))} ${one.meant}`))
  return found.filter((one) => one.missing === undefined || !meant.has(`${pathText(one.path)} ${one.missing}`))
}

function explainIssues(schema: z.ZodType, issues: readonly z.core.$ZodIssue[]): Explained[] {
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
function assertStrict(schema: z.ZodType): void {
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

function offsetAt(document: Document.Parsed, path: DocumentPath, atKey: boolean): number {
  let node: Node | null = document.contents
  let offset = startOf(node) ?? document.range[0]
  for (const [index, step] of path.entries()) {
    while (isAlias(node)) node = node.resolve(document) ?? null
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step))
      if (!isPair(pair) || !isNode(pair.key)) break
      const keyOffset = startOf(pair.key)
      node = isNode(pair.value) ? pair.value : null
      const wantsKey = atKey && index === path.length - 1
      offset = (wantsKey ? keyOffset : (startOf(node) ?? keyOffset)) ?? offset
    } else if (isSeq(node)) {
      const item: unknown = typeof step === 'number' ? node.items[step] : undefined
      if (!isNode(item)) break
      node = item
      offset = startOf(node) ?? offset
    } else break
  }
  return offset
}

/** One that yaml said it cannot resolve; it stands for text then. */
function isUnknownTag(document: Document.Parsed, node: Node): boolean {
  const tag: unknown = 'tag' in node ? node.tag : undefined
  const at = startOf(node) ?? -1
  return (
    tag !== undefined &&
    document.warnings
      .concat(document.errors)
      .some(({ code, pos }) => code === 'TAG_RESOLVE_FAILED' && pos[0] <= at && at <= pos[1] + 1)
  )
}

function startOf(node: Node | null): number | undefined {
  return node?.range?.[0]
}

function positionOf(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

function plainYamlMessage(message: string): string {
  if (/call stack/i.test(message)) return 'nested too deeply'
  return lowerFirst(message.split('\n')[0]!.replace(/[.:]$/, ''))
}

function pathText(path: DocumentPath): string {
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

function list(words: Iterable<string>): string {
  return [...words].join(', ')
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text[0]!.toLowerCase() + text.slice(1) : text
}

/** Damerau-Levenshtein distance with adjacent swaps, by the usual three rows. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, beforePrevious[column - 2]! + 1)
      current.push(cost)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length]!
}
