/** The dearest questions that a text of 8 KiB with its values can ask: each step is short, whatever each row costs. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { listOf } from '../types.ts'
import { encodeValue } from '../values.ts'
import { type Plan, planOf } from './plan.ts'
import { readSelect } from './read.ts'
import { run } from './run.ts'
import { int, regular, shapeWith, text, texts } from './table.fixture.ts'
import { Table } from './table.ts'

/** What a step may cost, beside its last row: relations, tuples and expressions. */
const stepCost = 512
/** Planning takes one or two; as long as it made an error for each constant, 25 to 80. */
const planMsMax = 12
/** The later ones are like the first. */
const stepsLookedAt = 12
const shape = shapeWith(
  { name: 'd', type: int, kind: 'clustering', position: 1 },
  regular('v', text),
  regular('m', texts),
)
const table = Table.of(
  shape,
  Array.from({ length: 1_200 }, (_, at) => [
    encodeValue(text, `p${at >> 9}`),
    encodeValue(int, at & 511),
    encodeValue(int, at),
    encodeValue(text, `value ${at}`),
    encodeValue(texts, new Map([['class', 'x']])),
  ]),
)

const times = (count: number, unit: string): string => Array.from({ length: count }, () => unit).join()
const nested = (depth: number): string => `${'mask_inner('.repeat(depth)}v${',1,1)'.repeat(depth)}`

/** The text, what each row of it costs at the least, and what is bound. */
const questions: readonly (readonly [what: string, rowCost: number, question: string, values?: readonly Buffer[]])[] = [
  ['1,000 columns', 1000, `SELECT ${times(1000, 'v')} FROM ks.t`],
  ['1,000 columns as JSON', 1000, `SELECT JSON ${times(1000, 'v')} FROM ks.t`],
  ['1,000 maps as JSON', 1000, `SELECT JSON ${times(1000, 'm')} FROM ks.t`],
  ['600 aggregates', 600, `SELECT ${times(600, 'max(v)')} FROM ks.t`],
  ['600 aggregates of groups', 600, `SELECT ${times(600, 'max(v)')} FROM ks.t GROUP BY p, c`],
  ['calls in calls', 320, `SELECT ${times(8, nested(40))} FROM ks.t`],
  ['sums', 3600, `SELECT ${times(60, `${'c+'.repeat(60)}c`)} FROM ks.t`],
  ['an IN of many values', 1, `SELECT v FROM ks.t WHERE p IN (${times(1500, "'p1'")})`],
  ['an IN of many tuples', 1100, `SELECT v FROM ks.t WHERE p = 'p1' AND (c, d) IN (${times(1100, '(1,2)')})`],
  [
    'an IN of tuples that are bound',
    1600,
    "SELECT v FROM ks.t WHERE p = 'p1' AND (c, d) IN ?",
    [
      encodeValue(
        listOf({ kind: 'tuple', elements: [int, int] }),
        Array.from({ length: 1_600 }, () => [1, 2]),
      )!,
    ],
  ],
  ['an IN of texts that are bound', 1, 'SELECT v FROM ks.t WHERE p IN ?', [textList(6_000)]],
]

function textList(count: number): Buffer {
  return encodeValue(
    listOf(text),
    Array.from({ length: count }, () => 'p'),
  )!
}

function planned(question: string, values: readonly Buffer[]): Plan {
  const bound = { bytes: (marker: number) => values[marker] ?? null, unset: () => false }
  return planOf(readSelect(question), shape, bound, () => 1_700_000_000_000)
}

/** Of CPU, the mean of some times: what else the machine does counts for nothing. */
function planMs(question: string, values: readonly Buffer[]): number {
  planned(question, values)
  const times = 8
  const before = process.threadCpuUsage()
  for (let time = 0; time < times; time++) planned(question, values)
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1000 / times
}

/** How many rows each step looked at. */
function rowsOfSteps(question: string, values: readonly Buffer[]): number[] {
  let rows = 0
  const exists = (): boolean => rows++ >= 0
  const steps = run(planned(question, values), table, exists, { rows: 0, state: undefined, bytesMax: 1e8 })
  const counts: number[] = []
  for (;;) {
    rows = 0
    const { done } = steps.next()
    counts.push(rows)
    if (done === true || counts.length === stepsLookedAt) return counts
  }
}

describe('a step of a question', () => {
  for (const [what, rowCost, question, values = []] of questions) {
    it(`has as many rows as may be: ${what}`, () => {
      assert.ok(question.length <= 8192)
      for (const rows of rowsOfSteps(question, values)) {
        assert.ok(rows <= Math.ceil(stepCost / rowCost), `${rows} rows in one step`)
      }
      const ms = planMs(question, values)
      assert.ok(ms <= planMsMax, `${ms} ms to plan it`)
    })
  }

  it('is not begun for values of more than 32 KiB together, however they are spread; those of 32 KiB are read', () => {
    const full = textList(6_552)
    assert.equal(full.length, 32_764)
    assert.equal(planned('SELECT v FROM ks.t WHERE p IN ?', [full]).where.keys[0]?.length, 6_552)
    const [one, most] = [encodeValue(listOf(int), [1])!, textList(100_000)]
    const refused = /values of more than 32768 bytes/
    assert.throws(() => planned('SELECT v FROM ks.t WHERE p IN ?', [most]), refused)
    assert.throws(
      () => planned('SELECT v FROM ks.t WHERE p = ? AND c = 1 AND d IN ?', [Buffer.alloc(32_764, 'x'), one]),
      refused,
    )
  })
})
