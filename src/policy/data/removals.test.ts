/** Every way of the grammar to take something away under legal hold, and beside each the neighbour that takes nothing. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { checkRequest } from './check.ts'
import { document, judge, rulesOf, schemaOf, sign, table, valuesOf } from './data.fixture.ts'
import { isMultiCell } from './removals.ts'

const types: Readonly<Record<string, string>> = {
  k: 'text',
  c: 'int',
  v: 'text',
  n: 'counter',
  s: 'set<text>',
  l: 'list<text>',
  m: 'map<text, text>',
  u: 'address',
  fs: 'frozen<set<text>>',
  fu: 'frozen<address>',
  t: 'tuple<int, text>',
  x: 'vector<float, 3>',
  st: 'text',
  ss: 'set<text>',
}
const kinds: Readonly<Record<string, string>> = { k: 'partition_key', c: 'clustering', st: 'static', ss: 'static' }
const definitions = new Map(
  Object.entries(types).map(([name, type]) => [name, { kind: kinds[name] ?? 'regular', type }]),
)
const schema = schemaOf({
  'shop.held': table({ partitionKey: ['k'], clusteringKey: ['c'], columns: Object.keys(types), definitions }),
})
const rules = rulesOf(document('RetentionPolicy', 'hold', '{keyspaces: [shop], tables: [held], legalHold: true}'))

/** `+`, `-hold`, and with values bound what the request's check says: null, unset (undefined) or an integer for any other value. */
function verdict(text: string, ...bound: readonly (bigint | null | undefined)[]): string {
  const said = judge(rules, resolveKeyspace(analyse(text), 'shop'), { schema })
  if (said.denial !== undefined) return sign(said)
  const { denial } = checkRequest(said.obligations?.checks, valuesOf({ integers: bound }))
  return denial === undefined ? '+' : `-${denial.rule}`
}

const update = (set: string): string => `UPDATE held SET ${set} WHERE k = 'a' AND c = 1`
const insert = (columns: string, values: string, more = ''): string =>
  `INSERT INTO held (k, c, ${columns}) VALUES ('a', 1, ${values})${more}`

/** Each takes something away, or may. */
const removing = [
  ...[
    'v = null',
    'v = NULL',
    'v = (null)',
    'v = ((null))',
    'v = (text) null',
    "v = fromJson('null')",
    'v = f(1)',
    'v = "NOW"()',
  ],
  ...[
    'v = cast(null AS text)',
    'c = 1 + null',
    's = null',
    'u = null',
    'fu = null',
    'st = null',
    't = null',
    'x = null',
  ],
  ...['s = {}', "s = {'a'}", 'm = {}', "m = {'a': 'b'}", 'l = []', "l = ['a']", "u = {street: 'a'}", "s = ({'a'})"],
  ...["s = s - {'x'}", "s -= {'x'}", "m = m - {'b'}", "m -= {'b'}", "l = l - ['a']", "l -= ['a']", 's = s - f(1)'],
  ...["m['b'] = null", 'l[0] = null', "m['b'] = (null)", "m['b'] = f(1)", 'u.street = null', 'u.street = f(1)'],
  ...["v = 'a', m['b'] = null", "m['a'] = 'b', m['b'] = null"],
].flatMap((set) => [update(set), `BEGIN BATCH ${update("v = 'a'")} ${update(set)} APPLY BATCH`])

const removingInserts = [
  insert('v', 'null'),
  insert('v', '(null)'),
  insert('v', "fromJson('null')"),
  insert('st', 'null', ' IF NOT EXISTS'),
  insert('v', 'null', ' IF NOT EXISTS'),
  insert('s', "{'a'}"),
  insert('l', '[]'),
  insert('u', "{street: 'a'}"),
  insert('ss', "{'a'}", ' IF NOT EXISTS'),
  "INSERT INTO held JSON '{}'",
  'INSERT INTO held JSON ?',
  'INSERT INTO held JSON ? DEFAULT UNSET',
  "INSERT INTO held JSON '{}' IF NOT EXISTS",
  insert('v', "'a'", ' USING TTL 60'),
]

const others = [
  "DELETE FROM held WHERE k = 'a'",
  "DELETE v FROM held WHERE k = 'a' AND c = 1",
  "DELETE m['b'] FROM held WHERE k = 'a' AND c = 1",
  "DELETE l[0] FROM held WHERE k = 'a' AND c = 1",
  "DELETE u.street FROM held WHERE k = 'a' AND c = 1",
  "DELETE FROM held WHERE k = 'a' AND c > 1",
  "DELETE FROM held WHERE k = 'a' IF EXISTS",
  "DELETE FROM held USING TIMESTAMP 1 WHERE k = 'a'",
  "UPDATE held USING TTL 60 SET v = 'a' WHERE k = 'a' AND c = 1",
  'TRUNCATE held',
  'TRUNCATE TABLE shop.held',
  'DROP TABLE held',
  'DROP KEYSPACE shop',
  'ALTER TABLE held DROP v',
  'ALTER TABLE held DROP (v, s)',
  'ALTER TABLE held RENAME c TO d',
  'ALTER TABLE held ALTER v TYPE blob',
  'ALTER TABLE held WITH default_time_to_live = 60',
]

