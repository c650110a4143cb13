/**
 * Statement → what must be permitted. The rules are Cassandra's own `authorize()` methods (`cql3/statements/`), and stricter
 * where Cassandra asks nothing (USE, DESCRIBE) or asks for less than policy wants to tell apart (TRUNCATE).
 *
 * Every kind of statement has a row here and every row names a resource: none has "nothing to check".
 */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type {
  Administration,
  Describe,
  Grantable,
  Mentions,
  Modification,
  QualifiedName,
  Schema,
  Select,
  Statement,
} from './ast.ts'
import type { Access, Permission, Resource } from './facts.ts'
import { isNativeFunction } from './functions.ts'

/** Each is an access of its own, with an object of its own in the facts. */
const functionsMax = limits.statementFactsMax / 8

/** Accesses of a statement, without doubles. */
export function authorise(statement: Statement): Access[] {
  switch (statement.kind) {
    case 'select':
      return selectAccesses(statement)
    case 'modification':
      return modificationAccesses(statement)
    case 'batch':
      return union([...distinctStatements(statement.children)].flatMap(modificationAccesses))
    case 'use':
      return [access('USE', { kind: 'keyspace', keyspace: statement.keyspace })]
    case 'truncate':
      return [access('TRUNCATE', tableResource(statement.table))]
    case 'describe':
      return describeAccesses(statement)
    case 'role':
    case 'identity':
    case 'grant':
    case 'grantRole':
    case 'list':
      return [administrationAccess(statement)]
    default:
      return schemaAccesses(statement)
  }
}

function selectAccesses({ table, wildcard, mentions }: Select): Access[] {
  return [
    access('SELECT', tableResource(table), wildcard ? '*' : distinct(mentions.columns)),
    ...executions(mentions.functions, table.keyspace),
  ]
}

function modificationAccesses(statement: Modification): Access[] {
  const { table, wildcard, mentions, condition } = statement
  const resource = tableResource(table)
  const accesses = [access('MODIFY', resource, wildcard ? '*' : distinct(mentions.columns))]
  // A condition that fails answers with data: the whole row for (NOT) EXISTS, else the columns of the conditions.
  if (condition !== undefined) {
    accesses.push(access('SELECT', resource, condition === 'rows' ? '*' : distinct(condition.columns)))
  }
  return [...accesses, ...executions(mentions.functions, table.keyspace)]
}

function schemaAccesses(statement: Schema): Access[] {
  switch (statement.kind) {
    case 'keyspace':
      return [access(statement.action, { kind: 'keyspace', keyspace: statement.keyspace })]
    case 'table':
      return [
        access(statement.action, tableResource(statement.table), distinct(statement.mentions.columns)),
        ...executions(statement.mentions.functions, statement.table.keyspace),
      ]
    case 'view':
      return viewAccesses(statement)
    case 'type':
      return [access(statement.action, keyspaceOf(statement.type))]
    case 'createIndex':
      return [access('ALTER', tableResource(statement.table), distinct(statement.mentions.columns))]
    case 'dropIndex':
      // Cassandra asks for ALTER on the base table, which only the schema knows.
      return [access('ALTER', keyspaceOf(statement.index))]
    case 'function': {
      const { name, action, functions } = statement
      const resource: Resource = { kind: 'function', keyspace: name.keyspace, name: name.name }
      const accesses = [access(action, resource)]
      if (statement.orReplace) accesses.push(access('ALTER', resource))
      return [...accesses, ...partExecutions(functions, name.keyspace)]
    }
    case 'trigger':
      // Only superusers may: a trigger is foreign code inside the node.
      return [access('ALTER', { kind: 'cluster' })]
  }
}

function viewAccesses({ action, view, base }: Extract<Schema, { kind: 'view' }>): Access[] {
  const accesses = [access(action, tableResource(view))]
  if (base === undefined) return accesses
  // The base table is of the view's keyspace, not of the one in force (CreateViewStatement.Raw.prepare).
  const table: QualifiedName = { keyspace: base.table.keyspace ?? view.keyspace, name: base.table.name }
  const resource = tableResource(table)
  return [
    ...accesses,
    access('SELECT', resource, base.wildcard ? '*' : distinct(base.columns)),
    access('ALTER', resource),
    ...executions(base.functions, table.keyspace),
  ]
}

function administrationAccess(statement: Administration): Access {
  switch (statement.kind) {
    case 'role':
      // Only superusers make superusers, or unmake them: that is the cluster's affair.
      return access(
        statement.action,
        statement.superuser ? { kind: 'cluster' } : { kind: 'role', role: statement.role },
      )
    case 'identity':
      return access('AUTHORIZE', { kind: 'cluster' })
    case 'grant':
      return access('AUTHORIZE', grantableResource(statement.resource))
    case 'grantRole':
      return access('AUTHORIZE', { kind: 'role', role: statement.role })
    case 'list':
      return access(
        'DESCRIBE',
        statement.role === undefined ? { kind: 'cluster' } : { kind: 'role', role: statement.role },
      )
  }
}

function grantableResource(resource: Grantable): Resource {
  switch (resource.kind) {
    case 'table':
      return tableResource(resource.table)
    case 'function':
      return { kind: 'function', keyspace: resource.name.keyspace, name: resource.name.name }
    default:
      return resource
  }
}

