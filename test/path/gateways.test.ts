/** Two gateways before one sidecar: what drivers at one are told of the other, and how one leaves. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, headerStream, headerVersion, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readEvent, readRows } from '../../src/cql/responses.ts'
import { decodeValue } from '../../src/cql/values.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const all = ['TOPOLOGY_CHANGE', 'STATUS_CHANGE', 'SCHEMA_CHANGE']

let world: World
let node: RunningSidecar
let one: RunningGateway

before(async () => {
  world = await World.make()
  node = await world.sidecar()
  one = await world.gateway([node], { name: 'one' })
})
after(() => world.close())
beforeEach(() => {
  node.node.intercept = undefined
  one.feed.tell(one.endpoints)
})

const ask = async (client: RawClient, stream: number, text = select): Promise<string> =>
  describe(await client.ask(queryEnvelope(client.version, stream, text)))

async function listening(gateway: RunningGateway, version: ProtocolVersion = 4, lz4 = false): Promise<RawClient> {
  const client = await world.client(gateway.port, 'alice', { version, ...(lz4 ? { compression: 'lz4' } : {}) })
  await client.ask(registerEnvelope(version, 1, all))
  return client
}

async function nextEvents(client: RawClient, count: number): Promise<string[]> {
  const words: string[] = []
  while (words.length < count) {
    const event = await client.next()
    assert.equal(headerOpcode(event, 0), Opcode.EVENT)
    assert.equal(headerStream(event, 0), -1)
    assert.equal(headerVersion(event, 0) & 0x7f, client.version)
    const read = readEvent(wholeEnvelope(event))
    words.push(read.type === 'SCHEMA_CHANGE' ? read.type : `${read.change} ${read.address}:${read.port}`)
  }
  return words
}

/** The whole ring as a driver at this gateway reads it: `address:port dc rack host_id tokens`. */
async function ringAt(gateway: RunningGateway): Promise<string[]> {
  const client = await world.client(gateway.port, 'alice')
  const rowsOf = async (text: string): Promise<string[]> => {
    const answer = await client.ask(queryEnvelope(4, 9, text))
    const { columns, rows } = readRows(wholeEnvelope(answer), 4)
    return rows.map((row) => row.map((cell, n) => String(decodeValue(columns![n]!.type, cell))).join(' '))
  }
  const place = 'data_center, rack, host_id, tokens'
  return [
    ...(await rowsOf(`SELECT rpc_address, rpc_port, ${place} FROM system.local WHERE key = 'local'`)),
    ...(await rowsOf(`SELECT native_address, native_port, ${place} FROM system.peers_v2`)),
  ].sort()
}

suite('a gateway that comes and goes', () => {
  for (const [version, lz4] of [
    [3, false],
    [4, false],
    [4, true],
    [5, false],
    [5, true],
  ] as [ProtocolVersion, boolean][]) {
    it(`is told to drivers at another, version ${version}${lz4 ? ' with LZ4' : ''}`, async () => {
      const alice = await listening(one, version, lz4)
      const two = await world.gateway([node], { name: 'two' })
      const at = `127.0.0.1:${two.port}`
      one.feed.tell([...one.endpoints, ...two.endpoints])
      assert.deepEqual(await nextEvents(alice, 2), [`NEW_NODE ${at}`, `UP ${at}`])
      assert.equal((await ringAt(one)).length, 2)
      one.feed.tell(one.endpoints)
      assert.deepEqual(await nextEvents(alice, 2), [`DOWN ${at}`, `REMOVED_NODE ${at}`])
      assert.equal((await ringAt(one)).length, 1)
      assert.equal(await ask(alice, 2), `echo: ${select}`)
      assert.equal(alice.unasked.length, 0)
    })
  }

  it('is not told to who did not register, nor to who is gone', async () => {
    const silent = await world.client(one.port, 'alice')
    const schemaOnly = await world.client(one.port, 'alice')
    await schemaOnly.ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE']))
    const gone = await listening(one)
    gone.close()
    await gone.closed
    const witness = await listening(one)
    const two = await world.gateway([node], { name: 'two' })
    one.feed.tell([...one.endpoints, ...two.endpoints])
    await nextEvents(witness, 2)
    assert.equal(await ask(silent, 1), `echo: ${select}`)
    assert.equal(await ask(schemaOnly, 1), `echo: ${select}`)
    assert.equal(silent.unasked.length + schemaOnly.unasked.length, 0)
  })

  it('shows the same ring as the others, each host at its own gateway’s place', async () => {
    const sidecars = await world.ring(2, { dataCenters: ['west', 'east'] })
    const told = await world.gateway(sidecars, { name: 'told', locality: { dataCenter: 'west', rack: 'w1' } })
    const untold = await world.gateway(sidecars, { name: 'untold' })
    const known = [...told.endpoints, ...untold.endpoints]
    for (const { feed } of [told, untold]) feed.tell(known)
    const ring = await ringAt(told)
    assert.deepEqual(await ringAt(untold), ring)
    assert.match(ring.find((row) => row.includes(` ${told.port} `)) ?? '', / west w1 /)
    assert.match(ring.find((row) => row.includes(` ${untold.port} `)) ?? '', / east rack1 /)
  })

  it('does not show another data centre when another sidecar is asked, nor when that of the first is away', async () => {
    const sidecars = await world.ring(2, { dataCenters: ['west', 'east'] })
    const untold = await world.gateway(sidecars, { name: 'untold' })
    for (let round = 0; round < 8; round++) assert.match((await ringAt(untold)).join(), / east rack1 /)
    untold.feed.place(sidecars.slice(0, 1).map(({ endpoint }) => endpoint))
    await until('one link is left', () => untold.feed.report?.().upstreamConnections === 1)
    assert.match((await ringAt(untold)).join(), / east rack1 /)
  })

  it('asks for drivers only once it has a link to a sidecar', async () => {
    const early = await world.gateway([], { name: 'early' })
    assert.equal(early.feed.report?.().advertise, undefined)
    early.feed.place([node.endpoint])
    await until('it serves', () => early.feed.report?.().advertise !== undefined)
    assert.deepEqual(early.feed.report?.().advertise, [{ address: '127.0.0.1', port: early.port }])
    // Drivers see by themselves that it is of no use; taking all gateways off the list at once would help nobody.
    early.feed.place([])
    await until('the link is gone', () => early.feed.report?.().upstreamConnections === 0)
    assert.notEqual(early.feed.report?.().advertise, undefined)
  })
})

