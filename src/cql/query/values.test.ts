/** What expressions come to, as Cassandra 5.0 says it; the same forms are asked of a real node (`gateway/topology/forms.fixture.ts`). */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BodyReader } from '../reader.ts'
import { listOf, native, setOf } from '../types.ts'
import { encodeValue } from '../values.ts'
import { planOf } from './plan.ts'
import { readSelect } from './read.ts'
import { run } from './run.ts'
import { text } from './table.fixture.ts'
import { shapeOf, Table } from './table.ts'
import { Unsupported } from './unsupported.ts'

const stamps = listOf(native('bigint'))
const shape = shapeOf(
  'ks',
  't',
  [
    { name: 'p', type: text, kind: 'partition_key', position: 0 },
    { name: 's', type: setOf(text), kind: 'regular', position: -1, multicell: true },
    { name: 'none', type: text, kind: 'regular', position: -1 },
    { name: 'writetime(s)', type: stamps, kind: 'regular', position: -1 },
  ],
  'murmur3',
  3,
)
const table = Table.of(shape, [
  [encodeValue(text, 'a'), encodeValue(setOf(text), ['x', 'y', 'z']), null, encodeValue(stamps, [1n, 2n, 3n])],
])

/** As JSON; undefined where no row comes. */
function jsonOfValue(expression: string, where = '', values: readonly (Buffer | null)[] = []): string | undefined {
  const bound = { bytes: (marker: number) => values[marker] ?? null, unset: () => false }
  const plan = planOf(
    readSelect(`SELECT to_json(${expression}) FROM t ${where}`),
    shape,
    bound,
    () => 1_700_000_000_000,
  )
  const steps = run(plan, table, () => true, { rows: 0, state: undefined, bytesMax: 1e6 })
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  if (step.value.rowCount === 0) return undefined
  const { rows } = step.value
  return new BodyReader().reset(rows, 0, rows.length).bytes()?.toString() ?? 'no value'
}