function describeAccesses(statement: Describe): Access[] {
  const accesses = describedAccesses(statement)
  // Ids, dropped columns and internal options are the operators' affair.
  if (!statement.internals || accesses.some(({ resource }) => resource.kind === 'cluster')) return accesses
  return [...accesses, access('DESCRIBE', { kind: 'cluster' })]
}

function describedAccesses({ what, name, keyspace }: Describe): Access[] {
  const one = (resource: Resource): Access[] => [access('DESCRIBE', resource)]
  switch (what) {
    case 'CLUSTER':
    case 'SCHEMA':
    case 'KEYSPACES':
      return one({ kind: 'cluster' })
    case 'KEYSPACE':
    case 'TABLES':
    case 'TYPES':
    case 'FUNCTIONS':
    case 'AGGREGATES':
      // The last four: of the keyspace in force, or of the cluster where there is none (resolve.ts).
      return one({ kind: 'keyspace', keyspace })
    case 'TABLE':
    case 'MATERIALIZED VIEW':
      return one(tableResource(name!))
    case 'FUNCTION':
    case 'AGGREGATE':
      return one({ kind: 'function', keyspace: name!.keyspace, name: name!.name })
    case 'INDEX':
    case 'TYPE':
      return one(keyspaceOf(name!))
    case 'ANY': {
      // `DESCRIBE a` may be a keyspace or anything in the keyspace in force; `DESCRIBE a.b` is something in a.
      const within = access('DESCRIBE', keyspaceOf(name!))
      if (name!.keyspace !== undefined) return [within]
      return [access('DESCRIBE', { kind: 'keyspace', keyspace: name!.name }), within]
    }
  }
}

// --- helpers -------------------------------------------------------------------------------------------------------------

function access(permission: Permission, resource: Resource, columns: Access['columns'] = []): Access {
  return { permission, resource, columns }
}

function tableResource({ keyspace, name }: QualifiedName): Resource {
  return { kind: 'table', keyspace, table: name }
}

function keyspaceOf({ keyspace }: QualifiedName): Resource {
  return { kind: 'keyspace', keyspace }
}

/** Of the functions that an aggregate is made of, which are never native ones (CreateAggregateStatement#apply). */
function partExecutions(functions: Mentions['functions'], keyspace: string | undefined): Access[] {
  return union(
    functions.map((part) =>
      access('EXECUTE', { kind: 'function', keyspace: part.keyspace ?? keyspace, name: part.name }),
    ),
  )
}

/** EXECUTE on every user function; an unqualified one is looked up in the keyspace of the statement's object. */
function executions(functions: Mentions['functions'], keyspace: string | undefined): Access[] {
  if (functions.length === 0) return []
  const seen = new Set<string>()
  const accesses: Access[] = []
  for (const called of functions) {
    if (isNativeFunction(called.keyspace, called.name)) continue
    const resolved = called.keyspace ?? keyspace
    const key = JSON.stringify([resolved, called.name])
    if (seen.has(key)) continue
    seen.add(key)
    if (seen.size > functionsMax) {
      throw new RingfenceError('INVALID', `statement calls more than ${functionsMax} different functions`)
    }
    accesses.push(access('EXECUTE', { kind: 'function', keyspace: resolved, name: called.name }))
  }
  return accesses
}

/** See `StatementFacts.nativeCalls`. What an aggregate is made of is always of its own keyspace. */
export function nativeCallsOf(statement: Statement): readonly string[] {
  switch (statement.kind) {
    case 'select':
    case 'modification':
    case 'table':
      return nativeNames(statement.mentions.functions)
    case 'view':
      return nativeNames(statement.base?.functions ?? [])
    default:
      return []
  }
}

const none: readonly string[] = []

function nativeNames(functions: Mentions['functions']): readonly string[] {
  if (functions.length === 0) return none
  const names = new Set<string>()
  for (const { keyspace, name } of functions)
    if (isNativeFunction(keyspace, name) && keyspace === undefined) names.add(name)
  return names.size === 0 ? none : [...names]
}

/** Each name once. More different ones than a table can have are refused: each is looked at by policy. */
export function distinct(columns: readonly string[]): readonly string[] {
  if (columns.length < 2) return columns
  const names = new Set(columns)
  if (names.size > limits.statementFactsMax) {
    throw new RingfenceError(
      'INVALID',
      `statement names more than statementFactsMax ${limits.statementFactsMax} columns`,
    )
  }
  return names.size === columns.length ? columns : [...names]
}

/** What repeats another asks for nothing more. */
function distinctStatements(children: readonly Modification[]): Set<Modification> {
  return new Set(children.map((child) => child.like ?? child))
}

/** The same permission on the same resource becomes one access with the columns of all. */
function union(accesses: readonly Access[]): Access[] {
  const merged = new Map<string, { access: Access; columns: Set<string> | '*' }>()
  for (const each of accesses) {
    const key = JSON.stringify([each.permission, ...Object.values(each.resource).map((part) => part ?? null)])
    const known = merged.get(key)
    if (known === undefined) {
      merged.set(key, { access: each, columns: each.columns === '*' ? '*' : new Set(each.columns) })
    } else if (known.columns !== '*') {
      if (each.columns === '*') known.columns = '*'
      else for (const column of each.columns) known.columns.add(column)
    }
  }
  return [...merged.values()].map(({ access: { permission, resource }, columns }) => ({
    permission,
    resource,
    columns: columns === '*' ? '*' : [...columns],
  }))
}
