/**
 * What is asked of a node about its schema, at random and by hand, and the schema that it is asked about: first what an identity may see, then,
 * beside it, what it may not.
 */
import type { Chance } from './grammar.ts'

/** Everything that the identity may see. */
export const visibleSchema: readonly string[] = [
  `CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
  `CREATE KEYSPACE "Big" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1} AND durable_writes = false`,
  `CREATE KEYSPACE empty_one WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
  `CREATE TYPE shop.address (street text, zip int)`,
  `CREATE TYPE shop.phone (number text)`,
  `CREATE TABLE shop.orders (id uuid, day date, note text, tags set<text>, primary key (id, day)) WITH comment = 'it''s "quoted" \\ and' AND default_time_to_live = 86400`,
  `CREATE TABLE shop.products (k int, a text, b text, s text static, v frozen<address>, m map<text, int>, primary key ((k), a, b)) WITH CLUSTERING ORDER BY (a DESC, b ASC) AND gc_grace_seconds = 100`,
  `CREATE TABLE shop."MixedCase" ("Key" text primary key, "V" list<frozen<tuple<int, text>>>)`,
  `CREATE TABLE shop.events (a int, b int, c int, d int, primary key ((a, b), c, d))`,
  `CREATE INDEX orders_note ON shop.orders (note)`,
  `CREATE MATERIALIZED VIEW shop.by_note AS SELECT * FROM shop.orders WHERE note IS NOT NULL AND id IS NOT NULL AND day IS NOT NULL PRIMARY KEY (note, id, day)`,
  `CREATE FUNCTION shop.plus(a int, b int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a + b;'`,
  `CREATE FUNCTION shop.plus(a bigint, b bigint) RETURNS NULL ON NULL INPUT RETURNS bigint LANGUAGE java AS 'return a + b;'`,
  `CREATE AGGREGATE shop.total(int) SFUNC plus STYPE int INITCOND 0`,
  `CREATE TABLE "Big".t1 (k int primary key, gone text, v text)`,
  `ALTER TABLE "Big".t1 DROP gone`,
  `CREATE TABLE "Big".t2 (k int primary key, v text)`,
]

