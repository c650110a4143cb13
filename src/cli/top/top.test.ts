/** `top` as a function of what was reported, of keys and of the terminal. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TrafficLine } from '../../control/traffic.ts'
import { widthOf } from '../screen.ts'
import { keysIn } from './keys.ts'
import { linesOf, pressed, type TopState, topStart } from './state.ts'
import { topPicture } from './view.ts'

const usual: TrafficLine = {
  workload: 'spiffe://demo.local/svc/orders',
  person: undefined,
  keyspace: 'shop',
  table: 'orders',
  operation: 'SELECT',
  verdict: 'allow',
  rule: 'orders-service',
  count: 100,
  errors: 0,
  p50Micros: 900,
  p99Micros: 2_300,
  rate: 10,
}
const lines: TrafficLine[] = [
  usual,
  { ...usual, operation: 'INSERT', count: 50, rate: 5, errors: 7, p99Micros: 9_000 },
  { ...usual, workload: 'spiffe://demo.local/svc/web', person: 'corp/alice', count: 30, rate: 3, p99Micros: 50_000 },
  {
    ...usual,
    workload: 'spiffe://demo.local/svc/web',
    person: 'corp/bob',
    verdict: 'deny',
    rule: 'default-deny',
    count: 20,
    rate: 2,
  },
]
const seen = { lines, seconds: 10, time: '12:00:00' }
const keys = (state: TopState, ...each: string[]): TopState =>
  each.reduce((now, key) => pressed(now, key, linesOf(lines, now)), state)
const picture = (state: TopState, columns = 80, height = 23, color = false) =>
  topPicture(seen, state, { columns, lines: height, color })

describe('keys of top', () => {
  it('sort by rate, errors, time and name, in turn', () => {
    const order = (state: TopState) => linesOf(lines, state).map((line) => lines.indexOf(line))
    assert.deepEqual(order(topStart), [0, 1, 2, 3])
    assert.deepEqual(order(keys(topStart, 's')), [3, 1, 0, 2])
    assert.deepEqual(order(keys(topStart, 's', 's')), [2, 1, 0, 3])
    assert.deepEqual(order(keys(topStart, 's', 's', 's')), [1, 0, 2, 3])
    assert.equal(keys(topStart, 's', 's', 's', 's').sort, 'rate')
  })

  it('filter by what stands in a line, letter by letter, and let go of it', () => {
    const filtered = keys(topStart, '/', 'a', 'L', 'i', 'x', '\u007f', '\r')
    assert.deepEqual([filtered.filter, filtered.typing], ['aLi', false])
    assert.deepEqual(linesOf(lines, filtered), [lines[2]])
    assert.equal(keys(filtered, '\u001b').filter, '')
    // While letters are typed, keys are letters; what is no letter is none.
    assert.deepEqual(keys(topStart, '/', 'q', '\u001b[A').filter, 'q')
    assert.equal(keys(topStart, '/', 'q').ended, false)
    assert.equal(keys(topStart, '/', 'q', '\u001b').typing, false)
    assert.equal(keys(topStart, '/', ...Array<string>(500).fill('a')).filter.length, 60)
  })

  it('choose a line, look into its identity, and come back', () => {
    const chosen = keys(topStart, '\u001b[B', 'j', 'j', 'j', 'j')
    assert.equal(chosen.selected, 3)
    assert.equal(keys(chosen, 'k', '\u001b[A').selected, 1)
    assert.equal(keys(topStart, 'k').selected, 0)
    const into = keys(chosen, '\r')
    assert.deepEqual(into.into, { workload: 'spiffe://demo.local/svc/web', person: 'corp/bob' })
    assert.deepEqual(linesOf(lines, into), [lines[3]])
    assert.equal(keys(into, '\u001b').into, undefined)
    assert.deepEqual(pressed(topStart, '\r', []), topStart)
  })

  it('end it', () => {
    assert.equal(keys(topStart, 'q').ended, true)
    assert.equal(keys(topStart, '/', '\u0003').ended, true)
  })
})

describe('a picture of top', () => {
  it('has head, table, refusals with their rules, and keys', () => {
    const shown = picture(topStart, 160)
    assert.equal(shown[0], 'ringfence top · 12:00:00 · 3 identities · 20.0/s · 2.0/s refused · by rate · of 10 s')
    assert.match(shown[2] ?? '', /^WORKLOAD .* P99 MS$/)
    const at = shown.indexOf('REFUSED, AND BY WHICH RULE')
    assert.equal(shown[at + 1], '   2.0/s  corp/bob by svc/web: SELECT shop.orders (default-deny)')
    assert.match(shown.at(-1) ?? '', /^q quit/)
    assert.match(picture(keys(topStart, '/', 'x'))[0] ?? '', /with "x"/)
    assert.match(picture(keys(topStart, '/', 'x')).at(-1) ?? '', /^filter: x/)
    assert.ok(picture(keys(topStart, '/', 'x')).includes('nothing that the filter leaves'))
    assert.match(
      topPicture({ ...seen, stale: 'it is away' }, topStart, { columns: 80, lines: 23, color: false })[1] ?? '',
      /it is away/,
    )
  })

  it('fits every terminal, whatever is chosen', () => {
    const many = Array.from({ length: 300 }, (_, n) => ({
      ...usual,
      workload: `spiffe://demo.local/svc/${'w'.repeat(n % 60)}${n}`,
      table: '表'.repeat(n % 20),
      verdict: n % 7 === 0 ? ('deny' as const) : ('allow' as const),
      rate: n,
    }))
    for (const [columns, height] of [
      [80, 23],
      [160, 49],
      [40, 8],
      [200, 3],
      [20, 60],
    ] as const) {
      for (const selected of [0, 5, 150, 299]) {
        for (const color of [false, true]) {
          const state = { ...topStart, selected }
          const shown = topPicture({ ...seen, lines: many }, state, { columns, lines: height, color })
          assert.equal(shown.length, height)
          for (const line of shown) assert.ok(widthOf(line) <= columns, line)
          if (color && height > 6) assert.equal(shown.filter((line) => line.startsWith('\u001b[7m')).length, 1)
        }
      }
    }
  })

  it('does nothing to the terminal, whatever clients call themselves', () => {
    const evil = {
      ...usual,
      rule: '\u001b[2Jx',
      workload: 'spiffe://a/\u0007b',
      table: '\u001b]0;t\u0007',
      verdict: 'deny' as const,
    }
    for (const line of topPicture({ ...seen, lines: [evil] }, topStart, { columns: 160, lines: 23, color: false }))
      assert.doesNotMatch(line, /[\u0000-\u001f\u007f]/)
  })
})

describe('the keys of a terminal', () => {
  it('are arrows in both forms, letters and Escape, and nothing of other sequences', () => {
    for (const [text, keys] of [
      ['\u001b[A\u001b[D', ['\u001b[A', '\u001b[D']],
      ['\u001bOA\u001bOC', ['\u001b[A', '\u001b[C']],
      ['qs', ['q', 's']],
      ['\u001b', ['\u001b']],
      ['\u001b[5~\u001b[3~q', ['q']],
      ['\u001b[1;5A', []],
      ['\u001b[H\u001bOF\u001b[?25q', []],
      ['é⚡', ['é', '⚡']],
    ] as const)
      assert.deepEqual(keysIn(text), keys, JSON.stringify(text))
  })
})

describe('the columns of a character', () => {
  it('are two of what is shown as a picture', () => {
    for (const wide of ['⚡', '✅', '⭐', '❌', '✨', '⌚', '🀄', '🆗', '中', '😀'])
      assert.equal(widthOf(wide), 2, wide)
    for (const narrow of ['a', 'é', '…', '→', '1', '#']) assert.equal(widthOf(narrow), 1, narrow)
  })
})
