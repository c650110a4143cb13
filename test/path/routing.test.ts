/** A gateway before a ring of sidecars: where requests go that are about one row, and what becomes of those that cannot. */

import assert from 'node:assert/strict'
import { after, afterEach, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { murmur3Token, token } from '../../src/cql/murmur3.ts'
import { CqlErrorCode, Flag, headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readEvent, readPrepared } from '../../src/cql/responses.ts'
import { BodyWriter } from '../../src/cql/writer.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { describe, type RawClient } from './client.ts'
import { tableCreated } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const insert = 'INSERT INTO shop.items (v, k) VALUES (?, ?)'
const readText = 'SELECT * FROM shop.items WHERE k = ?'
const othersOnly = `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: others-only }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [shop]
  operations: [READ]
`

let world: World
let nodes: RunningSidecar[]
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  nodes = await world.ring(3, { replication: { dc1: 1 } })
  gateway = await world.gateway(nodes)
})
after(() => world.close())
afterEach(() => {
  for (const { node } of nodes) {
    node.intercept = undefined
    node.requests.length = 0
  }
})

/** The node whose token is the first at or after the key's, found the plain way. */
function ownerOf(key: string, ring: readonly RunningSidecar[] = nodes): RunningSidecar {
  const bytes = Buffer.from(key)
  murmur3Token(bytes, 0, bytes.length)
  const wanted = (BigInt(token.high) << 32n) | BigInt(token.low >>> 0)
  const tokens = ring.flatMap((each) =>
    each.node.topology.place.tokens.map((text) => ({ token: BigInt(text), owner: each })),
  )
  tokens.sort((a, b) => (a.token < b.token ? -1 : 1))
  return (tokens.find((each) => each.token >= wanted) ?? tokens[0]!).owner
}

function withPayload(envelope: Buffer, value: string): Buffer {
  const map = new BodyWriter().short(1).string('request-id').bytes(Buffer.from(value)).envelope(4, 0, 0)
  const request = Buffer.concat([envelope.subarray(0, 9), map.subarray(9), envelope.subarray(9)])
  request[1]! |= Flag.CUSTOM_PAYLOAD
  request.writeInt32BE(request.length - 9, 5)
  return request
}

const values = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text))
const resultId = Buffer.alloc(16, 9)

async function prepared(client: RawClient, text: string): Promise<Buffer> {
  const answer = await client.ask(prepareEnvelope(client.version, 1, text))
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
  return readPrepared(wholeEnvelope(answer), client.version).id
}

/** Until a client has an upstream session at every sidecar and the statement is on each, requests may go the long way. */
async function warm(client: RawClient, id: Buffer, args: (key: string) => Buffer[]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 40; i++) {
      const key = `warm ${i}`
      await client.ask(executeEnvelope(client.version, 2, id, resultId, args(key)))
    }
  }
  for (const { node } of nodes) node.requests.length = 0
}

/** Which of the keys came to another node than their owner. */
function astray(keys: readonly string[], opcode: number): string[] {
  return keys.filter((key) => {
    const arrived = nodes.filter(({ node }) =>
      node.requests.some((request) => request.opcode === opcode && request.envelope.includes(key)),
    )
    assert.equal(arrived.length, 1, `${key} arrived at ${arrived.length} nodes`)
    return arrived[0] !== ownerOf(key)
  })
}