/** And what it may not: keyspaces before, between and behind the others, and things in those that it may see. */
export const hiddenSchema: readonly string[] = [
  ...['aaa', 'bank', 'zzz', '"Secret"'].flatMap((keyspace) => [
    `CREATE KEYSPACE ${keyspace} WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
    `CREATE TYPE ${keyspace}.hidden_type (a int)`,
    `CREATE TABLE ${keyspace}.accounts (id int primary key, owner text, gone text, balance decimal)`,
    `ALTER TABLE ${keyspace}.accounts DROP gone`,
    `CREATE INDEX accounts_owner ON ${keyspace}.accounts (owner)`,
    `CREATE FUNCTION ${keyspace}.secret_f(a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'`,
  ]),
  `CREATE TABLE shop.a_first (k int primary key, v text)`,
  `CREATE TABLE shop.payments (k int primary key, card text, gone text)`,
  `ALTER TABLE shop.payments DROP gone`,
  `CREATE TABLE shop.reports (k int, c text, v text, primary key (k, c))`,
  `CREATE TABLE shop.zz_last (k int primary key, v text)`,
  `CREATE INDEX reports_v ON shop.reports (v)`,
  `CREATE MATERIALIZED VIEW shop.a_view AS SELECT * FROM shop.reports WHERE c IS NOT NULL AND k IS NOT NULL PRIMARY KEY (c, k)`,
  // Of a table that is hidden, but not hidden by its own name.
  `CREATE MATERIALIZED VIEW shop.m_view AS SELECT * FROM shop.reports WHERE c IS NOT NULL AND k IS NOT NULL PRIMARY KEY (c, k)`,
  `CREATE FUNCTION shop.hidden_f(a int, b int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'`,
  `CREATE AGGREGATE shop.hidden_a(int) SFUNC hidden_f STYPE int INITCOND 0`,
]

const hiddenKeyspaces = new Set(['aaa', 'bank', 'zzz', 'Secret'])
const hiddenTables = new Set(['a_first', 'payments', 'reports', 'zz_last', 'a_view'])
const hiddenFunctions = new Set(['hidden_f', 'hidden_a'])

/** Who sees the first schema only. */
export const seesVisible = {
  all: false,
  keyspace: (name: string): boolean => !hiddenKeyspaces.has(name),
  table: (keyspace: string, name: string): boolean =>
    !hiddenKeyspaces.has(keyspace) && !(keyspace === 'shop' && hiddenTables.has(name)),
  function: (keyspace: string, name: string): boolean =>
    !hiddenKeyspaces.has(keyspace) && !(keyspace === 'shop' && hiddenFunctions.has(name)),
}

export interface Question {
  readonly text: string
  /** Bound to the markers in order. */
  readonly values: readonly (Buffer | null)[]
  readonly pageSize: number | undefined
}

interface AskedTable {
  readonly name: string
  /** The clustering key and then others that can be filtered by text. */
  readonly key: readonly string[]
  readonly columns: readonly string[]
  readonly numbers: readonly string[]
  readonly maps: readonly string[]
  readonly sets: readonly string[]
}

const table = (name: string, key: string, columns: string, numbers = '', maps = '', sets = ''): AskedTable => {
  const words = (text: string): string[] => text.split(' ').filter((word) => word !== '')
  return {
    name,
    key: words(key),
    columns: words(columns),
    numbers: words(numbers),
    maps: words(maps),
    sets: words(sets),
  }
}

const asked: readonly AskedTable[] = [
  table('system_schema.keyspaces', '', 'durable_writes', '', 'replication'),
  table(
    'system_schema.tables',
    'table_name',
    'comment',
    'default_time_to_live gc_grace_seconds',
    'compression compaction caching',
    'flags',
  ),
  table('system_schema.columns', 'table_name column_name', 'type kind clustering_order', 'position'),
  table('system_schema.dropped_columns', 'table_name column_name', 'type kind'),
  table('system_schema.views', 'view_name', 'base_table_name where_clause', 'default_time_to_live', 'compaction'),
  table('system_schema.indexes', 'table_name index_name', 'kind', '', 'options'),
  table('system_schema.types', 'type_name', ''),
  table('system_schema.functions', 'function_name', 'body language return_type'),
  table('system_schema.aggregates', 'aggregate_name', 'state_func return_type'),
  table('system_schema.triggers', 'table_name trigger_name', ''),
  table('system_virtual_schema.keyspaces', '', ''),
  table('system_virtual_schema.tables', 'table_name', 'comment'),
  table('system_virtual_schema.columns', 'table_name column_name', 'type kind clustering_order', 'position'),
]

const keyspaces = [
  'shop',
  'Big',
  'empty_one',
  'bank',
  'aaa',
  'zzz',
  'Secret',
  'not_there',
  'system',
  'system_schema',
  'system_virtual_schema',
]
const names = [
  'orders',
  'orders_',
  'products',
  'payments',
  'reports',
  'MixedCase',
  'a',
  'zz_last',
  'by_note',
  'plus',
  'total',
  'hidden_f',
  't1',
  'id',
  'k',
  'note',
  'tables',
  'columns',
  'address',
  '',
]

/** Questions that were wrong once, and those of drivers and tools. */
export const known: readonly string[] = [
  `SELECT keyspace_name, table_name, max(table_name), count(*) FROM system_schema.tables WHERE keyspace_name='shop' AND table_name >= 'products'`,
  `SELECT keyspace_name, table_name FROM system_schema.tables WHERE keyspace_name='shop' AND table_name >= 'orders' LIMIT 1`,
  `SELECT keyspace_name, table_name FROM system_schema.tables WHERE keyspace_name='shop' AND table_name >= 'orders_' LIMIT 1`,
  `SELECT count(*) FROM system_schema.keyspaces WHERE keyspace_name='not_there'`,
  `SELECT count(*) FROM system_schema.keyspaces WHERE keyspace_name='bank'`,
  `SELECT count(1), count(table_name), min(table_name), max(gc_grace_seconds), sum(gc_grace_seconds), avg(gc_grace_seconds) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  ...[
    'keyspaces',
    'tables',
    'columns',
    'types',
    'functions',
    'aggregates',
    'triggers',
    'indexes',
    'views',
    'dropped_columns',
    'column_masks',
  ].flatMap((name) => [
    `SELECT * FROM system_schema.${name}`,
    `SELECT JSON * FROM system_schema.${name}`,
    `SELECT * FROM system_schema.${name} WHERE keyspace_name = 'shop'`,
    `SELECT DISTINCT keyspace_name FROM system_schema.${name}`,
    `SELECT count(*) FROM system_schema.${name}`,
  ]),
  'SELECT * FROM system_virtual_schema.keyspaces',
  'SELECT * FROM system_virtual_schema.tables',
  'SELECT * FROM system_virtual_schema.columns',
  `SELECT keyspace_name, count(*) AS n FROM system_schema.tables GROUP BY keyspace_name`,
  `SELECT keyspace_name, table_name, count(*) FROM system_schema.columns GROUP BY keyspace_name, table_name`,
  `SELECT keyspace_name, table_name FROM system_schema.columns PER PARTITION LIMIT 2`,
  `SELECT keyspace_name, table_name FROM system_schema.columns GROUP BY keyspace_name, table_name PER PARTITION LIMIT 2 LIMIT 7`,
  `SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shop' ORDER BY table_name DESC`,
  `SELECT table_name FROM system_schema.tables WHERE keyspace_name IN ('shop', 'Big', 'bank') ORDER BY table_name DESC`,
  `SELECT keyspace_name, table_name FROM system_schema.tables WHERE keyspace_name IN ('shop', 'Big', 'bank', 'shop')`,
  `SELECT table_name, column_name FROM system_schema.columns WHERE keyspace_name = 'shop' AND (table_name, column_name) > ('orders', 'id')`,
  `SELECT table_name, column_name FROM system_schema.columns WHERE keyspace_name = 'shop' AND (table_name, column_name) IN (('orders', 'id'), ('payments', 'card'))`,
  `SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shop' AND table_name IN ('products', 'orders', 'reports')`,
  `SELECT keyspace_name, token(keyspace_name) FROM system_schema.keyspaces WHERE token(keyspace_name) > 0`,
  `SELECT keyspace_name, token(keyspace_name) FROM system_schema.keyspaces WHERE token(keyspace_name) <= token('shop')`,
  `SELECT table_name, compaction['class'], id FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT keyspace_name, replication['class'] FROM system_schema.keyspaces WHERE replication CONTAINS 'org.apache.cassandra.locator.SimpleStrategy' ALLOW FILTERING`,
  `SELECT keyspace_name FROM system_schema.keyspaces WHERE replication CONTAINS KEY 'replication_factor' ALLOW FILTERING`,
  `SELECT table_name, column_name FROM system_schema.columns WHERE kind = 'partition_key' AND position = 0 ALLOW FILTERING`,
  `SELECT table_name, writetime(comment), ttl(comment) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT table_name, max(writetime(comment)) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT cast(gc_grace_seconds as text), cast(gc_grace_seconds as bigint), cast(bloom_filter_fp_chance as text), cast(id as text) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT gc_grace_seconds + 1, gc_grace_seconds * 2.5, -gc_grace_seconds, gc_grace_seconds % 7, bloom_filter_fp_chance / 3 FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT to_json(compaction), tojson(table_name), to_json(bloom_filter_fp_chance), to_json(flags), to_json(id) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT text_as_blob(table_name), textasblob('x'), blob_as_text(text_as_blob(comment)), (text)'literal', (int)5 FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT map_keys(compaction), map_values(caching), collection_count(flags), collection_max(flags), map_keys(extensions) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT mask_default(table_name), mask_null(comment), mask_inner(table_name, 1, 1), mask_outer(table_name, 1, 1, '#'), mask_hash(table_name), mask_replace(table_name, 'z') FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT abs(position), abs(-3), to_unix_timestamp(dropped_time) FROM system_schema.dropped_columns`,
  `SELECT abs(position), max(abs(position)), round(position), exp(position), log(position), log10(position) FROM system_schema.columns WHERE keyspace_name = 'shop'`,
  `SELECT JSON keyspace_name AS "Key Space", table_name AS T, gc_grace_seconds AS "g", max(table_name), count(*), to_json(flags) FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT JSON max(table_name), count(*), cast(gc_grace_seconds as text), -gc_grace_seconds, gc_grace_seconds + gc_grace_seconds, writetime(comment), token(keyspace_name) FROM system_schema.tables`,
  `SELECT keyspace_name, keyspace_name, table_name AS keyspace_name FROM system_schema.tables LIMIT 3`,
  `SELECT compaction['min_threshold'..'z'], caching['keys'..], flags['a'..'z'] FROM system_schema.tables WHERE keyspace_name = 'shop'`,
  `SELECT argument_names, argument_types FROM system_schema.functions WHERE keyspace_name = 'shop' AND function_name = 'plus' AND argument_types = ['int', 'int']`,
  // What Cassandra refuses.
  `SELECT nothing FROM system_schema.tables`,
  `SELECT * FROM system_schema.nothing`,
  `SELECT * FROM system_schema.tables WHERE table_name = 'orders'`,
  `SELECT * FROM system_schema.tables WHERE keyspace_name = 'shop' AND comment = 'x'`,
  `SELECT * FROM system_schema.tables WHERE keyspace_name = 5`,
  `SELECT * FROM system_schema.tables LIMIT 0`,
  `SELECT * FROM system_schema.tables ORDER BY table_name`,
  `SELECT DISTINCT table_name FROM system_schema.tables`,
  `SELECT max(nothing) FROM system_schema.tables`,
  `SELECT no_such_function(table_name) FROM system_schema.tables`,
  `SELECT 'x' FROM system_schema.tables`,
  `SELECT count(*) FROM system_schema.tables GROUP BY table_name`,
  `SELECT position / 0 FROM system_schema.columns WHERE keyspace_name = 'shop'`,
]

/** A question of the shapes that people, drivers and attackers use. */
export function anyQuestion(chance: Chance): Question {
  const of = chance.pick(asked)
  const values: (Buffer | null)[] = []
  const literal = (text: string): string => {
    if (chance.int(4) > 0) return `'${text.replaceAll("'", "''")}'`
    values.push(Buffer.from(text))
    return '?'
  }
  const where: string[] = []
  const keyGiven = chance.int(4) > 0
  let severalKeys = false
  if (keyGiven) {
    severalKeys = chance.int(4) === 0
    if (severalKeys) {
      const several = Array.from({ length: 1 + chance.int(4) }, () => literal(chance.pick(keyspaces)))
      where.push(`keyspace_name IN (${several.join(', ')})`)
    } else where.push(`keyspace_name = ${literal(chance.pick(keyspaces))}`)
  } else if (chance.int(3) === 0) {
    where.push(`token(keyspace_name) ${chance.pick(['>', '>=', '<', '<='])} token(${literal(chance.pick(keyspaces))})`)
  }
  let filtering = false
  if (chance.int(2) === 0 && of.key.length > 0) {
    const [first = '', second] = of.key
    switch (chance.int(6)) {
      case 0:
        where.push(`${first} = ${literal(chance.pick(names))}`)
        if (second !== undefined)
          where.push(`${second} ${chance.pick(['=', '>=', '<'])} ${literal(chance.pick(names))}`)
        break
      case 1:
        where.push(`${first} IN (${[1, 2, 3].map(() => literal(chance.pick(names))).join(', ')})`)
        break
      case 2:
        where.push(`${first} > ${literal(chance.pick(names))}`, `${first} <= ${literal(chance.pick(names))}`)
        break
      case 3:
        if (second !== undefined) {
          where.push(
            `(${first}, ${second}) ${chance.pick(['>', '>=', '<', '<=', '='])} (${literal(chance.pick(names))}, ${literal(chance.pick(names))})`,
          )
          break
        }
        where.push(`(${first}) >= (${literal(chance.pick(names))})`)
        break
      default:
        where.push(`${first} ${chance.pick(['>', '>=', '<', '<='])} ${literal(chance.pick(names))}`)
    }
    filtering = !keyGiven
  }
  if (chance.int(5) === 0) {
    filtering = true
    const [number] = of.numbers
    const [map] = of.maps
    const [text] = of.columns
    const kind = chance.int(3)
    if (kind === 0 && number !== undefined)
      where.push(`${number} ${chance.pick(['=', '>', '<='])} ${chance.pick(['0', '100', '864000', '-1'])}`)
    else if (kind === 1 && map !== undefined)
      where.push(`${map} CONTAINS KEY ${literal(chance.pick(['class', 'target', 'keys']))}`)
    else if (text !== undefined && text !== 'durable_writes')
      where.push(
        `${text} ${chance.pick(['=', '>', '<'])} ${literal(chance.pick(['int', 'text', 'regular', 'none', '']))}`,
      )
  }
  const all = ['keyspace_name', ...of.key, ...of.columns, ...of.numbers, ...of.maps, ...of.sets]
  const some = (): string[] => Array.from({ length: 1 + chance.int(4) }, () => chance.pick(all))
  let selection: string
  let group = ''
  let distinct = false
  switch (chance.int(9)) {
    case 0:
      selection = 'count(*)'
      break
    case 1:
      selection = some()
        .map((column) => chance.pick([`max(${column})`, `min(${column})`, `count(${column})`, column]))
        .concat('count(*)')
        .join(', ')
      break
    case 2: {
      const depth = chance.int(of.key.length + 1)
      const by = ['keyspace_name', ...of.key.slice(0, depth)]
      selection = [...by, chance.pick(['count(*)', `max(${chance.pick(all)})`, chance.pick(all)])].join(', ')
      group = ` GROUP BY ${by.join(', ')}`
      break
    }
    case 3:
      distinct = !filtering && where.every((one) => !one.startsWith('(') && /^(keyspace_name|token)/.test(one))
      selection = distinct
        ? `DISTINCT ${chance.pick(['keyspace_name', 'keyspace_name AS k', 'token(keyspace_name)'])}`
        : some().join(', ')
      break
    case 4:
      selection = some()
        .map((column, i) => `${column} AS ${chance.pick(['a', '"B"', '"c d"'])}${i === 0 ? '' : ''}`)
        .join(', ')
      break
    case 5:
      selection = some()
        .map((column) => chance.pick([`to_json(${column})`, `token(keyspace_name)`, column]))
        .join(', ')
      break
    case 6:
      selection = some().join(', ')
      break
    default:
      selection = '*'
  }
  const aggregated = /\b(count|max|min)\(/.test(selection) && group === ''
  let text = `SELECT ${chance.int(5) === 0 && !selection.includes('to_json') ? 'JSON ' : ''}${selection} FROM ${of.name}`
  if (where.length > 0) text += ` WHERE ${where.join(' AND ')}`
  text += group
  let ordered = false
  if (keyGiven && of.key.length > 0 && !distinct && chance.int(4) === 0) {
    ordered = true
    text += ` ORDER BY ${of.key[0]} ${chance.pick(['ASC', 'DESC'])}`
    // The node orders these by their texts, which the executor does not do.
    if (severalKeys) text = text.replace('SELECT JSON *', 'SELECT *')
  }
  if (!distinct && !aggregated && chance.int(6) === 0) text += ` PER PARTITION LIMIT ${1 + chance.int(3)}`
  if (chance.int(3) === 0) text += ` LIMIT ${1 + chance.int(6)}`
  if (filtering || chance.int(10) === 0) text += ' ALLOW FILTERING'
  // Markers stand in the order of the text: all of them are in WHERE.
  const paged = chance.int(2) === 0 && !(ordered && severalKeys)
  return { text, values, pageSize: paged ? 1 + chance.int(chance.pick([2, 5, 50])) : undefined }
}
