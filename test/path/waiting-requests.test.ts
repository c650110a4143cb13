/**
 * Who sends much to a node that is slow: what waits is bounded whatever it waits for, the client is paused, then refused, never closed, and
 * its neighbour is served as if it were not there.
 */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const kb = 1024
const mb = 1024 * kb
/** A tenth of what a process with little memory has. */
const bounds = {
  processBytesMax: 10 * mb,
  addressBytesMax: 5 * mb,
  identityBytesMax: 2.5 * mb,
  connectionBytesMax: 2.5 * mb,
  shareBytes: 100 * kb,
  roomTimeoutMs: 300,
}
const requestBytes = 400 * kb
const patienceMs = 60_000

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
const budget = new BytesBudget(bounds)
const gatewayBudget = new BytesBudget(bounds)
/** Requests that the node does not answer. */
let late: NodeRequest[] = []

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ budget })
  gateway = await world.gateway([sidecar], { budget: gatewayBudget })
  sidecar.node.intercept = (request) => {
    const slow = /^INSERT|^USE [^"]/.test(request.text)
    if (slow) late.push(request)
    return slow
  }
})
after(() => world.close())

const insert = (version: 4 | 5, stream: number, bytes: number): Buffer =>
  queryEnvelope(version, stream, 'INSERT INTO shop.items (k, v) VALUES (1, ?)', { values: [Buffer.alloc(bytes, 'x')] })

/** The kinds of waiting: what has to be sent first so that what follows waits there. */
const kinds: Record<string, (client: RawClient) => void> = {
  'for the node to answer': () => {},
  'behind a USE': (client) => client.send(queryEnvelope(client.version as 4 | 5, 99, 'USE shop', {})),
}

suite('who sends more than may wait', () => {
  for (const [kind, begin] of Object.entries(kinds)) {
    for (const way of ['driver', 'gateway'] as const) {
      for (const version of [4, 5] as const) {
        it(`${kind}: costs only the client, v${version} by ${way}`, async () => {
          const port = way === 'driver' ? sidecar.port : gateway.port
          const greedy = await Promise.all([1, 2, 3, 4].map(() => world.client(port, 'alice', { version })))
          const other = await world.client(port, 'bob', { version })
          const identity = 'spiffe://demo.local/svc/alice'
          for (const client of greedy) {
            begin(client)
            for (let stream = 0; stream < 8; stream++) client.send(insert(version, stream, requestBytes))
          }
          let most = 0
          const watch = setInterval(() => {
            most = Math.max(most, budget.heldByIdentity(identity), gatewayBudget.heldByIdentity(identity))
          }, 1)
          await until('much of it waits', () => most > bounds.identityBytesMax / 4, patienceMs)
          for (let i = 0; i < 20; i++) {
            assert.equal(describe(await other.ask(queryEnvelope(version, i, select, {}))), `echo: ${select}`)
          }
          // What could not be refused in time is not read, however long.
          await sleep(2 * bounds.roomTimeoutMs)
          for (const { unasked } of greedy) {
            for (const answer of unasked) assert.match(describe(answer), /^0x1001 more requests and answers wait/)
          }
          assert.ok(most <= bounds.identityBytesMax, `${most}`)
          assert.equal(
            [...greedy, other].some(({ isClosed }) => isClosed),
            false,
          )
          assert.ok(
            late.filter(({ text }) => text.startsWith('INSERT')).length * requestBytes <= bounds.identityBytesMax + mb,
            `${late.length} are at the node`,
          )
          // The node comes back: everything is answered once, one way or the other.
          const answering = setInterval(() => {
            for (const request of late.splice(0)) request.answer()
          }, 5)
          const asked = kind === 'behind a USE' ? 9 : 8
          await until(
            'all is answered',
            () => greedy.every(({ unasked, isClosed }) => unasked.length === asked && !isClosed),
            patienceMs,
          )
          for (const client of [...greedy, other]) {
            assert.equal(describe(await client.ask(queryEnvelope(version, 100, select, {}))), `echo: ${select}`)
          }
          clearInterval(watch)
          clearInterval(answering)
          for (const client of [...greedy, other]) client.close()
          await until('nothing is held', () => budget.heldBytes + gatewayBudget.heldBytes === 0)
          late = []
          await sleep(10)
        })
      }
    }
  }

  it('is refused a request that there is no room for in time, and served what there is room for', async () => {
    const [first, second] = [await world.client(sidecar.port, 'alice'), await world.client(sidecar.port, 'alice')]
    first.send(queryEnvelope(4, 99, 'USE shop', {}))
    first.send(insert(4, 1, 2.3 * mb))
    await until('it waits', () => budget.heldBytes > 2.3 * mb)
    const begun = performance.now()
    assert.match(describe(await second.ask(insert(4, 1, requestBytes))), /^0x1001 more requests and answers wait/)
    assert.ok(performance.now() - begun >= bounds.roomTimeoutMs)
    assert.equal(describe(await second.ask(queryEnvelope(4, 2, select))), `echo: ${select}`)
    // Room is made in time for this one.
    const waits = second.ask(insert(4, 3, requestBytes))
    await sleep(50)
    const answering = setInterval(() => {
      for (const request of late.splice(0)) request.answer()
    }, 5)
    assert.match(describe(await waits), /^echo: INSERT/)
    await until('the other is answered too', () => first.unasked.length === 2)
    clearInterval(answering)
    assert.equal(first.isClosed || second.isClosed, false)
  })
})