const keys = Array.from({ length: 120 }, (_, i) => `key-${i}-`)

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`a request about one row, version ${version}`, () => {
    it('goes to a replica when it is an EXECUTE, and is answered on its own stream', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const id = await prepared(alice, insert)
      await warm(alice, id, (key) => values('v', key))
      const answers = await Promise.all(
        keys.map((key, i) => alice.ask(executeEnvelope(version, 10 + i, id, resultId, values(`v of ${key}`, key)))),
      )
      for (const [i, answer] of answers.entries()) assert.equal(describe(answer), `echo: ${insert} <- v of ${keys[i]}`)
      assert.deepEqual(astray(keys, Opcode.EXECUTE), [])
      const counts = nodes.map(({ node }) => node.requests.length)
      assert.ok(Math.min(...counts) > 10, `all have their share: ${counts}`)
    })

    it('goes to a replica when it is a QUERY with bound values, by place or by name', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const byName = 'SELECT * FROM shop.items WHERE k = :key AND v = :v ALLOW FILTERING'
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 20; i++) {
          await alice.ask(queryEnvelope(version, 1, readText, { values: values(`warm ${i}`) }))
          await alice.ask(queryEnvelope(version, 1, byName, { values: values('v', `w ${i}`), names: ['v', 'key'] }))
        }
      }
      for (const { node } of nodes) node.requests.length = 0
      await Promise.all(
        keys.map((key, i) =>
          alice.ask(
            i % 2 === 0
              ? queryEnvelope(version, 10 + i, readText, { values: values(key) })
              : queryEnvelope(version, 10 + i, byName, { values: values('v', key), names: ['v', 'key'] }),
          ),
        ),
      )
      assert.deepEqual(astray(keys, Opcode.QUERY), [])
    })

    it('is answered also where it is a BATCH that is too large to be read for its way', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const id = await prepared(alice, insert)
      const batch = (parts: number) =>
        batchEnvelope(
          version,
          2,
          1,
          Array.from({ length: parts }, () => ({ id, values: values('v', 'k') })),
        )
      for (const parts of [2048, 2049, 20_000]) assert.equal(describe(await alice.ask(batch(parts))), 'result 1')
    })

    it('goes to a replica when it is a BATCH about one partition, of prepared statements and texts', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const id = await prepared(alice, insert)
      const one = (key: string, stream: number) =>
        alice.ask(
          batchEnvelope(version, stream, 1, [
            { id, values: values('v', key) },
            { text: 'UPDATE shop.items SET v = ? WHERE k = ?', values: values('w', key) },
          ]),
        )
      for (let i = 0; i < 40; i++) await one(`warm ${i}`, 2)
      for (const { node } of nodes) node.requests.length = 0
      for (const answer of await Promise.all(keys.map((key, i) => one(key, 10 + i)))) {
        assert.equal(describe(answer), 'result 1')
      }
      assert.deepEqual(astray(keys, Opcode.BATCH), [])
      const answer = await alice.ask(
        batchEnvelope(version, 9, 1, [
          { id, values: values('v', 'one') },
          { id, values: values('v', 'another') },
        ]),
      )
      assert.equal(describe(answer), 'result 1', 'a BATCH about two partitions goes wherever there is room')
    })
  })
}

for (const version of [4, 5] as ProtocolVersion[]) {
  it(`a custom payload and tracing change no request's way, version ${version}`, async () => {
    const alice = await world.client(gateway.port, 'alice', { version })
    const [answer, again] = [
      await alice.ask(withPayload(prepareEnvelope(version, 1, insert), 'first')),
      await alice.ask(withPayload(prepareEnvelope(version, 1, insert), 'second')),
    ]
    const { id } = readPrepared(wholeEnvelope(answer), version)
    assert.deepEqual(readPrepared(wholeEnvelope(again), version).id, id)
    await warm(alice, id, (key) => values('v', key))
    for (const flags of [0, Flag.TRACING]) {
      const asked = keys.map((key, i) => {
        const plain =
          i % 3 === 0
            ? batchEnvelope(version, 10 + i, 1, [{ id, values: values('v', key) }])
            : executeEnvelope(version, 10 + i, id, resultId, values('v', key))
        const request = withPayload(plain, `request ${key.length}`)
        request[1]! |= flags
        return alice.ask(request)
      })
      for (const each of await Promise.all(asked)) assert.equal(headerOpcode(each, 0), Opcode.RESULT, describe(each))
      for (const opcode of [Opcode.EXECUTE, Opcode.BATCH]) {
        const own = keys.filter((_, i) => (i % 3 === 0) === (opcode === Opcode.BATCH))
        assert.deepEqual(astray(own, opcode), [])
      }
      for (const { node } of nodes) {
        assert.ok(
          node.requests.every(({ opcode }) => opcode !== Opcode.PREPARE),
          'nothing is prepared again',
        )
        node.requests.length = 0
      }
    }
  })
}

