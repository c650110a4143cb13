import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BodyReader } from '../reader.ts'
import { T } from '../statement/tokens.ts'
import { listOf, native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { constantOf } from './constants.ts'
import { planOf } from './plan.ts'
import { readSelect } from './read.ts'
import { type Page, run } from './run.ts'
import { int, regular, shapeWith, text, texts } from './table.fixture.ts'
import { type RowView, Table } from './table.ts'
import { Unsupported } from './unsupported.ts'

const shape = shapeWith(
  { name: 'd', type: int, kind: 'clustering', position: 1, descending: true },
  regular('v', text),
  regular('m', texts),
  regular('l', listOf(int)),
)

/** Partitions a, b, c; of each c = 1, 2, 3 and d = 9, 8. `v` is null in the last of each. */
const rows = ['a', 'b', 'c'].flatMap((p) =>
  [1, 2, 3].flatMap((c) =>
    [9, 8].map((d) => [
      encodeValue(text, p),
      encodeValue(int, c),
      encodeValue(int, d),
      c === 3 && d === 8 ? null : encodeValue(text, `${p}${c}${d}`),
      encodeValue(texts, new Map([['class', `of ${p}`]])),
      encodeValue(listOf(int), [c, d]),
    ]),
  ),
)
const table = Table.of(shape, rows)

interface Options {
  readonly pageSize?: number
  readonly values?: readonly (Buffer | null)[]
  readonly exists?: (row: RowView) => boolean
}

function pages(statement: string, { pageSize = 0, values = [], exists = () => true }: Options = {}): string[][] {
  const bound = { bytes: (marker: number) => values[marker] ?? null, unset: () => false }
  const plan = planOf(readSelect(statement), shape, bound, () => 1_700_000_000_000)
  const found: string[][] = []
  let state: Buffer | undefined
  do {
    const steps = run(plan, table, exists, { rows: pageSize, state, bytesMax: 1e6 })
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    found.push(cellsOf(step.value, plan.columns))
    state = step.value.state
  } while (state !== undefined)
  return found
}

function cellsOf(
  { rowCount, rows: bytes }: Page,
  columns: readonly { readonly type: { readonly kind: string } }[],
): string[] {
  const reader = new BodyReader().reset(bytes, 0, bytes.length)
  return Array.from({ length: rowCount }, () =>
    columns
      .map(({ type }) => {
        const cell = reader.bytes()
        if (cell === null) return 'null'
        if (type.kind === 'int') return String(cell.readInt32BE(0))
        return type.kind === 'bigint' ? String(cell.readBigInt64BE(0)) : cell.toString()
      })
      .join(','),
  )
}

const all = (statement: string, options: Options = {}): string[] => pages(statement, options).flat()

describe('a SELECT over rows in memory', () => {
  it('goes by token, then by the clustering key in its own order', () => {
    const byToken = ['a', 'b', 'c'].toSorted(
      (x, y) =>
        Number(all(`SELECT token(p) FROM t WHERE p = '${x}' LIMIT 1`)[0]) -
        Number(all(`SELECT token(p) FROM t WHERE p = '${y}' LIMIT 1`)[0]),
    )
    assert.deepEqual(all('SELECT DISTINCT p FROM t'), byToken)
    assert.deepEqual(all(`SELECT c, d FROM t WHERE p = 'a'`), ['1,9', '1,8', '2,9', '2,8', '3,9', '3,8'])
    assert.deepEqual(all(`SELECT c, d FROM t WHERE p = 'a' ORDER BY c DESC`), [
      '3,8',
      '3,9',
      '2,8',
      '2,9',
      '1,8',
      '1,9',
    ])
    assert.deepEqual(all(`SELECT p, c FROM t WHERE p IN ('c', 'a', 'c') AND c = 1 AND d = 9`), ['a,1', 'c,1'])
    assert.deepEqual(all(`SELECT c, p FROM t WHERE p IN ('c', 'a') ORDER BY c DESC, d ASC LIMIT 3`), [
      '3,a',
      '3,c',
      '3,a',
    ])
    assert.equal(all(`SELECT JSON p FROM t WHERE p IN ('c', 'a') ORDER BY c LIMIT 1`).length, 1)
    assert.equal(all(`SELECT JSON * FROM t WHERE p = 'a' ORDER BY c LIMIT 1`).length, 1)
    // The node orders these by their texts.
    assert.throws(() => all(`SELECT JSON * FROM t WHERE p IN ('c', 'a') ORDER BY c`), Unsupported)
  })

  it('restricts by ranges, lists, tuples and what collections contain', () => {
    for (const [where, wanted] of [
      ['c > 1 AND c <= 2', ['2,9', '2,8']],
      ['(c, d) > (2, 8)', ['2,9', '3,9', '3,8']],
      ['(c, d) IN ((1, 8), (3, 9), (7, 7))', ['1,8', '3,9']],
      ['c IN (3, 1) AND d < 9', ['1,8', '3,8']],
      ['c = ? AND d IN ?', ['1,8']],
      [`m CONTAINS KEY 'class' AND v = 'a29' ALLOW FILTERING`, ['2,9']],
      [`m CONTAINS 'of a' AND l CONTAINS 8 ALLOW FILTERING`, ['1,8', '2,8', '3,8']],
      [`m CONTAINS 'of b' ALLOW FILTERING`, []],
      [`v > '' ALLOW FILTERING`, ['1,9', '1,8', '2,9', '2,8', '3,9']],
    ] as const) {
      const values = [encodeValue(int, 1), encodeValue(listOf(int), [8, 7])]
      assert.deepEqual(all(`SELECT c, d FROM t WHERE p = 'a' AND ${where}`, { values }), wanted, where)
    }
  })

  it('counts what is not null, and answers for no rows', () => {
    assert.deepEqual(all('SELECT count(*), count(v), min(v), max(v), sum(c), avg(c), max(d) FROM t'), [
      '18,15,a18,c39,36,2,9',
    ])
    assert.deepEqual(all(`SELECT count(*), max(v), sum(c), avg(c), p FROM t WHERE p = 'x'`), ['0,null,0,0,null'])
    assert.deepEqual(all(`SELECT count(*) FROM t WHERE p = 'x' GROUP BY p`), [])
    assert.deepEqual(all(`SELECT c, count(*), max(d) FROM t WHERE p = 'b' GROUP BY p, c LIMIT 2`), ['1,2,9', '2,2,9'])
    assert.deepEqual(all(`SELECT p, c FROM t WHERE p IN ('a', 'b') GROUP BY p, c PER PARTITION LIMIT 1`), [
      'a,1',
      'b,1',
    ])
  })

  it('goes on from page to page, whatever the unit is', () => {
    for (const statement of [
      'SELECT p, c, d FROM t',
      `SELECT p, c, d FROM t WHERE p IN ('c', 'a', 'b') LIMIT 11`,
      'SELECT p, c, d FROM t PER PARTITION LIMIT 4',
      'SELECT p, c, count(*) FROM t GROUP BY p, c',
      'SELECT p, c, count(*) FROM t GROUP BY p, c PER PARTITION LIMIT 2 LIMIT 5',
      'SELECT p, count(v) FROM t GROUP BY p',
      'SELECT DISTINCT p FROM t',
      `SELECT c, d FROM t WHERE p = 'a' ORDER BY c DESC`,
      'SELECT count(*) FROM t',
    ]) {
      const whole = all(statement)
      for (const pageSize of [1, 2, 3, 4, 5, 7, 100]) {
        const some = pages(statement, { pageSize })
        assert.deepEqual(some.flat(), whole, `${statement}, page ${pageSize}`)
        some.forEach((page, i) => {
          assert.ok(i + 1 < some.length ? page.length === pageSize : page.length > 0, `${statement}, page ${pageSize}`)
        })
      }
    }
  })

  it('finds nothing of rows that do not exist', () => {
    const exists = (row: RowView): boolean => row.cell(0)?.toString() !== 'b' && row.cell(1)?.readInt32BE(0) !== 2
    for (const [statement, wanted] of [
      ['SELECT count(*), sum(c) FROM t', ['8,16']],
      [`SELECT p, c FROM t WHERE p IN ('a', 'b') AND c >= 2 LIMIT 1`, ['a,3']],
      [`SELECT count(*) FROM t WHERE p = 'b'`, ['0']],
      [`SELECT c, count(*) FROM t WHERE p = 'a' GROUP BY p, c`, ['1,2', '3,2']],
      [`SELECT c FROM t WHERE p = 'a' PER PARTITION LIMIT 3`, ['1', '1', '3']],
    ] as const) {
      assert.deepEqual(all(statement, { exists }), wanted, statement)
    }
  })

  it('writes JSON as Cassandra does', () => {
    assert.deepEqual(all(`SELECT JSON p AS "P", v, m, l, c FROM t WHERE p = 'a' AND c = 3`), [
      '{"\\"P\\"": "a", "v": "a39", "m": {"class": "of a"}, "l": [3, 9], "c": 3}',
      '{"\\"P\\"": "a", "v": null, "m": {"class": "of a"}, "l": [3, 8], "c": 3}',
    ])
    assert.deepEqual(all('SELECT JSON count(*), max(v), sum(c) AS s FROM t'), [
      '{"count": 18, "system.max(v)": "c39", "s": 36}',
    ])
  })

  it('reads addresses as Node.js does', () => {
    const parts = fc.array(
      fc.constantFrom('0', '1', '9', '25', '255', '256', '01', 'f', 'ffff', 'fffff', ':', '::', '.', '%g'),
      {
        maxLength: 16,
      },
    )
    fc.assert(
      fc.property(parts, (words) => {
        const address = words.join('')
        const read = () => constantOf(T.STRING, address, native('inet'))
        if (isIP(address) === 0 || address.includes('%')) assert.throws(read, { code: 'INVALID' })
        else assert.ok(read().length > 0)
      }),
      { numRuns: 5000 },
    )
    for (const address of ['1.2.3.4', '255.0.9.10', '::', '::1', 'fe80::9', '1:2:3:4:5:6:7:8', '::ffff:1.2.3.4']) {
      assert.equal(constantOf(T.STRING, address, native('inet')).length, address.includes(':') ? 16 : 4)
    }
  })

  it('refuses what Cassandra refuses, and what is not done here', () => {
    for (const statement of [
      'SELECT nothing FROM t',
      `SELECT * FROM t WHERE c = 1`,
      `SELECT * FROM t WHERE v = 'x'`,
      `SELECT * FROM t WHERE p = 'a' AND d = 1`,
      `SELECT * FROM t WHERE p = 5`,
      `SELECT * FROM t WHERE p = ?`,
      'SELECT * FROM t LIMIT 0',
      'SELECT * FROM t LIMIT ?',
      'SELECT * FROM t ORDER BY c',
      `SELECT * FROM t WHERE p = 'a' ORDER BY d`,
      `SELECT * FROM t WHERE p = 'a' ORDER BY c DESC, d DESC`,
      'SELECT DISTINCT c FROM t',
      'SELECT max(v) FROM t GROUP BY c',
      'SELECT max(max(v)) FROM t',
      'SELECT c / 0 FROM t',
      'SELECT ks.f(c) FROM t',
      'SELECT (ks.type)v FROM t',
      'SELECT writetime(v) FROM t',
      'SELECT nothing(v) FROM t',
      `SELECT 'x' FROM t`,
      'SELECT ? FROM t',
    ]) {
      assert.throws(() => pages(statement), { code: 'INVALID' }, statement)
    }
    assert.throws(() => pages('SELECT p FROM t, u'), { code: 'SYNTAX' })
  })
})
