/** The way of spans to a collector: what of its answers counts, what is said of it in the log, and that connections are kept. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { createLogger } from '../telemetry/log.ts'
import type { Family } from '../telemetry/metrics/family.ts'
import type { Span } from '../telemetry/traces/span.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import { openTraces } from './traces.ts'

const span: Span = {
  ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentId: undefined, name: 'ringfence.sidecar', kind: 2 },
  ...{ startMicros: 1, endMicros: 2, attributes: [], failed: false },
}

interface Reply {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: Buffer
}

async function collector(t: TestContext, replies: Reply[]) {
  const sockets = new Set<Socket>()
  const asked: number[] = []
  const server = createServer((request, response) => {
    sockets.add(request.socket)
    asked.push(performance.now())
    request.resume().on('end', () => {
      const { status, headers = {}, body = Buffer.alloc(0) } = replies.shift() ?? { status: 200 }
      response.writeHead(status, { 'content-type': 'application/x-protobuf', ...headers }).end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { sockets, asked, endpoint }
}

async function opened(endpoint: string, env: Record<string, string> = {}) {
  const lines: string[] = []
  const log = createLogger('traces', { write: (line: string) => void lines.push(line) })
  const traces = await openTraces({
    config: { endpoint, ratio: 0 },
    role: 'sidecar',
    name: 's',
    version: '1',
    log,
    env,
  })
  return { traces, lines }
}

function figure({ queue }: Traces, name: string, cause?: string): number {
  const family: Family | undefined = queue.families().find((each) => each.name === name)
  assert.ok(family !== undefined && family.type !== 'histogram', name)
  return family.samples.find(({ labels }) => cause === undefined || labels.cause === cause)?.value ?? 0
}

async function until(what: () => boolean): Promise<void> {
  const ends = performance.now() + 30_000
  while (!what()) {
    assert.ok(performance.now() < ends, 'it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const taken = (traces: Traces): number => figure(traces, 'ringfence_trace_spans')
const refused = (traces: Traces): number => figure(traces, 'ringfence_trace_spans_dropped', 'refused')

describe('a collector', () => {
  it('is sent part after part by one connection', async (t) => {
    const { sockets, asked, endpoint } = await collector(t, [])
    const { traces } = await opened(endpoint)
    for (let n = 0; n < 1_000; n++) traces.queue.add(span)
    await until(() => taken(traces) === 1_000)
    assert.ok(asked.length > 1)
    assert.equal(sockets.size, 1)
    await traces.queue.close(10)
  })

  it('that took a part of what it was sent is believed', async (t) => {
    // partial_success { rejected_spans: 3, error_message: "no" }
    const body = Buffer.from([0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, 0x6e, 0x6f])
    const { endpoint } = await collector(t, [
      { status: 200, body },
      { status: 200, body: Buffer.from('what?') },
    ])
    const { traces, lines } = await opened(endpoint)
    for (let n = 0; n < 10; n++) traces.queue.add(span)
    await until(() => taken(traces) === 7)
    assert.equal(refused(traces), 3)
    assert.match(lines.join(''), /it refused some/)
    for (let n = 0; n < 10; n++) traces.queue.add(span)
    await until(() => taken(traces) === 17)
    await traces.queue.close(10)
  })

  it('that says when it is to be asked again is not asked before', async (t) => {
    const { asked, endpoint } = await collector(t, [{ status: 429, headers: { 'retry-after': '2' } }])
    const { traces } = await opened(endpoint)
    for (let n = 0; n < 300; n++) traces.queue.add(span)
    await until(() => taken(traces) === 300)
    assert.ok(asked[1]! - asked[0]! > 1_900, String(asked[1]! - asked[0]!))
    await traces.queue.close(10)
  })

  it('is not sent what cannot be written, and later spans are', async (t) => {
    const { endpoint } = await collector(t, [])
    const { traces, lines } = await opened(endpoint)
    traces.queue.add({ ...span, startMicros: Number.NaN })
    await until(() => refused(traces) === 1)
    assert.match(lines.join(''), /cannot be written: RangeError/)
    traces.queue.add(span)
    await until(() => taken(traces) === 1)
    await traces.queue.close(10)
  })

  it('that is away is named by the code of the fault', async () => {
    const { traces, lines } = await opened('http://127.0.0.1:1')
    traces.queue.add(span)
    await until(() => lines.length > 0)
    assert.equal((JSON.parse(lines[0]!) as { reason: string }).reason, 'ECONNREFUSED')
    await traces.queue.close(10)
  })
})

describe('headers for a collector', () => {
  it('are refused at the start where they are none, and not quoted', async () => {
    for (const bad of [
      'authorization: Bearer s3cret',
      's3cret',
      '=s3cret',
      'a b=s3cret',
      'x=s3cret%0d%0ay: z',
      'x=s3cret%e2%98%83',
    ]) {
      await assert.rejects(opened('http://127.0.0.1:1', { OTEL_EXPORTER_OTLP_HEADERS: bad }), (reason: Error) => {
        assert.match(reason.message, /OTEL_EXPORTER_OTLP_HEADERS/)
        return !reason.message.includes('s3cret')
      })
    }
    await opened('http://127.0.0.1:1', { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x, x-team=a=b,' })
  })
})
