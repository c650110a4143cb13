import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { preparedIdBytes } from '../cql/prepared-ids.ts'
import type { Judged } from './judged.ts'
import { PreparedTable } from './prepared.ts'

/** The table only keeps them. */
const judged = (text: string, keyspace = '', keyspaceCounts = false): Judged =>
  ({ text, keyspace, keyspaceCounts, asked: false }) as Judged

const id = (begin: string, end: number): Buffer => {
  const bytes = Buffer.alloc(preparedIdBytes, end)
  Buffer.from(begin, 'hex').copy(bytes)
  return bytes
}

const textOf = (table: PreparedTable, key: Buffer): string | undefined => table.find(key, 0, key.length)?.judged.text

describe('prepared statements of one identity', () => {
  it('are found by all sixteen bytes, wherever they stand in a buffer', () => {
    const table = new PreparedTable()
    const key = id('01020304', 9)
    table.set(key, judged('one'))
    const buffer = Buffer.concat([Buffer.alloc(7, 1), key, Buffer.alloc(3, 1)])
    assert.equal(table.find(buffer, 7, 23)?.judged.text, 'one')
    assert.equal(table.find(buffer, 6, 22), undefined)
    assert.equal(table.find(buffer, 7, 22), undefined, 'fifteen bytes')
    assert.equal(table.find(buffer, 7, 24), undefined, 'seventeen bytes')
    assert.equal(table.find(buffer, 7, 7), undefined, 'none')
  })

  it('keep apart ids whose first four bytes are equal, also when one of them goes', () => {
    const ends = [1, 2, 3, 4]
    for (const gone of ends) {
      const table = new PreparedTable()
      for (const end of ends) table.set(id('deadbeef', end), judged(`text ${end}`))
      assert.equal(table.size, 4)
      for (const end of ends) assert.equal(textOf(table, id('deadbeef', end)), `text ${end}`)
      assert.equal(textOf(table, id('deadbeef', 5)), undefined)
      table.set(id('deadbeef', gone), judged('again'))
      assert.equal(table.size, 4)
      for (const end of ends) {
        assert.equal(textOf(table, id('deadbeef', end)), end === gone ? 'again' : `text ${end}`)
      }
    }
  })

  it('do not change when the buffer of the id does', () => {
    const table = new PreparedTable()
    const key = id('01020304', 9)
    const given = Buffer.from(key)
    table.set(given, judged('one'))
    given.fill(0)
    assert.equal(textOf(table, key), 'one')
    assert.equal(textOf(table, given), undefined)
  })

  it('keep what clients of each version were told of the columns when the statement is prepared once more', () => {
    const table = new PreparedTable()
    const key = id('01020304', 9)
    table.set(key, judged('one'))?.columnDigests.set(4, 'columns in v4')
    table.set(key, judged('one'))?.columnDigests.set(5, 'columns in v5')
    assert.deepEqual(
      [...(table.find(key, 0, key.length)?.columnDigests ?? [])],
      [
        [4, 'columns in v4'],
        [5, 'columns in v5'],
      ],
    )
    const other = id('01020304', 8)
    table.set(other, judged('two'))
    assert.equal(table.find(other, 0, other.length)?.columnDigests.size, 0)
  })

  it('are never kept under an id that is not of sixteen bytes', () => {
    const table = new PreparedTable()
    table.set(Buffer.alloc(4, 1), judged('short'))
    table.set(Buffer.alloc(0), judged('none'))
    assert.equal(table.size, 0)
  })

  it('are forgotten when there are too many, the least recently used first', () => {
    const table = new PreparedTable()
    const keys = Array.from({ length: limits.preparedPerIdentityMax }, (_, i) => {
      const key = randomBytes(preparedIdBytes)
      // Every tenth shares its first bytes with the others of its kind.
      if (i % 10 === 0) key.fill(7, 0, 4)
      return key
    })
    for (const [i, key] of keys.entries()) table.set(key, judged(String(i)))
    assert.equal(table.size, limits.preparedPerIdentityMax)
    for (const key of keys.slice(0, 100)) table.find(key, 0, key.length)
    const last = randomBytes(preparedIdBytes)
    table.set(last, judged('last'))
    assert.ok(table.size <= limits.preparedPerIdentityMax)
    for (const key of [...keys.slice(0, 100), ...keys.slice(-100), last]) assert.notEqual(textOf(table, key), undefined)
    for (const key of keys.slice(100, 600)) assert.equal(textOf(table, key), undefined)
    for (const [i, key] of keys.entries()) {
      const text = textOf(table, key)
      assert.ok(text === undefined || text === String(i))
    }
  })
})

const second = 1_000_000
const { preparesBurstMax, preparesPerSecondMax } = limits

