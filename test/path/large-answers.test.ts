/** Answers that are too large: the request that asked for one fails, and on the connection that it shares with others everything goes on. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { BytesBudget, budgetBounds } from '../../src/base/bytes-budget.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { envelopeHeaderBytes, Opcode, writeHeader } from '../../src/cql/protocol.ts'
import { sealSegment, segmentHeaderBytes, segmentPayloadBytesMax, segmentTrailerBytes } from '../../src/cql/segment.ts'
import { describe } from './client.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, usualPolicy, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const mb = 1024 * 1024

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
const budget = new BytesBudget(budgetBounds(96 * mb))
/** Answers that a test holds back. */
const late: NodeRequest[] = []

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ connections: 1, budget })
  gateway = await world.gateway([sidecar])
  sidecar.node.intercept = (request: NodeRequest) => {
    const bytes = Number(/k = 'bytes (\d+)'/.exec(request.text)?.[1] ?? -1)
    if (/k = 'late'/.test(request.text)) late.push(request)
    else if (broken.has(request.text)) request.reply(result(request.connection.version, broken.get(request.text)!))
    else if (bytes > 64 * mb) void sendHuge(request, bytes)
    else if (bytes >= 0) request.reply(echo(request.connection.version, 0, 'x'.repeat(bytes)))
    else return false
    return true
  }
})
after(() => world.close())