suite('prepared statements', () => {
  it('are given to each sidecar once for an identity, however many sessions and requests it has', async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => world.client(gateway.port, 'alice')))
    const text = `${readText} AND v = 'once'`
    const ids = await Promise.all(clients.map((client) => prepared(client, text)))
    const already = nodes.flatMap(({ node }) => node.requests.filter(({ opcode }) => opcode === Opcode.PREPARE))
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        clients.flatMap((client, c) =>
          Array.from({ length: 30 }, (_, i) =>
            client.ask(executeEnvelope(4, 10 + i, ids[c]!, undefined, values(`${round} ${i}`))),
          ),
        ),
      )
    }
    const prepares = nodes.map(
      ({ node }) => node.requests.filter(({ opcode, text: its }) => opcode === Opcode.PREPARE && its === text).length,
    )
    const byClients = nodes.map(
      ({ node }) => already.filter(({ connection }) => node.connections.has(connection)).length,
    )
    assert.ok(
      prepares.every((count, i) => count <= Math.max(1, byClients[i]!)),
      `${prepares} of which ${byClients} the clients' own`,
    )
    assert.ok(nodes.every(({ node }) => node.requests.some(({ opcode }) => opcode === Opcode.EXECUTE)))
  })

  it('of one identity are not another’s, whichever sidecar its request goes to', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const bob = await world.client(gateway.port, 'bob')
    const id = await prepared(alice, `${readText} AND v = 'private'`)
    for (let i = 0; i < 20; i++) {
      assert.match(describe(await bob.ask(executeEnvelope(4, 1, id, undefined, values(`key ${i}`)))), /^0x2500 /)
    }
    assert.equal(
      nodes.flatMap(({ node }) => node.requests).filter(({ opcode }) => opcode === Opcode.EXECUTE).length,
      0,
      'nothing of it reached a node',
    )
  })

  it('that one sidecar’s node will not prepare run where they are prepared', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const text = `${readText} AND v = 'half known'`
    const id = await prepared(alice, text)
    const holder = nodes.find(({ node }) => node.requests.some((request) => request.text === text))!
    for (const each of nodes) {
      if (each === holder) continue
      each.node.intercept = (request) => {
        if (request.opcode !== Opcode.PREPARE) return false
        request.reply(errorEnvelope(4, 0, CqlErrorCode.INVALID, 'unconfigured table'))
        return true
      }
    }
    for (let i = 0; i < 60; i++) {
      assert.equal(
        describe(await alice.ask(executeEnvelope(4, 1, id, undefined, values(`key ${i}`)))),
        `echo: ${text} <- key ${i}`,
      )
    }
    const refused = nodes.map(({ node }) => node.requests.filter(({ opcode }) => opcode === Opcode.PREPARE).length)
    assert.ok(
      refused.every((count) => count <= 2),
      `it is not tried with every request: ${refused}`,
    )
  })

  it('that the policy takes away are refused at every replica', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const id = await prepared(alice, `${readText} AND v = 'withdrawn'`)
    await warm(alice, id, (key) => values(key))
    const before = nodes.map(({ feed }) => feed.value(pushedKinds.policy).current.source)
    for (const { feed } of nodes) feed.apply(othersOnly)
    for (const [i, key] of keys.slice(0, 30).entries()) {
      assert.match(describe(await alice.ask(executeEnvelope(4, 10 + i, id, undefined, values(key)))), /^0x2100 /)
    }
    for (const [i, { feed }] of nodes.entries()) feed.apply(before[i]!)
    assert.match(describe(await alice.ask(executeEnvelope(4, 1, id, undefined, values('k')))), /^echo: /)
  })
})

