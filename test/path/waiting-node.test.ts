/** A node that takes nothing for a while: what one identity sent stands before its own requests, not before those of others. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe } from './client.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const mb = 1024 * 1024
const totalBytes = 30 * mb
/** Those that fill a share exactly, and those that leave a rest of it. */
const kinds = [
  [4, mb],
  [5, 300_000],
  [4, 60_000],
] as const
const patienceMs = 60_000

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
const budget = new BytesBudget()

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ connections: 1, budget })
  gateway = await world.gateway([sidecar])
})
after(() => world.close())

suite('a node that takes nothing for a while', () => {
  for (const [version, bytes] of kinds) {
    it(`has others' requests before most of those of one that sent many of ${bytes} bytes: v${version}`, async () => {
      const each = Math.floor(totalBytes / bytes / 4)
      const requests = each * 4
      const greedy = await Promise.all([1, 2, 3, 4].map(() => world.client(sidecar.port, 'alice', { version })))
      const other = await world.client(gateway.port, 'bob', { version })
      assert.equal(describe(await other.ask(queryEnvelope(version, 1, select, {}))), `echo: ${select}`)
      const { node } = sidecar
      node.requests.length = 0
      for (const { socket, registered } of node.connections) if (registered.length === 0) socket.pause()
      const insert = 'INSERT INTO shop.items (k, v) VALUES (1, ?)'
      const values = [Buffer.alloc(bytes, 'x')]
      for (const client of greedy) {
        for (let i = 0; i < each; i++) client.send(queryEnvelope(version, i, insert, { values }))
      }
      await until('all of it waits', () => budget.heldBytes > 8 * mb, patienceMs)
      const asked = other.ask(queryEnvelope(version, 2, select, {}))
      await new Promise((resolve) => setTimeout(resolve, 200))
      for (const { socket } of node.connections) socket.resume()
      assert.equal(describe(await asked), `echo: ${select}`)
      const before = node.texts().indexOf(select)
      // As much as the kernel's buffers took, and a share.
      assert.ok(before < requests / 2, `${before} of ${requests} were before it`)
      await until('all is answered', () => greedy.every(({ unasked }) => unasked.length === each), patienceMs)
      for (const { unasked } of greedy) for (const answer of unasked) assert.match(describe(answer), /^echo: INSERT/)
      assert.equal(node.texts().filter((text) => text === insert).length, requests)
      for (const client of [...greedy, other]) client.close()
      await until('nothing is held', () => budget.heldBytes === 0)
    })
  }
})
