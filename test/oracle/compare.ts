/** Ours against Cassandra's: what one statement means to each, and the first difference. */
import { RingfenceError } from '../../src/base/errors.ts'
import { analyse } from '../../src/cql/statement/analyse.ts'
import type { Statement } from '../../src/cql/statement/ast.ts'
import { Cursor } from '../../src/cql/statement/cursor.ts'
import type { StatementFacts } from '../../src/cql/statement/facts.ts'
import { isNativeFunction } from '../../src/cql/statement/functions.ts'
import { lex } from '../../src/cql/statement/lexer.ts'
import { parse } from '../../src/cql/statement/parser.ts'
import { kindName, T } from '../../src/cql/statement/tokens.ts'
import { detailsOf } from './details.ts'
import type { Answer, LexedToken } from './oracle.ts'

export type Difference = 'we accept' | 'we reject' | 'facts'

export interface Disagreement {
  readonly difference: Difference
  readonly detail: string
}

/** Refusals that come from the schema, which an oracle without tables does not have, or from our own limits. */
function isBeside(answer: Answer): boolean {
  if (answer.accepted) return false
  return /^Keyspace .* doesn't exist$|StackOverflowError|NoSuchElementException No value present$/.test(answer.message)
}

/** @returns undefined where both agree */
export function compare(text: string, answer: Answer): Disagreement | undefined {
  let refusal: RingfenceError | undefined
  let facts: StatementFacts | undefined
  try {
    facts = analyse(text)
  } catch (reason) {
    if (!(reason instanceof RingfenceError)) throw reason
    refusal = reason
  }
  if (isBeside(answer)) return undefined
  if (!answer.accepted) {
    return refusal === undefined
      ? { difference: 'we accept', detail: `${answer.exception} ${answer.message}` }
      : undefined
  }
  if (refusal !== undefined) {
    if (refusal.code === 'INVALID') return undefined
    return { difference: 'we reject', detail: `${refusal.message} (Cassandra: ${answer.kind})` }
  }
  const ours = describe(text, facts!)
  const theirs = theirsOf(answer, ours)
  for (const key of ['kind', 'markers', 'tables', 'columns', 'functions', 'own', 'details'] as const) {
    if (ours[key] !== undefined && ours[key] !== theirs[key]) {
      // A field given twice in a user type literal is forgotten by Cassandra; we keep the call in it.
      if (key === 'functions' && includesAll(ours[key], theirs[key] ?? '[]')) continue
      return { difference: 'facts', detail: `${key}: ours ${ours[key]}, Cassandra's ${theirs[key]}` }
    }
  }
  return undefined
}

/** Each aspect as one comparable text; undefined where an aspect is not compared for this kind. */
interface Meaning {
  kind: string
  markers: string
  tables: string | undefined
  columns: string | undefined
  functions: string | undefined
  own: string | undefined
  details: string
}

type Pair = readonly [string | undefined, string]

function describe(text: string, facts: StatementFacts): Meaning {
  const cursor = new Cursor(lex(text))
  const statement = parse(cursor)
  const tables = tablesOf(statement)
  return {
    kind: kindOf(statement),
    markers: JSON.stringify(cursor.markers.map((marker) => marker ?? '?')),
    // A custom index expression names an index, which is no access.
    tables: tables === undefined || text.includes('expr(') ? undefined : pairSet(tables),
    columns: comparesColumns(statement) ? nameSet(cursor.columns) : undefined,
    functions: comparesColumns(statement)
      ? pairSet(
          cursor.functions
            .filter((each) => !isNativeFunction(each.keyspace, each.name))
            .map((each) => [each.keyspace, each.name]),
        )
      : undefined,
    own: ownOf(statement),
    details: statement.kind === 'describe' ? `internals=${statement.internals}` : detailsOf(facts),
  }
}

function theirsOf(answer: Extract<Answer, { accepted: true }>, ours: Meaning): Meaning {
  return {
    kind: answer.kind.replace(/\$\d+$|\$Element$|\$Listing$/, ''),
    markers: JSON.stringify(answer.markers.map((marker) => marker ?? '?')),
    tables: pairSet(answer.tables),
    columns: nameSet(answer.columns.filter((column) => column !== 'custom index expression')),
    functions: pairSet(
      answer.functions.filter(([keyspace, name]) => !isNativeFunction(keyspace, name) && !/^_/.test(name)),
    ),
    own: ours.own === undefined ? undefined : ownOfAnswer(answer, ours.own),
    details: answer.details,
  }
}

function nameSet(names: readonly string[]): string {
  return JSON.stringify([...new Set(names)].sort())
}

function pairSet(pairs: readonly Pair[]): string {
  return nameSet(pairs.map((pair) => JSON.stringify(pair.map((part) => part ?? null))))
}

function includesAll(ours: string, theirs: string): boolean {
  const known = new Set(JSON.parse(ours) as string[])
  return (JSON.parse(theirs) as string[]).every((each) => known.has(each))
}

function comparesColumns({ kind }: Statement): boolean {
  return kind === 'select' || kind === 'modification' || kind === 'batch'
}