/** Each only adds, or puts a value in another's place. */
const keeping = [
  ...[
    "v = 'a'",
    "v = ''",
    'c = -1',
    "v = ('a')",
    'v = now()',
    'v = "now"()',
    'v = NOW()',
    'v = toTimestamp(now())',
    'v = uuid()',
    "st = 'a'",
  ],
  ...[
    "s = s + {'x'}",
    "s += {'x'}",
    "m = m + {'b': 'c'}",
    "l = l + ['a']",
    "l = ['a'] + l",
    "m['b'] = 'c'",
    "l[0] = 'a'",
  ],
  ...['n = n + 1', 'n = n - 1', 'n = n -1', 'n += 1', 'n -= 1', "u.street = 'a'", "fs = {'a'}", "fu = {street: 'a'}"],
  ...["t = (1, 'a')", 'x = [1.0, 2.0, 3.0]'],
]
  .flatMap((set) => [update(set), `BEGIN BATCH ${update(set)} APPLY BATCH`])
  .concat([
    insert('v', "'a'"),
    insert('v', "'a'", ' USING TTL 0'),
    insert('s', "{'a'}", ' IF NOT EXISTS'),
    insert('fs', "{'a'}"),
    update("v = 'a'").replace(' SET', ' USING TTL 0 SET'),
    "UPDATE held SET v = 'a' WHERE k = 'a' AND c = 1 IF v = null",
    'ALTER TABLE held ADD w text',
    'ALTER TABLE held WITH default_time_to_live = 0',
    'SELECT * FROM held',
    "DELETE FROM other WHERE k = 'a'",
    "UPDATE other SET v = null WHERE k = 'a'",
  ])

describe('under a legal hold', () => {
  for (const text of [...removing, ...removingInserts, ...others]) {
    it(`is refused: ${text}`, () => assert.equal(verdict(text), '-hold'))
  }
  for (const text of keeping) it(`passes: ${text}`, () => assert.equal(verdict(text), '+'))

  it('a bound value is asked for in the request: null removes, what is unset is not written', () => {
    const bound = ['v = ?', 'v = :a', 'v = (?)', "m['b'] = ?", 'l[0] = ?', 'u.street = ?', 'fu = ?', 't = ?', 'st = ?']
    const inserted = ['v', 'fs', 'st'].map((column) => insert(column, '?'))
    for (const text of [...bound.map(update), ...inserted, insert('v', '?', ' IF NOT EXISTS')]) {
      for (const sent of [text, `BEGIN BATCH ${update("v = 'a'")} ${text} APPLY BATCH`]) {
        assert.equal(verdict(sent, 1n), '+', sent)
        assert.equal(verdict(sent, undefined), '+', sent)
        assert.equal(verdict(sent, null), '-hold', sent)
        assert.equal(verdict(sent), '-hold', sent)
      }
    }
  })

  it('a bound collection replaces what was there, unless it is unset or the row is new', () => {
    for (const text of ['s = ?', 'l = ?', 'm = ?', 'u = ?']
      .map(update)
      .concat(insert('s', '?'), insert('ss', '?', ' IF NOT EXISTS'))) {
      assert.equal(verdict(text, 1n), '-hold', text)
      assert.equal(verdict(text, null), '-hold', text)
      assert.equal(verdict(text, undefined), '+', text)
    }
    assert.equal(verdict(insert('s', '?', ' IF NOT EXISTS'), 1n), '+')
    assert.equal(verdict(insert('s', '?', ' IF NOT EXISTS'), null), '-hold')
    for (const text of ['s = s + ?', 's += ?', 'l = ? + l', 'n = n + ?', 'n = n - ?'].map(update)) {
      assert.equal(verdict(text, 1n), '+', text)
    }
    for (const text of ['s = s - ?', 's -= ?'].map(update)) assert.equal(verdict(text, 1n), '-hold', text)
  })

  it('the second statement of a BATCH is asked about its own markers', () => {
    const text = `BEGIN BATCH ${update('v = ?')} ${update('v = ?')} APPLY BATCH`
    assert.equal(verdict(text, 1n, 1n), '+')
    assert.equal(verdict(text, 1n, null), '-hold')
    assert.equal(verdict(text, null, 1n), '-hold')
  })

  it('that is only observed refuses nothing and is named', () => {
    const observed = rulesOf(document('RetentionPolicy', 'hold', '{keyspaces: [shop], legalHold: true, mode: observe}'))
    const facts = resolveKeyspace(analyse(update('v = null')), 'shop')
    assert.equal(sign(judge(observed, facts, { schema })), '+ [hold]')
  })
})

describe('a type', () => {
  it('has a cell for each element where it is a collection or user type that is not frozen', () => {
    for (const type of ['set<int>', 'list<frozen<a>>', 'map<int, int>', 'address', '"Int"', 'intent']) {
      assert.equal(isMultiCell(type), true, type)
    }
    for (const type of ['int', 'text', 'counter', 'frozen<set<int>>', 'tuple<int>', 'vector<float, 3>', "'org.x.Y'"]) {
      assert.equal(isMultiCell(type), false, type)
    }
  })
})