/** An answer that this process could not hold many times over: the same bytes again and again, as fast as they are taken. */
async function sendHuge({ connection, stream }: NodeRequest, bytes: number): Promise<void> {
  const { socket, version } = connection
  await until('the answer before has left', () => !connection.isSending, 30_000)
  const header = Buffer.alloc(envelopeHeaderBytes)
  writeHeader(header, 0x80 | version, 0, stream, Opcode.RESULT, bytes)
  const write = async (piece: Buffer): Promise<void> => {
    const framed = version < 5 ? piece : Buffer.alloc(segmentHeaderBytes + piece.length + segmentTrailerBytes)
    if (version >= 5) {
      piece.copy(framed, segmentHeaderBytes)
      sealSegment(framed, 0, piece.length, false)
    }
    if (!socket.write(framed)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  await write(header)
  for (let left = bytes; left > 0; left -= segmentPayloadBytesMax) {
    await write(Buffer.alloc(Math.min(left, segmentPayloadBytesMax)))
  }
  hugeSent++
}
let hugeSent = 0

/** Answers of which a part is not there, by the statement that they answer. */
const broken = new Map<string, Buffer>([
  [`${select} WHERE k = 'rows without metadata'`, Buffer.from([0, 0, 0, 2])],
  [`${select} WHERE k = 'rows cut off'`, Buffer.from([0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0])],
  [`${select} WHERE k = 'a keyspace set'`, Buffer.from([0, 0, 0, 3, 0, 9, 0x73])],
  [
    `${select} WHERE k = 'a long keyspace set'`,
    Buffer.concat([Buffer.from([0, 0, 0, 3, 255, 255]), Buffer.alloc(3000)]),
  ],
  [`${select} WHERE k = 'a schema change cut off'`, Buffer.from([0, 0, 0, 5, 0, 7, 0x43])],
])

function result(version: number, body: Buffer): Buffer {
  const envelope = Buffer.alloc(envelopeHeaderBytes + body.length)
  writeHeader(envelope, 0x80 | version, 0, 0, Opcode.RESULT, body.length)
  body.copy(envelope, envelopeHeaderBytes)
  return envelope
}

const asking = (bytes: number): string => `${select} WHERE k = 'bytes ${bytes}'`

suite('an answer that is larger than may be', () => {
  for (const version of [3, 4, 5] as const) {
    for (const way of ['driver', 'gateway'] as const) {
      it(`fails its own request only: v${version}, by ${way}`, async () => {
        const port = way === 'driver' ? sidecar.port : gateway.port
        const greedy = await world.client(port, 'alice', { version })
        const other = await world.client(port, 'bob', { version })
        const before = [...sidecar.node.connections]
        // In flight on the same connection to the node before, while and after the large one comes.
        other.send(queryEnvelope(version, 7, `${select} WHERE k = 'late'`, {}))
        await until('the node has it', () => late.length === 1)
        const room = describe(await greedy.ask(queryEnvelope(version, 1, asking(30 * mb), {})))
        assert.match(room, /^0x1001 the answer has 314\d+ bytes, more than may wait for this client now/)
        if (way === 'driver' && version === 4) {
          hugeSent = 0
          const large = greedy.ask(queryEnvelope(version, 1, asking(290 * mb), {}))
          assert.match(describe(await large), /^0x2200 the answer has 304\d+ bytes, more than 268435456; ask for/)
          await until('all of it has passed by', () => hugeSent === 1, 30_000)
        }
        for (const each of [greedy, other]) {
          assert.equal(describe(await each.ask(queryEnvelope(version, 1, select, {}))), `echo: ${select}`)
        }
        late.pop()!.answer()
        await until('the late answer', () => other.unasked.length === 1)
        assert.equal(describe(other.unasked.shift()!), `echo: ${select} WHERE k = 'late'`)
        assert.equal(
          describe(await greedy.ask(queryEnvelope(version, 2, asking(2 * mb), {}))),
          `echo: ${'x'.repeat(2 * mb)}`,
        )
        // One more may have been opened, for others do not wait behind a large answer.
        assert.deepEqual(
          before.filter((connection) => !sidecar.node.connections.has(connection)),
          [],
          'no connection to the node ended',
        )
        assert.equal(greedy.isClosed || other.isClosed, false)
        greedy.close()
        other.close()
        await until('nothing is held for them', () => budget.heldBytes === 0)
      })
    }
  }
})

suite('an answer that is not handed on', () => {
  const limited = (perIdentity: string): string => {
    const subjects = [{ spiffeId: 'spiffe://demo.local/svc/alice' }]
    const metadata = { name: 'few-bytes' }
    const spec = { subjects, perIdentity, unit: 'bytes' }
    const document = { apiVersion: 'ringfence.dev/v1alpha1', kind: 'RateLimitPolicy', metadata, spec }
    return `${usualPolicy}---\n${JSON.stringify(document)}`
  }
  after(() => sidecar.feed.apply(usualPolicy))

  it('is charged all the same: one that is too large', async () => {
    sidecar.feed.apply(limited('20MiB/d'))
    const [greedy, other] = [await world.client(sidecar.port, 'alice'), await world.client(sidecar.port, 'bob')]
    assert.match(describe(await greedy.ask(queryEnvelope(4, 1, asking(30 * mb)))), /^0x1001 the answer has/)
    assert.match(describe(await greedy.ask(queryEnvelope(4, 1, select))), /^0x2300 .*over the limit few-bytes/)
    assert.equal(describe(await other.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
  })

  it('is charged all the same: one that cannot be read', async () => {
    sidecar.feed.apply(limited('4KiB/d'))
    const greedy = await world.client(sidecar.port, 'alice')
    const text = `${select} WHERE k = 'a long keyspace set'`
    const told: string[] = []
    while (told.length < 10 && !told.at(-1)?.startsWith('0x2300'))
      told.push(describe(await greedy.ask(queryEnvelope(4, 1, text))))
    assert.ok(told.length > 1 && told.length <= 4, told.join())
    sidecar.feed.apply(limited('4KiB/d').replace('few-bytes', 'other-bytes'))
    for (let gone = 0; gone < 10; gone++)
      assert.equal(describe(await greedy.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
  })
})

suite('an answer that cannot be read', () => {
  for (const text of broken.keys()) {
    it(`fails its own request, and no connection ends: ${text}`, async () => {
      const [asker, other] = [await world.client(sidecar.port, 'alice'), await world.client(sidecar.port, 'bob')]
      other.send(queryEnvelope(4, 7, `${select} WHERE k = 'late'`))
      asker.send(queryEnvelope(4, 7, `${select} WHERE k = 'late'`))
      await until('the node has both', () => late.length === 2)
      assert.match(describe(await asker.ask(queryEnvelope(4, 1, text))), /^0x(0000|2200) /)
      for (const request of late.splice(0)) request.answer()
      for (const each of [asker, other]) {
        await until('the late answer', () => each.unasked.length === 1 || each.isClosed)
        assert.equal(each.isClosed, false)
        assert.equal(describe(await each.ask(queryEnvelope(4, 2, select))), `echo: ${select}`)
      }
    })
  }
})