describe('what an identity may have prepared (attack B9)', () => {
  const admitted = (table: PreparedTable, count: number, nowMicros: number, name = 'flood'): number =>
    Array.from({ length: count }, (_, i) => table.admits(judged(`${name} ${nowMicros} ${i}`), nowMicros)).filter(
      Boolean,
    ).length

  it('is a burst of new statements, and then so many a second', () => {
    const table = new PreparedTable()
    assert.equal(admitted(table, preparesBurstMax + 500, second), preparesBurstMax)
    assert.equal(admitted(table, 500, 2 * second), preparesPerSecondMax)
    assert.equal(admitted(table, 500, 2 * second, 'more'), 0)
    assert.equal(admitted(new PreparedTable(), 1, 2 * second), 1, 'of another identity nothing is taken')
  })

  it('is everything that it prepared before, on however many connections, also with nothing left', () => {
    const table = new PreparedTable()
    const known = Array.from({ length: 50 }, (_, i) => {
      const text = `known ${i}`
      assert.ok(table.admits(judged(text), 0))
      table.set(randomBytes(preparedIdBytes), judged(text))
      return text
    })
    assert.equal(admitted(table, preparesBurstMax, 0), preparesBurstMax - known.length)
    for (let connection = 0; connection < 100; connection++) {
      for (const text of known) assert.ok(table.admits(judged(text), 0))
    }
    assert.equal(table.admits(judged('another'), 0), false)
  })

  it('counts a statement once that is asked for again before the node answered', () => {
    const table = new PreparedTable()
    const same = judged('pipelined')
    for (let i = 0; i < 10; i++) assert.ok(table.admits(same, 0))
    assert.equal(admitted(table, preparesBurstMax, 0), preparesBurstMax - 1)
    assert.ok(table.admits(same, 0))
    const shed = judged('shed')
    assert.equal(table.admits(shed, 0), false)
    assert.equal(table.admits(shed, 0), false, 'to be refused is not to be prepared')
  })

  it('counts one text in two keyspaces twice where the keyspace decides what it means, else once', () => {
    const table = new PreparedTable()
    table.set(id('01020304', 1), judged('SELECT a FROM t', 'one', true))
    table.set(id('01020304', 2), judged('SELECT a FROM t', 'two', true))
    table.set(id('01020304', 3), judged('SELECT a FROM ks.t', 'one'))
    admitted(table, preparesBurstMax, 0)
    assert.ok(table.admits(judged('SELECT a FROM t', 'one', true), 0))
    assert.ok(table.admits(judged('SELECT a FROM t', 'two', true), 0))
    assert.equal(table.admits(judged('SELECT a FROM t', 'three', true), 0), false)
    assert.ok(table.admits(judged('SELECT a FROM ks.t', 'three'), 0))
    table.set(id('01020304', 1), judged('SELECT b FROM t', 'one', true))
    assert.equal(table.admits(judged('SELECT a FROM t', 'one', true), 0), false, 'its id stands for another now')
    assert.ok(table.admits(judged('SELECT a FROM t', 'two', true), 0))
    assert.ok(table.admits(judged('SELECT b FROM t', 'one', true), 0))
  })

  it('counts again what was forgotten', () => {
    const table = new PreparedTable()
    const add = (i: number): void => void table.set(randomBytes(preparedIdBytes), judged(`text ${i}`))
    for (let i = 0; i <= limits.preparedPerIdentityMax; i++) add(i)
    admitted(table, preparesBurstMax, 0)
    assert.equal(table.admits(judged('text 0'), 0), false)
    assert.ok(table.admits(judged(`text ${limits.preparedPerIdentityMax}`), 0))
  })
})

describe('what is lent to the same workload with a person behind it', () => {
  const again = (one: Judged): Judged => ({ ...one, epoch: -1 })

  it('is found by its id, undecided, and is the borrower’s own from then on', () => {
    const [workload, pair] = [new PreparedTable(), new PreparedTable()]
    pair.lend(workload, again)
    const key = randomBytes(preparedIdBytes)
    assert.equal(pair.find(key, 0, key.length), undefined)
    const theirs = { ...judged('one'), epoch: 7 }
    workload.set(key, theirs)?.columnDigests.set(4, 'columns')
    const own = pair.find(key, 0, key.length)!
    assert.deepEqual([own.judged.text, own.judged.epoch, own.columnDigests.get(4)], ['one', -1, 'columns'])
    assert.notEqual(own.judged, theirs)
    assert.equal(pair.find(key, 0, key.length), own, 'once')
    assert.equal(workload.find(key, 0, key.length)?.judged, theirs)
    // What clients are told of its columns changes for both.
    workload.set(key, theirs)?.columnDigests.set(4, 'others')
    assert.equal(pair.find(key, 0, key.length)?.columnDigests.get(4), 'others')
  })

  it('is nothing the other way round', () => {
    const [workload, pair, other] = [new PreparedTable(), new PreparedTable(), new PreparedTable()]
    for (const table of [pair, other]) table.lend(workload, again)
    const key = randomBytes(preparedIdBytes)
    pair.set(key, judged('one'))
    assert.equal(workload.find(key, 0, key.length), undefined)
    assert.equal(other.find(key, 0, key.length), undefined)
  })

  it('is prepared at the rate of the workload, however many people it names', () => {
    const workload = new PreparedTable()
    const pairs = Array.from({ length: 10 }, () => new PreparedTable())
    for (const pair of pairs) pair.lend(workload, again)
    let admitted = 0
    for (let i = 0; i < preparesBurstMax; i++)
      for (const [at, pair] of pairs.entries()) if (pair.admits(judged(`${i} ${at}`), 0)) admitted++
    assert.equal(admitted, preparesBurstMax)
    assert.equal(workload.admits(judged('own'), 0), false)
  })
})
