/** The text form of metrics, letter by letter; `promtool` reads that of real roles in test/path/admin.test.ts. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { counter, type Family, gauge, type HistogramFamily, sumFamilies } from './family.ts'
import { formFor, metricsText } from './text.ts'

const latency: HistogramFamily = {
  type: 'histogram',
  name: 'wait_seconds',
  help: 'Waiting.',
  bounds: [0.001, 1],
  samples: [{ labels: { who: 'a' }, buckets: [2, 1, 1], sum: 3.5 }],
}

const text = (families: readonly Family[], form: 'openmetrics' | 'prometheus' = 'openmetrics'): string =>
  [...metricsText(families, form)].join('')

describe('metrics as text', () => {
  it('names a counter with and without _total, as each form wants it', () => {
    const families = [counter('hits', 'Hits.', 3)]
    assert.equal(text(families), '# HELP hits Hits.\n# TYPE hits counter\nhits_total 3\n# EOF\n')
    assert.equal(text(families, 'prometheus'), '# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total 3\n')
    assert.equal(formFor('application/openmetrics-text;version=1.0.0,text/plain;q=0.3'), 'openmetrics')
    assert.equal(formFor('text/plain'), 'prometheus')
    assert.equal(formFor(undefined), 'prometheus')
  })

  it('adds buckets up to the endless one', () => {
    assert.deepEqual(text([latency]).split('\n').slice(2, -2), [
      'wait_seconds_bucket{who="a",le="0.001"} 2',
      'wait_seconds_bucket{who="a",le="1"} 3',
      'wait_seconds_bucket{who="a",le="+Inf"} 4',
      'wait_seconds_sum{who="a"} 3.5',
      'wait_seconds_count{who="a"} 4',
    ])
  })

  it('no name that a peer gives ends a value or a line', () => {
    const nasty = 'a"} 1\nfake_total 9\\\u{d800}'
    const lines = text([gauge('up', 'Up.', [{ labels: { table: nasty }, value: 1 }])]).split('\n')
    assert.deepEqual(lines.slice(2), ['up{table="a\\"} 1\\nfake_total 9\\\\\ufffd"} 1', '# EOF', ''])
  })

  it('comes in pieces', () => {
    const samples = Array.from({ length: 5_000 }, (_, n) => ({ labels: { n: `${n}` }, value: n }))
    const pieces = [...metricsText([gauge('many', 'Many.', samples)], 'prometheus')]
    assert.ok(pieces.length > 2 && pieces.every((piece) => piece.length < 40_000))
  })

  it('of several processes is added up, and what cannot be added is the worst of them', () => {
    const each = (hits: number, lag: number, revision: number): Family[] => [
      counter('hits', 'Hits.', [{ labels: { verb: 'GET' }, value: hits }]),
      gauge('lag_seconds', 'Lag.', lag, 'max'),
      gauge('revision', 'Revision.', revision, 'min'),
      latency,
    ]
    const sum = sumFamilies([each(1, 0.5, 7), each(2, 0.25, 6), [counter('alone', 'Alone.', 4)]])
    assert.deepEqual(
      sum.map((family) => (family.type === 'histogram' ? family.samples[0]?.buckets : family.samples[0]?.value)),
      [3, 0.5, 6, [4, 2, 2], 4],
    )
  })
})
