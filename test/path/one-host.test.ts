/** A tool that reaches one host only (`ringfence connect`) and says so in STARTUP, at a sidecar itself: it is told of no other host. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, registerEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readEvent, readPrepared, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningSidecar, until, World } from './world.ts'

let world: World
let sidecar: RunningSidecar

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar()
  sidecar.node.intercept = (request) => {
    const table = /FROM system\.(peers_v2|peers)\b/.exec(request.text)?.[1]
    if (table === undefined || request.opcode === Opcode.PREPARE) return false
    const columns = [
      { name: 'peer', type: { kind: 'inet' } as const },
      { name: 'tokens', type: { kind: 'set', element: { kind: 'text' } } as const },
    ]
    const isLong = request.text.includes('LIMIT')
    const peers = Array.from({ length: isLong ? 3_000 : 2 }, (_, i) => [
      Buffer.from([192, 0, 2, i & 255]),
      isLong ? Buffer.alloc(600) : null,
    ])
    request.reply(rowsEnvelope(request.connection.version, 0, { keyspace: 'system', table, columns }, peers))
    return true
  }
})
after(() => world.close())

const client = (version: ProtocolVersion, oneHost: boolean): Promise<RawClient> =>
  world.client(sidecar.port, 'alice', { version, oneHost })

async function rowCount(from: RawClient, envelope: Buffer): Promise<number> {
  const answer = await from.ask(envelope)
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
  return readRows(wholeEnvelope(answer), from.version).rows.length
}

for (const version of [3, 4, 5] as const) {
  suite(`a tool that reaches one host, v${version}`, () => {
    for (const [oneHost, short, long] of [
      [true, 0, 0],
      [false, 2, 3_000],
    ] as const) {
      it(`${oneHost ? 'is told of no other' : 'or does not say so, is told of all'}`, async () => {
        const from = await client(version, oneHost)
        for (const table of ['system.peers', 'system.peers_v2']) {
          const text = `SELECT * FROM ${table}`
          assert.equal(await rowCount(from, queryEnvelope(version, 5, text)), short, text)
          assert.equal(await rowCount(from, queryEnvelope(version, 6, `${text} LIMIT 5000`)), long, text)
          const prepared = await from.ask(prepareEnvelope(version, 7, text))
          const { id } = readPrepared(wholeEnvelope(prepared), version)
          assert.equal(
            await rowCount(from, executeEnvelope(version, 8, id, Buffer.alloc(16, 9), [])),
            short,
            `EXECUTE of ${text}`,
          )
        }
        // What is none of other hosts is as it was.
        assert.equal(
          describe(await from.ask(queryEnvelope(version, 9, 'SELECT * FROM shop.items'))),
          'echo: SELECT * FROM shop.items',
        )
        from.close()
      })
    }

    it('hears of the schema, and of no host', async () => {
      const [one, other] = [await client(version, true), await client(version, false)]
      const types = ['TOPOLOGY_CHANGE', 'STATUS_CHANGE', 'SCHEMA_CHANGE']
      for (const each of [one, other])
        assert.equal(headerOpcode(await each.ask(registerEnvelope(version, 1, types)), 0), Opcode.READY)
      sidecar.node.emit({ type: 'TOPOLOGY_CHANGE', change: 'NEW_NODE', address: '192.0.2.9', port: 9042 })
      sidecar.node.emit({ type: 'STATUS_CHANGE', change: 'UP', address: '192.0.2.9', port: 9042 })
      sidecar.node.emit({
        ...{ type: 'SCHEMA_CHANGE', change: 'UPDATED', target: 'TABLE', keyspace: 'shop' },
        ...{ name: 'items', argTypes: [] },
      } as const)
      const heard = (from: RawClient): string[] =>
        from.unasked.map((envelope) => readEvent(wholeEnvelope(envelope)).type).sort()
      await until('both have heard of the schema', () =>
        [one, other].every((from) => heard(from).includes('SCHEMA_CHANGE')),
      )
      assert.deepEqual(heard(one), ['SCHEMA_CHANGE'])
      assert.deepEqual(heard(other), ['SCHEMA_CHANGE', 'STATUS_CHANGE', 'TOPOLOGY_CHANGE'])
      for (const each of [one, other]) each.close()
    })
  })
}
