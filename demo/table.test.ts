import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TrafficLine } from '../src/control/traffic.ts'
import { trafficTable } from './table.ts'

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

describe('the table of who is talking to Cassandra', () => {
  it('shows workload, person, keyspace.table, operation, verdict, rule, rate and p99', () => {
    assert.deepEqual(trafficTable([line]), [
      'WORKLOAD         PERSON      KEYSPACE.TABLE  OPERATION  VERDICT  RULE      RATE/S  P99 MS',
      'user/corp/alice  corp/alice  shop.orders     SELECT     allow    analysts     2.5     2.3',
    ])
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

  it('cuts what is too wide or too long, and says how much is left out', () => {
    const rows = trafficTable([line, line, line], { widthMax: 20, linesMax: 1 })
    assert.equal(rows.length, 3)
    assert.ok(rows.every((row) => row.length <= 20))
    assert.equal(rows.at(-1), '… and 2 more')
  })
})
