/**
 * Traces from a client to the record: a client, a gateway, a sidecar, and a receiver of OTLP that reads what comes with the published
 * classes. Who is traced, who is not, and what of it stands in the record and in errors.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, it, describe as suite } from 'node:test'
import { Traced } from '../../src/audit/traced.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode } from '../../src/cql/protocol.ts'
import { readError, readPrepared } from '../../src/cql/responses.ts'
import { openTraces } from '../../src/mesh/traces.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import type { Sampling, Traces } from '../../src/telemetry/traces/traces.ts'
import { pythonEnvironment } from '../e2e/drivers/toolchain.ts'
import { describe, type RawClient } from './client.ts'
import { withPayload } from './txn-tokens.ts'
import { type RunningSidecar, until, World } from './world.ts'

interface ReadSpan {
  readonly resource: Record<string, unknown>
  readonly schema: string
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string
  readonly name: string
  readonly kind: number
  readonly start: number
  readonly end: number
  readonly flags: number
  readonly status: number
  readonly attributes: Record<string, unknown>
  readonly links: readonly (readonly [string, string])[]
  readonly unknown: readonly number[]
}

const here = join(import.meta.dirname, 'traces')
const select = 'SELECT v FROM shop.items WHERE k = ?'
const v4 = 4
const client = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' }
const header = (flags: string, { traceId, spanId } = client): string => `00-${traceId}-${spanId}-${flags}`

/** Reads what a collector is sent. */
class Receiver {
  readonly spans: ReadSpan[] = []
  readonly names = new Set<string>()
  readonly deprecated = new Set<string>()
  readonly headers: Record<string, unknown>[] = []
  status = 200
  readonly #server: Server
  readonly #reader: ChildProcess

