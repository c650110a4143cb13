/** What one client, one node or one peer puts into a control message of a mesh link is never the loss of the others on it. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { Control, controlEnvelope } from '../../src/link/protocol.ts'
import { variantsOf } from '../../src/mesh/report.fixture.ts'
import { describe as inWords } from './client.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'

let world: World
let sidecar: RunningSidecar

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ name: 'node1' })
})
after(() => world.close())

describe('a mesh link', () => {
  it('lives on at the sidecar through every field of every message at its bound and beyond', async () => {
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    const passport = 'x'.repeat(100)
    const open = { passport, session: '0123456789abcdef', version: 4, events: ['STATUS_CHANGE'], keyspace: 'shop' }
    let session = 0
    for (const { report } of variantsOf(open)) link.send(++session, controlEnvelope(Control.OPEN, report))
    // A value that is no message at all.
    for (const body of [null, 1, [], 'x', undefined]) link.send(++session, controlEnvelope(Control.OPEN, body ?? null))
    for (const [opcode, question] of [
      [Control.SCHEMA_QUERY, { id: 1 }],
      [Control.RING_QUERY, { id: 1 }],
      [Control.TABLE_QUERY, { id: 1, keyspace: 'shop', table: 'items' }],
      [Control.PING, {}],
      [Control.CLOSE, { code: 'DONE', message: '' }],
      [99, {}],
    ] as const) {
      for (const { report } of variantsOf(question)) link.send(0, controlEnvelope(opcode, report))
      for (const body of [null, 1, [], 'x', {}]) link.send(0, controlEnvelope(opcode, body))
    }
    // Not JSON.
    const damaged = controlEnvelope(Control.OPEN, open)
    damaged[9] = 0x7d
    link.send(++session, damaged)
    // None of the passports was one, and each OPEN was answered by the end of its own session.
    await until(
      'every session is answered',
      () =>
        link.closed ||
        new Set(link.frames.filter((frame) => frame.opcode === Control.CLOSE).map((frame) => frame.session)).size ===
          session,
    )
    assert.equal(link.closed, false)
    assert.deepEqual(await link.partitionKey('shop', 'x'.repeat(50_000)), [])
    assert.deepEqual(await link.partitionKey('shop', 'items'), ['k'])
    assert.ok(link.hello?.ready)
  })

  it('lives on through names of any length that one client prepares through its gateway', async () => {
    const gateway = await world.gateway([sidecar])
    const alice = await world.client(gateway.port, 'alice')
    const bob = await world.client(gateway.port, 'bob')
    const ask = async (stream: number): Promise<string> =>
      inWords(await bob.ask(queryEnvelope(bob.version, stream, select)))
    const before = await ask(1)
    let stream = 1
    for (const length of [48, 256, 257, 1_000]) {
      const name = 'x'.repeat(length)
      for (const text of [
        `SELECT * FROM "${name}".t WHERE k = ?`,
        `INSERT INTO shop."${name}" (k) VALUES (?)`,
        `UPDATE "😀${name}".t SET v = ? WHERE k = ?`,
      ]) {
        await alice.ask(prepareEnvelope(alice.version, ++stream, text))
        await alice.ask(queryEnvelope(alice.version, ++stream, text, { values: [Buffer.from('a')] }))
      }
    }
    await sleep(50)
    assert.equal(await ask(2), before)
  })

  it('serves a node whose names are longer than the message has room for', async () => {
    const long = (length: number): string => 'dc'.repeat(length)
    const node = await world.node({ dataCenter: long(90), rack: long(300) })
    const odd = await world.sidecar({ name: 'odd', node })
    const gateway = await world.gateway([odd])
    const client = await world.client(gateway.port, 'bob')
    assert.match(inWords(await client.ask(queryEnvelope(client.version, 1, select))), /^echo/)
  })
})
