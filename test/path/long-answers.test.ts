/**
 * Answers of 60 MB that nobody changes: node, sidecar, gateway and client in one process, whose turns are measured. They arrive as they
 * were sent, nobody waits for them, and nothing of them is left where the client goes away.
 */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { envelopeHeaderBytes } from '../../src/cql/protocol.ts'
import { type ClientOptions, describe } from './client.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { Turns } from './turns.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const long = `${select} WHERE k = 'long'`
const longBytes = 60 * 1000 * 1000
/** Ten for each of node, sidecar, gateway and client, which are one process here. In one piece the answer takes 200 and more, in each of them. */
const turnMsMax = 60
const tries = 4

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
let turns: Turns
const budget = new BytesBudget()
const atGateway = new BytesBudget()
const answers = new Map<number, Buffer>()

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ budget })
  gateway = await world.gateway([sidecar], { budget: atGateway })
  sidecar.node.intercept = (request: NodeRequest) => {
    if (request.text === long) request.reply(answers.get(request.connection.version)!)
    return request.text === long
  }
  for (const version of [4, 5] as const) {
    const answer = echo(version, 0, 'x'.repeat(longBytes))
    // Bytes in which a part that is missing or stands elsewhere shows, and which LZ4 does not make much of.
    for (let at = envelopeHeaderBytes + 200; at + 4 <= answer.length; at += 64)
      answer.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
    answers.set(version, answer)
  }
  turns = new Turns()
})
after(async () => {
  turns.stop()
  await world.close()
})

const ways: readonly (readonly [string, Partial<ClientOptions>])[] = [
  ['v4', { version: 4 }],
  ['v4 with LZ4', { version: 4, compression: 'lz4' }],
  ['v5', { version: 5 }],
  ['v5 with LZ4', { version: 5, compression: 'lz4' }],
]

suite('an answer of 60 MB', () => {
  for (const by of ['driver', 'gateway'] as const) {
    for (const [framing, options] of ways) {
      it(`arrives as it was, and nobody waits for it: ${framing}, by ${by}`, async () => {
        const port = by === 'driver' ? sidecar.port : gateway.port
        const version = options.version!
        const client = await world.client(port, 'alice', options)
        // Of another version, so that it shares no connection to the node, where answers come whole.
        const neighbour = await world.client(port, 'bob', { version: 3 })
        const longest: number[] = []
        let asked = 0
        for (let i = 0; i < tries && (longest.length === 0 || Math.min(...longest) >= turnMsMax); i++) {
          turns.takeMs()
          let isThere = false
          const answered = client.ask(queryEnvelope(version, 7, long, {}), 60_000).finally(() => {
            isThere = true
          })
          // Behind it on its own connection, in order.
          const behind = client.ask(queryEnvelope(version, 8, select, {}), 60_000)
          while (!isThere) {
            assert.equal(describe(await neighbour.ask(queryEnvelope(3, 1, select), 30_000)), `echo: ${select}`)
            asked++
          }
          longest.push(turns.takeMs())
          const answer = await answered
          answer.writeInt16BE(0, 2)
          assert.ok(answer.equals(answers.get(version)!), 'every byte is as the node sent it')
          assert.equal(describe(await behind), `echo: ${select}`)
        }
        assert.ok(Math.min(...longest) < turnMsMax, `turns of ${longest.join(', ')} ms`)
        assert.ok(asked > 20, `the neighbour was answered ${asked} times meanwhile`)
        for (const each of [client, neighbour]) await each.close()
        await until('nothing is held', () => budget.heldBytes === 0 && atGateway.heldBytes === 0)
      })

      it(`leaves nothing where its client goes away: ${framing}, by ${by}`, async () => {
        const port = by === 'driver' ? sidecar.port : gateway.port
        const client = await world.client(port, 'alice', options)
        client.send(queryEnvelope(options.version!, 7, long, {}))
        let bytes = 0
        client.socket.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > 5_000_000) client.socket.destroy()
        })
        await until('the client is gone', () => client.isClosed, 30_000)
        await until('nothing is held', () => budget.heldBytes === 0 && atGateway.heldBytes === 0, 30_000)
      })
    }
  }
})
