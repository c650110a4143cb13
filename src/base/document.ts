/**
 * Files that people write: YAML documents of the shape `apiVersion`, `kind`, `metadata.name`, `spec`.
 *
 * Strict on purpose: an unknown key, a duplicate key or a value of the wrong type is an error. A misspelt key that is silently ignored would
 * leave a policy open. Every error says where (`file:line:column`), what, and what would be valid.
 */

import type { Document, Node } from 'yaml'
import { isAlias, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml'
import { z } from 'zod'
import { assert, RingfenceError } from './errors.ts'
import { assertStrict, type DocumentPath, explainIssues, isRecord, pathText, withoutEchoes } from './issues.ts'
import { list, lowerFirst, quote, unknownWord } from './words.ts'

export type { DocumentPath }

export const documentApiVersion = 'ringfence.dev/v1alpha1'

/** Where something stands in its file; both count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

export interface Problem extends Position {
  readonly message: string
}

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
