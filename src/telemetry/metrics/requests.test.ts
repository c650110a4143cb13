/** Counting requests: what is counted, where it is counted when there is no room, and that there is an end of room. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Family } from './family.ts'
import { type CountedRequest, type RequestLabels, RequestSeries } from './requests.ts'
import { metricsText } from './text.ts'

const usual: RequestLabels = {
  workload: 'spiffe://demo.local/svc/alice',
  personGroup: '',
  keyspace: 'shop',
  table: 'orders',
  operation: 'SELECT',
  verdict: 'allow',
  rule: 'alice-shop',
}

const one: CountedRequest = { outcome: 'ok', rows: 0, bytesIn: 1, bytesOut: 1, latencyMicros: 1, waitedMicros: 0 }
const answered: CountedRequest = { ...one, rows: 3, bytesIn: 100, bytesOut: 2_000, latencyMicros: 700 }
const refused: CountedRequest = { ...one, outcome: 'error', rows: -1, bytesIn: 50, bytesOut: 20, latencyMicros: 0 }

function valuesOf(families: readonly Family[], name: string): Map<string, number> {
  const family = families.find((each) => each.name === name)
  assert.ok(family !== undefined && family.type !== 'histogram', name)
  return new Map(family.samples.map(({ labels, value }) => [Object.values(labels).join(' '), value]))
}

const sumOf = (values: Map<string, number>): number => [...values.values()].reduce((sum, value) => sum + value, 0)

describe('request metrics', () => {
  it('count requests, errors, rows and bytes under their labels', () => {
    const series = new RequestSeries()
    const number = series.numberOf(usual)
    assert.equal(series.numberOf({ ...usual }), number)
    assert.ok(series.record(number, answered))
    assert.ok(series.record(number, refused))
    const families = series.families()
    const labels = 'spiffe://demo.local/svc/alice  shop orders SELECT allow alice-shop'
    for (const [name, value] of [
      ['ringfence_requests', 2],
      ['ringfence_request_errors', 1],
      ['ringfence_request_rows', 3],
      ['ringfence_request_received_bytes', 150],
      ['ringfence_request_sent_bytes', 2_020],
    ] as const)
      assert.deepEqual([...valuesOf(families, name)], [[labels, value]], name)
    // Only what the node was asked took it any time.
    const node = families.find(({ name }) => name === 'db_client_operation_duration_seconds')
    assert.ok(node?.type === 'histogram')
    assert.deepEqual(
      node.samples.map(({ buckets }) => buckets.slice(0, 4)),
      [[0, 0, 1, 0]],
    )
    assert.equal(node.samples[0]?.sum, 0.0007)
  })

  it('keep their bound under 100,000 identities, tables and statements, and say what was folded', () => {
    const seriesMax = 200
    const series = new RequestSeries({ seriesMax })
    const count = (labels: RequestLabels): void => {
      assert.ok(series.record(series.numberOf(labels), one))
    }
    for (let n = 0; n < 100_000; n++)
      count({ ...usual, keyspace: `k${n % 7}`, table: `t${n}`, operation: `O${n % 90}` })
    // A neighbour has rows of its own although one has flooded all that it may have.
    assert.ok(series.size <= seriesMax / 2 + 4, `${series.size} of one workload`)
    const neighbour = { ...usual, workload: 'spiffe://demo.local/svc/bob' }
    count(neighbour)
    const bob = 'spiffe://demo.local/svc/bob  shop orders SELECT allow alice-shop'
    assert.equal(valuesOf(series.families(), 'ringfence_requests').get(bob), 1)
    for (let n = 0; n < 100_000; n++) count({ ...usual, workload: `spiffe://demo.local/svc/w${n}`, verdict: 'deny' })
    assert.ok(series.size <= seriesMax + 3, `${series.size} of all`)
    const families = series.families()
    const requests = valuesOf(families, 'ringfence_requests')
    assert.equal(sumOf(requests), 200_001, 'each is counted once')
    assert.equal(requests.get(bob), 1)
    assert.ok((requests.get('other other other other other deny other') ?? 0) > 99_000)
    const folded = [...valuesOf(families, 'ringfence_metrics_folded').values()][0] ?? 0
    assert.ok(folded > 199_000 && folded < 200_001, `${folded} folded`)
    const lines = [...metricsText(families, 'openmetrics')].join('').split('\n').length
    assert.ok(lines < seriesMax * 60, `${lines} lines`)
  })

  it('give up a row that stood still, and never count under another by its number', () => {
    let nowMs = 0
    const series = new RequestSeries({ seriesMax: 2, idleMs: 1_000, nowMs: () => nowMs })
    const number = series.numberOf(usual)
    assert.ok(series.record(number, one))
    series.families()
    nowMs = 1_000
    assert.deepEqual([...valuesOf(series.families(), 'ringfence_requests')], [])
    const bob = series.numberOf({ ...usual, workload: 'spiffe://demo.local/svc/bob' })
    assert.equal(series.record(number, one), false)
    assert.ok(series.record(bob, one))
    assert.equal(sumOf(valuesOf(series.families(), 'ringfence_requests')), 1)
  })

  it('cut names, and a row that is in use stays', () => {
    let nowMs = 0
    const series = new RequestSeries({ idleMs: 1_000, nowMs: () => nowMs })
    const number = series.numberOf({ ...usual, table: 't'.repeat(10_000) })
    for (; nowMs < 10_000; nowMs += 500) {
      assert.ok(series.record(number, one))
      series.families()
    }
    const [labels = ''] = valuesOf(series.families(), 'ringfence_requests').keys()
    assert.ok(labels.length < 400, `${labels.length} characters`)
  })
})
