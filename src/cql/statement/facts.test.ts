/** Facts beside the accesses: amounts, restrictions, what a SELECT shows, default times to live. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from './analyse.ts'
import type { Restriction, StatementFacts } from './facts.ts'

const equal = (column: string, ...values: Restriction['values']): Restriction => ({
  columns: [column],
  operator: '=',
  token: false,
  values,
  list: undefined,
})

describe('USING', () => {
  it('is read from every write, literal or bound', () => {
    assert.deepEqual(using('INSERT INTO t (k) VALUES (?) USING TTL ? AND TIMESTAMP 5'), [
      { marker: 1 },
      { literal: 5n },
    ])
    assert.deepEqual(using('UPDATE t USING TIMESTAMP :a AND TTL 60 SET a = ? WHERE k = ?'), [
      { literal: 60n },
      { marker: 0 },
    ])
    assert.deepEqual(using('DELETE FROM t USING TIMESTAMP -7 WHERE k = 1'), [undefined, { literal: -7n }])
    assert.deepEqual(using('INSERT INTO t JSON ? USING TTL 0'), [{ literal: 0n }, undefined])
  })

  it('is undefined where none is given', () => {
    for (const text of ['INSERT INTO t (ttl) VALUES (1)', 'UPDATE t SET ttl = 1 WHERE k = 1', 'SELECT ttl(a) FROM t']) {
      assert.deepEqual(using(text), [undefined, undefined], text)
    }
  })

  it('counts the last where one is given twice, as Cassandra does', () => {
    assert.deepEqual(using('INSERT INTO t (k) VALUES (1) USING TTL 1 AND TTL ? AND TTL :b'), [{ marker: 1 }, undefined])
  })

  it('keeps literals beyond 64 bits as they are, up to 64 digits', () => {
    const [ttl] = using(`UPDATE t USING TTL 92233720368547758070 SET a = 1 WHERE k = 1`)
    assert.deepEqual(ttl, { literal: 92_233_720_368_547_758_070n })
    assert.deepEqual(using(`UPDATE t USING TTL -${'0'.repeat(100)}9 SET a = 1 WHERE k = 1`)[0], { literal: -9n })
    assert.throws(() => using(`UPDATE t USING TTL ${'9'.repeat(65)} SET a = 1 WHERE k = 1`), { code: 'INVALID' })
  })

  it('of a BATCH is its own, and its statements count their markers from 0', () => {
    const facts = analyse(
      'BEGIN BATCH USING TIMESTAMP ? INSERT INTO t (k) VALUES (?) USING TTL ?; DELETE FROM t WHERE k = ? APPLY BATCH',
    )
    assert.deepEqual(facts.timestamp, { marker: 0 })
    assert.equal(facts.ttl, undefined)
    const [insert, remove] = facts.children
    assert.deepEqual(insert!.ttl, { marker: 1 })
    assert.deepEqual(insert!.restrictions, [equal('k', { marker: 0 })])
    assert.deepEqual(remove!.restrictions, [equal('k', { marker: 0 })])
  })
})

describe('LIMIT and ALLOW FILTERING', () => {
  it('are read from a SELECT', () => {
    const facts = analyse('SELECT * FROM t PER PARTITION LIMIT ? LIMIT ? ALLOW FILTERING')
    assert.deepEqual(facts.limit, { marker: 1 })
    assert.equal(facts.allowFiltering, true)
    assert.deepEqual(analyse('SELECT * FROM t LIMIT 10').limit, { literal: 10n })
  })

  it('are not there otherwise; PER PARTITION LIMIT is no LIMIT', () => {
    const facts = analyse('SELECT limit1, filtering FROM t PER PARTITION LIMIT 3')
    assert.equal(facts.limit, undefined)
    assert.equal(facts.allowFiltering, false)
  })
})

describe('restrictions', () => {
  const where = (relations: string): readonly Restriction[] =>
    analyse(`SELECT * FROM t WHERE ${relations}`).restrictions

  it('hold markers, texts, and undefined for other values', () => {
    assert.deepEqual(where("a = ? AND b = 'it''s' AND c = $$x$$ AND d = 5 AND e = :n AND f = f(?) AND g = -?"), [
      equal('a', { marker: 0 }),
      equal('b', { text: "it's" }),
      equal('c', { text: 'x' }),
      equal('d', undefined),
      equal('e', { marker: 1 }),
      equal('f', undefined),
      equal('g', undefined),
    ])
  })

  it('tell = and IN from the others', () => {
    const operators = where(
      "a != 1 AND b < 1 AND c LIKE 'x' AND d IS NOT NULL AND e CONTAINS KEY 1 AND f['x'] = 1 AND g IN (1, ?) AND h = 1",
    ).map(({ columns, operator }) => [...columns, operator])
    assert.deepEqual(operators, [
      ['a', 'other'],
      ['b', 'other'],
      ['c', 'other'],
      ['d', 'other'],
      ['e', 'other'],
      ['f', 'other'],
      ['g', 'IN'],
      ['h', '='],
    ])
  })

  it('of IN have a value each, or the marker of the list', () => {
    const one = { columns: ['a'], operator: 'IN', token: false } as const
    const several = { columns: ['a', 'b'], operator: 'IN', token: false } as const
    assert.deepEqual(where("a IN (1, ?, 'x')"), [
      { ...one, values: [undefined, { marker: 0 }, { text: 'x' }], list: undefined },
    ])
    assert.deepEqual(where('a IN ?'), [{ ...one, values: [], list: 0 }])
    assert.deepEqual(where('a IN ()'), [{ ...one, values: [], list: undefined }])
    assert.deepEqual(where('(a, b) IN ((?, ?), (1, 2))'), [
      { ...several, values: [undefined, undefined], list: undefined },
    ])
    assert.deepEqual(where('(a, b) IN (?, :x)'), [{ ...several, values: [undefined, undefined], list: undefined }])
    assert.deepEqual(where('c = ? AND (a, b) IN :x').at(1), { ...several, values: [], list: 1 })
  })

  it('of several columns have a value each, none where one marker stands for all', () => {
    const both = { columns: ['a', 'b'], operator: '=', token: false, list: undefined } as const
    assert.deepEqual(where("(a, b) = (?, 'x')"), [{ ...both, values: [{ marker: 0 }, { text: 'x' }] }])
    assert.deepEqual(where('(a, b) = ?'), [{ ...both, values: [undefined, undefined] }])
  })

  it('of TOKEN say so: the columns are not restricted themselves', () => {
    assert.deepEqual(where('TOKEN(a, b) = ?'), [
      { columns: ['a', 'b'], operator: '=', token: true, values: [{ marker: 0 }], list: undefined },
    ])
    assert.equal(where('TOKEN(a) >= 5')[0]!.operator, 'other')
    assert.equal(where('a = TOKEN(5)')[0]!.token, false)
  })

  it('count in parentheses', () => {
    assert.deepEqual(where('((a = ?)) AND (b IN ?)'), [
      equal('a', { marker: 0 }),
      { columns: ['b'], operator: 'IN', token: false, values: [], list: 1 },
    ])
  })

  it('of writes come from WHERE, of INSERT from its columns', () => {
    assert.deepEqual(analyse('UPDATE t SET a = ? WHERE k = ? IF b = ?').restrictions, [equal('k', { marker: 1 })])
    assert.deepEqual(analyse("INSERT INTO t (k, a) VALUES ('x', ?)").restrictions, [
      equal('k', { text: 'x' }),
      equal('a', { marker: 0 }),
    ])
    assert.deepEqual(analyse('INSERT INTO t (k, a) VALUES (?)').restrictions, [equal('k', { marker: 0 })])
    assert.deepEqual(analyse("INSERT INTO t JSON '{}'").restrictions, [])
    assert.deepEqual(analyse('DELETE a[?] FROM t WHERE k = ?').restrictions, [equal('k', { marker: 1 })])
  })

  it('keep texts of at most 256 characters, and a thousand of them; the rest is as unknown as a number', () => {
    const long = (length: number) => where(`a = '${'x'.repeat(length)}'`)[0]!.values
    assert.deepEqual(long(254), [{ text: 'x'.repeat(254) }])
    assert.deepEqual(long(255), [undefined])
    const { values } = where(`a IN (${"'x',".repeat(1000)}'y')`)[0]!
    assert.deepEqual([values.length, values[999], values[1000]], [1001, { text: 'x' }, undefined])
  })
})

describe('what a SELECT shows, and what it uses', () => {
  const shown = (text: string) => {
    const { selection, columnsUsed } = analyse(text)
    return [selection, columnsUsed]
  }

  it('tells columns as they stand from expressions', () => {
    assert.deepEqual(shown('SELECT a, "B" AS c, f(d), e + 1, g[1], h.i, count(*), ?, a FROM t'), [
      ['a', 'B', undefined, undefined, undefined, undefined, undefined, undefined, 'a'],
      ['d', 'e', 'g', 'h'],
    ])
    assert.deepEqual(shown('SELECT DISTINCT k FROM t'), [['k'], []])
    assert.deepEqual(shown('SELECT WRITETIME(a), CAST(b AS text), (c), -d FROM t'), [
      [undefined, undefined, undefined, undefined],
      ['a', 'b', 'c', 'd'],
    ])
    assert.deepEqual(shown('SELECT * FROM t'), ['*', []])
  })

  it('counts WHERE, GROUP BY and ORDER BY as uses, also of a column that is shown', () => {
    assert.deepEqual(shown('SELECT a, b FROM t WHERE a = 1 AND TOKEN(k) > 2 GROUP BY c ORDER BY d'), [
      ['a', 'b'],
      ['a', 'k', 'c', 'd'],
    ])
    assert.deepEqual(shown('SELECT * FROM t WHERE a = 1'), ['*', ['a']])
  })

  it('cannot tell for JSON: everything is used', () => {
    assert.deepEqual(shown('SELECT JSON a, b FROM t WHERE k = 1'), [undefined, ['a', 'b', 'k']])
    assert.deepEqual(shown('SELECT JSON * FROM t'), [undefined, []])
    assert.deepEqual(shown('SELECT json FROM t'), [['json'], []])
  })

  it('of a conditional write are the columns of IF', () => {
    assert.deepEqual(shown('UPDATE t SET a = 1 WHERE k = 1 IF b = 1 AND c IN (1) AND b > 0'), [undefined, ['b', 'c']])
    assert.deepEqual(shown('UPDATE t SET a = 1 WHERE k = 1 IF EXISTS'), [undefined, []])
    assert.deepEqual(shown('UPDATE t SET a = 1 WHERE k = 1'), [undefined, []])
    const [child] = analyse('BEGIN BATCH UPDATE t SET a = 1 WHERE k = 1 IF b = 1 APPLY BATCH').children
    assert.deepEqual(child!.columnsUsed, ['b'])
  })
})

describe('default_time_to_live', () => {
  const given = (text: string): StatementFacts['defaultTtlSeconds'] => analyse(text).defaultTtlSeconds

  it('is read from tables and views', () => {
    assert.equal(given('CREATE TABLE t (k int PRIMARY KEY) WITH default_time_to_live = 60 AND comment = $$x$$'), 60)
    assert.equal(given('ALTER TABLE t WITH comment = 1 AND Default_Time_To_Live = 0'), 0)
    assert.equal(
      given('CREATE MATERIALIZED VIEW v AS SELECT * FROM t PRIMARY KEY (k) WITH default_time_to_live = 7'),
      7,
    )
    assert.equal(given('ALTER MATERIALIZED VIEW v WITH "default_time_to_live" = 8'), 8)
  })

  it('is read as Cassandra reads it, quoted too', () => {
    const cases = [
      ["'60'", 60],
      ["'+60'", 60],
      ["'007'", 7],
      ['$$9$$', 9],
      ['-1', -1],
      ['2147483647', 2_147_483_647],
    ] as const
    for (const [value, seconds] of cases)
      assert.equal(given(`ALTER TABLE t WITH default_time_to_live = ${value}`), seconds)
  })

  it('is refused where Cassandra would refuse it', () => {
    for (const value of ["''", "' 60'", '60.0', '0x10', '2147483648', '{}', 'true', 'all', "'٣'"]) {
      const text = `ALTER TABLE t WITH default_time_to_live = ${value}`
      assert.throws(() => analyse(text), { code: 'INVALID' }, value)
    }
  })

  it('is undefined where it is not given', () => {
    for (const text of [
      'CREATE TABLE t (default_time_to_live int PRIMARY KEY)',
      'ALTER TABLE t ADD default_time_to_live int',
      'ALTER TABLE t WITH "DEFAULT_TIME_TO_LIVE" = 1',
      'DROP TABLE t',
    ]) {
      assert.equal(given(text), undefined, text)
    }
  })
})

describe('DESCRIBE … WITH INTERNALS', () => {
  const asked = (text: string) => analyse(text).accesses.map(({ resource }) => resource.kind)

  it('asks for the cluster as well', () => {
    assert.deepEqual(asked('DESCRIBE TABLE a.b WITH INTERNALS'), ['table', 'cluster'])
    assert.deepEqual(asked('DESC KEYSPACE a WITH INTERNALS'), ['keyspace', 'cluster'])
    assert.deepEqual(asked('DESCRIBE SCHEMA WITH INTERNALS'), ['cluster'])
  })

  it('and without it does not', () => {
    assert.deepEqual(asked('DESCRIBE TABLE a.b'), ['table'])
  })
})

it('A13 names that are traps in JavaScript are ordinary names in these facts too', () => {
  for (const name of ['__proto__', 'constructor', 'toString']) {
    const quoted = `"${name}"`
    const select = analyse(`SELECT ${quoted}, f(${quoted}) FROM t WHERE ${quoted} = '${name}'`)
    assert.deepEqual(select.selection, [name, undefined])
    assert.deepEqual(select.columnsUsed, [name])
    assert.deepEqual(select.restrictions, [equal(name, { text: name })])
    const update = `UPDATE t SET ${quoted}.${quoted} = 1, a = ${quoted}(1) WHERE k = :${quoted} IF ${quoted} = 1`
    assert.deepEqual(analyse(update).columnsUsed, [name])
    const batch = analyse(`BEGIN BATCH ${update} ${update} APPLY BATCH`)
    assert.equal(batch.children[0], batch.children[1])
    assert.deepEqual(batch.markers, [name, name])
    const ttl = (key: string) => analyse(`ALTER TABLE t WITH ${key} = 1 AND default_time_to_live = 5`).defaultTtlSeconds
    assert.equal(ttl(quoted), 5)
  }
})

it('facts can go to another thread and come back the same', () => {
  const facts = analyse(
    "BEGIN BATCH INSERT INTO t (k) VALUES ('x') USING TTL 9 AND TIMESTAMP ?; DELETE FROM t WHERE k IN (?, 1) APPLY BATCH",
  )
  assert.deepEqual(structuredClone(facts), facts)
})

function using(text: string): [StatementFacts['ttl'], StatementFacts['timestamp']] {
  const { ttl, timestamp } = analyse(text)
  return [ttl, timestamp]
}
