/**
 * The schema as people have it at hand: CQL, such as `cqlsh -e 'DESCRIBE KEYSPACE shop'` prints it. Policy asks for partition keys, columns,
 * base tables and default TTLs. This file reads just these out of CREATE TABLE, CREATE MATERIALIZED VIEW and CREATE INDEX.
 *
 * The rule one must not break: a statement counts only after the analyser has accepted it. What cannot be understood is an error with its
 * line, for a table that is missing here would be judged as one that does not exist.
 */
import type { Problem } from '../../base/document.ts'
import { configError } from '../../base/document.ts'
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { Tokens } from '../../cql/statement/lexer.ts'
import { lex } from '../../cql/statement/lexer.ts'
import { K, T } from '../../cql/statement/tokens.ts'
import type { SchemaView, TableInfo } from '../../policy/request.ts'

/** Statements that make what policy does not ask about. */
const passedOver = new Set([
  'CREATE KEYSPACE',
  'CREATE TYPE',
  'CREATE FUNCTION',
  'CREATE AGGREGATE',
  'CREATE TRIGGER',
  'CREATE ROLE',
])

class SchemaOfFile implements SchemaView {
  // By keyspace, then name: both may be anything, so neither is a part of a joined key.
  readonly #tables = new Map<string, Map<string, TableInfo>>()
  readonly #indexes = new Map<string, Map<string, string>>()

  table(keyspace: string, table: string): TableInfo | undefined {
    return this.#tables.get(keyspace)?.get(table)
  }

  indexedTable(keyspace: string, index: string): string | undefined {
    return this.#indexes.get(keyspace)?.get(index)
  }

