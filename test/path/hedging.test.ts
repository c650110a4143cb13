/** Reads that a policy lets be asked of a second replica, and everything else, which is sent once. */

import assert from 'node:assert/strict'
import { after, afterEach, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Consistency, CqlErrorCode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, usualPolicy, World } from './world.ts'

const read = 'SELECT * FROM shop.items WHERE k = ?'
const write = 'UPDATE shop.items SET v = ? WHERE k = ?'
const afterMs = 60
const hedged = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: RoutingPolicy
metadata: { name: items-are-hedged }
spec: { keyspaces: [shop], tables: [items], hedgeAfterMs: ${afterMs} }
`

let world: World
let nodes: RunningSidecar[]
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  nodes = await world.ring(3, { replication: { dc1: 3 }, sidecar: { policy: hedged } })
  gateway = await world.gateway(nodes)
  gateway.feed.apply(hedged)
})
after(() => world.close())
afterEach(() => {
  for (const { node } of nodes) {
    node.intercept = undefined
    node.requests.length = 0
  }
})

const values = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text))

async function ready(...texts: string[]): Promise<{ alice: RawClient; ids: Buffer[] }> {
  const alice = await world.client(gateway.port, 'alice')
  const ids: Buffer[] = []
  for (const text of texts) {
    const answer = await alice.ask(prepareEnvelope(4, 1, text))
    ids.push(readPrepared(wholeEnvelope(answer), 4).id)
  }
  // Until there is an upstream session at each sidecar, and the statements are everywhere.
  for (let i = 0; i < 90; i++) {
    for (const id of ids) await alice.ask(executeEnvelope(4, 1, id, undefined, values(`warm ${i}`, `warm ${i}`)))
  }
  for (const { node } of nodes) node.requests.length = 0
  return { alice, ids }
}

const arrivals = (value: string): NodeRequest[] =>
  nodes.flatMap(({ node }) => node.requests.filter((request) => request.value === value))

/** The node that is asked first holds its answers back; gives them. */
function holdFirst(value: string): NodeRequest[] {
  const heldBack: NodeRequest[] = []
  for (const { node } of nodes) {
    node.intercept = (request) => {
      if (request.value !== value || heldBack.length > 0) return false
      heldBack.push(request)
      return true
    }
  }
  return heldBack
}

suite('a read that a policy hedges', () => {
  it('is sent once when it is answered in time', async () => {
    const { alice, ids } = await ready(read)
    assert.equal(
      describe(await alice.ask(executeEnvelope(4, 1, ids[0]!, undefined, values('quick')))),
      `echo: ${read} <- quick`,
    )
    await sleep(2 * afterMs)
    assert.equal(arrivals('quick').length, 1)
  })

  it('is asked of a second replica when the first is late, and the first answer counts', async () => {
    const { alice, ids } = await ready(read)
    const held = holdFirst('late')
    const started = performance.now()
    const answer = await alice.ask(executeEnvelope(4, 7, ids[0]!, undefined, values('late')))
    assert.equal(describe(answer), `echo: ${read} <- late`)
    assert.ok(performance.now() - started >= afterMs - 5)
    assert.equal(arrivals('late').length, 2)
    assert.equal(new Set(arrivals('late').map(({ connection }) => connection)).size, 2, 'at two nodes')
    // The late answer comes while the client uses the stream for another request.
    const other = alice.ask(executeEnvelope(4, 7, ids[0]!, undefined, values('other')))
    held[0]!.answer()
    assert.equal(describe(await other), `echo: ${read} <- other`)
    for (let i = 0; i < 20; i++) {
      const text = `next ${i}`
      assert.equal(
        describe(await alice.ask(executeEnvelope(4, 7, ids[0]!, undefined, values(text)))),
        `echo: ${read} <- ${text}`,
      )
    }
    assert.equal(alice.unasked.length, 0)
  })

  it('goes by the sessions that the client has at the sidecars anyhow: one at each', async () => {
    const sessionsAt = () => nodes.map(({ feed }) => feed.report?.().sessions ?? 0)
    const before = sessionsAt()
    const { alice, ids } = await ready(read)
    const held = holdFirst('shared')
    assert.equal(
      describe(await alice.ask(executeEnvelope(4, 7, ids[0]!, undefined, values('shared')))),
      `echo: ${read} <- shared`,
    )
    assert.equal(arrivals('shared').length, 2)
    const opened = sessionsAt().map((sessions, at) => sessions - before[at]!)
    assert.ok(
      opened.every((count) => count <= 1),
      `${opened} sessions of one client at each sidecar`,
    )
    held[0]!.answer()
    alice.close()
  })

  it('is answered by the second when the first says that it cannot, and by the first when the second does', async () => {
    const { alice, ids } = await ready(read)
    const held = holdFirst('failing')
    const asked = alice.ask(executeEnvelope(4, 1, ids[0]!, undefined, values('failing')))
    await until('both have it', () => arrivals('failing').length === 2)
    held[0]!.reply(errorEnvelope(4, 0, CqlErrorCode.SERVER_ERROR, 'no'))
    assert.equal(describe(await asked), `echo: ${read} <- failing`)
    const alone = holdFirst('alone')
    const refused = alice.ask(executeEnvelope(4, 1, ids[0]!, undefined, values('alone')))
    await until('one has it', () => alone.length === 1)
    alone[0]!.reply(errorEnvelope(4, 0, CqlErrorCode.INVALID, 'no'))
    assert.match(describe(await refused), /^0x2200 no/, 'an error before the second is asked is the answer')
  })

  it('outlives one of its sidecars', async () => {
    const ring = await world.ring(3, { replication: { dc1: 3 }, sidecar: { policy: hedged } })
    const door = await world.gateway(ring)
    door.feed.apply(hedged)
    const alice = await world.client(door.port, 'alice')
    const prepared = await alice.ask(prepareEnvelope(4, 1, read))
    const { id } = readPrepared(wholeEnvelope(prepared), 4)
    for (let i = 0; i < 90; i++) await alice.ask(executeEnvelope(4, 1, id, undefined, values(`warm ${i}`)))
    for (const { node } of ring) node.intercept = ({ value }) => value === 'both'
    const asked = alice.ask(executeEnvelope(4, 1, id, undefined, values('both')))
    const having = () => ring.filter(({ node }) => node.requests.some(({ value }) => value === 'both'))
    await until('both have it', () => having().length === 2)
    const [gone, stays] = having() as [RunningSidecar, RunningSidecar]
    await gone.sidecar.stop(0)
    stays.node.requests.find(({ value }) => value === 'both')!.answer()
    assert.equal(describe(await asked), `echo: ${read} <- both`)
    assert.equal(alice.isClosed, false)
  })
})

suite('what is never sent twice', () => {
  it('a write, a conditional write, a serial read, a batch, a text', async () => {
    const conditional = 'UPDATE shop.items SET v = ? WHERE k = ? IF v = 1'
    const { alice, ids } = await ready(read, write, conditional)
    const requests = [
      executeEnvelope(4, 10, ids[1]!, undefined, values('slow write', 'slow write')),
      executeEnvelope(4, 11, ids[2]!, undefined, values('slow lwt', 'slow lwt')),
      executeEnvelope(4, 12, ids[0]!, undefined, values('slow serial'), { consistency: Consistency.SERIAL }),
      queryEnvelope(4, 14, read, { values: values('slow text') }),
      batchEnvelope(4, 15, 1, [{ id: ids[1]!, values: values('slow batch', 'slow batch') }]),
    ]
    const late: NodeRequest[] = []
    for (const { node } of nodes) {
      node.intercept = (request) => {
        late.push(request)
        return true
      }
    }
    const asked = requests.map((request) => alice.ask(request))
    await until('all arrived', () => late.length >= requests.length)
    await sleep(4 * afterMs)
    assert.equal(late.length, requests.length)
    assert.equal(late.filter(({ opcode }) => opcode === Opcode.EXECUTE).length, 3)
    for (const request of late) request.answer()
    for (const answer of await Promise.all(asked)) assert.doesNotMatch(describe(answer), /^0x/)
  })

  it('anything, once the policy is taken back', async () => {
    const { alice, ids } = await ready(read)
    gateway.feed.apply(usualPolicy)
    const held = holdFirst('unhedged')
    const asked = alice.ask(executeEnvelope(4, 1, ids[0]!, undefined, values('unhedged')))
    await until('it arrived', () => held.length === 1)
    await sleep(3 * afterMs)
    assert.equal(arrivals('unhedged').length, 1)
    held[0]!.answer()
    assert.equal(describe(await asked), `echo: ${read} <- unhedged`)
    gateway.feed.apply(hedged)
  })
})
