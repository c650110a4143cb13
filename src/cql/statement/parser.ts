/**
 * Tokens → statement: `query` and `cqlStatement` of Cassandra 5.0's `Parser.g`. One statement, then any number of semicolons,
 * then the end. A recursive descent with a bound on its depth; what it does not know is a SYNTAX error, never a guess.
 */
import type { Schema, SchemaAction, Statement } from './ast.ts'
import { batchStatement } from './batch.ts'
import { acceptIfExists, type Cursor, name, qualifiedName } from './cursor.ts'
import { describeStatement } from './describe.ts'
import { modification } from './modify.ts'
import { addIdentity, dropIdentity, grantStatement, listStatement, roleStatement, userStatement } from './roles.ts'
import { alterTable, createIndex, createTable, keyspaceStatement, typeStatement } from './schema.ts'
import { createAggregate, createFunction, dropFunction, triggerStatement, viewStatement } from './schema-code.ts'
import { selectStatement } from './select.ts'
import { K, T } from './tokens.ts'

/** @throws RingfenceError SYNTAX or INVALID */
export function parse(cursor: Cursor): Statement {
  const statement = cqlStatement(cursor)
  while (cursor.accept(T.SEMICOLON));
  if (cursor.kind !== T.EOF) throw cursor.unexpected()
  return statement
}

function cqlStatement(cursor: Cursor): Statement {
  const first = cursor.kind
  switch (first) {
    case K.INSERT:
    case K.UPDATE:
    case K.DELETE:
      return modification(cursor)
  }
  if (!starts.has(first)) throw cursor.unexpected()
  cursor.advance()
  switch (first) {
    case K.SELECT:
      return selectStatement(cursor)
    case K.BEGIN:
      return { kind: 'batch', ...batchStatement(cursor) }
    case K.USE:
      return { kind: 'use', keyspace: name(cursor) }
    case K.TRUNCATE:
      cursor.accept(K.COLUMNFAMILY)
      return { kind: 'truncate', table: qualifiedName(cursor) }
    case K.CREATE:
      return createStatement(cursor)
    case K.ALTER:
      return changeStatement(cursor, 'ALTER')
    case K.DROP:
      return changeStatement(cursor, 'DROP')
    case K.GRANT:
      return grantStatement(cursor, 'GRANT')
    case K.REVOKE:
      return grantStatement(cursor, 'REVOKE')
    case K.LIST:
      return listStatement(cursor)
    case K.ADD:
      return addIdentity(cursor)
    default:
      return describeStatement(cursor)
  }
}

const starts = new Set<number>([
  K.SELECT,
  K.BEGIN,
  K.USE,
  K.TRUNCATE,
  K.CREATE,
  K.ALTER,
  K.DROP,
  K.GRANT,
  K.REVOKE,
  K.LIST,
  K.ADD,
  K.DESCRIBE,
  K.DESC,
])

function createStatement(cursor: Cursor): Statement {
  if (cursor.accept(K.OR)) {
    cursor.expect(K.REPLACE)
    if (cursor.accept(K.FUNCTION)) return createFunction(cursor, true)
    cursor.expect(K.AGGREGATE)
    return createAggregate(cursor, true)
  }
  if (cursor.accept(K.COLUMNFAMILY)) return createTable(cursor)
  if (cursor.accept(K.FUNCTION)) return createFunction(cursor, false)
  if (cursor.accept(K.AGGREGATE)) return createAggregate(cursor, false)
  if (cursor.accept(K.CUSTOM)) {
    cursor.expect(K.INDEX)
    return createIndex(cursor)
  }
  if (cursor.accept(K.INDEX)) return createIndex(cursor)
  if (cursor.accept(K.TRIGGER)) return triggerStatement(cursor, 'CREATE')
  return shared(cursor, 'CREATE')
}

function changeStatement(cursor: Cursor, action: 'ALTER' | 'DROP'): Statement {
  if (cursor.accept(K.COLUMNFAMILY)) return action === 'ALTER' ? alterTable(cursor) : dropTable(cursor)
  if (action === 'DROP') {
    if (cursor.accept(K.INDEX)) return dropIndex(cursor)
    if (cursor.accept(K.FUNCTION)) return dropFunction(cursor, 'FUNCTION')
    if (cursor.accept(K.AGGREGATE)) return dropFunction(cursor, 'AGGREGATE')
    if (cursor.accept(K.TRIGGER)) return triggerStatement(cursor, 'DROP')
    if (cursor.accept(K.IDENTITY)) return dropIdentity(cursor)
  }
  return shared(cursor, action)
}

/** What can be created, altered and dropped alike. */
function shared(cursor: Cursor, action: SchemaAction): Statement {
  if (cursor.accept(K.KEYSPACE)) return keyspaceStatement(cursor, action)
  if (cursor.accept(K.TYPE)) return typeStatement(cursor, action)
  if (cursor.accept(K.ROLE)) return roleStatement(cursor, action)
  if (cursor.accept(K.USER)) return userStatement(cursor, action)
  cursor.expect(K.MATERIALIZED)
  cursor.expect(K.VIEW)
  return viewStatement(cursor, action)
}

const noMentions = { columns: [], functions: [] }

function dropTable(cursor: Cursor): Schema {
  acceptIfExists(cursor)
  return {
    kind: 'table',
    action: 'DROP',
    table: qualifiedName(cursor),
    mentions: noMentions,
    renamed: [],
    defaultTtlSeconds: undefined,
  }
}

function dropIndex(cursor: Cursor): Schema {
  acceptIfExists(cursor)
  return { kind: 'dropIndex', index: qualifiedName(cursor) }
}
