/** What one client connection may have in flight, the way to the node can carry; and a record says what stopped a request. */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BytesBudget, budgetBounds } from '../../src/base/bytes-budget.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import { limits } from '../../src/base/limits.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readError } from '../../src/cql/responses.ts'
import { ruleOfFault } from '../../src/sidecar/ending.ts'
import { spareStreamsPerIdentityMax } from '../../src/sidecar/pool.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import type { FakeTable } from './fake-schema.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

const text = 'SELECT v FROM shop.items WHERE k = 1'
const streams = limits.streamsInFlightMax

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

/** Keeps what comes, to be answered later. */
function hold({ node }: RunningSidecar): NodeRequest[] {
  const held: NodeRequest[] = []
  node.intercept = (request) => {
    held.push(request)
    return true
  }
  return held
}

function askMany(client: RawClient, count: number): Promise<Buffer[]> {
  return Promise.all(Array.from({ length: count }, (_, stream) => client.ask(queryEnvelope(4, stream, text))))
}

suite('requests in flight', () => {
  it('are as many as the protocol lets one client have, over one connection to the node', async () => {
    const forDave = usualPolicy.replace('svc/bob }', 'svc/bob }, { spiffeId: spiffe://demo.local/svc/dave }')
    const running = await world.sidecar({ connections: 1, policy: forDave })
    let othersAnswered = 0
    const [client, other] = [await world.client(running.port, 'alice'), await world.client(running.port, 'bob')]
    const held = hold(running)
    let answered = 0
    for (let stream = 0; stream < streams; stream++) {
      void client.ask(queryEnvelope(4, stream, text), 60_000).then((answer) => {
        assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
        answered++
      })
    }
    await until('all of them are at the node', () => held.length === streams, 60_000)
    // There is no room for more of it now, and it is told why; another identity has a connection more.
    const more = await world.client(running.port, 'alice')
    for (const answer of await askMany(more, 3)) {
      const { code, message } = readError(wholeEnvelope(answer))
      assert.deepEqual([code, message], [CqlErrorCode.OVERLOADED, 'upstreamStreamsMax reached'])
    }
    for (let stream = 0; stream < spareStreamsPerIdentityMax; stream++)
      void other.ask(queryEnvelope(4, stream, text), 60_000).then(() => othersAnswered++)
    await until('those of another are at the node', () => held.length === streams + spareStreamsPerIdentityMax, 60_000)
    const third = await world.client(running.port, 'dave')
    void third.ask(queryEnvelope(4, 0, text), 60_000).then(() => othersAnswered++)
    await until('that of a third as well', () => held.length === streams + spareStreamsPerIdentityMax + 1, 60_000)
    assert.equal(new Set(held.map(({ connection }) => connection)).size, 2)
    running.node.intercept = undefined
    for (const request of held.splice(0)) request.answer()
    await until('all of them are answered', () => answered === streams, 60_000)
    await until('those of others', () => othersAnswered === spareStreamsPerIdentityMax + 1)
    for (const client of [more, other, third])
      for (const answer of await askMany(client, 3)) assert.equal(headerOpcode(answer, 0), Opcode.RESULT)
    const refused = running.records().filter(({ verdict }) => verdict === 'deny')
    assert.deepEqual(
      refused.map(({ rule }) => rule),
      ['overloaded', 'overloaded', 'overloaded'],
    )
    for (const each of [client, more, other, third]) each.close()
  })

  it('go to another connection of the pool when the one is full, which is opened for them', async () => {
    const running = await world.sidecar({ name: 'two', connections: 2 })
    const [client, other] = [await world.client(running.port, 'alice'), await world.client(running.port, 'bob')]
    const held = hold(running)
    let answered = 0
    for (let stream = 0; stream < streams; stream++) {
      void client.ask(queryEnvelope(4, stream, text), 60_000).then(() => answered++)
    }
    await until('all of them are at the node', () => held.length === streams, 60_000)
    running.node.intercept = undefined
    for (const answer of await askMany(other, 50))
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
    for (const request of held.splice(0)) request.answer()
    await until('all of them are answered', () => answered === streams, 60_000)
    assert.ok(running.records().every(({ verdict }) => verdict !== 'deny'))
    client.close()
    other.close()
  })
})

