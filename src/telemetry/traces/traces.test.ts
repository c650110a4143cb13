/** Which requests are traced, and that spans have a bound whatever the collector does. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Family } from '../metrics/family.ts'
import { exportUrl, gatewayTracesSchema, sidecarTracesSchema } from './config.ts'
import { type Sent, SpanQueue } from './queue.ts'
import { type Span, WallClock } from './span.ts'
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
const theirs = { traceId: span.traceId, parentId: span.spanId }
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
    const traces = new Traces({ ratio: 0, clients: 'follow' }, quiet())
    const begun = traces.begin(theirs, 5)
    assert.deepEqual([begun?.traceId, begun?.parentId, begun?.startMicros], [span.traceId, span.spanId, 5])
    assert.match(traces.begin()?.traceId ?? '', /^[0-9a-f]{32}$/)
  })
})

describe('what a client with a trace of its own chooses', () => {
  it('is nothing, unless the operator lets it', () => {
    for (const clients of ['ignore', 'link', undefined] as const) {
      const more = clients === undefined ? {} : { clients }
      const none = new Traces({ ratio: 0, ...more }, quiet())
      for (let n = 0; n < 1_000; n++) assert.ok(!none.takesOfClient(true, 'orders', 0))
      const all = new Traces({ ratio: 1, ...more }, quiet())
      assert.ok(all.takesOfClient(true, 'orders', 0) && all.takesOfClient(false, 'orders', 0))
      const begun = all.beginOfClient(theirs)
      assert.notEqual(begun?.traceId, theirs.traceId)
      assert.deepEqual([begun?.parentId, begun?.link], [undefined, clients === 'ignore' ? undefined : theirs])
    }
  })

  it('is so many requests a second, each identity for itself', () => {
    const traces = new Traces({ ratio: 1, clients: 'follow' }, quiet())
    const taken = (identity: string, atMicros: number): number => {
      let count = 0
      for (let n = 0; n < 1_000; n++) if (traces.takesOfClient(true, identity, atMicros)) count++
      return count
    }
    assert.deepEqual([taken('flood', 1e6), taken('flood', 2e6), taken('orders', 2e6)], [200, 100, 200])
    assert.equal(figure(traces.families(), 'ringfence_trace_requests_not_followed'), 800 + 900 + 800)
    assert.ok(!traces.takesOfClient(false, 'other', 2e6), 'it records nothing, so nothing is recorded here')
    assert.deepEqual(traces.beginOfClient(theirs)?.traceId, theirs.traceId)
  })

  it('leaves room for what is chosen here', async () => {
    const { promise: held, resolve: free } = Promise.withResolvers<Sent>()
    const queue = new SpanQueue({ send: () => held, spansMax: 8 })
    const traces = new Traces({ ratio: 0, denied: true, clients: 'follow' }, queue)
    for (let n = 0; n < 100; n++) if (traces.follow(theirs) !== undefined) queue.add(span)
    assert.equal(figure(queue.families(), 'ringfence_trace_waiting_spans'), 6)
    assert.notEqual(traces.begin(theirs), undefined)
    queue.add(span)
    queue.add(span)
    assert.equal(traces.begin(theirs), undefined)
    free('taken')
    await queue.close(10_000)
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

  it('are sent once each, whatever is under way when the process ends', async () => {
    const { promise: held, resolve: free } = Promise.withResolvers<Sent>()
    const sent: string[] = []
    const queue = new SpanQueue({
      send: (spans) => {
        sent.push(...spans.map(({ spanId }) => spanId))
        return held
      },
      partMax: 4,
      waitMs: 1,
    })
    const all = Array.from({ length: 30 }, (_, n) => String(n).padStart(16, '0'))
    for (const spanId of all) queue.add({ ...span, spanId })
    while (sent.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const closing = queue.close(60_000)
    free('taken')
    await closing
    // A turn for whatever else might be sending.
    for (let n = 0; n < 20; n++) await new Promise((resolve) => setTimeout(resolve, 2))
    assert.deepEqual(sent, all)
    assert.equal(figure(queue.families(), 'ringfence_trace_spans'), all.length)
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

describe('the clock of spans', () => {
  it('goes on evenly however the wall clock rounds, and follows it where it was set', () => {
    let nowMs = 0.25
    let setMs = 0
    const origin = 1_700_000_000_000.75
    const clock = new WallClock(
      () => nowMs,
      () => Math.floor(origin + nowMs + setMs),
      origin,
    )
    const first = clock.micros()
    assert.equal(first, 1_700_000_000_001_000)
    for (let n = 1; n <= 50; n++) {
      nowMs += 7_000.313
      assert.ok(Math.abs(clock.micros() - first - n * 7_000_313) <= 1, String(n))
    }
    for (const to of [60_000, -60_000]) {
      setMs = to
      nowMs += 20_000
      assert.ok(Math.abs(clock.micros() / 1000 - (origin + nowMs + to)) <= 1)
    }
  })
})

describe('the configuration of traces', () => {
  it('says where to, and is off unless it is written', () => {
    assert.equal(exportUrl('http://127.0.0.1:4318').href, 'http://127.0.0.1:4318/v1/traces')
    assert.equal(exportUrl('https://otel.example/team/').href, 'https://otel.example/team/v1/traces')
    const read = sidecarTracesSchema.parse({ endpoint: 'http://127.0.0.1:4318' })
    assert.deepEqual(read, { endpoint: 'http://127.0.0.1:4318', ratio: 0, clients: 'link', denied: false })
  })

  it('is refused where it makes no sense', () => {
    const bad = ['', '127.0.0.1:4318', 'ftp://a', 'https://u:p@a', 'https://:secret@a', 'https://a/?q', 'https://a/#x']
    // In the clear to somewhere else.
    const away = ['http://a', 'http://10.0.0.1', 'http://127.evil.example', 'http://localhost.example', 'http://[::2]']
    for (const endpoint of [...bad, ...away]) assert.ok(!gatewayTracesSchema.safeParse({ endpoint }).success, endpoint)
    for (const endpoint of ['https://a', 'http://localhost:1', 'http://127.0.0.2', 'http://[::1]:4318'])
      assert.ok(gatewayTracesSchema.safeParse({ endpoint }).success, endpoint)
    for (const more of [{ ratio: 1.1 }, { ratio: -1 }, { clients: 'all' }, { denied: true }, { slowMs: 5 }])
      assert.ok(!gatewayTracesSchema.safeParse({ endpoint: 'https://a', ...more }).success, JSON.stringify(more))
    for (const more of [{ slowMs: 0 }, { denied: 'yes' }, { other: 1 }])
      assert.ok(!sidecarTracesSchema.safeParse({ endpoint: 'https://a', ...more }).success, JSON.stringify(more))
  })
})
