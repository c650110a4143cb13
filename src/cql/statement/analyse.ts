/**
 * CQL text → facts. This folder reads statements exactly as Cassandra 5.0 does and says what each would touch; it knows no
 * policy and no schema. The rule not to break: a statement that is not wholly understood is an error, never a guess, and
 * `test/oracle/` holds lexer and parser against Cassandra's own.
 *
 *   text ─ lexer.ts ─▶ tokens ─ parser.ts ─▶ ast.ts ─ authorise.ts ─▶ facts.ts ─ resolve.ts ─▶ facts with keyspaces
 */
import type { Describe, Modification, Statement } from './ast.ts'
import { authorise, distinct, nativeCallsOf } from './authorise.ts'
import { Cursor } from './cursor.ts'
import type { Access, StatementFacts } from './facts.ts'
import { plainFacts } from './facts.ts'
import { lex, type Tokens } from './lexer.ts'
import { parse } from './parser.ts'
import { redact } from './redact.ts'

/**
 * What the statement would do.
 * @param text one CQL statement, decoded by a fatal UTF-8 decoder
 * @throws RingfenceError SYNTAX where Cassandra would not parse it, INVALID above a limit
 */
export function analyse(text: string): StatementFacts {
  const tokens = lex(text)
  const cursor = new Cursor(tokens)
  const statement = parse(cursor)
  const children = statement.kind === 'batch' ? childFacts(statement.children, tokens, cursor.markers) : []
  const facts = toFacts(statement, redact(tokens, 0, tokens.count), cursor.markers)
  return { ...facts, classes: distinct(cursor.classes), children, statementCount: children.length }
}

/** Facts of the statements in a BATCH; of those that are one object, one object too. */
function childFacts(
  children: readonly Modification[],
  tokens: Tokens,
  markers: readonly (string | undefined)[],
): StatementFacts[] {
  const known = new Map<Modification, StatementFacts>()
  return children.map((child) => {
    let facts = known.get(child)
    if (facts !== undefined) return facts
    const like = child.like === undefined ? undefined : known.get(child.like)
    if (like !== undefined) return { ...like, ttl: child.ttl, timestamp: child.timestamp }
    facts = toFacts(child, redact(tokens, ...child.tokens), markers.slice(...child.markers))
    known.set(child, facts)
    return facts
  })
}

function toFacts(statement: Statement, redacted: string, markers: readonly (string | undefined)[]): StatementFacts {
  const accesses = authorise(statement)
  return {
    verb: verbOf(statement),
    accesses,
    ...targetOf(statement),
    // A trigger needs a permission on the cluster, and is about a table of the keyspace in force.
    unqualified:
      accesses.some(isUnqualified) || (statement.kind === 'trigger' && statement.table.keyspace === undefined),
    conditional: isConditional(statement),
    use: statement.kind === 'use' ? statement.keyspace : undefined,
    redacted,
    markers,
    ...plainFacts,
    nativeCalls: nativeCallsOf(statement),
    ...detailsOf(statement),
    children: [],
  }
}

/** The facts that only some kinds of statement have. */
function detailsOf(statement: Statement): Partial<StatementFacts> {
  switch (statement.kind) {
    case 'select': {
      const { limit, restrictions, allowFiltering, selection, used } = statement
      return { limit, restrictions, allowFiltering, selection, columnsUsed: distinct(used) }
    }
    case 'modification': {
      const { ttl, timestamp, restrictions, assignments, condition } = statement
      const columnsUsed = condition === undefined || condition === 'rows' ? [] : distinct(condition.columns)
      return { ttl, timestamp, restrictions, assignments, columnsUsed }
    }
    case 'batch':
      return { timestamp: statement.using.timestamp }
    case 'table':
      return { defaultTtlSeconds: statement.defaultTtlSeconds, columnsUsed: distinct(statement.renamed) }
    case 'view':
      return { defaultTtlSeconds: statement.defaultTtlSeconds, columnsUsed: distinct(statement.base?.used ?? []) }
    case 'createIndex':
      return { columnsUsed: distinct(statement.mentions.columns) }
    default:
      return {}
  }
}

/** Whether the keyspace in force decides what the access means. */
function isUnqualified({ resource }: Access): boolean {
  return 'keyspace' in resource && resource.keyspace === undefined
}

function isConditional(statement: Statement): boolean {
  const conditional = (write: Modification): boolean => write.condition !== undefined
  if (statement.kind === 'batch') return statement.children.some(conditional)
  return statement.kind === 'modification' && conditional(statement)
}

function verbOf(statement: Statement): string {
  switch (statement.kind) {
    case 'select':
    case 'batch':
    case 'use':
    case 'truncate':
      return statement.kind.toUpperCase()
    case 'modification':
      return statement.verb
    case 'describe':
      return statement.what === 'ANY' ? 'DESCRIBE' : `DESCRIBE ${statement.what}`
    case 'createIndex':
      return 'CREATE INDEX'
    case 'dropIndex':
      return 'DROP INDEX'
    case 'view':
      return `${statement.action} MATERIALIZED VIEW`
    case 'function':
    case 'role':
      return `${statement.action} ${statement.noun}`
    case 'grant':
      return statement.action
    case 'grantRole':
      return `${statement.action} ROLE`
    case 'list':
      return `LIST ${statement.what}`
    default:
      return `${statement.action} ${statement.kind.toUpperCase()}`
  }
}

function targetOf(statement: Statement): { keyspace: string | undefined; table: string | undefined } {
  switch (statement.kind) {
    case 'select':
    case 'modification':
    case 'truncate':
    case 'table':
    case 'createIndex':
    case 'trigger':
      return { keyspace: statement.table.keyspace, table: statement.table.name }
    case 'view':
      return { keyspace: statement.view.keyspace, table: statement.view.name }
    case 'use':
    case 'keyspace':
      return { keyspace: statement.keyspace, table: undefined }
    case 'type':
      return { keyspace: statement.type.keyspace, table: undefined }
    case 'dropIndex':
      return { keyspace: statement.index.keyspace, table: undefined }
    case 'function':
      return { keyspace: statement.name.keyspace, table: undefined }
    case 'grant':
      if (statement.resource.kind === 'table') {
        return { keyspace: statement.resource.table.keyspace, table: statement.resource.table.name }
      }
      return {
        keyspace: statement.resource.kind === 'keyspace' ? statement.resource.keyspace : undefined,
        table: undefined,
      }
    case 'describe':
      return describeTarget(statement)
    default:
      return { keyspace: undefined, table: undefined }
  }
}

function describeTarget({ what, name, keyspace }: Describe): {
  keyspace: string | undefined
  table: string | undefined
} {
  const isTable = what === 'TABLE' || what === 'MATERIALIZED VIEW'
  return { keyspace: name?.keyspace ?? keyspace, table: isTable ? name?.name : undefined }
}
