/** Long envelopes on a mesh link as a gateway of our own sees them: in pieces, whole to an older one, and none while a session is paused. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { envelopeHeaderBytes, Opcode } from '../../src/cql/protocol.ts'
import { pieceBytesMax, pieceInto } from '../../src/link/pieces.ts'
import { Control, controlEnvelope, linkProtocol, linkProtocol1 } from '../../src/link/protocol.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { passportOf } from './passport-of.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const long = `${select} WHERE k = 'long'`
const longBytes = 1024 * 1024

let world: World
let sidecar: RunningSidecar

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar()
  const rows = echo(4, 0, 'x'.repeat(longBytes))
  sidecar.node.intercept = (request: NodeRequest) => {
    if (request.text === long) request.reply(rows)
    return request.text === long
  }
})
after(() => world.close())

/** A link with alice's session 7 on it. */
async function linkOf(protocol: string): Promise<RawLink> {
  const gateway = await world.credentials('ringfence/gateway/gateway1')
  const link = await RawLink.open(sidecar.port, gateway, protocol)
  assert.equal(await link.offer(7, await passportOf(world, sidecar, 'alice')), 'opened')
  link.frames.length = 0
  return link
}

/** Without what the session says of itself: a request that waits for its turn of the loop lets the gateway pause. */
const answersOf = (link: RawLink): RawLink['frames'] =>
  link.frames.filter(({ opcode }) => opcode !== Control.PAUSE && opcode !== Control.RESUME)

const bytesOf = (link: RawLink): number => link.frames.reduce((sum, { text }) => sum + text.length, 0)

suite('a long envelope', () => {
  it('comes whole to an older gateway, which is never paused', async () => {
    const link = await linkOf(linkProtocol1)
    link.send(7, queryEnvelope(4, 1, long))
    await until('it is there', () => link.frames.length > 0)
    assert.deepEqual(
      link.frames.map(({ session, opcode }) => `${session}/${opcode}`),
      [`7/${Opcode.RESULT}`],
    )
    link.socket.destroy()
  })

  it('comes in pieces otherwise, and stops where its session is paused', async () => {
    const link = await linkOf(linkProtocol)
    link.send(7, controlEnvelope(Control.PAUSE, {}))
    link.send(7, queryEnvelope(4, 1, long))
    link.send(7, queryEnvelope(4, 2, select))
    link.send(0, controlEnvelope(Control.PING, {}))
    await until('the link itself goes on', () => answersOf(link).length > 0)
    await sleep(200)
    assert.deepEqual(
      answersOf(link).map(({ opcode }) => opcode),
      [Control.PONG],
    )
    link.frames.length = 0
    link.send(7, controlEnvelope(Control.RESUME, {}))
    await until(
      'all of it is there',
      () => bytesOf(link) > longBytes && answersOf(link).at(-1)!.opcode === Opcode.RESULT,
    )
    const pieces = answersOf(link).slice(0, -1)
    assert.ok(pieces.every(({ session, opcode }) => session === 7 && opcode === Control.PIECE))
    assert.ok(pieces.every(({ text }) => text.length <= pieceBytesMax))
    link.socket.destroy()
  })

  it('is taken in pieces, with others between them; a session that ends within one has cost nothing', async () => {
    const link = await linkOf(linkProtocol)
    const request = queryEnvelope(4, 3, `${select} WHERE k = '${'y'.repeat(100_000)}'`)
    const target = Buffer.alloc(request.length + envelopeHeaderBytes)
    const piece = (at: number, bytes: number): void =>
      link.send(7, Buffer.from(target.subarray(0, pieceInto(target, request, at, bytes))))
    piece(0, 50_000)
    link.send(0, controlEnvelope(Control.PING, {}))
    piece(50_000, request.length - 50_000)
    await until('it is answered', () => link.frames.some(({ session }) => session === 7))
    piece(0, 50_000)
    link.send(7, controlEnvelope(Control.CLOSE, { code: 'DONE', message: '' }))
    piece(50_000, request.length - 50_000)
    link.send(0, controlEnvelope(Control.PING, {}))
    await until('the link goes on', () => link.frames.filter(({ opcode }) => opcode === Control.PONG).length === 2)
    assert.equal(link.closed, false)
    link.socket.destroy()
  })

  it('that does not add up ends the link', async () => {
    const link = await linkOf(linkProtocol)
    const target = Buffer.alloc(1000)
    const request = queryEnvelope(4, 3, select)
    link.send(7, Buffer.from(target.subarray(0, pieceInto(target, request, 0, 5))))
    await until('it is closed', () => link.closed)
  })
})
