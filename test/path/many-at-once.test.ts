/**
 * One client may have tens of thousands of requests in flight. Whatever ends for all of them at once (a connection to the node, the time that
 * they have, a mesh link), each is told and recorded once, and the loop is not theirs meanwhile: they are told in many turns.
 */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import type { Consumer } from '../../src/audit/event.ts'
import { limits } from '../../src/base/limits.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { ClientLife } from '../../src/session/client-life.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, until, World } from './world.ts'

const count = 8_000
/** A share of four milliseconds is for some hundred. */
const perTurnMax = count / 4
const text = 'SELECT v FROM shop.items WHERE k = 1'

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

/** How often something happened within one turn of the loop, at most. */
class PerTurn {
  most = 0
  #now = 0

  readonly count = (): void => {
    if (this.#now === 0)
      setImmediate(() => {
        this.#now = 0
      })
    this.most = Math.max(this.most, ++this.#now)
  }
}

function hold({ node }: RunningSidecar): NodeRequest[] {
  const held: NodeRequest[] = []
  node.intercept = (request) => {
    if (!/^SELECT v/.test(request.text)) return false
    held.push(request)
    return true
  }
  return held
}

/** What came of requests, counted. */
async function outcomesOf(asked: readonly Promise<Buffer>[]): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const one of asked) {
    const said = await one.then(describe, (reason: Error) => `no answer: ${reason.message}`)
    counts.set(said, (counts.get(said) ?? 0) + 1)
  }
  return counts
}

suite('what ends for many requests at once', () => {
  /** With all of them in flight. */
  async function ended(
    name: string,
    end: (running: RunningSidecar, over: Promise<unknown>) => void | Promise<void>,
  ): Promise<{ running: RunningSidecar; outcomes: Map<string, number>; perTurn: number }> {
    const perTurn = new PerTurn()
    const counting: Consumer = { ended: ({ outcome }) => outcome === 'lost' && perTurn.count() }
    const running = await world.sidecar({ name, more: { consumers: [counting] } })
    const client = await world.client(running.port, 'alice')
    const held = hold(running)
    const outcomes = outcomesOf(
      Array.from({ length: count }, (_, stream) => client.ask(queryEnvelope(4, stream, text), 60_000)),
    )
    await until('all are at the node', () => held.length === count, 60_000)
    await end(running, outcomes)
    const counts = await outcomes
    const lost = (): number => running.records().filter(({ outcome }) => outcome === 'lost').length
    await until('all are on record', () => lost() >= count, 30_000)
    assert.equal(lost(), count)
    client.close()
    return { running, outcomes: counts, perTurn: perTurn.most }
  }

  it('is recorded piece by piece: the connection to the node is lost', async () => {
    const { outcomes, perTurn } = await ended('lost', ({ node }) => {
      for (const { socket, registered } of node.connections) if (registered.length === 0) socket.destroy()
    })
    assert.deepEqual(
      [...outcomes].map(([said, times]) => [said.startsWith('no answer'), times]),
      [[true, count]],
    )
    assert.ok(perTurn < perTurnMax, `${perTurn} in one turn`)
  })

  it('is told and recorded piece by piece: the time that they have', async (t) => {
    const { outcomes, perTurn } = await ended('late', async (_, over) => {
      const real = performance.now.bind(performance)
      const mocked = t.mock.method(performance, 'now', () => real() + limits.requestTimeoutMs + 1_000)
      await over
      mocked.mock.restore()
    })
    assert.equal(outcomes.size, 1)
    for (const said of outcomes.keys()) assert.match(said, /^0x1200 /)
    assert.ok(perTurn < perTurnMax, `${perTurn} in one turn`)
  })

  it('is told piece by piece: the link of a gateway by which most of them went', async (t) => {
    const sidecars = await world.ring(2)
    const gateway = await world.gateway(sidecars)
    const client = await world.client(gateway.port, 'alice')
    const answer = await client.ask(prepareEnvelope(4, 1, 'SELECT v FROM shop.items WHERE k = ?'))
    const { id } = readPrepared(wholeEnvelope(answer), 4)
    const execute = (stream: number): Buffer =>
      executeEnvelope(4, stream, id, undefined, [Buffer.from(`key ${stream}`)])
    // Until both have the session and the statement.
    for (let at = 0; at < 200; at++) await client.ask(execute(at))
    const held = sidecars.map(hold)
    const outcomes = outcomesOf(Array.from({ length: count }, (_, stream) => client.ask(execute(stream), 60_000)))
    await until('all are at the nodes', () => held[0]!.length + held[1]!.length === count, 60_000)
    // How they are shared out follows how busy each sidecar seems. The one that got most of them goes.
    const [most, rest] = held[0]!.length > held[1]!.length ? [0, 1] : [1, 0]
    const lost = held[most]!.length
    assert.ok(lost < count, 'all of them went by one sidecar')
    const perTurn = new PerTurn()
    const { fault } = ClientLife.prototype
    t.mock.method(ClientLife.prototype, 'fault', function (this: ClientLife, reason: unknown, stream: number) {
      perTurn.count()
      fault.call(this, reason, stream)
    })
    await sidecars[most]!.sidecar.stop(0)
    for (const request of held[rest]!.splice(0)) request.answer()
    const unknown = [...(await outcomes)].filter(([said]) => /^0x1001 .*whether the node acted is not known/.test(said))
    assert.equal(
      unknown.reduce((sum, [, times]) => sum + times, 0),
      lost,
    )
    assert.equal(client.isClosed, false)
    client.close()
    assert.ok(perTurn.most < lost, `${perTurn.most} in one turn`)
  })
})