suite('a gateway that stops in order', () => {
  it('sends its drivers away first, answers them meanwhile, and ends each connection after its last answer', async () => {
    const two = await world.gateway([node], { name: 'two' })
    two.feed.tell([...one.endpoints, ...two.endpoints])
    const alice = await listening(two)
    const busy = await world.client(two.port, 'alice')
    const idle = await world.client(two.port, 'alice')
    let answer: (() => void) | undefined
    node.node.intercept = (request) => {
      if (!request.text.includes('held')) return false
      answer = () => request.answer()
      return true
    }
    const held = ask(busy, 1, `${select} WHERE k = 'held'`)
    await until('it arrived', () => answer !== undefined)
    const stopped = two.gateway.stop(5000)
    const at = `127.0.0.1:${two.port}`
    assert.deepEqual(await nextEvents(alice, 1), [`DOWN ${at}`])
    await assert.rejects(world.connect(two.port, 'alice'), 'nobody new is let in')
    assert.equal(await ask(alice, 2), `echo: ${select}`)
    await sleep(1000)
    assert.equal(await ask(alice, 3), `echo: ${select}`)
    // Who was told of events hears that it is gone when nothing is in flight on any other connection, and not before.
    await idle.closed
    await sleep(200)
    assert.equal(alice.unasked.length, 0)
    assert.equal(alice.isClosed, false)
    assert.equal(busy.isClosed, false)
    answer!()
    assert.equal(await held, `echo: ${select} WHERE k = 'held'`)
    await busy.closed
    assert.deepEqual(await nextEvents(alice, 1), [`REMOVED_NODE ${at}`])
    await alice.closed
    await stopped
  })

  it('waits for drivers that registered at another gateway, too', async () => {
    const two = await world.gateway([node], { name: 'two' })
    two.feed.tell([...one.endpoints, ...two.endpoints])
    const alice = await world.client(two.port, 'alice')
    const stopped = two.gateway.stop(2000)
    await sleep(1000)
    assert.equal(await ask(alice, 1), `echo: ${select}`)
    await alice.closed
    await stopped
  })

  it('ends at once when its drivers have left', async () => {
    const two = await world.gateway([node], { name: 'two' })
    two.feed.tell([...one.endpoints, ...two.endpoints])
    const alice = await listening(two)
    const startedMs = performance.now()
    const stopped = two.gateway.stop(5000)
    await nextEvents(alice, 1)
    alice.close()
    await stopped
    assert.ok(performance.now() - startedMs < 2000)
  })

  it('says nothing and does not wait where it is the only one, or another has its address', async () => {
    for (const others of ['none', 'shared']) {
      const two = await world.gateway([node], { name: 'two' })
      const shared = two.endpoints.map((endpoint) => ({ ...endpoint, name: 'x', spiffeId: `${endpoint.spiffeId}x` }))
      if (others === 'shared') two.feed.tell([...one.endpoints, ...two.endpoints, ...shared])
      const alice = await listening(two)
      const startedMs = performance.now()
      await two.gateway.stop(5000)
      await alice.closed
      assert.ok(performance.now() - startedMs < 2000)
      assert.equal(alice.unasked.length, 0)
    }
  })
})
