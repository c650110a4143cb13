/**
 * What differs between two policies, by document: kind and name say which document is which, its keys say what changed in it.
 * Order of documents, comments and the way of writing YAML make no difference.
 */
import { isDeepStrictEqual } from 'node:util'
import { parseAllDocuments } from 'yaml'

export interface ChangedKey {
  /** `spec.tables[1]` */
  readonly key: string
  /** Undefined where the key is not there. */
  readonly before: unknown
  readonly after: unknown
}

export interface DocumentDifference {
  readonly kind: string
  readonly name: string
  readonly change: 'added' | 'removed' | 'changed'
  /** Of what changed; empty for the other two. */
  readonly keys: readonly ChangedKey[]
}

interface Document {
  readonly kind: string
  readonly name: string
  readonly value: Readonly<Record<string, unknown>>
}

/** Both sources must have passed `loadPolicy`; an empty one is a policy without documents. In the order of the new policy, removed ones last. */
export function differences(before: string, after: string): DocumentDifference[] {
  const old = documentsOf(before)
  const found: DocumentDifference[] = []
  const now = documentsOf(after)
  for (const [id, document] of now) {
    const { kind, name, value } = document
    const earlier = old.get(id)
    if (earlier === undefined) found.push({ kind, name, change: 'added', keys: [] })
    else {
      const keys = [...changedKeys('', earlier.value, value)]
      if (keys.length > 0) found.push({ kind, name, change: 'changed', keys })
    }
  }
  for (const [id, { kind, name }] of old) if (!now.has(id)) found.push({ kind, name, change: 'removed', keys: [] })
  return found
}

function documentsOf(source: string): Map<string, Document> {
  const documents = new Map<string, Document>()
  for (const parsed of parseAllDocuments(source)) {
    const value: unknown = parsed.toJS({ maxAliasCount: 100 })
    if (!isRecord(value)) continue
    const { kind, metadata } = value
    const name = isRecord(metadata) ? metadata.name : undefined
    if (typeof kind === 'string' && typeof name === 'string') documents.set(`${kind} ${name}`, { kind, name, value })
  }
  return documents
}

function* changedKeys(key: string, before: unknown, after: unknown): Generator<ChangedKey> {
  if (isDeepStrictEqual(before, after)) return
  if (isRecord(before) && isRecord(after)) {
    for (const step of new Set([...Object.keys(before), ...Object.keys(after)])) {
      yield* changedKeys(key === '' ? step : `${key}.${step}`, before[step], after[step])
    }
  } else if (isListOfRecords(before) && isListOfRecords(after) && before.length === after.length) {
    for (const [index, one] of before.entries()) yield* changedKeys(`${key}[${index}]`, one, after[index])
  } else yield { key, before, after }
}

/** What lists of names gained and lost is said by the whole lists; lists of rules are told apart by their place. */
function isListOfRecords(value: unknown): value is readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) && value.every(isRecord)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