suite('the record', () => {
  it('names the client’s connection alike at every sidecar, and what was prepared there for it', async () => {
    const bob = await world.client(gateway.port, 'bob')
    const text = `${readText} AND v = 'recorded'`
    const id = await prepared(bob, text)
    for (let i = 0; i < 60; i++) await bob.ask(executeEnvelope(4, 1, id, undefined, values(`recorded ${i}`)))
    const recordsOf = ({ records }: RunningSidecar) =>
      records().filter(
        ({ workload, statement }) =>
          workload === 'spiffe://demo.local/svc/bob' && statement === `${readText} AND v = ?`,
      )
    await until(
      'all are on record',
      () => nodes.flatMap(recordsOf).filter(({ request }) => request === 'EXECUTE').length === 60,
    )
    const all = nodes.map(recordsOf)
    assert.equal(new Set(all.flat().map(({ session }) => session)).size, 1)
    assert.ok(all.every((records) => records.length > 0))
    for (const records of all) assert.equal(records.filter(({ request }) => request === 'PREPARE').length, 1)
  })
})

suite('USE', () => {
  it('is in force wherever a text goes afterwards', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const text = 'SELECT * FROM items WHERE k = ?'
    for (const keyspace of ['shop', 'play', 'shop']) {
      assert.equal(describe(await alice.ask(queryEnvelope(4, 1, `USE ${keyspace}`))), 'result 3')
      await Promise.all(
        Array.from({ length: 60 }, (_, i) =>
          alice.ask(queryEnvelope(4, 10 + i, text, { values: values(`${keyspace}.${i}`) })),
        ),
      )
      for (const { node } of nodes) {
        for (const request of node.requests.filter((each) => each.value?.startsWith(keyspace))) {
          assert.equal(request.connection.keyspace, keyspace)
        }
        node.requests.length = 0
      }
    }
  })

  it('that is prepared is one of the whole session too', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const ids = [await prepared(alice, 'USE shop'), await prepared(alice, 'USE play')]
    const read = await prepared(alice, readText)
    await warm(alice, read, (key) => values(key))
    for (let round = 0; round < 6; round++) {
      const keyspace = ['shop', 'play'][round % 2]!
      assert.equal(describe(await alice.ask(executeEnvelope(4, 1, ids[round % 2]!, undefined, []))), 'result 3')
      await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          alice.ask(queryEnvelope(4, 10 + i, `SELECT * FROM items WHERE k = '${round}.${i}'`)),
        ),
      )
      const texts = nodes.flatMap(({ node }) => node.requests.filter(({ text }) => text.includes(`'${round}.`)))
      assert.equal(texts.length, 30)
      assert.ok(texts.every(({ connection }) => connection.keyspace === keyspace))
    }
  })

  it('is waited for by the texts behind it', async () => {
    const alice = await world.client(gateway.port, 'alice')
    await alice.ask(queryEnvelope(4, 1, 'USE shop'))
    const asked = [
      alice.ask(queryEnvelope(4, 2, 'use play')),
      ...Array.from({ length: 20 }, (_, i) =>
        alice.ask(queryEnvelope(4, 10 + i, 'SELECT * FROM items WHERE k = ?', { values: values(`behind ${i}`) })),
      ),
    ]
    await Promise.all(asked)
    const behind = nodes.flatMap(({ node }) =>
      node.requests.filter(({ value }) => value?.startsWith('behind') === true),
    )
    assert.equal(behind.length, 20)
    assert.deepEqual(new Set(behind.map(({ connection }) => connection.keyspace)), new Set(['play']))
  })
})

