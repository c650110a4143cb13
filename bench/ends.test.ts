/** The two ends of the bench against each other: a figure is worth something only if these are right. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'cassandra-driver'
import { pino } from 'pino'
import { systemClock } from '../src/base/clock.ts'
import { CertificateAuthority } from '../src/control/ca.ts'
import { wholeEnvelope } from '../src/cql/envelope.ts'
import { readPrepared } from '../src/cql/responses.ts'
import { parseSpiffeId } from '../src/identity/spiffe.ts'
import { readControl, ringSchema } from '../src/link/protocol.ts'
import { credentialsOf } from '../src/mesh/credentials.ts'
import { Turn } from '../src/session/turn.ts'
import { NodeMonitor } from '../src/sidecar/node.ts'
import { until } from '../test/path/world.ts'
import { makeCredentials } from './certificates.ts'
import { defaultStatement, largeStatement } from './load.ts'
import { runLoad } from './load-process.ts'
import { largeRowBytes } from './loads.ts'
import { Phrases } from './phrases.ts'
import { cpuSeconds, residentBytes, start, stopAll } from './processes.ts'
import { type BenchContext, startStub } from './systems/system.ts'
import { envelope, WireReader, WireWriter } from './wire.ts'

describe('load maker and stub', () => {
  let context: BenchContext
  const plan = { host: '127.0.0.1', connections: 2, inFlight: 8, seconds: 0.2, warmupSeconds: 0.1 } as const

  before(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ringfence-bench-test-'))
    const credentials = await makeCredentials(join(directory, 'tls'))
    context = { directory, credentials, workers: 1, rowBytes: 10_000 }
  })
  after(async () => {
    await stopAll()
    rmSync(context.directory, { recursive: true })
  })

  it('exchange requests without an error, in v4 and v5, plain and with mTLS', async () => {
    const plain = await startStub(context, 'plain', undefined)
    const secure = await startStub(context, 'secure', context.credentials)
    for (const protocol of [4, 5] as const) {
      for (const reach of [{ port: plain }, { port: secure, tls: context.credentials }]) {
        const { result } = await runLoad({ ...plan, ...reach, protocol }, [])
        assert.ok(result.requests > 100, `${result.requests} requests`)
        assert.equal(result.errors, 0)
        assert.ok(result.p50Ms > 0 && result.p50Ms <= result.p99Ms && result.p99Ms <= result.p999Ms)
      }
    }
  })

  it('end with an error where a client is let in and never answered', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    try {
      await assert.rejects(runLoad({ ...plan, port, openTimeoutMs: 50 }, []), /not ready after 50 ms/)
    } finally {
      silent.close()
    }
  })

  it('exchange large rows where the statement asks for them', async () => {
    const port = await startStub({ ...context, rowBytes: 1 }, 'large', undefined)
    const client = new Client({ contactPoints: [`127.0.0.1:${port}`], localDataCenter: 'dc1' })
    const bytesOf = async (statement: string): Promise<number> =>
      (await client.execute(statement, ['k'], { prepare: true })).first().get('v').length
    assert.equal(await bytesOf(defaultStatement), 1)
    assert.equal(await bytesOf(largeStatement), largeRowBytes)
    await client.shutdown()
  })

  it('serve a real driver its prepared SELECT and INSERT', async () => {
    const port = await startStub(context, 'driver', undefined)
    const { result } = await runLoad({ ...plan, port }, [], 'driver')
    assert.ok(result.requests > 50, `${result.requests} requests`)
    assert.equal(result.errors, 0)
  })

  it('agree on the bound values of a statement and on the one that is its partition key', () => {
    for (const [text, names, pkIndexes] of [
      [defaultStatement, ['k'], [0]],
      ['INSERT INTO bench.rows (k, v) VALUES (?, ?)', ['k', 'v'], [0]],
      ['INSERT INTO bench.rows (v, k) VALUES (?, ?)', ['v', 'k'], [1]],
    ] as const) {
      const answer = new Phrases(4, 1).prepared(text)
      const { bind } = readPrepared(wholeEnvelope(answer), 4)
      assert.deepEqual([bind.columns.map(({ name }) => name), bind.pkIndexes], [names, pkIndexes], text)
    }
  })

  it('do not reach each other without a certificate', async () => {
    const port = await startStub(context, 'locked', context.credentials)
    await assert.rejects(runLoad({ ...plan, port }, []), /the load maker ended/)
  })

  it('are a node and its ring, as far as a sidecar asks', async () => {
    const ca = await CertificateAuthority.open(join(context.directory, 'ca'), 'bench.local', systemClock)
    const mint = async (path: string) =>
      await ca.mint({ spiffeId: parseSpiffeId(`spiffe://bench.local/${path}`), ttlMs: 60_000 })
    const file = (name: string, text: string): string => {
      const path = join(context.directory, name)
      writeFileSync(path, text)
      return path
    }
    const node = await mint('cassandra/stub')
    const port = await startStub(context, 'node', {
      cert: file('node.pem', node.certificatePem),
      key: file('node.key', node.keyPem),
      ca: file('bundle.pem', ca.bundlePem),
    })
    const own = await mint('ringfence/sidecar/bench/dc1/node1')
    const monitor = new NodeMonitor(
      {
        name: 'node1',
        target: { address: '127.0.0.1', port, spiffeId: undefined },
        turn: new Turn(),
        log: pino({ level: 'silent' }),
        inForce: () => false,
        onEvent() {},
        onChange() {},
      },
      credentialsOf(own.certificatePem, own.keyPem, ca.bundlePem),
    )
    monitor.start()
    try {
      await until('the ring', () => monitor.hello.ring !== '')
      assert.equal(monitor.hello.ready, true)
      const envelope = monitor.ring.answer.envelope(1)
      const { nodes, keyspaces } = readControl(ringSchema, envelope)
      assert.deepEqual(
        nodes.map(({ hostId, tokens }) => [hostId, tokens.length]),
        [[monitor.hello.hostId, 16]],
      )
      assert.deepEqual(
        keyspaces.map(({ name }) => name),
        ['bench'],
      )
    } finally {
      monitor.stop()
    }
  })

  it('count the CPU of a process and of its children', () => {
    const from = cpuSeconds([process.pid])
    // Not 100 ms by the clock: on a busy machine they hold less of a processor.
    for (const before = process.cpuUsage(); process.cpuUsage(before).user < 100_000; );
    assert.ok(cpuSeconds([process.pid]) - from >= 0.05)
    assert.equal(cpuSeconds([]), 0)
  })
})

describe('the wire of the bench', () => {
  const bodies = [0, 1, 300, 40_000].map((bytes) => envelope(5, 7, Buffer.alloc(bytes, bytes)))

  for (const segmented of [false, true]) {
    it(`delivers whole envelopes wherever the stream is cut, ${segmented ? 'in segments' : 'bare'}`, () => {
      const sent: Buffer[] = []
      const writer = new WireWriter({ write: (chunk: Buffer) => sent.push(Buffer.from(chunk)) } as unknown as Socket)
      writer.segmented = segmented
      for (const [stream, body] of bodies.entries()) writer.write(body, stream)
      writer.flush()
      const bytes = Buffer.concat(sent)
      for (const cut of [1, 5, 8, 9, 10, 17, 400, bytes.length - 1]) {
        const got: Buffer[] = []
        const reader = new WireReader((buf, start, end) => got.push(Buffer.from(buf.subarray(start, end))))
        reader.segmented = segmented
        reader.feed(bytes.subarray(0, cut))
        reader.feed(bytes.subarray(cut))
        assert.deepEqual(
          got.map((each) => [each.readInt16BE(2), each.length]),
          bodies.map((each, stream) => [stream, each.length]),
        )
      }
    })
  }

  it('sends a long envelope in pieces, as the socket takes them, and what comes behind it after it', () => {
    const sent: Buffer[] = []
    let drained: (() => void) | undefined
    const socket = {
      write: (chunk: Buffer) => {
        sent.push(Buffer.from(chunk))
        return chunk.length < 100_000
      },
      once: (_: 'drain', listener: () => void) => {
        drained = listener
      },
    }
    const writer = new WireWriter(socket as unknown as Socket)
    const long = [20, 1_300_000, 1_048_576, 40, 524_288 - 9].map((bytes) => envelope(4, 7, Buffer.alloc(bytes, 3)))
    for (const [stream, each] of long.entries()) {
      writer.write(each, stream)
      writer.flush()
    }
    let turns = 0
    for (let next = drained; next !== undefined; next = drained, turns++) {
      drained = undefined
      next()
    }
    assert.ok(turns >= 5 && sent.every(({ length }) => length <= 524_288), `${turns} turns`)
    const bytes = Buffer.concat(sent)
    const got: Buffer[] = []
    new WireReader((buf, start, end) => got.push(Buffer.from(buf.subarray(start, end)))).feed(bytes)
    for (const [stream, each] of long.entries()) each.writeInt16BE(stream, 2)
    assert.deepEqual(got, long)
  })
})

describe('resident memory', () => {
  it('counts a process and its children', async () => {
    const own = process.memoryUsage().rss
    assert.ok(Math.abs(residentBytes([process.pid]) - own) < own / 2)
    const child = start('/dev/null', process.execPath, ['-e', 'setTimeout(() => {}, 10_000)'])
    await sleep(300)
    const of = residentBytes([child.pid!])
    assert.ok(of > 20e6)
    assert.ok(residentBytes([process.pid]) > own / 2 + of)
    await stopAll()
    assert.equal(residentBytes([child.pid!]), 0)
  })
})
