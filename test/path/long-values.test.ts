/** A paging state is good for its request's bound values, however long they are; to look at long ones takes little of the loop. */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { Turns } from './turns.ts'
import { type RunningSidecar, World } from './world.ts'

/** Copies of 15 MB, in turns of their own, and those of node and client, on a busy machine. The steps are counted in `src/sidecar/values-digest.test.ts`. */
const turnMsMax = 40
const text = 'SELECT k FROM shop.items WHERE k = ? ALLOW FILTERING'
const invalid = '0x2200 Invalid value for the paging state'
const mb = 1024 * 1024

let world: World
let running: RunningSidecar
let turns: Turns

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  turns = new Turns()
  const spec = { keyspace: 'shop', table: 'items', columns: [{ name: 'k', type: { kind: 'text' } }] } as const
  running.node.intercept = (request) => {
    if (request.text !== text) return false
    request.reply(rowsEnvelope(4, 0, { ...spec, pagingState: Buffer.from('state') }, [[Buffer.from('x')]]))
    return true
  }
})
after(async () => {
  turns.stop()
  await world.close()
})

const page = (client: RawClient, value: Buffer, pagingState?: Buffer, stream = 7): Promise<Buffer> =>
  client.ask(
    queryEnvelope(4, stream, text, { pageSize: 1, values: [value], ...(pagingState !== undefined && { pagingState }) }),
  )

suite('a paging state beside long values', () => {
  for (const bytes of [10, 256 * 1024, 256 * 1024 + 1, 3 * mb]) {
    it(`is opened for the same ${bytes} bytes, and for no others`, async () => {
      const client = await world.client(running.port, 'alice')
      const value = Buffer.alloc(bytes, 'v')
      const first = await page(client, value)
      const { pagingState } = readRows(wholeEnvelope(first), 4)
      assert.ok(pagingState !== null && pagingState !== undefined)
      assert.equal(pagingState.includes('state'), false)
      const again = await page(client, value, pagingState)
      assert.equal(readRows(wholeEnvelope(again), 4).rows.length, 1)
      assert.ok(running.node.requests.at(-1)!.envelope.includes(Buffer.from('\0\0\0\x05state')))
      for (const other of [
        value.subarray(1),
        Buffer.concat([value.subarray(1), Buffer.from('w')]),
        Buffer.alloc(3 * mb),
      ])
        assert.equal(describe(await page(client, other, pagingState)), invalid)
      client.close()
    })
  }

  it('and what comes behind waits for it', async () => {
    const client = await world.client(running.port, 'alice')
    const order: number[] = []
    const asked = [
      page(client, Buffer.alloc(4 * mb), Buffer.alloc(40), 1).then(describe),
      client.ask(queryEnvelope(4, 2, "SELECT v FROM shop.items WHERE k = 'behind'")).then(describe),
    ].map(async (answer, at) => {
      const said = await answer
      order.push(at)
      return said
    })
    const [first, second] = await Promise.all(asked)
    assert.equal(first, invalid)
    assert.match(second!, /^echo/)
    assert.deepEqual(order, [0, 1])
    client.close()
  })

  it('takes little of the loop', async () => {
    const client = await world.client(running.port, 'alice')
    const value = Buffer.alloc(15 * mb, 'v')
    let turnMs = Number.POSITIVE_INFINITY
    for (let run = 0; run < 8 && turnMs > turnMsMax; run++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      turns.takeMs()
      assert.equal(describe(await page(client, value, Buffer.alloc(40))), invalid)
      turnMs = Math.min(turnMs, turns.takeMs())
    }
    assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
    client.close()
  })
})
