/** CREATE, ALTER and DROP of materialized views, functions, aggregates and triggers. */
import type { Schema, SchemaAction } from './ast.ts'
import {
  acceptIfExists,
  acceptIfNotExists,
  type Cursor,
  functionName,
  name,
  plainFunctionName,
  qualifiedName,
  stringLiteral,
} from './cursor.ts'
import { ifClause, primaryKey, tableProperties, withProperties } from './schema.ts'
import { selectors } from './select.ts'
import { term } from './terms.ts'
import { K, T } from './tokens.ts'
import { argumentTypes, parseType } from './types.ts'
import { whereClause } from './where.ts'

/** CREATE, ALTER and DROP MATERIALIZED VIEW, after the word VIEW. */
export function viewStatement(cursor: Cursor, action: SchemaAction): Schema {
  ifClause(cursor, action)
  const view = qualifiedName(cursor)
  let defaultTtlSeconds: number | undefined
  if (action === 'ALTER') {
    cursor.expect(K.WITH)
    defaultTtlSeconds = withProperties(cursor)
  }
  if (action !== 'CREATE') return { kind: 'view', action, view, base: undefined, defaultTtlSeconds }
  cursor.expect(K.AS)
  cursor.expect(K.SELECT)
  const mark = cursor.mark()
  const { wildcard, used } = selectors(cursor)
  const shown = cursor.columns.length
  cursor.expect(K.FROM)
  const table = qualifiedName(cursor)
  if (cursor.accept(K.WHERE)) whereClause(cursor)
  cursor.expect(K.PRIMARY)
  cursor.expect(K.KEY)
  primaryKey(cursor)
  if (cursor.accept(K.WITH)) defaultTtlSeconds = tableProperties(cursor, false)
  return {
    kind: 'view',
    action,
    view,
    base: { table, wildcard, used: used.concat(cursor.columns.slice(shown)), ...cursor.mentions(mark) },
    defaultTtlSeconds,
  }
}

/** `createFunctionStatement`, after the word FUNCTION. */
export function createFunction(cursor: Cursor, orReplace: boolean): Schema {
  acceptIfNotExists(cursor)
  const created = functionName(cursor)
  cursor.expect(T.PAREN_OPEN)
  if (!cursor.accept(T.PAREN_CLOSE)) {
    do {
      name(cursor)
      parseType(cursor)
    } while (cursor.accept(T.COMMA))
    cursor.expect(T.PAREN_CLOSE)
  }
  if (cursor.accept(K.RETURNS)) cursor.expect(K.NULL)
  else cursor.expect(K.CALLED)
  cursor.expect(K.ON)
  cursor.expect(K.NULL)
  cursor.expect(K.INPUT)
  cursor.expect(K.RETURNS)
  parseType(cursor)
  cursor.expect(K.LANGUAGE)
  cursor.expect(T.IDENT)
  cursor.expect(K.AS)
  cursor.expect(T.STRING)
  return { kind: 'function', action: 'CREATE', noun: 'FUNCTION', name: created, orReplace, functions: [] }
}

/** `createAggregateStatement`, after the word AGGREGATE. */
export function createAggregate(cursor: Cursor, orReplace: boolean): Schema {
  acceptIfNotExists(cursor)
  const created = functionName(cursor)
  const mark = cursor.mark()
  argumentTypes(cursor)
  cursor.expect(K.SFUNC)
  part(cursor, created.keyspace)
  cursor.expect(K.STYPE)
  parseType(cursor)
  if (cursor.accept(K.FINALFUNC)) part(cursor, created.keyspace)
  if (cursor.accept(K.INITCOND)) term(cursor)
  const { functions } = cursor.mentions(mark)
  return { kind: 'function', action: 'CREATE', noun: 'AGGREGATE', name: created, orReplace, functions }
}

/** A function that an aggregate is made of: always of the aggregate's own keyspace. */
function part(cursor: Cursor, keyspace: string | undefined): void {
  cursor.call({ keyspace, name: plainFunctionName(cursor) })
}

/** DROP FUNCTION and DROP AGGREGATE, after the noun. */
export function dropFunction(cursor: Cursor, noun: 'FUNCTION' | 'AGGREGATE'): Schema {
  acceptIfExists(cursor)
  const dropped = functionName(cursor)
  if (cursor.kind === T.PAREN_OPEN) argumentTypes(cursor)
  return { kind: 'function', action: 'DROP', noun, name: dropped, orReplace: false, functions: [] }
}

/** CREATE and DROP TRIGGER, after the word TRIGGER. */
export function triggerStatement(cursor: Cursor, action: 'CREATE' | 'DROP'): Schema {
  ifClause(cursor, action)
  name(cursor)
  cursor.expect(K.ON)
  const table = qualifiedName(cursor)
  if (action === 'CREATE') {
    cursor.expect(K.USING)
    cursor.classes.push(stringLiteral(cursor))
  }
  return { kind: 'trigger', action, table }
}
