/** CREATE, ALTER and DROP of keyspaces, tables, types and indexes: the definition rules of `Parser.g`. */
import type { Schema, SchemaAction } from './ast.ts'
import { classOfIndex } from './classes.ts'
import {
  acceptIfExists,
  acceptIfNotExists,
  type Cursor,
  column,
  functionName,
  integerOf,
  list,
  name,
  nameOf,
  qualifiedName,
  stringLiteral,
} from './cursor.ts'
import { columnNames, names } from './keywords.ts'
import { defaultTtlOf, type Properties, property } from './properties.ts'
import { term } from './terms.ts'
import { K, T } from './tokens.ts'
import { parseType, userTypeName } from './types.ts'

const timestampMax = 9_223_372_036_854_775_807n

/** CREATE or ALTER KEYSPACE, after the word KEYSPACE. */
export function keyspaceStatement(cursor: Cursor, action: SchemaAction): Schema {
  ifClause(cursor, action)
  const keyspace = name(cursor)
  if (action !== 'DROP') {
    cursor.expect(K.WITH)
    withProperties(cursor)
  }
  return { kind: 'keyspace', action, keyspace }
}

/** `IF NOT EXISTS` where something is made, `IF EXISTS` elsewhere. */
export function ifClause(cursor: Cursor, action: SchemaAction): void {
  if (action === 'CREATE') acceptIfNotExists(cursor)
  else acceptIfExists(cursor)
}

/** `properties`: the default time to live among them, which some statements have a use for. */
export function withProperties(cursor: Cursor): number | undefined {
  const seen: Properties = new Map()
  do property(cursor, seen)
  while (cursor.accept(K.AND))
  return defaultTtlOf(seen)
}

// --- tables --------------------------------------------------------------------------------------------------------------

/** `createTableStatement`, after the word TABLE. */
export function createTable(cursor: Cursor): Schema {
  const mark = cursor.mark()
  acceptIfNotExists(cursor)
  const table = qualifiedName(cursor)
  cursor.expect(T.PAREN_OPEN)
  const defined = new Set<string>()
  tableColumn(cursor, defined)
  while (cursor.accept(T.COMMA)) {
    if (cursor.kind !== T.COMMA && cursor.kind !== T.PAREN_CLOSE) tableColumn(cursor, defined)
  }
  cursor.expect(T.PAREN_CLOSE)
  const defaultTtlSeconds = cursor.accept(K.WITH) ? tableProperties(cursor, true) : undefined
  return { kind: 'table', action: 'CREATE', table, mentions: cursor.mentions(mark), renamed: [], defaultTtlSeconds }
}

/** `tableColumns`; `defined` holds the columns so far, and the empty name once there is a primary key. */
function tableColumn(cursor: Cursor, defined: Set<string>): void {
  let isKey = cursor.accept(K.PRIMARY)
  if (isKey) {
    cursor.expect(K.KEY)
    primaryKey(cursor)
  } else {
    once(cursor, defined, nameOf(cursor))
    definedColumn(cursor)
    isKey = cursor.accept(K.PRIMARY)
    if (isKey) cursor.expect(K.KEY)
  }
  if (isKey) once(cursor, defined, '')
}

function once(cursor: Cursor, seen: Set<string>, what: string): void {
  if (seen.has(what)) throw cursor.failure('a column or the primary key is defined twice')
  seen.add(what)
}

/** `ident comparatorType STATIC? columnMask?` */
function definedColumn(cursor: Cursor): void {
  plainColumn(cursor)
  parseType(cursor)
  cursor.accept(K.STATIC)
  if (cursor.kind === K.MASKED) columnMask(cursor)
}

/** `ident`: a column that may not have the empty name. */
function plainColumn(cursor: Cursor): void {
  cursor.columns.push(name(cursor, names))
}

/** `columnMask` */
function columnMask(cursor: Cursor): void {
  cursor.expect(K.MASKED)
  cursor.expect(K.WITH)
  if (cursor.kind === K.DEFAULT && cursor.peek(1) !== T.PAREN_OPEN && cursor.peek(1) !== T.DOT) {
    cursor.advance()
    return
  }
  cursor.call(functionName(cursor))
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  list(cursor, term)
  cursor.expect(T.PAREN_CLOSE)
}

/** `'(' partition key (',' clustering column)* ')'` */
export function primaryKey(cursor: Cursor): void {
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_OPEN)) {
    list(cursor, plainColumn)
    cursor.expect(T.PAREN_CLOSE)
  } else plainColumn(cursor)
  while (cursor.accept(T.COMMA)) plainColumn(cursor)
  cursor.expect(T.PAREN_CLOSE)
}

/** `tableProperty (AND tableProperty)*`; in a view, COMPACT STORAGE is refused. The default time to live, where it is among them. */
export function tableProperties(cursor: Cursor, compactStorage: boolean): number | undefined {
  const seen: Properties = new Map()
  const ordered = new Set<string>()
  do tableProperty(cursor, seen, ordered, compactStorage)
  while (cursor.accept(K.AND))
  return defaultTtlOf(seen)
}

function tableProperty(cursor: Cursor, seen: Properties, ordered: Set<string>, compactStorage: boolean): void {
  if (cursor.kind === K.COMPACT && cursor.peek(1) === K.STORAGE && compactStorage) {
    cursor.advance()
    cursor.advance()
  } else if (cursor.kind === K.CLUSTERING && cursor.peek(1) === K.ORDER) {
    cursor.advance()
    cursor.advance()
    cursor.expect(K.BY)
    cursor.expect(T.PAREN_OPEN)
    do {
      once(cursor, ordered, nameOf(cursor))
      clusteringOrder(cursor)
    } while (cursor.accept(T.COMMA))
    cursor.expect(T.PAREN_CLOSE)
  } else property(cursor, seen)
}

