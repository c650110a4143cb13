/** The demonstration's screen fits, and shows what failed, however much there is to show. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Screen, widthOf } from '../src/cli/screen.ts'
import type { TrafficLine } from '../src/control/traffic.ts'
import { drawn } from './screen.ts'
import { failuresText, readFailures, writeFailures } from './workloads/failures.ts'

const line: TrafficLine = {
  workload: 'spiffe://demo.local/user/corp/alice',
  person: 'corp/alice',
  keyspace: 'shop',
  table: 'orders_by_customer_and_day',
  operation: 'SELECT',
  verdict: 'deny',
  rule: 'people-see-no-cards-of-others',
  count: 25,
  errors: 0,
  p50Micros: 900,
  p99Micros: 2345,
  rate: 2.5,
}
const at = new Date(2026, 0, 1, 12, 34, 56)
const lost = [{ workload: 'orders', failed: 3, last: 'a message that is longer than a terminal is wide '.repeat(5) }]

describe('the screen of the demonstration', () => {
  for (const [columns, rows] of [
    [80, 24],
    [140, 40],
  ] as const) {
    for (const count of [0, 4, 100]) {
      for (const down of [[], ['sidecar-2', 'nginx']]) {
        for (const answers of [true, false]) {
          const what = `${count} lines, ${down.length} parts down, ${answers ? 'with' : 'without'} the control plane`
          it(`fits ${columns}×${rows} and ends with what failed: ${what}`, () => {
            let written = ''
            const screen = new Screen({ columns, rows, write: (text: string) => (written = text) })
            const lines = answers ? Array<TrafficLine>(count).fill(line) : undefined
            const picture = { lines, policyRevision: answers ? 7 : undefined, down, failures: lost, at }
            screen.draw(drawn(picture, screen.columns, screen.linesMax, true))
            const shown = written
              .replace(/^\r\x1b\[J/, '')
              .split('\n')
              .slice(0, -1)
            assert.ok(shown.length < rows, `${shown.length} lines`)
            for (const each of shown) assert.ok(widthOf(each) <= columns, each)
            assert.match(
              shown[0]!,
              /^Who talks to Cassandra, last 10 s · policy revision [7?] · 12:34:56 · Ctrl-C stops$/,
            )
            // On whose behalf a workload asks is seen on the narrowest of them.
            if (answers) assert.match(shown[1]!, / PERSON /)
            if (count > 0 && answers) assert.match(shown[2]!, / corp\/alice /)
            assert.match(shown.at(-1)!, /^failed requests: orders 3 · last of orders: a message/)
            if (down.length > 0) assert.equal(shown.at(-2), 'not running: sidecar-2, nginx')
            if (!answers) assert.match(shown[2]!, /the control plane does not answer/)
            if (answers && count === 100) assert.match(shown.at(-2 - Math.sign(down.length))!, /^… and \d+ more$/)
          })
        }
      }
    }
  }

  it('counts what each workload lost, from the files that they write', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rf-screen-'))
    try {
      assert.equal(failuresText(readFailures(folder)), 'failed requests: none')
      for (const [workload, failed] of [
        ['orders', 0],
        ['report', 2],
        ['alice', 5],
      ] as const) {
        mkdirSync(join(folder, workload))
        writeFailures(join(folder, workload), { workload, failed, last: `why \x1b[2J${failed}` })
      }
      assert.equal(
        failuresText(readFailures(folder)),
        'failed requests: report 2, alice 5 · last of alice: why \\u001b[2J5',
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