describe('an expression comes to', () => {
  for (const [expression, value] of [
    ["(timestamp)'2024-01-31' + 1mo", '"2024-02-29 00:00:00.000Z"'],
    ["(timestamp)'2024-03-31T10:00:00Z' - 1mo1d2h", '"2024-02-28 08:00:00.000Z"'],
    ["(timestamp)'2024-03-01' - P1DT1H", '"2024-02-28 23:00:00.000Z"'],
    ["(date)'2024-02-29' + 1y", '"2025-02-28"'],
    ["(date)'2024-01-01' - 1w", '"2023-12-25"'],
    ["(date)'2024-12-31' + 14mo", '"2026-02-28"'],
    ['(timestamp)0 + 90m', '"1970-01-01 01:30:00.000Z"'],
    ["(timestamp)'' + 1d", 'null'],
    ['to_timestamp(now()) - 1d', '"2023-11-13 22:13:20.000Z"'],
    ["floor((timestamp)'2024-05-17T10:20:30Z', 1h)", '"2024-05-17 10:00:00.000Z"'],
    ["floor((timestamp)'2024-05-17', 5d, (timestamp)'2024-01-01')", '"2024-05-15 00:00:00.000Z"'],
    ["floor((timestamp)'2024-05-17', 1mo3d, (timestamp)'2024-01-01')", '"2024-05-13 00:00:00.000Z"'],
    ["floor((date)'2024-05-17', 1mo)", '"2024-05-01"'],
    ["floor((time)'10:20:30', 15m)", '"10:15:00.000000000"'],
    ['to_date((timestamp)-1)', '"1970-01-01"'],
    ['to_date((timestamp)-90000000)', '"1969-12-31"'],
    ["to_unix_timestamp((date)'1970-01-02')", '86400000'],
    ["to_timestamp('2020-01-01')", '"2020-01-01 00:00:00.000Z"'],
    ['min_timeuuid(0)', '"13814000-1dd2-11b2-8080-808080808080"'],
    ['max_timeuuid(0)', '"1381670f-1dd2-11b2-7f7f-7f7f7f7f7f7f"'],
    ["cast((time)'10:00:00' AS text)", '"10:00:00.000000000"'],
    ["cast((timestamp)'2024-01-31T23:00:00Z' AS date)", '"2024-01-31"'],
    ['(duration)1y2mo3w4d5h6m7s8ms9us1ns', '"1y2mo25d5h6m7s8ms9us1ns"'],
    ['(duration)P0001-02-03T04:05:06', '"1y2mo3d4h5m6s"'],
    ['-(int)3 + (tinyint)1', '-2'],
    ['(decimal)1.5 + 1', '2.5'],
    ['(decimal)1 / 3', '0.33333333333333333333333333333333'],
    ['(decimal)100 / 1', '1E+2'],
    ['(decimal)2.50 * 2', '5.000'],
    ['(decimal)1E-10', '1E-10'],
    ['cast((decimal)1E-10 AS text)', '"1E-10"'],
    ['cast((decimal)-0.000123 AS text)', '"-0.000123"'],
    ['cast((decimal)-12.75 AS int)', '-12'],
    ['cast((double)1.5 AS decimal)', '1.5'],
    ['(varint)7 / 2', '3'],
    ['(varint)2 - 0.5', '1.5'],
    ['(varint)170141183460469231731687303715884105727 + 1', '170141183460469231731687303715884105728'],
    ["p + 'x'", '"ax"'],
    ["'é' + p + ''", '"éa"'],
    ["none + 'x'", 'null'],
    ["[p, 'b']", '["a", "b"]'],
    ["{'b', p, 'a'}", '["a", "b"]'],
    ['(p, token(p))', '["a", -8839064797231613815]'],
    ['(map<text, int>){p: 1}', '{"a": 1}'],
    ["s['y']", '"y"'],
    ["s['y'..]", '["y", "z"]'],
    ['mask_default(none)', '"****"'],
    ["mask_default((inet)'1.2.3.4')", '"0.0.0.0"'],
    ["mask_hash(p, 'md5')", '"0x0cc175b9c0f1b6a831c399e269772661"'],
    ["writetime(s['y'])", '2'],
    ["writetime(s['none'])", 'null'],
    ["writetime(s['y'..'z'])", '[2, 3]'],
  ] as const) {
    it(`${expression} = ${value}`, () => assert.equal(jsonOfValue(expression), value))
  }

  it('a value of a marker', () => {
    const day = encodeValue(native('duration'), { months: 0, days: 1, nanoseconds: 0n })
    assert.equal(jsonOfValue('(timestamp)0 + ?', '', [day]), '"1970-01-02 00:00:00.000Z"')
    assert.equal(jsonOfValue('[?, p]', '', [encodeValue(text, 'b')]), '["b", "a"]')
  })
})

describe('WHERE', () => {
  it('takes what comes to a value', () => {
    for (const value of ["'a'", "('a')", "'' + 'a'", `from_json('"a"')`, '(text)?'])
      assert.equal(jsonOfValue('p', `WHERE p = ${value}`, [Buffer.from('a')]), '"a"', value)
    for (const value of ["'b'", "'a' + 'a'", `from_json('"b"')`])
      assert.equal(jsonOfValue('p', `WHERE p = ${value}`), undefined, value)
  })
})

describe('what costs a node more than it is worth, or is of a type of its own there', () => {
  for (const expression of [
    // Zeros without an end.
    'cast((decimal)? AS text)',
    '(decimal)? + 1',
    'mask_default(now())',
    // Steps back, one by one.
    "floor((timestamp)'9999-01-01', 1mo30000d)",
  ]) {
    it(`is not done: ${expression}`, () => {
      const far = encodeValue(native('decimal'), { unscaled: 1n, scale: 2_000_000_000 })
      assert.throws(() => jsonOfValue(expression, '', [far]), Unsupported)
    })
  }
})
