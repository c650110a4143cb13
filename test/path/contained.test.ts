/** A fault of ours in what is done for one session ends that session. Others on the same connection to the node, and on the same link, go on. */
import assert from 'node:assert/strict'
import { after, afterEach, before, it, mock, describe as suite } from 'node:test'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { faultsContained } from '../../src/base/contained.ts'
import { errorEnvelope, queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { UpstreamSession } from '../../src/gateway/upstream-session.ts'
import { ClientConnection } from '../../src/session/connection.ts'
import { Outbox } from '../../src/session/outbox.ts'
import { LinkedClient } from '../../src/sidecar/linked-client.ts'
import { SchemaAnswers } from '../../src/sidecar/schema-answers.ts'
import { EnforcedSession } from '../../src/sidecar/session.ts'
import { describe, type RawClient } from './client.ts'
import { type NodeRequest, tableCreated } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
/** The request whose answer meets a fault. */
const brokenStream = 77

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
const budget = new BytesBudget()
let held: NodeRequest[] = []

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ connections: 1, budget })
  gateway = await world.gateway([sidecar])
  sidecar.node.intercept = (request) => {
    if (request.text === select) held.push(request)
    if (request.text === 'USE "play"') request.reply(errorEnvelope(4, request.stream, 0x2200, 'no such keyspace'))
    return request.text === select || request.text === 'USE "play"'
  }
})
after(() => world.close())
afterEach(() => mock.restoreAll())

const fail = (): never => {
  throw new TypeError('a fault of our own')
}

/** Breaks a method for the first who calls it with `isBroken`. */
function breakIn<T extends object>(prototype: T, name: keyof T, isBroken: (self: T, args: unknown[]) => boolean): void {
  const whole = prototype[name] as (...args: unknown[]) => unknown
  mock.method(
    prototype as never,
    name as never,
    function (this: T, ...args: unknown[]) {
      return isBroken(this, args) ? fail() : whole.apply(this, args)
    } as never,
  )
}

const ofAlice = ({ subject }: { subject: string | undefined }): boolean => subject?.endsWith('/alice') === true
const ofStream = (_: unknown, args: unknown[]): boolean => args.includes(brokenStream)

/** By where: what is broken, and whether the clients come by the gateway. */
const faults: Record<string, { byGateway: boolean; begin: () => void }> = {
  'the answer to a client of the sidecar': {
    byGateway: false,
    begin: () => breakIn(ClientConnection.prototype, 'answer', ofStream),
  },
  'the answer to a client of a link': {
    byGateway: true,
    begin: () => breakIn(LinkedClient.prototype, 'answer', ofStream),
  },
  'a frame for a client of the gateway': {
    byGateway: true,
    begin: () =>
      breakIn(UpstreamSession.prototype, 'onFrame', (_, [buffer, start]) => {
        return (buffer as Buffer).readInt16BE((start as number) + 2) === brokenStream
      }),
  },
}

