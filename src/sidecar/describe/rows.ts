/**
 * Which rows of DESCRIBE exist for an identity: those of objects that it may see, made of nothing that it may not see. What is hidden and what
 * does not exist look alike (attacks C9, C10).
 *
 * The node writes names in its rows as CQL does, quoted where need be, and functions with the types of their arguments.
 */
import type { Visibility } from '../../policy/engine.ts'
import type { SchemaView } from '../../policy/request.ts'
import { seesTable } from '../catalog/visible.ts'
import { aggregateKey, type MadeOf } from './aggregates.ts'

export interface DescribedRow {
  readonly keyspace: string | null
  readonly type: string | null
  readonly name: string | null
  /** Null where the form lists names only. */
  readonly statement: string | null
}

export function existsFor(
  visibility: Visibility,
  schema: SchemaView,
  row: DescribedRow,
  aggregates: MadeOf = new Map(),
): boolean {
  if (visibility.all) return true
  if (row.keyspace === null || row.name === null) return false
  const keyspace = unquoted(row.keyspace)
  if (!visibility.keyspace(keyspace)) return false
  switch (row.type) {
    case 'keyspace':
    case 'type':
      return true
    case 'table':
      return visibility.table(keyspace, unquoted(row.name))
    case 'materialized_view':
      return viewExists(visibility, schema, keyspace, unquoted(row.name), row.statement ?? '')
    case 'index': {
      const table = schema.indexedTable(keyspace, unquoted(row.name)) ?? indexedIn(row.statement ?? '')
      return table !== undefined && visibility.table(keyspace, table)
    }
    case 'function':
      return visibility.function(keyspace, withoutArguments(row.name))
    case 'aggregate':
      return aggregateExists(visibility, keyspace, row.name, row.statement, aggregates)
    default:
      // What a newer node describes.
      return false
  }
}

/** Its text names its base table. */
function viewExists(
  visibility: Visibility,
  schema: SchemaView,
  keyspace: string,
  view: string,
  statement: string,
): boolean {
  const base = schema.table(keyspace, view)?.base ?? baseIn(statement)
  return base !== undefined && seesTable(visibility, keyspace, view, base)
}

// Only of what was made a moment ago and is not in the schema yet: the node's own text says it too.
const identifier = '(?:"(?:[^"]|"")*"|\\w+)'
const basePattern = new RegExp(`^    FROM ${identifier}\\.(${identifier})$`, 'm')
const indexedPattern = new RegExp(`^CREATE (?:CUSTOM )?INDEX ${identifier} ON ${identifier}\\.(${identifier}) `)

function baseIn(statement: string): string | undefined {
  const name = basePattern.exec(statement)?.[1]
  return name === undefined ? undefined : unquoted(name)
}

function indexedIn(statement: string): string | undefined {
  const name = indexedPattern.exec(statement)?.[1]
  return name === undefined ? undefined : unquoted(name)
}

/** Its text names the functions that it is made of. */
function aggregateExists(
  visibility: Visibility,
  keyspace: string,
  described: string,
  statement: string | null,
  aggregates: MadeOf,
): boolean {
  const name = withoutArguments(described)
  const types = /\((.*)\)$/s.exec(described)?.[1] ?? ''
  const functions = statement === null ? aggregates.get(aggregateKey(keyspace, name, types)) : functionsOf(statement)
  return functions !== undefined && [name, ...functions].every((each) => visibility.function(keyspace, each))
}

/** The state and final function of an aggregate, in its own text. */
function functionsOf(statement: string): string[] {
  return [...statement.matchAll(/^\s+(?:SFUNC|FINALFUNC) ("(?:[^"]|"")*"|[^\s;]+)/gm)].map((match) =>
    unquoted(match[1]!),
  )
}

/** `f(int, text)` or `"F"(int)`. */
function withoutArguments(name: string): string {
  const quotedName = /^"(?:[^"]|"")*"/.exec(name)?.[0]
  return unquoted(quotedName ?? name.replace(/\(.*$/s, ''))
}

function unquoted(name: string): string {
  return name.startsWith('"') && name.endsWith('"') && name.length > 1 ? name.slice(1, -1).replaceAll('""', '"') : name
}
