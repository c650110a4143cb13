import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type LoopClock, type LoopShare, LoopShares } from '../../session/loop-share.ts'
import { TextRoutes } from './texts.ts'

const keys = new Map([
  ['shop items', ['k']],
  ['shop orders', ['customer', 'day']],
  ['shop Odd', ['Key', '__proto__']],
])

function routes(): TextRoutes {
  return new TextRoutes((keyspace, table) => keys.get(`${keyspace} ${table}`) ?? [])
}

/** The markers of the key, in its order; undefined where there are none to be told. */
function markers(text: string, keyspace = ''): number[] | undefined {
  const { key } = routes().of(text, keyspace, own())
  if (key === undefined) return undefined
  return Array.from({ length: key.count }, (_, column) => key.columnOf.indexOf(column))
}

describe('the markers of the partition key', () => {
  it('are found in every statement that is about one partition', () => {
    assert.deepEqual(markers('SELECT * FROM shop.items WHERE k = ?'), [0])
    assert.deepEqual(markers('SELECT v FROM shop.items WHERE v > ? AND k = ? ALLOW FILTERING'), [1])
    assert.deepEqual(markers('INSERT INTO shop.items (v, k) VALUES (?, ?)'), [1])
    assert.deepEqual(markers('INSERT INTO shop.items (v, k) VALUES (1, :key) USING TTL :ttl'), [0])
    assert.deepEqual(markers('UPDATE shop.items USING TTL ? SET v = ?, w = ? WHERE k = ?'), [3])
    assert.deepEqual(markers('DELETE v[?] FROM shop.items USING TIMESTAMP ? WHERE k = ? IF v = ?'), [2])
    assert.deepEqual(markers('SELECT * FROM shop.orders WHERE day = ? AND customer = ?'), [1, 0])
    assert.deepEqual(markers('SELECT * FROM shop."Odd" WHERE "__proto__" = ? AND "Key" = ?'), [1, 0])
  })

  it('are found by the keyspace in force where the statement names none', () => {
    assert.deepEqual(markers('SELECT * FROM items WHERE k = ?', 'shop'), [0])
    assert.equal(markers('SELECT * FROM items WHERE k = ?', 'play'), undefined)
    assert.equal(markers('SELECT * FROM items WHERE k = ?'), undefined)
    assert.deepEqual(markers('SELECT * FROM shop.items WHERE k = ?', 'play'), [0])
  })

  it('are none where the partition cannot be told from what is bound', () => {
    for (const text of [
      'SELECT * FROM shop.items',
      'SELECT * FROM shop.items WHERE k = 1',
      'SELECT * FROM shop.items WHERE k IN ?',
      'SELECT * FROM shop.items WHERE k IN (?, ?)',
      'SELECT * FROM shop.items WHERE token(k) = ?',
      'SELECT * FROM shop.items WHERE k > ?',
      'SELECT * FROM shop.orders WHERE customer = ?',
      'SELECT * FROM shop.orders WHERE customer = ? AND day = 7',
      'SELECT * FROM shop.unknown WHERE k = ?',
      'INSERT INTO shop.items JSON ?',
      'INSERT INTO shop.items (k) VALUES (f(?))',
      'TRUNCATE shop.items',
      'CREATE KEYSPACE k WITH replication = {}',
      'USE shop',
      'not CQL at all',
      '',
    ]) {
      assert.equal(markers(text), undefined, text)
    }
  })
})

describe('texts', () => {
  it('are read once, and again after the schema changed', () => {
    let asked = 0
    const texts = new TextRoutes(() => {
      asked++
      return ['k']
    })
    const text = 'SELECT * FROM shop.items WHERE k = ?'
    const route = texts.of(text, '', own())
    assert.equal(texts.of(text, '', own()), route)
    assert.equal(asked, 1)
    texts.forget()
    assert.notEqual(texts.of(text, '', own()), route)
    assert.equal(asked, 2)
  })

  it('get their key when it is told later', () => {
    let tell: ((columns: readonly string[]) => void) | undefined
    const texts = new TextRoutes((_keyspace, _table, told) => {
      tell = told
      return undefined
    })
    const keyCount = () => texts.of('SELECT * FROM shop.items WHERE k = ?', '', own()).key?.count
    assert.equal(keyCount(), undefined)
    tell!(['k'])
    assert.equal(keyCount(), 1)
  })

  it('are bounded, and long ones are not read', () => {
    let asked = 0
    const texts = new TextRoutes(() => {
      asked++
      return ['k']
    })
    const of = (i: number) => texts.of(`SELECT * FROM shop.items WHERE k = ? AND v = ${i}`, '', own())
    const first = of(0)
    for (let i = 1; i <= 2048; i++) of(i)
    assert.notEqual(of(0), first)
    const before = asked
    assert.equal(
      texts.of(`SELECT * FROM shop.items WHERE k = ? AND v = '${'x'.repeat(20_000)}'`, '', own()).key,
      undefined,
    )
    assert.equal(asked, before)
  })
})

/** A share of a loop that has time for everything. */
function own(): LoopShare {
  return new LoopShares().share()
}

describe('texts that are new', () => {
  it('are read within their client’s share of a turn, and others’ beside them', () => {
    let nowMs = 0
    const turns: (() => void)[] = []
    // Each look at the clock takes a millisecond, so each text does.
    const clock: LoopClock = { now: () => nowMs++, nextTurn: (run) => void turns.push(run) }
    const shares = new LoopShares(clock)
    const [one, other] = [shares.share(), shares.share()]
    const known = routes()
    const text = (at: number): string => `SELECT * FROM shop.items WHERE k = ? AND v = ${at}`
    const told = (from: number, share: LoopShare): number =>
      Array.from({ length: 1000 }, (_, at) => known.of(text(from + at), '', share)).filter(({ key }) => key).length
    const first = told(0, one)
    assert.ok(first > 0 && first < 20, `${first} texts of one client in a turn`)
    assert.ok(told(5000, other) > 0)
    assert.equal(known.of(text(0), '', one).key?.count, 1)
    while (turns.length > 0) turns.shift()!()
    assert.ok(told(10_000, one) > 0)
    // What was not read is not remembered as something that nothing is known of.
    while (turns.length > 0) turns.shift()!()
    assert.equal(known.of(text(999), '', one).key?.count, 1)
  })
})