function clusteringOrder(cursor: Cursor): void {
  plainColumn(cursor)
  if (!cursor.accept(K.ASC)) cursor.expect(K.DESC)
}

/** `alterTableStatement`, after the word TABLE. */
export function alterTable(cursor: Cursor): Schema {
  const mark = cursor.mark()
  acceptIfExists(cursor)
  const table = qualifiedName(cursor)
  let defaultTtlSeconds: number | undefined
  let renamed: readonly string[] = []
  if (cursor.accept(K.ALTER)) alterColumn(cursor)
  else if (cursor.accept(K.ADD)) {
    acceptIfNotExists(cursor)
    oneOrMore(cursor, definedColumn)
  } else if (cursor.accept(K.DROP)) dropColumns(cursor)
  else if (cursor.accept(K.RENAME)) {
    acceptIfExists(cursor)
    do {
      plainColumn(cursor)
      cursor.expect(K.TO)
      plainColumn(cursor)
    } while (cursor.accept(K.AND))
    renamed = cursor.columns.slice(mark.columns)
  } else {
    cursor.expect(K.WITH)
    defaultTtlSeconds = withProperties(cursor)
  }
  return { kind: 'table', action: 'ALTER', table, mentions: cursor.mentions(mark), renamed, defaultTtlSeconds }
}

function alterColumn(cursor: Cursor): void {
  const conditional = acceptIfExists(cursor)
  column(cursor)
  if (cursor.kind === K.TYPE && !conditional) {
    cursor.advance()
    parseType(cursor)
  } else if (cursor.accept(K.DROP)) cursor.expect(K.MASKED)
  else columnMask(cursor)
}

function dropColumns(cursor: Cursor): void {
  if (cursor.kind === K.COMPACT && cursor.peek(1) === K.STORAGE) {
    cursor.advance()
    cursor.advance()
    return
  }
  acceptIfExists(cursor)
  oneOrMore(cursor, plainColumn)
  if (!cursor.accept(K.USING)) return
  cursor.expect(K.TIMESTAMP)
  if (cursor.kind === T.INTEGER) {
    const timestamp = integerOf(cursor)
    if (timestamp > timestampMax || timestamp < -timestampMax - 1n) throw cursor.failure('timestamp is out of range')
  }
  cursor.expect(T.INTEGER)
}

/** `item` or `'(' item (',' item)* ')'` */
function oneOrMore(cursor: Cursor, item: (cursor: Cursor) => void): void {
  if (!cursor.accept(T.PAREN_OPEN)) {
    item(cursor)
    return
  }
  list(cursor, item)
  cursor.expect(T.PAREN_CLOSE)
}

// --- types and indexes ---------------------------------------------------------------------------------------------------

/** CREATE, ALTER and DROP TYPE, after the word TYPE. */
export function typeStatement(cursor: Cursor, action: SchemaAction): Schema {
  ifClause(cursor, action)
  const type = userTypeName(cursor)
  if (action === 'CREATE') {
    cursor.expect(T.PAREN_OPEN)
    field(cursor)
    while (cursor.accept(T.COMMA)) if (cursor.kind !== T.COMMA && cursor.kind !== T.PAREN_CLOSE) field(cursor)
    cursor.expect(T.PAREN_CLOSE)
  } else if (action === 'ALTER') alterType(cursor)
  return { kind: 'type', action, type }
}

function field(cursor: Cursor): void {
  name(cursor)
  parseType(cursor)
}

function alterType(cursor: Cursor): void {
  if (cursor.accept(K.ALTER)) {
    name(cursor)
    cursor.expect(K.TYPE)
    parseType(cursor)
  } else if (cursor.accept(K.ADD)) {
    acceptIfNotExists(cursor)
    field(cursor)
  } else {
    cursor.expect(K.RENAME)
    acceptIfExists(cursor)
    do {
      name(cursor)
      cursor.expect(K.TO)
      name(cursor)
    } while (cursor.accept(K.AND))
  }
}

/** `createIndexStatement`, after the word INDEX. */
export function createIndex(cursor: Cursor): Schema {
  acceptIfNotExists(cursor)
  if (cursor.kind !== K.ON) name(cursor)
  cursor.expect(K.ON)
  const table = qualifiedName(cursor)
  const mark = cursor.mark()
  cursor.expect(T.PAREN_OPEN)
  if (cursor.kind !== T.PAREN_CLOSE) list(cursor, indexed)
  cursor.expect(T.PAREN_CLOSE)
  const mentions = cursor.mentions(mark)
  if (cursor.accept(K.USING)) cursor.classes.push(classOfIndex(stringLiteral(cursor)))
  if (cursor.accept(K.WITH)) withProperties(cursor)
  return { kind: 'createIndex', table, mentions }
}

/** `indexIdent` */
function indexed(cursor: Cursor): void {
  const part = cursor.kind
  if (
    (cursor.peek(1) === T.PAREN_OPEN && (part === K.VALUES || part === K.KEYS)) ||
    part === K.ENTRIES ||
    part === K.FULL
  ) {
    cursor.advance()
    cursor.expect(T.PAREN_OPEN)
    column(cursor)
    cursor.expect(T.PAREN_CLOSE)
  } else if (columnNames[part] === 1) column(cursor)
  else throw cursor.unexpected()
}
