import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TrafficLine } from '../control/traffic.ts'
import { cut, Screen, widthOf } from './screen.ts'
import { trafficTable } from './traffic-table.ts'

const line: TrafficLine = {
  workload: 'spiffe://demo.local/user/corp/alice',
  person: 'corp/alice',
  keyspace: 'shop',
  table: 'orders',
  operation: 'SELECT',
  verdict: 'allow',
  rule: 'analysts',
  count: 25,
  errors: 0,
  p50Micros: 900,
  p99Micros: 2345,
  rate: 2.5,
}
const long: TrafficLine = {
  ...line,
  workload: `spiffe://demo.local/svc/${'w'.repeat(300)}`,
  keyspace: 'k'.repeat(48),
  table: '表'.repeat(48),
  operation: 'CREATE MATERIALIZED VIEW',
  verdict: 'deny',
  rule: 'r'.repeat(200),
}

describe('the table of who is talking to Cassandra', () => {
  it('shows workload, person, keyspace.table, operation, verdict, rule, rate, errors and latency', () => {
    assert.deepEqual(trafficTable([line]), [
      'WORKLOAD         PERSON      KEYSPACE.TABLE  OPERATION  VERDICT  RULE      RATE/S  ERRORS  P50 MS  P99 MS',
      'user/corp/alice  corp/alice  shop.orders     SELECT     allow    analysts     2.5       0     0.9     2.3',
    ])
  })

  it('leaves out what matters least where there is no room for all', () => {
    assert.deepEqual(trafficTable([line], { widthMax: 80 }), [
      'WORKLOAD       PERSON     KEYSPACE.TAB… OPERATION VERDICT RULE     RATE/S ERRORS',
      'user/corp/ali… corp/alice shop.orders   SELECT    allow   analysts    2.5      0',
    ])
  })

  it('has the person at 80 columns, whoever asks on her behalf', () => {
    const rows = trafficTable([{ ...long, person: 'corp/alice' }, line], { widthMax: 80 })
    assert.match(rows[1]!, /^svc\/wwwwwwwww… corp\/alice /)
    assert.match(rows[0]!, / ERRORS$/)
  })

  it('no line is wider than the terminal, whatever the names are', () => {
    for (const widthMax of [80, 100, 120, 140, 200]) {
      for (const row of trafficTable([line, long], { widthMax, color: true })) {
        assert.ok(widthOf(row) <= widthMax, `${widthOf(row)} > ${widthMax}: ${row}`)
      }
    }
  })

  it('paints refusals red and nothing else', () => {
    const [, allowed, denied] = trafficTable([line, { ...line, verdict: 'deny' }], { color: true })
    assert.doesNotMatch(allowed!, /\x1b/)
    assert.match(denied!, /^\x1b\[31m.*\x1b\[0m$/)
  })

  it('does not let a name steer the terminal', () => {
    const [, row] = trafficTable([{ ...line, table: 'x\x1b[2J\n\u202e' }])
    assert.doesNotMatch(row!, /[\x1b\n\u202e]/)
  })

  it('says how much is left out', () => {
    assert.equal(trafficTable([line, line, line], { linesMax: 1 }).at(-1), '… and 2 more')
  })
})

describe('a screen that is drawn in place', () => {
  it('cuts by what is seen, and ends a colour that it cut', () => {
    assert.equal(cut('abcdef', 4), 'abc…')
    assert.equal(cut('\x1b[31mabcdef\x1b[0m', 4), '\x1b[31mabc…\x1b[0m')
    assert.equal(cut('\x1b[31mabc\x1b[0m', 3), '\x1b[31mabc\x1b[0m')
    assert.equal(cut('表表表', 4), '表…')
    assert.equal(widthOf(cut('e\u0301'.repeat(9), 5)), 5)
  })

  /** A terminal of 80×24 as far as this goes: lines that wrap take more rows, and what leaves at the top is gone. */
  function rowsTaken(text: string, columns: number): number {
    return text
      .split('\n')
      .slice(0, -1)
      .reduce(
        (rows, each) => rows + Math.max(1, Math.ceil(widthOf(each.replace(/\x1b\[\d*[AJ]|\r/g, '')) / columns)),
        0,
      )
  }

  for (const [columns, rows] of [
    [80, 24],
    [140, 40],
    [40, 10],
  ] as const) {
    it(`goes up by exactly what it wrote, at ${columns}×${rows}`, () => {
      const written: string[] = []
      const screen = new Screen({ columns, rows, write: (text: string) => written.push(text) })
      for (let i = 0; i < 3; i++) {
        screen.draw([
          'A title that is longer than any terminal of eighty columns, so that it has to be cut somewhere '.repeat(2),
          ...Array<string>(60).fill('x'),
        ])
      }
      for (const [i, text] of written.entries()) {
        assert.ok(rowsTaken(text, columns) < rows, 'it fits')
        if (i > 0) assert.equal(Number(/^\x1b\[(\d+)A/.exec(text)?.[1]), rowsTaken(written[i - 1]!, columns))
      }
    })
  }
})