  constructor(python: string) {
    this.#reader = spawn(python, [join(here, 'read.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: this.#reader.stdout! })
    let isFirst = true
    lines.on('line', (line) => {
      if (!isFirst) {
        this.spans.push(...(JSON.parse(line) as ReadSpan[]))
        return
      }
      isFirst = false
      const said = JSON.parse(line) as { names: string[]; deprecated: string[] }
      for (const name of said.names) this.names.add(name)
      for (const name of said.deprecated) this.deprecated.add(name)
    })
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.headers.push({ ...request.headers, url: request.url })
        if (this.status === 200) this.#reader.stdin!.write(`${Buffer.concat(chunks).toString('base64')}\n`)
        response.writeHead(this.status, { 'content-type': 'application/x-protobuf' }).end()
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async of(traceId: string, count: number): Promise<ReadSpan[]> {
    const found = (): ReadSpan[] => this.spans.filter((span) => span.traceId === traceId)
    await until(`${count} spans of ${traceId}`, () => found().length >= count)
    assert.equal(found().length, count)
    return found()
  }

  stop(): void {
    this.#reader.stdin!.end()
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

let world: World
let receiver: Receiver

before(async () => {
  const python = await pythonEnvironment('python-otlp', join(here, 'requirements.txt'))
  assert.ok(!('absent' in python), JSON.stringify(python))
  receiver = new Receiver(join(python.dir, 'bin', 'python'))
  await receiver.start()
  world = await World.make()
})
after(async () => {
  await world.close()
  receiver.stop()
})

async function tracesOf(role: 'gateway' | 'sidecar', sampling: Sampling): Promise<Traces> {
  const log = createLogger('traces', { write() {} })
  const config = { endpoint: receiver.endpoint, ...sampling }
  const env = { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20of-a-test' }
  return await openTraces({ config, role, name: `${role}1`, version: '1.2.3', log, env })
}

async function sidecarWith(name: string, sampling: Sampling, audit = {}): Promise<RunningSidecar> {
  const node = await world.node()
  const traces = await tracesOf('sidecar', sampling)
  const spans = new Traced(traces.queue, { address: '127.0.0.1', port: node.port })
  return await world.sidecar({ name, node, traces, audit, more: { consumers: [spans] } })
}

const rowOf = ({ records }: RunningSidecar, traceId: string) => records().filter((record) => record.traceId === traceId)

/** Gateway, sidecar and node, each the parent of the next. */
function chainOf(spans: readonly ReadSpan[]): readonly [ReadSpan, ReadSpan, ReadSpan] {
  const [gateway, sidecar, node] = ['ringfence.gateway', 'ringfence.sidecar', undefined].map((name) =>
    spans.find((span) => (name === undefined ? span.kind === 3 : span.name === name)),
  )
  assert.ok(gateway && sidecar && node, JSON.stringify(spans.map(({ name }) => name)))
  assert.equal(sidecar.parentId, gateway.spanId)
  assert.equal(node.parentId, sidecar.spanId)
  for (const span of spans) {
    assert.ok(span.start <= span.end, span.name)
    assert.deepEqual([span.unknown, span.flags], [[], 1])
  }
  assert.ok(sidecar.start <= node.start && node.end <= sidecar.end)
  return [gateway, sidecar, node]
}

suite('a statement through a gateway', () => {
  let sidecar: RunningSidecar
  let alice: RawClient
  let id: Buffer

  before(async () => {
    sidecar = await sidecarWith('followed', { ratio: 0 })
    const gateway = await world.gateway([sidecar], {
      traces: await tracesOf('gateway', { ratio: 0, clients: 'follow' }),
    })
    alice = await world.client(gateway.port, 'alice', { version: v4 })
    id = readPrepared(wholeEnvelope(await alice.ask(prepareEnvelope(v4, 1, select))), v4).id
  })

  const execute = (...entries: (readonly [string, string])[]) => {
    const envelope = executeEnvelope(v4, 2, id, undefined, [Buffer.from('secret-value')])
    return alice.ask(entries.length === 0 ? envelope : withPayload(envelope, entries))
  }

  it('is followed from the trace of its client to the record', async () => {
    await execute()
    await execute(['traceparent', header('01')], ['tracestate', 'vendor=1'])
    const spans = await receiver.of(client.traceId, 3)
    const [atGateway, atSidecar, atNode] = chainOf(spans)
    assert.equal(atGateway.parentId, client.spanId)
    assert.equal(atGateway.resource['service.name'], 'ringfence-gateway')
    assert.equal(atSidecar.resource['service.name'], 'ringfence-sidecar')
    assert.equal(atSidecar.resource['service.version'], '1.2.3')
    const [line, ...more] = rowOf(sidecar, client.traceId)
    assert.deepEqual([line?.spanId, line?.operation, more.length], [atSidecar.spanId, 'SELECT', 0])
    for (const [name, value] of [
      ['db.system.name', 'cassandra'],
      ['db.namespace', 'shop'],
      ['db.collection.name', 'items'],
      ['db.operation.name', 'SELECT'],
      ['db.query.summary', 'SELECT shop.items'],
      ['db.query.text', select],
      ['server.address', '127.0.0.1'],
    ] as const)
      assert.equal(atNode.attributes[name], value)
    assert.equal(atNode.name, 'SELECT shop.items')
    assert.deepEqual(
      [atSidecar.attributes['ringfence.policy.decision'], atSidecar.attributes['security_rule.name']],
      ['allow', 'alice-shop'],
    )
    assert.equal(atSidecar.attributes['ringfence.peer.spiffe_id'], 'spiffe://demo.local/svc/alice')
    // Nothing of it goes to the node, and no value to the collector.
    assert.ok(sidecar.node.requests.every(({ flags }) => (flags & 4) === 0))
    assert.ok(!JSON.stringify(receiver.spans).includes('secret-value'))
    assert.equal(receiver.headers[0]?.url, '/v1/traces')
    assert.equal(receiver.headers[0]?.authorization, 'Bearer of-a-test')
  })

  it('is not traced where nobody asks for it, nor by what is no trace context', async () => {
    const bad = [
      header('00'),
      header('01').toUpperCase(),
      header('01').slice(1),
      `${header('01')}-more`,
      header('01').replace('00-', 'ff-'),
      header('01', { traceId: '0'.repeat(32), spanId: client.spanId }),
      header('01', { traceId: client.traceId, spanId: '0'.repeat(16) }),
      header('01').replaceAll('-', '_'),
      '',
    ]
    const before = receiver.spans.length
    for (const text of bad) await execute(['traceparent', text])
    await execute()
    const last = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }
    // Of a later version what we know of it counts.
    await execute(['traceparent', `${header('03', last).replace('00-', '01-')}-what-comes-later`])
    await receiver.of(last.traceId, 3)
    assert.equal(receiver.spans.length, before + 3)
  })

  it('has attributes by the published names, and none that is deprecated', () => {
    assert.ok(receiver.names.size > 500)
    const used = new Set(
      receiver.spans.flatMap(({ attributes, resource }) => Object.keys({ ...attributes, ...resource })),
    )
    const ours = [...used].filter((name) => !name.startsWith('ringfence.'))
    assert.deepEqual(
      ours.filter((name) => !receiver.names.has(name)),
      [],
    )
    assert.deepEqual(
      ours.filter((name) => receiver.deprecated.has(name)),
      [],
    )
  })
})

suite('a trace that the mesh begins', () => {
  it('begins at the gateway, whose sidecar chooses none of its own', async () => {
    const sidecar = await sidecarWith('begun', { ratio: 1 })
    const gateway = await world.gateway([sidecar], { name: 'begun', traces: await tracesOf('gateway', { ratio: 1 }) })
    const plain = await world.gateway([sidecar], { name: 'plain' })
    const raw = await world.client(plain.port, 'alice', { version: v4 })
    const asked0 = queryEnvelope(v4, 1, 'SELECT v FROM shop.items')
    await raw.ask(asked0)
    // A gateway that traces nothing lets nobody else choose either.
    await raw.ask(withPayload(asked0, [['traceparent', header('01')]]))
    assert.deepEqual(
      sidecar.records().filter(({ traceId }) => traceId !== undefined),
      [],
    )
    const alice = await world.client(gateway.port, 'alice', { version: v4 })
    const prepared = await alice.ask(prepareEnvelope(v4, 1, select))
    const { id } = readPrepared(wholeEnvelope(prepared), v4)
    const asked = [
      executeEnvelope(v4, 2, id, undefined, [Buffer.from('x')]),
      withPayload(executeEnvelope(v4, 3, id, undefined, [Buffer.from('x')]), [['other', 'entry']]),
      queryEnvelope(v4, 4, 'SELECT v FROM shop.items'),
    ]
    for (const envelope of asked) assert.ok(describe(await alice.ask(envelope)) !== '', 'it is answered')
    const traced = sidecar.records().filter(({ traceId }) => traceId !== undefined)
    assert.deepEqual(
      traced.map(({ request }) => request),
      ['PREPARE', 'EXECUTE', 'EXECUTE', 'QUERY'],
    )
    for (const { traceId } of traced) {
      const [atGateway] = chainOf(await receiver.of(String(traceId), 3))
      assert.equal(atGateway.parentId, '')
    }
  })

  it('begins at the sidecar for a driver that comes to it itself, in protocol 3 too', async () => {
    const sidecar = await sidecarWith('direct', { ratio: 1 })
    for (const version of [3, 4, 5] as const) {
      const alice = await world.client(sidecar.port, 'alice', { version })
      await alice.ask(queryEnvelope(version, 1, 'SELECT v FROM shop.items'))
    }
    const traced = sidecar.records().filter(({ operation }) => operation === 'SELECT')
    assert.equal(traced.length, 3)
    for (const { traceId } of traced) {
      const spans = await receiver.of(String(traceId), 2)
      assert.deepEqual(
        spans.map(({ name, parentId }) => [name, parentId === '']),
        [
          ['ringfence.sidecar', true],
          ['SELECT shop.items', false],
        ],
      )
    }
  })
})

suite('a client that records each of its requests in a trace of its own', () => {
  const select0 = queryEnvelope(v4, 1, 'SELECT v FROM shop.items')
  const theirs = { traceId: 'e'.repeat(32), spanId: 'f'.repeat(16) }
  const sampled = withPayload(select0, [['traceparent', header('01', theirs)]])

  for (const clients of [undefined, 'ignore'] as const) {
    const mode = clients === undefined ? {} : { clients }
    it(`chooses nothing by itself (${clients ?? 'link'})`, async () => {
      const name = `chosen-${clients}`
      const sidecar = await sidecarWith(name, { ratio: 0, ...mode })
      const gateway = await world.gateway([sidecar], { name, traces: await tracesOf('gateway', { ratio: 0, ...mode }) })
      const before = receiver.spans.length
      for (const port of [gateway.port, sidecar.port]) {
        const alice = await world.client(port, 'alice', { version: v4 })
        for (let n = 0; n < 20; n++) assert.match(describe(await alice.ask(sampled)), /^echo/)
      }
      assert.deepEqual(
        sidecar.records().filter(({ traceId }) => traceId !== undefined),
        [],
      )
      assert.equal(receiver.spans.length, before)
    })

    it(`has a trace of ours where we choose it (${clients ?? 'link'})`, async () => {
      const name = `ours-${clients}`
      const sidecar = await sidecarWith(name, { ratio: 1, ...mode })
      const gateway = await world.gateway([sidecar], { name, traces: await tracesOf('gateway', { ratio: 1, ...mode }) })
      for (const [port, count] of [
        [gateway.port, 3],
        [sidecar.port, 2],
      ] as const) {
        const alice = await world.client(port, 'alice', { version: v4 })
        await alice.ask(sampled)
        const ours = String(sidecar.records().at(-1)?.traceId)
        assert.match(ours, /^[0-9a-f]{32}$/)
        assert.notEqual(ours, theirs.traceId)
        const spans = await receiver.of(ours, count)
        const first = spans.find(({ parentId }) => parentId === '')
        assert.deepEqual(first?.links, clients === 'ignore' ? [] : [[theirs.traceId, theirs.spanId]])
        assert.ok(spans.every((span) => span === first || span.links.length === 0))
      }
    })
  }

  it('is traced as often as one identity may be, where the operator lets it', async () => {
    const sidecar = await sidecarWith('flooded', { ratio: 0, clients: 'follow' })
    const alice = await world.client(sidecar.port, 'alice', { version: v4 })
    const began = performance.now()
    for (let n = 0; n < 1_000; n++) await alice.ask(sampled)
    const seconds = (performance.now() - began) / 1_000
    const traced = sidecar.records().filter(({ traceId }) => traceId === theirs.traceId).length
    // 200 at once and 100 each second.
    assert.ok(traced >= 200 && traced <= 201 + 100 * seconds, `${traced} in ${seconds} s`)
  })
})

suite('what is traced always', () => {
  for (const format of ['lines', 'sealed'] as const) {
    it(`is a refusal, whose client is told the trace that its record (${format}) has`, async () => {
      const theirs = (format === 'lines' ? 'c' : 'd').repeat(32)
      const sampling = { ratio: 0, denied: true, clients: 'follow' } as const
      const sidecar = await sidecarWith(`refused-${format}`, sampling, { format })
      const bob = await world.client(sidecar.port, 'bob', { version: v4 })
      await bob.ask(queryEnvelope(v4, 1, 'SELECT v FROM shop.items'))
      const write = queryEnvelope(v4, 2, "INSERT INTO shop.items (k) VALUES ('secret')")
      const asked = [write, withPayload(write, [['traceparent', header('00', { ...client, traceId: theirs })]])]
      const told: string[] = []
      for (const envelope of asked) {
        const { code, message } = readError(wholeEnvelope(await bob.ask(envelope)))
        assert.equal(code, CqlErrorCode.UNAUTHORIZED)
        const [, traceId] = / \(trace ([0-9a-f]{32})\)$/.exec(message) ?? []
        told.push(traceId ?? message)
      }
      // Whoever asks without recording it has it under its own.
      assert.equal(told[1], theirs)
      const recorded = (): unknown[] =>
        sidecar.records().flatMap(({ traceId }) => (traceId === undefined ? [] : [traceId]))
      await until('the record has both', () => recorded().length === 2)
      assert.deepEqual(recorded(), told)
      for (const traceId of told) {
        const [span] = await receiver.of(traceId, 1)
        assert.deepEqual([span?.name, span?.status], ['ringfence.sidecar', 2])
        const {
          'ringfence.policy.decision': decision,
          'error.type': type,
          'db.query.text': text,
        } = span?.attributes ?? {}
        assert.deepEqual([decision, type, text], ['deny', '8448', 'INSERT INTO shop.items(k) VALUES (?)'])
      }
    })
  }

  it('is what was refused before it was judged: an id that is not known, a text that is not understood', async () => {
    const sidecar = await sidecarWith('unjudged', { ratio: 0, denied: true })
    const alice = await world.client(sidecar.port, 'alice', { version: v4 })
    const unknown = executeEnvelope(v4, 2, Buffer.alloc(16, 9), undefined, [Buffer.from('x')])
    const { code, message } = readError(wholeEnvelope(await alice.ask(unknown)))
    assert.equal(code, CqlErrorCode.UNPREPARED)
    const [, traceId] = / \(trace ([0-9a-f]{32})\)$/.exec(message) ?? []
    assert.ok(traceId !== undefined, message)
    const [line, ...more] = rowOf(sidecar, traceId)
    assert.deepEqual([line?.rule, more.length], ['unknown-prepared-id', 0])
    // One that is not understood is traced too, though its error does not say so.
    await alice.ask(queryEnvelope(v4, 3, 'SELECT FROM WHERE'))
    const traced = sidecar.records().at(-1)?.traceId
    const [span] = await receiver.of(String(traced), 1)
    assert.equal(span?.status, 2)
  })

  it('is a request for which the node took long, and its error names the trace', async () => {
    const sidecar = await sidecarWith('slow', { ratio: 0, slowMs: 50 })
    const alice = await world.client(sidecar.port, 'alice', { version: v4 })
    let late = 0
    const error = errorEnvelope(v4, 0, CqlErrorCode.SERVER_ERROR, 'too late')
    sidecar.node.intercept = (request) => {
      if (!request.text.includes('slowly')) return false
      late++
      setTimeout(() => (late === 1 ? request.answer() : request.reply(error)), 200)
      return true
    }
    await alice.ask(queryEnvelope(v4, 1, 'SELECT v FROM shop.slowly'))
    const { message } = readError(wholeEnvelope(await alice.ask(queryEnvelope(v4, 1, 'SELECT v FROM shop.slowly'))))
    const slow = sidecar.records().filter(({ table }) => table === 'slowly')
    assert.equal(slow.length, 2)
    assert.equal(message, `too late (trace ${slow[1]?.traceId})`)
    for (const { traceId } of slow) {
      const node = (await receiver.of(String(traceId), 2)).find(({ kind }) => kind === 3)
      assert.ok(node !== undefined && node.end - node.start >= 50e6)
    }
  })
})

suite('a collector that is away', () => {
  it('costs spans, which are counted, and no request', async () => {
    const sidecar = await sidecarWith('away', { ratio: 1 })
    receiver.status = 503
    const alice = await world.client(sidecar.port, 'alice', { version: v4 })
    for (let n = 0; n < 20; n++) {
      const answer = await alice.ask(queryEnvelope(v4, 1, 'SELECT v FROM shop.items'))
      assert.match(describe(answer), /^echo/)
    }
    const asked = receiver.headers.length
    await until('it was asked', () => receiver.headers.length > asked || receiver.headers.length > 0)
    receiver.status = 200
    const traceId = String(sidecar.records().at(-1)?.traceId)
    // What waited is sent when it is back.
    await receiver.of(traceId, 2)
  })
})
