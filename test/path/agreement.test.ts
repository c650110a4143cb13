/** Schema changes through a gateway: drivers that know one host wait for no agreement of the nodes, so the gateway does. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryEnvelope, schemaChangeEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import type { RawClient } from './client.ts'
import { type RunningSidecar, World } from './world.ts'

const create = 'CREATE TABLE shop.brief (k int PRIMARY KEY)'
const settled = Buffer.alloc(16, 7)

let world: World
let nodes: RunningSidecar[]
let alice: RawClient

before(async () => {
  world = await World.make()
  nodes = await world.ring(3, { replication: { dc1: 1 } })
  const gateway = await world.gateway(nodes)
  alice = await world.client(gateway.port, 'alice')
})
after(() => world.close())

/** Each node answers as Cassandra does: it knows the new schema itself, and the others do not yet. */
function makeNodesChange(): void {
  for (const { node } of nodes) {
    node.topology.schemaVersion = Buffer.alloc(16, 1)
    node.intercept = (request) => {
      if (request.text !== create) return false
      node.topology.schemaVersion = settled
      const table = { target: 'TABLE', keyspace: 'shop', name: 'brief', argTypes: [] } as const
      request.reply(schemaChangeEnvelope(4, 0, { change: 'CREATED', ...table }))
      return true
    }
  }
}

describe('a schema change through a gateway', () => {
  it('is answered when all nodes know it: the next request may go to another node', async () => {
    makeNodesChange()
    let answered = false
    const change = alice.ask(queryEnvelope(4, 1, create)).then((answer) => {
      answered = true
      return answer
    })
    await sleep(400)
    assert.equal(answered, false, 'while two of three nodes do not know it')
    for (const { node } of nodes) node.topology.schemaVersion = settled
    assert.equal(headerOpcode(await change, 0), Opcode.RESULT)
  })

  it('is answered after five seconds where they never agree, as drivers wait no longer themselves', async () => {
    makeNodesChange()
    const begun = performance.now()
    assert.equal(headerOpcode(await alice.ask(queryEnvelope(4, 1, create)), 0), Opcode.RESULT)
    const waitedMs = performance.now() - begun
    assert.ok(waitedMs > 4_900 && waitedMs < 8_000, `${waitedMs} ms`)
  })

  it('holds up nobody else, not even on the same connection', async () => {
    makeNodesChange()
    const change = alice.ask(queryEnvelope(4, 1, create))
    const other = await alice.ask(
      queryEnvelope(4, 2, 'SELECT * FROM shop.items WHERE k = ?', { values: [Buffer.from('a')] }),
    )
    assert.equal(headerOpcode(other, 0), Opcode.RESULT)
    for (const { node } of nodes) node.topology.schemaVersion = settled
    assert.equal(headerOpcode(await change, 0), Opcode.RESULT)
  })
})