/** What makes the requests of a burst wait in the sidecar, by what happens before them or in their midst. */
const waits: readonly { what: string; count: number; before?: Happens; during?: Happens }[] = [
  {
    what: 'a USE in flight',
    count: streams - 1,
    before: ({ client }) => client.send(queryEnvelope(4, streams - 1, 'USE shop')),
  },
  {
    what: 'a USE that was answered, so that its connection to the node is new',
    count: 8192,
    before: async ({ client }) =>
      assert.match(describe(await client.ask(queryEnvelope(4, 1, 'USE play'))), /^result 3/),
  },
  {
    what: 'a connection to the node that was lost',
    count: 8192,
    before: async ({ running }) => {
      for (const { socket, registered } of running.node.connections) if (registered.length === 0) socket.destroy()
      await sleep(50)
    },
  },
  { what: 'another table that was added', count: 8192, during: ({ running }) => running.node.migrate(table('added')) },
  { what: 'the table that was changed', count: 8192, during: ({ running }) => running.node.migrate(table('items')) },
  {
    what: 'a policy that was applied',
    count: 8192,
    during: ({ running }) => running.feed.apply(`${usualPolicy}# again\n`),
  },
]

type Happens = (what: { client: RawClient; running: RunningSidecar }) => void | Promise<void>

const table = (name: string): FakeTable => ({
  keyspace: 'shop',
  name,
  partitionKey: { k: 'text' },
  regulars: { v: 'text' },
})

suite('what one client may have in flight may wait as well', () => {
  for (const door of ['sidecar', 'gateway'] as const) {
    for (const { what, count, before: first, during } of waits) {
      it(`none is refused behind ${what}, by a ${door}`, async () => {
        const running = await world.sidecar({ name: 'burst' })
        const port = door === 'sidecar' ? running.port : (await world.gateway([running])).port
        const client = await world.client(port, 'alice')
        // The burst is about a row, so that it waits for nothing but that.
        assert.match(describe(await client.ask(queryEnvelope(4, 0, text))), /^echo/)
        await first?.({ client, running })
        const burst = Array.from({ length: count }, (_, stream) => client.ask(queryEnvelope(4, stream, text), 60_000))
        if (during !== undefined) setImmediate(() => void during({ client, running }))
        const answers = new Map<string, number>()
        for (const answer of await Promise.all(burst)) {
          const said = describe(answer)
          answers.set(said, (answers.get(said) ?? 0) + 1)
        }
        assert.deepEqual([...answers], [[`echo: ${text}`, count]])
        client.close()
      })
    }
  }
})

suite('a record is written', () => {
  it('of a USE that a node out of reach cannot serve', async () => {
    const running = await world.sidecar({ name: 'away' })
    const client = await world.client(running.port, 'alice')
    running.node.intercept = (request) => {
      request.connection.socket.destroy()
      return true
    }
    assert.match(describe(await client.ask(queryEnvelope(4, 1, 'USE shop'))), /^0x1001 .*not reachable/)
    await until('it is written', () => running.records().some(({ rule }) => rule === 'node-away'))
    client.close()
  })

  it('of each request that there is no room for behind one that waits, and the others are served', async () => {
    const bounds = { ...budgetBounds(), connectionBytesMax: 40_000 }
    const running = await world.sidecar({ name: 'narrow', budget: new BytesBudget(bounds) })
    const client = await world.client(running.port, 'alice')
    const held = hold(running)
    client.send(queryEnvelope(4, 0, 'USE shop'))
    await until('it is at the node', () => held.length === 1)
    const long = queryEnvelope(4, 1, `SELECT v FROM shop.items WHERE k = '${'x'.repeat(50_000)}'`)
    assert.match(describe(await client.ask(long)), /^0x1001 more requests and answers wait/)
    await until('it is written', () => running.records().some(({ rule }) => rule === 'overloaded'))
    const small = client.ask(queryEnvelope(4, 2, text))
    running.node.intercept = undefined
    for (const request of held) request.answer()
    assert.equal(describe(await small), `echo: ${text}`)
    assert.equal(running.records().filter(({ rule }) => rule === 'overloaded').length, 1)
    client.close()
  })
})

it('a record of a refusal names its cause, whatever code the driver hears', () => {
  for (const [code, rule] of [
    ['OVERLOADED', 'overloaded'],
    ['UNAVAILABLE', 'node-away'],
    ['UPSTREAM', 'node-away'],
    ['TOO_LARGE', 'too-large'],
    ['SYNTAX', 'not-understood'],
    ['INVALID', 'not-understood'],
    ['PROTOCOL', 'not-understood'],
  ] as const) {
    assert.equal(ruleOfFault(new RingfenceError(code, 'x')), rule)
  }
})
