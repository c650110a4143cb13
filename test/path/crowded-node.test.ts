/** Long answers of one identity on every connection to the node: others are answered meanwhile, on one that is opened for them. */
import assert from 'node:assert/strict'
import { after, afterEach, before, it, suite } from 'node:test'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, until, World } from './world.ts'

const long = 'SELECT v FROM shop.items WHERE k = 1'
const short = 'SELECT v FROM shop.items WHERE k = 2'
const MiB = 1024 * 1024
const bodyBytes = 4 * MiB

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar({ connections: 2 })
})
afterEach(() => {
  running.node.intercept = undefined
})
after(() => world.close())

/** Begins an answer of four mebibytes: its first two. The result sends the rest. */
function begin({ connection, stream }: NodeRequest): () => void {
  const header = Buffer.from([0x84, 0, 0, 0, Opcode.RESULT, 0, 0, 0, 0])
  header.writeInt16BE(stream, 2)
  header.writeInt32BE(bodyBytes, 5)
  const body = Buffer.alloc(bodyBytes)
  // Of kind Void, whatever stands behind it.
  body.writeInt32BE(1, 0)
  connection.socket.write(Buffer.concat([header, body.subarray(0, 2 * MiB)]))
  return () => void connection.socket.write(body.subarray(2 * MiB))
}

suite('a node whose connections are full of long answers', () => {
  it('answers others on one connection more, and whoever asked for them where they come', async () => {
    const { node, port } = running
    const asked: NodeRequest[] = []
    const carriers = new Set<unknown>()
    node.intercept = (request) => {
      if (request.text !== long) return false
      carriers.add(request.connection)
      asked.push(request)
      return true
    }
    const other = await world.client(port, 'bob', { version: 4 })
    assert.equal(headerOpcode(await other.ask(queryEnvelope(4, 1, short)), 0), Opcode.RESULT)
    const clients = [other]
    const answers: Promise<Buffer>[] = []
    // Until both have some: a second connection is opened when the first has work.
    for (let at = 0; carriers.size < 2 && at < 50; at++) {
      const client = await world.client(port, 'alice', { version: 4 })
      clients.push(client)
      answers.push(client.ask(queryEnvelope(4, 1, long), 60_000))
      await until('it is at the node', () => asked.length === at + 1)
    }
    assert.equal(carriers.size, 2)
    const rests = [...carriers].map((carrier) => begin(asked.find(({ connection }) => connection === carrier)!))
    // Whichever connections they came by, the rest of each is yet to come.
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let stream = 1; stream <= 3; stream++) {
      const answer = await other.ask(queryEnvelope(4, stream, short), 8_000)
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
    }
    const last = node.requests.at(-1)
    assert.ok(last !== undefined && !carriers.has(last.connection))
    // Whoever asked for the long ones stays where they come.
    const greedy = await world.client(port, 'alice', { version: 4 })
    const before = asked.length
    answers.push(greedy.ask(queryEnvelope(4, 1, long), 60_000))
    await until('it is at the node', () => asked.length > before)
    assert.ok(carriers.size === 2)
    for (const rest of rests) rest()
    const others = asked.slice()
    for (const carrier of carriers) {
      const [, ...later] = others.filter(({ connection }) => connection === carrier)
      for (const request of later) begin(request)()
    }
    for (const answer of await Promise.all(answers)) assert.equal(answer.length, bodyBytes + 9)
    for (const client of [...clients, greedy]) client.close()
  })
})
