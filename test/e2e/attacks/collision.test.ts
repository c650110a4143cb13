/**
 * Row B4: two statements with one prepared id. MD5 collisions are not made here; a node that gives the id of one text to another stands in
 * for them.
 */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { executeEnvelope } from '../../../src/cql/encode.fixture.ts'
import { preparedEnvelope, prepareEnvelope, queryEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import { Opcode } from '../../../src/cql/protocol.ts'
import { readPrepared } from '../../../src/cql/responses.ts'
import { describe, type RawClient } from '../../path/client.ts'
import { type RunningSidecar, World } from '../../path/world.ts'

const firstText = 'SELECT * FROM shop.items WHERE k = ?'
const secondText = 'SELECT * FROM shop.items WHERE k = ? AND v = 1 ALLOW FILTERING'

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar()
})
after(() => world.close())

const ask = async (client: RawClient, text: string): Promise<Buffer> => client.ask(prepareEnvelope(4, 1, text))

suite('B4 one prepared id for two texts', () => {
  it('is never learnt: the second text is refused, the node’s connection ends, and the first keeps its meaning', async () => {
    const client = await world.client(running.port, 'alice')
    const first = await ask(client, firstText)
    const { id } = readPrepared(wholeEnvelope(first), 4)
    running.node.intercept = (request) => {
      if (request.opcode !== Opcode.PREPARE || request.text !== secondText) return false
      const bind = { keyspace: 'shop', table: 'items', columns: [], pkIndexes: [] }
      request.reply(preparedEnvelope(request.connection.version, 0, { id, bind, result: undefined }))
      return true
    }
    const accepted = running.node.accepted
    assert.match(describe(await ask(client, secondText)), /^0x0000 the node gave one prepared id to two statements/)
    running.node.intercept = undefined
    const other = await world.client(running.port, 'alice')
    const value = [Buffer.from('b4')]
    assert.equal(describe(await other.ask(executeEnvelope(4, 2, id, undefined, value))), `echo: ${firstText} <- b4`)
    assert.ok(running.node.accepted > accepted, 'the connection to the node was made anew')
  })
  it('nor is one text in another keyspace, which is another statement', async () => {
    const client = await world.client(running.port, 'alice')
    const id = Buffer.alloc(16, 4)
    running.node.intercept = (request) => {
      if (request.opcode !== Opcode.PREPARE) return false
      const bind = { keyspace: '', table: '', columns: [], pkIndexes: [] }
      request.reply(preparedEnvelope(request.connection.version, 0, { id, bind, result: undefined }))
      return true
    }
    const prepareIn = async (keyspace: string, text: string): Promise<string> => {
      await client.ask(queryEnvelope(4, 1, `USE ${keyspace}`))
      return describe(await ask(client, text))
    }
    try {
      assert.equal(await prepareIn('shop', 'SELECT * FROM items'), 'result 4')
      assert.equal(await prepareIn('shop', 'SELECT * FROM items'), 'result 4')
      assert.match(await prepareIn('play', 'SELECT * FROM items'), /^0x0000 the node gave one prepared id/)
    } finally {
      running.node.intercept = undefined
    }
  })
})