function kindOf(statement: Statement): string {
  switch (statement.kind) {
    case 'select':
      return 'SelectStatement$RawStatement'
    case 'modification':
      if (statement.verb === 'DELETE') return 'DeleteStatement$Parsed'
      if (statement.verb === 'UPDATE') return 'UpdateStatement$ParsedUpdate'
      return statement.wildcard ? 'UpdateStatement$ParsedInsertJson' : 'UpdateStatement$ParsedInsert'
    case 'batch':
      return 'BatchStatement$Parsed'
    case 'use':
      return 'UseStatement'
    case 'truncate':
      return 'TruncateStatement'
    case 'keyspace':
    case 'table':
    case 'view':
    case 'type':
    case 'trigger':
      return `${capital(statement.action)}${capital(statement.kind)}Statement$Raw`
    case 'function':
      return `${capital(statement.action)}${capital(statement.noun)}Statement$Raw`
    case 'createIndex':
      return 'CreateIndexStatement$Raw'
    case 'dropIndex':
      return 'DropIndexStatement$Raw'
    case 'role':
      return `${capital(statement.action)}RoleStatement`
    case 'identity':
      return `${capital(statement.action)}IdentityStatement`
    case 'grant':
      return `${capital(statement.action)}PermissionsStatement`
    case 'grantRole':
      return `${capital(statement.action)}RoleStatement`
    case 'list':
      return `List${capital(statement.what)}Statement`
    case 'describe':
      return 'DescribeStatement'
  }
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1).toLowerCase()
}

function tablesOf(statement: Statement): Pair[] | undefined {
  const pair = (name: { keyspace: string | undefined; name: string }): Pair => [name.keyspace, name.name]
  switch (statement.kind) {
    case 'select':
    case 'modification':
    case 'truncate':
    case 'table':
    case 'trigger':
      return [pair(statement.table)]
    case 'batch':
      return statement.children.map((child) => pair(child.table))
    case 'view':
      return statement.base === undefined ? [pair(statement.view)] : [pair(statement.view), pair(statement.base.table)]
    case 'dropIndex':
      return [pair(statement.index)]
    case 'createIndex':
      return undefined
    default:
      return []
  }
}

function ownOf(statement: Statement): string | undefined {
  switch (statement.kind) {
    case 'use':
    case 'keyspace':
      return `keyspace=${statement.keyspace}`
    case 'role':
      return `role=${statement.role}`
    case 'grantRole':
      return `role=${statement.role} grantee=${statement.grantee}`
    case 'grant':
      switch (statement.resource.kind) {
        case 'table':
          return `resource=data/${statement.resource.table.keyspace ?? 'null'}/${statement.resource.table.name} grantee=${statement.role}`
        case 'role':
          return `resource=roles/${statement.resource.role} grantee=${statement.role}`
        default:
          return `resource=? grantee=${statement.role}`
      }
    case 'describe':
      if (statement.what === 'KEYSPACE') return `describe ${statement.keyspace ?? ''} -`
      return statement.name === undefined
        ? undefined
        : `describe ${statement.name.keyspace ?? ''} ${statement.name.name}`
    default:
      return undefined
  }
}

function ownOfAnswer({ own, tables }: Extract<Answer, { accepted: true }>, ours: string): string {
  const role = (field: string): string => (own.get(field) ?? '').replace(/^roles\//, '')
  if (ours.startsWith('keyspace=')) return `keyspace=${own.get('keyspace') ?? own.get('keyspaceName')}`
  if (ours.startsWith('role=') && ours.includes(' grantee=')) return `role=${role('role')} grantee=${role('grantee')}`
  if (ours.startsWith('role=')) return `role=${role('role')}`
  if (ours.startsWith('resource=?')) return `resource=? grantee=${role('grantee')}`
  if (ours.startsWith('resource=')) return `resource=${own.get('resource')} grantee=${role('grantee')}`
  const keyspace = own.get('keyspace') ?? own.get('val$keyspace') ?? tables[0]?.[0] ?? ''
  return `describe ${keyspace} ${own.get('name') ?? own.get('val$name') ?? '-'}`
}

// --- tokens --------------------------------------------------------------------------------------------------------------

/** @returns undefined where both lexers give the same tokens at the same places, or both fail */
export function compareTokens(text: string, theirs: readonly LexedToken[] | undefined): string | undefined {
  let ours: string | undefined
  try {
    const { count, kinds, starts, ends } = lex(text)
    ours = ''
    for (let at = 0; at < count; at += 1) ours += `${tokenName(kinds[at]!)}:${starts[at]}:${ends[at]} `
  } catch (reason) {
    if (!(reason instanceof RingfenceError)) throw reason
  }
  const expected = theirs?.map(({ kind, start, end }) => `${theirName(kind)}:${start}:${end} `).join('')
  return ours === expected ? undefined : `ours ${ours ?? 'fails'}, Cassandra's ${expected ?? 'fails'}`
}

function tokenName(kind: number): string {
  const name = theirNames.get(kind)
  return name ?? (kind >= 40 ? kindName(kind) : 'SYMBOL')
}

function theirName(kind: string): string {
  if (kind.startsWith("'")) return kind === "'expr('" ? 'EXPR' : 'SYMBOL'
  if (/^K_(POSITIVE|NEGATIVE)_/.test(kind)) return 'NOT_FINITE'
  return kind.replace(/^K_/, '')
}

const theirNames = new Map<number, string>([
  [T.IDENT, 'IDENT'],
  [T.QUOTED_NAME, 'QUOTED_NAME'],
  [T.EMPTY_QUOTED_NAME, 'EMPTY_QUOTED_NAME'],
  [T.STRING, 'STRING_LITERAL'],
  [T.INTEGER, 'INTEGER'],
  [T.FLOAT, 'FLOAT'],
  [T.BOOLEAN, 'BOOLEAN'],
  [T.DURATION, 'DURATION'],
  [T.UUID, 'UUID'],
  [T.HEX, 'HEXNUMBER'],
  [T.NOT_FINITE, 'NOT_FINITE'],
  [T.QMARK, 'QMARK'],
  [T.RANGE, 'RANGE'],
  [T.EXPR, 'EXPR'],
])
