/** DESCRIBE, and the other statements whose names the node looks for when it runs them, seen from both ends of a sidecar. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { pagingStateOf } from '../../src/cql/answers/paging.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readPrepared, readRows } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

/** Bob may see all of shop and one table of play. */
const some = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: bob-play }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [play]
  tables: [things]
  operations: [READ]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: bob-gives }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [shop]
  operations: [AUTHORIZE]
`
const all = ['keyspace', 'table items', 'table things', 'materialized_view by_v', 'index of_items', 'index of_things']

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  const node = await world.node()
  const key = { partitionKey: { v: 'text' }, regulars: { k: 'text' } }
  node.schema.add(
    { keyspace: 'play', name: 'by_v', base: 'items', ...key },
    { keyspace: 'play', name: 'items', partitionKey: { k: 'text' }, regulars: { v: 'text' }, indexes: ['of_items'] },
    { keyspace: 'play', name: 'things', partitionKey: { n: 'int' }, regulars: { v: 'text' }, indexes: ['of_things'] },
  )
  running = await world.sidecar({ node, policy: some })
  node.intercept = answerDescribe
})
after(() => world.close())
beforeEach(() => {
  running.node.requests.length = 0
  running.feed.apply(some)
})

/** As Cassandra does: in the keyspace of the connection, whatever the request or the preparing says. */
function answerDescribe(request: NodeRequest): boolean {
  const { opcode, text, connection } = request
  if (!text.startsWith('DESCRIBE') || opcode === Opcode.PREPARE) return false
  const keyspace = / KEYSPACE (\w+)/.exec(text)?.[1] ?? connection.keyspace
  const columns = ['keyspace_name', 'type', 'name', 'create_statement'].map((name) => ({ name, type: native('text') }))
  const rows = all.map((row) => {
    const [type = '', name = keyspace] = row.split(' ')
    return [keyspace, type, name, `CREATE ${type} ${keyspace}.${name};`].map((value) => Buffer.from(value))
  })
  request.reply(rowsEnvelope(connection.version, 0, { keyspace: 'system', table: 'describe', columns }, rows))
  return true
}

function named(answer: Buffer, version: ProtocolVersion): string[] {
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
  return readRows(wholeEnvelope(answer), version).rows.map(([keyspace, type, name]) => `${keyspace} ${type} ${name}`)
}

const inPlay = ['play keyspace play', 'play table things', 'play index of_things']

async function use(client: RawClient, keyspace: string): Promise<void> {
  await client.ask(queryEnvelope(client.version, 1, `USE ${keyspace}`))
}

const lastRecord = () => running.records().findLast(({ operation }) => String(operation).startsWith('DESCRIBE'))

suite('DESCRIBE', () => {
  it('prepared in one keyspace and run in another is judged, cut down and recorded in the other', async () => {
    const bob = await world.client(running.port, 'bob')
    await use(bob, 'shop')
    const answer = await bob.ask(prepareEnvelope(4, 2, 'DESCRIBE KEYSPACE'))
    const { id } = readPrepared(wholeEnvelope(answer), 4)
    await use(bob, 'play')
    assert.deepEqual(named(await bob.ask(executeEnvelope(4, 3, id, undefined, [])), 4), inPlay)
    assert.equal(lastRecord()?.keyspace, 'play')
    assert.equal(lastRecord()?.request, 'EXECUTE')
    assert.equal(lastRecord()?.rows, inPlay.length)
    bob.close()
  })

  it('with a keyspace of the request (v5) is judged, cut down and recorded in that of the connection', async () => {
    const bob = await world.client(running.port, 'bob', { version: 5 })
    await use(bob, 'play')
    for (const text of ['DESCRIBE KEYSPACE', 'DESCRIBE TABLES']) {
      const answer = await bob.ask(queryEnvelope(5, 3, text, { keyspace: 'shop' }))
      assert.deepEqual(named(answer, 5), inPlay)
      assert.equal(lastRecord()?.keyspace ?? 'play', 'play')
    }
    bob.close()
  })

  it('where nothing may be seen is refused, in whatever keyspace it was prepared, and the node is not asked', async () => {
    running.feed.apply(some)
    const bob = await world.client(running.port, 'bob')
    await use(bob, 'shop')
    const answer = await bob.ask(prepareEnvelope(4, 2, 'DESCRIBE TABLE items'))
    const { id } = readPrepared(wholeEnvelope(answer), 4)
    await use(bob, 'play')
    running.node.requests.length = 0
    assert.match(describe(await bob.ask(executeEnvelope(4, 3, id, undefined, []))), /^0x2100 .*<table play\.items>/)
    assert.equal(lastRecord()?.keyspace, 'play')
    assert.deepEqual(running.node.texts(), [])
    await use(bob, 'shop')
    assert.equal(headerOpcode(await bob.ask(executeEnvelope(4, 3, id, undefined, [])), 0), Opcode.RESULT)
    bob.close()
  })

  it('of those who may see everything goes to the node as it came', async () => {
    const alice = await world.client(running.port, 'alice')
    running.feed.apply(`${some}---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice-all }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: ["*"]
  cluster: true
  operations: [ALL]
