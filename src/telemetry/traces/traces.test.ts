/** Which requests are traced, and that spans have a bound whatever the collector does. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Family } from '../metrics/family.ts'
import { exportUrl, gatewayTracesSchema, sidecarTracesSchema } from './config.ts'
import { type Sent, SpanQueue } from './queue.ts'
import type { Span } from './span.ts'
import { Traces } from './traces.ts'

const span: Span = {
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  spanId: '00f067aa0ba902b7',
  parentId: undefined,
  name: 'ringfence.sidecar',
  kind: 2,
  startMicros: 1,
  endMicros: 2,
  attributes: [['db.namespace', 'shop']],
  failed: false,
}
const quiet = (): SpanQueue => new SpanQueue({ send: () => Promise.resolve('taken') })

function figure(families: readonly Family[], name: string, cause?: string): number {
  const family = families.find((each) => each.name === name)
  assert.ok(family !== undefined && family.type !== 'histogram', name)
  return family.samples.find(({ labels }) => cause === undefined || labels.cause === cause)?.value ?? 0
}

describe('which requests are traced', () => {
  it('is one in so many, whatever their order', () => {
    let state = 1
    // A generator of its own: the test says the same each time.
    const random = (): number => {
      state = (state * 48_271) % 2_147_483_647
      return state / 2_147_483_647
    }
    for (const ratio of [0.001, 0.01, 0.25, 1]) {
      const traces = new Traces({ ratio }, quiet(), random)
      let taken = 0
      for (let n = 0; n < 200_000; n++) if (traces.takes()) taken++
      const wanted = 200_000 * ratio
      assert.ok(Math.abs(taken - wanted) <= 5 * Math.sqrt(wanted), `${ratio}: ${taken}`)
    }
  })

  it('is none where the ratio is 0', () => {
    const traces = new Traces({ ratio: 0 }, quiet())
    for (let n = 0; n < 1_000; n++) assert.equal(traces.takes(), false)
    assert.equal(traces.slowMicros, Number.POSITIVE_INFINITY)
  })

  it('goes on in a trace of somebody else', () => {
    const traces = new Traces({ ratio: 0 }, quiet())
    const begun = traces.begin({ traceId: span.traceId, parentId: span.spanId }, 5)
    assert.deepEqual([begun?.traceId, begun?.parentId, begun?.startMicros], [span.traceId, span.spanId, 5])
    assert.match(traces.begin()?.traceId ?? '', /^[0-9a-f]{32}$/)
  })
})

describe('spans that wait', () => {
  it('are at most so many, and what has no room is counted', async () => {
    const { promise: held, resolve: free } = Promise.withResolvers<Sent>()
    const queue = new SpanQueue({ send: () => held, spansMax: 10, partMax: 4 })
    const traces = new Traces({ ratio: 1 }, queue)
    for (let n = 0; n < 15; n++) queue.add(span)
    assert.equal(traces.begin(), undefined)
    assert.equal(figure(queue.families(), 'ringfence_trace_waiting_spans'), 10)
    assert.equal(figure(queue.families(), 'ringfence_trace_spans_dropped', 'full'), 6)
    free('taken')
    await queue.close(10_000)
    assert.equal(figure(queue.families(), 'ringfence_trace_spans'), 10)
    assert.equal(traces.begin(), undefined, 'nothing is begun behind the end')
  })

  it('are of so many bytes', () => {
    const queue = new SpanQueue({ send: () => new Promise(() => {}), bytesMax: 10_000 })
    const long: Span = { ...span, attributes: [['db.query.text', 'x'.repeat(2_000)]] }
    for (let n = 0; n < 10; n++) queue.add(long)
    assert.equal(figure(queue.families(), 'ringfence_trace_waiting_spans'), 2)
    assert.equal(figure(queue.families(), 'ringfence_trace_spans_dropped', 'full'), 8)
  })

  it('are kept for a collector that is busy, and dropped where it refuses them', async () => {
    const answers: Sent[] = ['again', 'refused', 'taken']
    const parts: number[] = []
    const queue = new SpanQueue({
      send: (spans) => {
        parts.push(spans.length)
        return Promise.resolve(answers.shift() ?? 'taken')
      },
      partMax: 2,
      waitMs: 1,
    })
    for (let n = 0; n < 4; n++) queue.add(span)
    const ends = performance.now() + 30_000
    while (figure(queue.families(), 'ringfence_trace_waiting_spans') > 0 && performance.now() < ends)
      await new Promise((resolve) => setTimeout(resolve, 10))
    assert.deepEqual(parts, [2, 2, 2])
    assert.equal(figure(queue.families(), 'ringfence_trace_spans_dropped', 'refused'), 2)
    assert.equal(figure(queue.families(), 'ringfence_trace_spans'), 2)
    await queue.close(10)
  })
})

describe('the configuration of traces', () => {
  it('says where to, and is off unless it is written', () => {
    assert.equal(exportUrl('http://127.0.0.1:4318').href, 'http://127.0.0.1:4318/v1/traces')
    assert.equal(exportUrl('https://otel.example/team/').href, 'https://otel.example/team/v1/traces')
    const read = sidecarTracesSchema.parse({ endpoint: 'http://127.0.0.1:4318' })
    assert.deepEqual(read, { endpoint: 'http://127.0.0.1:4318', ratio: 0, denied: false })
  })

  it('is refused where it makes no sense', () => {
    for (const endpoint of ['', '127.0.0.1:4318', 'ftp://a', 'http://u:p@a', 'http://a/?q', 'http://a/#x'])
      assert.ok(!gatewayTracesSchema.safeParse({ endpoint }).success, endpoint)
    for (const more of [{ ratio: 1.1 }, { ratio: -1 }, { denied: true }, { slowMs: 5 }])
      assert.ok(!gatewayTracesSchema.safeParse({ endpoint: 'http://a', ...more }).success, JSON.stringify(more))
    for (const more of [{ slowMs: 0 }, { denied: 'yes' }, { other: 1 }])
      assert.ok(!sidecarTracesSchema.safeParse({ endpoint: 'http://a', ...more }).success, JSON.stringify(more))
  })
})