suite('a fault of ours', () => {
  for (const [where, { byGateway, begin }] of Object.entries(faults)) {
    it(`in ${where} ends its session only, and is counted`, async () => {
      const port = byGateway ? gateway.port : sidecar.port
      const broken = await world.client(port, 'alice', { version: 4 })
      const other = await world.client(port, 'bob', { version: 4 })
      held = []
      const answered = other.ask(queryEnvelope(4, 1, select))
      broken.send(queryEnvelope(4, brokenStream, select))
      await until('both are at the node', () => held.length === 2)
      const counted = faultsContained()
      begin()
      for (const request of held.toSorted((a, b) => Number(b.stream) - Number(a.stream))) request.answer()
      assert.equal(describe(await answered), `echo: ${select}`)
      await until('the session is over', () => broken.isClosed)
      assert.ok(faultsContained() > counted)
      assert.equal(other.isClosed, false)
      mock.restoreAll()
      held = []
      const again = other.ask(queryEnvelope(4, 2, select))
      await until('it is at the node', () => held.length === 1)
      held[0]!.answer()
      assert.equal(describe(await again), `echo: ${select}`)
      other.close()
    })
  }

  /** By the kind of place: what is broken for alice, where there is no function that could be wrapped around it, and what calls it. */
  const kinds: Record<string, { begin: () => void; trigger?: (alice: RawClient) => void }> = {
    'an event: bytes of a client': {
      begin: () => breakIn(ClientConnection.prototype, 'onEnvelope', ofAlice),
      trigger: (alice) => alice.send(queryEnvelope(4, 3, select)),
    },
    'a timer: the check of a reader': { begin: () => breakIn(ClientConnection.prototype, 'checkReader', ofAlice) },
    'the end of a turn': {
      begin: () => {
        let calls = 0
        breakIn(Outbox.prototype, 'flushTurn', () => calls++ === 0)
      },
      // Nothing else is written in that turn.
      trigger: () => held[0]!.answer(),
    },
    'a promise: the connection of a USE that the node refuses': {
      begin: () => breakIn(ClientConnection.prototype, 'answer', ofStream),
      trigger: (alice) => alice.send(queryEnvelope(4, brokenStream, 'USE play')),
    },
  }
  for (const [kind, { begin, trigger }] of Object.entries(kinds)) {
    it(`in ${kind} ends its connection only, and is counted`, async () => {
      const alice = await world.client(sidecar.port, 'alice', { version: 4 })
      const bob = await world.client(sidecar.port, 'bob', { version: 4 })
      held = []
      alice.send(queryEnvelope(4, 1, select))
      await until('it is at the node', () => held.length === 1)
      const counted = faultsContained()
      begin()
      trigger?.(alice)
      await until('the connection is over', () => alice.isClosed)
      assert.ok(faultsContained() > counted)
      mock.restoreAll()
      held = []
      const answered = bob.ask(queryEnvelope(4, 2, select))
      await until('it is at the node', () => held.length === 1)
      held[0]!.answer()
      assert.equal(describe(await answered), `echo: ${select}`)
      bob.close()
    })
  }

  it('at the end of a connection to the node keeps no other from being told of it', async () => {
    const clients = await Promise.all(['alice', 'bob'].map((name) => world.client(sidecar.port, name, { version: 4 })))
    held = []
    for (const client of clients) client.send(queryEnvelope(4, 1, select))
    await until('both are at the node', () => held.length === 2)
    let calls = 0
    breakIn(ClientConnection.prototype, 'close', () => calls++ === 0)
    held[0]!.connection.socket.destroy()
    await until('both are over', () => clients.every(({ isClosed }) => isClosed))
  })

  it('in an event for one session keeps no other from hearing it', async () => {
    const clients = await Promise.all(['alice', 'bob'].map((name) => world.client(sidecar.port, name, { version: 4 })))
    for (const client of clients) await client.ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE']))
    let calls = 0
    breakIn(EnforcedSession.prototype, 'sees', () => calls++ === 0)
    sidecar.node.emit(tableCreated)
    await until('one is over', () => clients.some(({ isClosed }) => isClosed))
    assert.equal(clients.filter(({ isClosed }) => isClosed).length, 1)
  })

  it('in what is loaded with the first client keeps nobody out', async () => {
    mock.method(SchemaAnswers.prototype, 'wake', fail)
    for (const port of [sidecar.port, gateway.port]) {
      const counted = faultsContained()
      const client = await world.client(port, 'alice', { version: 4 })
      held = []
      const answered = client.ask(queryEnvelope(4, 1, select))
      await until('it is at the node', () => held.length === 1)
      held[0]!.answer()
      assert.equal(describe(await answered), `echo: ${select}`)
      assert.ok(faultsContained() > counted)
      client.close()
    }
  })

  it('leaves nothing counted', async () => {
    await until('nothing is held', () => budget.heldBytes === 0)
  })
})