  addTable(keyspace: string, table: string, info: TableInfo): void {
    innerMap(this.#tables, keyspace).set(table, info)
  }

  addIndex(keyspace: string, index: string, table: string): void {
    innerMap(this.#indexes, keyspace).set(index, table)
  }
}

/**
 * @param text CREATE statements, each ended by `;`
 * @param firstLine the line of the file at which the text begins
 * @throws RingfenceError CONFIG with a line for each statement that says nothing about a schema or is no CQL
 */
export function readSchema(text: string, fileName: string, firstLine = 1): SchemaView {
  const schema = new SchemaOfFile()
  const problems: Problem[] = []
  let keyspace: string | undefined
  const problem = (offset: number, message: string): void => {
    // The parser counts lines and columns from the beginning of the statement, columns from 0.
    const [, line = '1', column = '0', rest = message] = /^line (\d+):(\d+) (.*)$/s.exec(message) ?? []
    problems.push({
      line: firstLine + lineOf(text, offset) + Number(line) - 1,
      column: Number(column) + 1,
      message: rest,
    })
  }
  let statements: readonly Span[] = []
  try {
    statements = split(text)
  } catch (reason) {
    problem(0, messageOf(reason))
  }
  for (const { start, end } of statements) {
    const statement = text.slice(start, end)
    try {
      const facts = analyse(statement)
      if (facts.use !== undefined) keyspace = facts.use
      else if (!add(schema, lex(statement), facts, keyspace) && !passedOver.has(facts.verb)) {
        problem(start, `${facts.verb} in a schema: write it as it is to be, with CREATE TABLE and the like`)
      }
    } catch (reason) {
      problem(start, messageOf(reason))
    }
  }
  if (problems.length > 0) throw configError(fileName, problems)
  return schema
}

/** False for a statement that says nothing about tables. */
function add(schema: SchemaOfFile, tokens: Tokens, facts: StatementFacts, inForce: string | undefined): boolean {
  const keyspace = facts.keyspace ?? inForce
  const isIndex = facts.verb === 'CREATE INDEX'
  const isView = facts.verb === 'CREATE MATERIALIZED VIEW'
  if (!isIndex && !isView && facts.verb !== 'CREATE TABLE') return false
  if (keyspace === undefined || facts.table === undefined) {
    throw new RingfenceError('CONFIG', 'the keyspace is not named; write keyspace.table, or USE keyspace before it')
  }
  const reader = new Reader(tokens)
  if (isIndex) schema.addIndex(keyspace, indexName(reader, facts), facts.table)
  else
    schema.addTable(
      keyspace,
      facts.table,
      isView ? viewInfo(reader, facts, schema, keyspace) : tableInfo(reader, facts),
    )
  return true
}

/** `CREATE TABLE name (column type …, PRIMARY KEY ((a, b), c)) WITH …`, known to be well-formed. */
function tableInfo(reader: Reader, facts: StatementFacts): TableInfo {
  const columns: string[] = []
  let key: Key | undefined
  reader.skipTo(T.PAREN_OPEN)
  reader.next()
  while (reader.kind !== T.PAREN_CLOSE) {
    if (reader.kind === T.COMMA) reader.next()
    else if (reader.kind === K.PRIMARY && reader.peek() === K.KEY) {
      reader.skipTo(T.PAREN_OPEN)
      key = primaryKey(reader)
    } else {
      const column = reader.name()
      columns.push(column)
      // A type may hold commas of its own, in brackets of either kind; `>` is a token for itself here.
      let depth = 0
      while (depth > 0 || (reader.kind !== T.COMMA && reader.kind !== T.PAREN_CLOSE)) {
        if (reader.kind === T.PAREN_OPEN || reader.kind === T.LESS) depth += 1
        if (reader.kind === T.PAREN_CLOSE || reader.kind === T.GREATER) depth -= 1
        if (depth === 0 && reader.kind === K.PRIMARY) key = { partition: [column], clustering: [] }
        reader.next()
      }
    }
  }
  return infoOf(columns, key, undefined, facts)
}

/** `CREATE MATERIALIZED VIEW name AS SELECT a, b FROM base WHERE … PRIMARY KEY (…) WITH …` */
function viewInfo(reader: Reader, facts: StatementFacts, schema: SchemaOfFile, keyspace: string): TableInfo {
  reader.skipTo(K.SELECT)
  reader.next()
  const columns: string[] = []
  let everything = false
  for (; reader.kind !== K.FROM; ) {
    if (reader.kind === T.STAR) everything = true
    if (reader.kind === T.STAR || reader.kind === T.COMMA) reader.next()
    else columns.push(reader.name())
  }
  reader.next()
  let base = reader.name()
  if (reader.kind === T.DOT) {
    reader.next()
    base = reader.name()
  }
  while (!(reader.kind === K.PRIMARY && reader.peek() === K.KEY)) reader.next()
  reader.skipTo(T.PAREN_OPEN)
  const key = primaryKey(reader)
  const known = schema.table(keyspace, base)
  if (known === undefined) {
    throw new RingfenceError('CONFIG', `the view shows ${keyspace}.${base}, which is not defined before it`)
  }
  return infoOf(everything ? known.columns : columns, key, base, facts)
}

/** As Cassandra names an index that has no name: table, column, `idx` (`cql3/statements/schema/CreateIndexStatement.java`). */
function indexName(reader: Reader, facts: StatementFacts): string {
  reader.skipTo(K.INDEX)
  reader.next()
  if (reader.kind === K.IF) for (let word = 0; word < 3; word++) reader.next()
  if (reader.kind !== K.ON) return reader.name()
  const target = facts.accesses.find(({ columns }) => columns !== '*' && columns.length > 0)?.columns ?? []
  return [facts.table, ...target, 'idx'].join('_').replaceAll(/\W/g, '')
}

interface Key {
  readonly partition: readonly string[]
  readonly clustering: readonly string[]
}

/** From its opening parenthesis to behind its closing one. */
function primaryKey(reader: Reader): Key {
  const partition: string[] = []
  const clustering: string[] = []
  const names = (into: string[]): void => {
    for (; reader.kind !== T.PAREN_CLOSE; ) {
      if (reader.kind === T.COMMA) reader.next()
      else into.push(reader.name())
    }
    reader.next()
  }
  reader.next()
  if (reader.kind === T.PAREN_OPEN) {
    reader.next()
    names(partition)
  } else partition.push(reader.name())
  names(clustering)
  return { partition, clustering }
}

function infoOf(
  columns: readonly string[],
  key: Key | undefined,
  base: string | undefined,
  facts: StatementFacts,
): TableInfo {
  if (key === undefined) throw new RingfenceError('CONFIG', 'the table has no PRIMARY KEY')
  const { partition, clustering } = key
  const defaultTtlSeconds = facts.defaultTtlSeconds ?? 0
  return { partitionKey: partition, clusteringKey: clustering, columns, base, defaultTtlSeconds }
}

/** Walks the tokens of a statement that is known to be well-formed. */
class Reader {
  readonly #tokens: Tokens
  #at = 0

  constructor(tokens: Tokens) {
    this.#tokens = tokens
  }

  get kind(): number {
    return this.#at < this.#tokens.count ? this.#tokens.kinds[this.#at]! : T.EOF
  }

  peek(): number {
    return this.#at + 1 < this.#tokens.count ? this.#tokens.kinds[this.#at + 1]! : T.EOF
  }

  next(): void {
    if (this.kind === T.EOF) throw new RingfenceError('CONFIG', 'the statement ends too early')
    this.#at += 1
  }

  skipTo(kind: number): void {
    while (this.kind !== kind) this.next()
  }

  /** The canonical name that stands here. */
  name(): string {
    const { text, starts, ends } = this.#tokens
    const word = text.slice(starts[this.#at], ends[this.#at])
    const canonical = this.kind === T.QUOTED_NAME ? word.slice(1, -1).replaceAll('""', '"') : word.toLowerCase()
    this.next()
    return canonical
  }
}

interface Span {
  readonly start: number
  readonly end: number
}

/** A schema's statements hold no `;` inside: bodies of functions are strings to the lexer. */
function split(text: string): Span[] {
  const { kinds, starts, ends, count } = lex(text)
  const spans: Span[] = []
  let first = 0
  for (let at = 0; at <= count; at++) {
    if (at < count && kinds[at] !== T.SEMICOLON) continue
    if (at > first) spans.push({ start: starts[first]!, end: ends[at - 1]! })
    first = at + 1
  }
  return spans
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length - 1
}

function messageOf(reason: unknown): string {
  return RingfenceError.from(reason, 'CONFIG').message
}

function innerMap<T>(outer: Map<string, Map<string, T>>, key: string): Map<string, T> {
  let inner = outer.get(key)
  if (inner === undefined) {
    inner = new Map()
    outer.set(key, inner)
  }
  return inner
}