suite('a ring that changes', () => {
  it('is followed: requests go to the new owner', async () => {
    const ring = await world.ring(3, { replication: { dc1: 1 } })
    const door = await world.gateway(ring)
    const alice = await world.client(door.port, 'alice')
    const id = await prepared(alice, readText)
    const send = async (name: string) => {
      for (let i = 0; i < 60; i++) await alice.ask(executeEnvelope(4, 1, id, undefined, values(`${name}${i}`)))
    }
    const right = (name: string) =>
      Array.from({ length: 60 }, (_, i) => `${name}${i}`).filter((key) =>
        ownerOf(key, ring).node.requests.some(({ value }) => value === key),
      ).length
    await send('warm')
    await send('before')
    assert.equal(right('before'), 60)
    // Each node gets the tokens of the next: every key has another owner.
    const places = ring.map(({ node }) => node.topology.place)
    for (const [i, { node }] of ring.entries()) {
      const moved = places.map((place, n) => ({ ...place, tokens: places[(n + 1) % places.length]!.tokens }))
      node.topology.place = moved[i]!
      node.topology.peers = moved.filter((_, n) => n !== i)
    }
    for (const { node } of ring) {
      node.emit({ type: 'TOPOLOGY_CHANGE', change: 'MOVED_NODE', address: '127.0.0.1', port: 9042 })
    }
    let round = 0
    const deadline = performance.now() + 10_000
    do {
      round++
      await send(`after ${round} `)
    } while (right(`after ${round} `) < 60 && performance.now() < deadline)
    assert.equal(right(`after ${round} `), 60)
  })

  it('is one of two data centres: nothing goes to the other', async () => {
    const ring = await world.ring(4, { dataCenters: ['dc1', 'dc2'], replication: { dc1: 1, dc2: 1 } })
    const door = await world.gateway(ring, { locality: { dataCenter: 'dc1' } })
    const alice = await world.client(door.port, 'alice')
    const id = await prepared(alice, readText)
    const near = ring.filter((_, i) => i % 2 === 0)
    // The gateway hears of the ring, opens an upstream session, gives the sidecar the statement: a round for each at the most.
    let right = 0
    for (let round = 0; round < 10 && right < keys.length; round++) {
      const ofRound = keys.map((key) => `${key}${round}`)
      await Promise.all(ofRound.map((key, i) => alice.ask(executeEnvelope(4, 10 + i, id, undefined, values(key)))))
      right = ofRound.filter((key) => ownerOf(key, near).node.requests.some(({ value }) => value === key)).length
    }
    assert.equal(right, keys.length, 'the replica of the near data centre is asked')
    assert.deepEqual(
      ring.map(({ node }) => node.requests.length > 0),
      [true, false, true, false],
    )
  })
})