`)
    const answer = named(await alice.ask(queryEnvelope(4, 3, 'DESCRIBE KEYSPACE play')), 4)
    assert.deepEqual(
      answer,
      all.map((row) => `play ${row}${row === 'keyspace' ? ' play' : ''}`),
    )
    alice.close()
  })

  it('a deny of one table hides it, its indexes and its views, also from who may DESCRIBE the keyspace', async () => {
    const alice = await world.client(running.port, 'alice')
    running.feed.apply(`${some}---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-items }
spec:
  effect: deny
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: [play]
  tables: [items]
  operations: [ALL]
`)
    assert.deepEqual(named(await alice.ask(queryEnvelope(4, 3, 'DESCRIBE KEYSPACE play')), 4), inPlay)
    alice.close()
  })

  it('gives pages out of what may be seen only', async () => {
    const bob = await world.client(running.port, 'bob')
    await use(bob, 'play')
    for (let pageSize = 1; pageSize <= all.length + 1; pageSize++) {
      const pages: number[] = []
      const rows: string[] = []
      let pagingState: Buffer | undefined
      do {
        const options = { pageSize, ...(pagingState !== undefined && { pagingState }) }
        const answer = await bob.ask(queryEnvelope(4, 3, 'DESCRIBE KEYSPACE', options))
        const page = named(answer, 4)
        pages.push(page.length)
        rows.push(...page)
        pagingState = pagingStateOf(wholeEnvelope(answer), 4)
      } while (pagingState !== undefined)
      assert.deepEqual(rows, inPlay)
      assert.equal(pages.length, Math.floor(inPlay.length / pageSize) + 1)
    }
    bob.close()
  })

  it('keeps what is asked meanwhile in its order', async () => {
    const bob = await world.client(running.port, 'bob')
    const order: number[] = []
    await Promise.all(
      ['DESCRIBE KEYSPACE shop', 'SELECT * FROM shop.items', 'DESCRIBE KEYSPACE play'].map(async (text, stream) => {
        await bob.ask(queryEnvelope(4, stream, text))
        order.push(stream)
      }),
    )
    assert.equal(order.indexOf(0), 0)
    assert.equal(order.length, 3)
    bob.close()
  })
})

suite('descriptions that many ask for at once', () => {
  it('are asked for by one identity’s share, and those of another do not wait behind them', async () => {
    running.feed.apply(some.replaceAll('svc/bob }', 'svc/bob }, { spiffeId: spiffe://demo.local/svc/dave }'))
    const { node } = running
    const held: NodeRequest[] = []
    node.intercept = (request) => {
      if (!request.text.startsWith('DESCRIBE')) return false
      held.push(request)
      return true
    }
    const bobs = await Promise.all(Array.from({ length: 6 }, () => world.client(running.port, 'bob')))
    const dave = await world.client(running.port, 'dave')
    const asked = bobs.map((bob) => bob.ask(queryEnvelope(4, 1, 'DESCRIBE KEYSPACE shop')))
    await until('two of them are at the node', () => held.length === 2)
    const another = dave.ask(queryEnvelope(4, 1, 'DESCRIBE KEYSPACE play'))
    await until('that of another as well', () => held.length === 3)
    assert.equal(held[2]!.text, 'DESCRIBE KEYSPACE play')
    node.intercept = answerDescribe
    for (const request of held) assert.ok(answerDescribe(request))
    assert.deepEqual(named(await another, 4), inPlay)
    for (const answer of await Promise.all(asked)) assert.equal(headerOpcode(answer, 0), Opcode.RESULT)
    for (const client of [...bobs, dave]) client.close()
  })
})

suite('GRANT and REVOKE of a table without its keyspace', () => {
  for (const text of ['GRANT SELECT ON items TO r', 'REVOKE SELECT ON items FROM r']) {
    it(`${text} is judged in the keyspace of the connection`, async () => {
      const bob = await world.client(running.port, 'bob', { version: 5 })
      await use(bob, 'shop')
      const prepared = await bob.ask(prepareEnvelope(5, 2, text))
      const { id, resultMetadataId } = readPrepared(wholeEnvelope(prepared), 5)
      assert.equal(headerOpcode(await bob.ask(queryEnvelope(5, 3, text)), 0), Opcode.RESULT)
      await use(bob, 'play')
      running.node.requests.length = 0
      for (const envelope of [queryEnvelope(5, 3, text, { keyspace: 'shop' })]) {
        assert.match(describe(await bob.ask(envelope)), /^0x2100 .*<table play\.items>/)
      }
      // At the node it keeps the keyspace of whoever ran it first.
      const execute = executeEnvelope(5, 3, id, resultMetadataId, [])
      assert.match(describe(await bob.ask(execute)), /^0x2200 .*must name the keyspace/)
      assert.deepEqual(running.node.texts(), [])
      bob.close()
    })
  }
})
