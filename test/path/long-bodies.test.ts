/** Long bodies that a client sends compressed: served in order, within its account, and with little of the loop for each. */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { BytesBudget, budgetBounds } from '../../src/base/bytes-budget.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { lz4Compress } from '../../src/cql/lz4.ts'
import { envelopeHeaderBytes, Flag } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { Turns } from './turns.ts'
import { type RunningSidecar, until, World } from './world.ts'

/** Copies of 15 MB, in turns of their own, and those of node and client, on a busy machine. What is done beside the loop `src/cql/inbound-long.test.ts` tells. */
const turnMsMax = 40
const valueBytes = 15 * 1024 * 1024

let world: World
let running: RunningSidecar
let turns: Turns

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  turns = new Turns()
})
after(async () => {
  turns.stop()
  await world.close()
})

function compressed(envelope: Buffer): Buffer {
  const body = envelope.subarray(envelopeHeaderBytes)
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length)
  const whole = Buffer.concat([envelope.subarray(0, envelopeHeaderBytes), length, lz4Compress(body)])
  whole[1]! |= Flag.COMPRESSION
  whole.writeInt32BE(whole.length - envelopeHeaderBytes, 5)
  return whole
}

async function prepared(client: RawClient): Promise<Buffer> {
  const answer = await client.ask(prepareEnvelope(4, 1, 'INSERT INTO shop.items (k, v) VALUES (?, ?)'))
  return readPrepared(wholeEnvelope(answer), 4).id
}

suite('long bodies that come compressed', () => {
  it('take little of the loop', async () => {
    const client = await world.client(running.port, 'alice', { compression: 'lz4' })
    const id = await prepared(client)
    const pattern = Buffer.alloc(valueBytes)
    for (let at = 0; at < valueBytes; at += 64) pattern.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at)
    const wire = compressed(executeEnvelope(4, 1, id, undefined, [Buffer.from('k'), pattern]))
    // The fake node would have the loop for longer.
    running.node.isDeaf = true
    let turnMs = Number.POSITIVE_INFINITY
    for (let run = 0; run < 6 && turnMs > turnMsMax; run++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      turns.takeMs()
      wire.writeInt16BE(run + 10, 2)
      client.socket.write(wire)
      await new Promise((resolve) => setTimeout(resolve, 400))
      turnMs = Math.min(turnMs, turns.takeMs())
    }
    running.node.isDeaf = false
    assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
    client.close()
  })

  it('are served in order with what is before and behind them', async () => {
    const client = await world.client(running.port, 'alice', { compression: 'lz4' })
    const id = await prepared(client)
    const before = running.node.texts().length
    const select = (key: string, stream: number): Buffer =>
      compressed(queryEnvelope(4, stream, `SELECT v FROM shop.items WHERE k = '${key}'`))
    const long = (stream: number): Buffer =>
      compressed(executeEnvelope(4, stream, id, undefined, [Buffer.from('k'), Buffer.alloc(1024 * 1024)]))
    // As they are: `send` would compress them once more.
    client.socket.write(Buffer.concat([select('first', 2), long(3), select('second', 4), long(5), select('third', 6)]))
    for (let answers = 0; answers < 5; answers++) assert.match(describe(await client.next()), /^(?:echo|result)/)
    const arrived = running.node.texts().slice(before)
    const selects = arrived.filter((text) => text.startsWith('SELECT v FROM shop.items'))
    assert.deepEqual(
      selects.map((text) => /'(\w+)'/.exec(text)?.[1]),
      ['first', 'second', 'third'],
    )
    client.close()
  })

  it('are refused by themselves where there is no room', async () => {
    const budget = new BytesBudget(budgetBounds(96 * 1024 * 1024))
    const tight = await world.sidecar({ budget })
    const client = await world.client(tight.port, 'alice', { compression: 'lz4' })
    const id = await prepared(client)
    const wire = compressed(executeEnvelope(4, 7, id, undefined, [Buffer.from('k'), Buffer.alloc(valueBytes)]))
    const other = await world.client(tight.port, 'alice', { compression: 'lz4' })
    tight.node.isDeaf = true
    client.socket.write(wire)
    await until('the node has it', () => budget.peakBytes > valueBytes)
    await new Promise((resolve) => setTimeout(resolve, 300))
    // The identity may hold 24 MiB, and the node does not answer.
    other.socket.write(wire)
    assert.match(describe(await other.next()), /^0x1001 /)
    tight.node.isDeaf = false
    const select = queryEnvelope(4, 8, "SELECT v FROM shop.items WHERE k = 'small'")
    other.socket.write(compressed(select))
    assert.match(describe(await other.next()), /^echo/)
    other.close()
    client.close()
    await client.closed
  })
})