suite('a sidecar that goes', () => {
  it('with a request of the session: that one is answered by an error and never sent again, and the session goes on', async () => {
    const ring = await world.ring(3, { replication: { dc1: 1 } })
    const door = await world.gateway(ring)
    const alice = await world.client(door.port, 'alice')
    const id = await prepared(alice, readText)
    const ask = (stream: number, key: string) => alice.ask(executeEnvelope(4, stream, id, undefined, values(key)))
    for (let round = 0; round < 2; round++) for (let i = 0; i < 40; i++) await ask(1, `warm ${i}`)
    const [lost, slow] = ring as [RunningSidecar, RunningSidecar]
    const keyAt = (owner: RunningSidecar) => keys.find((key) => ownerOf(key, ring) === owner)!
    lost.node.intercept = () => true
    let release: (() => void) | undefined
    slow.node.intercept = (request) => {
      release ??= () => request.answer()
      return true
    }
    const ofLost = ask(10, keyAt(lost))
    const ofSlow = ask(11, keyAt(slow))
    await until(
      'both arrived',
      () => release !== undefined && lost.node.requests.some(({ value }) => value === keyAt(lost)),
    )
    await lost.sidecar.stop(0)
    assert.match(describe(await ofLost), /^0x1001 .*whether the node acted is not known$/)
    slow.node.intercept = undefined
    for (let i = 0; i < 30; i++) assert.equal(describe(await ask(10, `after ${i}`)), `echo: ${readText} <- after ${i}`)
    release!()
    assert.equal(describe(await ofSlow), `echo: ${readText} <- ${keyAt(slow)}`)
    assert.equal(alice.isClosed, false)
    assert.equal(ring.flatMap(({ node }) => node.requests).filter(({ value }) => value === keyAt(lost)).length, 1)
  })

  it('with nothing of the session: it goes on, and its rows are asked for elsewhere', async () => {
    const ring = await world.ring(3, { replication: { dc1: 1 } })
    const door = await world.gateway(ring)
    const alice = await world.client(door.port, 'alice')
    await alice.ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE']))
    const id = await prepared(alice, readText)
    const ask = async (key: string) => describe(await alice.ask(executeEnvelope(4, 1, id, undefined, values(key))))
    for (let round = 0; round < 2; round++) for (let i = 0; i < 40; i++) await ask(`warm ${i}`)
    for (const gone of ring.slice(0, 2)) {
      await gone.sidecar.stop(0)
      for (const key of keys.slice(0, 40)) assert.equal(await ask(key), `echo: ${readText} <- ${key}`)
    }
    ring[2]!.node.emit(tableCreated)
    const event = await alice.next()
    assert.equal(readEvent(wholeEnvelope(event)).type, 'SCHEMA_CHANGE')
    assert.equal(alice.isClosed, false)
  })

  it('and says nothing while it has requests: new ones go elsewhere', async () => {
    const ring = await world.ring(3, { replication: { dc1: 3 } })
    const [hung] = ring as [RunningSidecar]
    const door = await world.gateway([hung])
    const [alice, bob] = [await world.client(door.port, 'alice'), await world.client(door.port, 'alice')]
    const id = await prepared(alice, readText)
    const ask = (key: string) => alice.ask(executeEnvelope(4, 2, id, undefined, values(key)))
    door.feed.place(ring.map(({ endpoint }) => endpoint))
    await until('the other sidecars are known', () => door.feed.report?.().upstreamConnections === ring.length)
    for (let i = 0; i < 60; i++) await ask(`warm ${i}`)
    hung.node.intercept = () => true
    // A text that is only prepared goes to the session's primary sidecar.
    const stuck = bob.ask(prepareEnvelope(4, 2, 'SELECT stuck FROM shop.items')).catch(() => {})
    await until('it hangs', () => hung.node.requests.some(({ envelope }) => envelope.includes('stuck')))
    await sleep(2100)
    const before = hung.node.requests.length
    for (let i = 0; i < 60; i++) assert.match(describe(await ask(`after ${i}`)), /^echo: /)
    assert.equal(hung.node.requests.length, before, 'nothing new was sent to it')
    bob.close()
    await stuck
  })

  it('and is the only one that a session has been to: each kind of request goes elsewhere', async () => {
    const ring = await world.ring(3, { replication: { dc1: 3 } })
    const [hung] = ring as [RunningSidecar]
    const door = await world.gateway([hung])
    let id: Buffer = Buffer.alloc(16)
    const kinds: readonly (readonly [string, () => Buffer])[] = [
      ['the one that hangs', () => prepareEnvelope(4, 2, 'SELECT stuck FROM shop.t')],
      ['a text', () => queryEnvelope(4, 2, 'SELECT v FROM shop.items WHERE k = 1')],
      ['a text with a value', () => queryEnvelope(4, 2, readText, { values: values('x') })],
      ['a PREPARE', () => prepareEnvelope(4, 2, 'SELECT k FROM shop.items')],
      ['a REGISTER', () => registerEnvelope(4, 2, ['SCHEMA_CHANGE'])],
      ['an EXECUTE', () => executeEnvelope(4, 2, id, undefined, values('x'))],
      ['an EXECUTE of what nobody prepared', () => executeEnvelope(4, 2, Buffer.alloc(16, 1), undefined, values('x'))],
      ['a BATCH', () => batchEnvelope(4, 2, 0, [{ text: 'INSERT INTO shop.items (k) VALUES (1)', values: [] }])],
      ['a USE', () => queryEnvelope(4, 2, 'USE shop')],
    ]
    const sessions: RawClient[] = []
    for (const _ of kinds) sessions.push(await world.client(door.port, 'alice'))
    for (const session of sessions) id = await prepared(session, readText)
    door.feed.place(ring.map(({ endpoint }) => endpoint))
    await until('the other sidecars are known', () => door.feed.report?.().upstreamConnections === ring.length)
    hung.node.intercept = () => true
    const stuck = sessions[0]!.ask(kinds[0]![1]()).catch(() => {})
    await until('one request hangs', () => hung.node.requests.some(({ envelope }) => envelope.includes('stuck')))
    await sleep(2100)
    const before = hung.node.requests.length
    for (const [i, [what, envelope]] of kinds.entries()) {
      if (i === 0) continue
      const answer = await sessions[i]!.ask(envelope(), 3000).catch((reason: Error) => reason)
      assert.ok(Buffer.isBuffer(answer), `${what}: ${String(answer)}`)
    }
    assert.equal(hung.node.requests.length, before, 'nothing new was sent to it')
    for (const session of sessions) session.close()
    await stuck
  })
})
