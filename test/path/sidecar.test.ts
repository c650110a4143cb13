/** One sidecar, one fake node, clients without manners: what is judged, forwarded, refused, restored and recorded. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../src/base/limits.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import {
  preparedEnvelope,
  prepareEnvelope,
  queryEnvelope,
  registerEnvelope,
  setKeyspaceEnvelope,
  unpreparedEnvelope,
} from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'

import { headerOpcode, headerStream, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readError, readEvent, readPrepared, readSetKeyspace } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { echo, type NodeRequest, tableCreated } from './fake-node.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const insert = "INSERT INTO shop.items (k) VALUES ('v')"
const insertMarker = 'INSERT INTO shop.items (k) VALUES (?)'

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar()
})
after(() => world.close())
beforeEach(() => {
  running.node.intercept = undefined
  running.node.requests.length = 0
})

/** Takes over what matches, until the test ends. */
function hold(pattern: RegExp): NodeRequest[] {
  const taken: NodeRequest[] = []
  running.node.intercept = (request) => {
    if (!pattern.test(request.text)) return false
    taken.push(request)
    return true
  }
  return taken
}

const sentOf = (text: string): number => running.node.texts().filter((each) => each === text).length

async function prepare(client: RawClient, text: string, stream = 50): Promise<Buffer> {
  const answer = await client.ask(prepareEnvelope(client.version, stream, text))
  assert.equal(describe(answer), 'result 4', describe(answer))
  return readPrepared(wholeEnvelope(answer), client.version).id
}

const value = (text: string): Buffer[] => [Buffer.from(text)]

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`a session of version ${version}`, () => {
    it('has what is permitted forwarded, and the node’s answer on its own stream', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      for (const stream of [0, 1, 300, 32_767]) {
        const answer = await alice.ask(queryEnvelope(version, stream, select))
        assert.equal(describe(answer), `echo: ${select}`)
        assert.equal(headerStream(answer, 0), stream)
      }
    })

    it('is refused with UNAUTHORIZED what no rule allows, stays usable, and the node hears nothing', async () => {
      const bob = await world.client(running.port, 'bob', { version })
      const before = running.node.requests.length
      const refusal = await bob.ask(queryEnvelope(version, 5, insert))
      assert.match(
        describe(refusal),
        /^0x2100 spiffe:\/\/demo\.local\/svc\/bob has no MODIFY permission on <table shop\.items>/,
      )
      assert.match(describe(await bob.ask(prepareEnvelope(version, 5, insertMarker))), /^0x2100 /)
      assert.match(describe(await bob.ask(batchEnvelope(version, 5, 0, [{ text: insert, values: [] }]))), /^0x2100 /)
      assert.equal(running.node.requests.length, before)
      assert.equal(describe(await bob.ask(queryEnvelope(version, 5, select))), `echo: ${select}`)
      const refused = running
        .records()
        .filter(
          ({ workload, verdict, operation }) =>
            workload?.toString().endsWith('/bob') && verdict === 'deny' && operation === 'INSERT',
        )
      assert.ok(refused.length > 0)
      const levels = new Map(refused.map(({ request, consistency }) => [request, consistency]))
      assert.deepEqual([levels.get('QUERY'), levels.get('PREPARE')], ['LOCAL_ONE', undefined])
    })

    it('gets answers that come out of order on the streams that asked', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const taken = hold(/n = /)
      const asked = Array.from({ length: 40 }, (_, i) =>
        alice.ask(queryEnvelope(version, 1000 - i, `${select} WHERE n = ${i}`)),
      )
      await until('all arrived', () => taken.length === 40)
      for (const request of [...taken].reverse()) request.answer()
      for (const [i, answer] of (await Promise.all(asked)).entries()) {
        assert.equal(describe(answer), `echo: ${select} WHERE n = ${i}`)
        assert.equal(headerStream(answer, 0), 1000 - i)
      }
    })

    it('prepares and executes, and its ids mean nothing to anybody else', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const bob = await world.client(running.port, 'bob', { version })
      const id = await prepare(alice, insertMarker)
      const execute = executeEnvelope(version, 7, id, Buffer.alloc(16, 9), value('x'))
      assert.equal(describe(await alice.ask(execute)), `echo: ${insertMarker} <- x`)
      const before = running.node.requests.length
      const stranger = await bob.ask(execute)
      const error = readError(wholeEnvelope(stranger))
      assert.equal(error.code, 0x2500)
      assert.deepEqual(error.preparedId, id)
      const batch = await bob.ask(batchEnvelope(version, 8, 0, [{ id, values: value('x') }]))
      assert.deepEqual(readError(wholeEnvelope(batch)).preparedId, id)
      assert.equal(running.node.requests.length, before)
      assert.match(describe(await bob.ask(prepareEnvelope(version, 9, insertMarker))), /^0x2100 /)
      assert.equal(running.node.requests.length, before)
    })

    it('executes by an id that another connection of the same identity prepared', async () => {
      const [one, other] = [
        await world.client(running.port, 'alice', { version }),
        await world.client(running.port, 'alice'),
      ]
      const id = await prepare(one, insertMarker)
      assert.equal(
        describe(await other.ask(executeEnvelope(4, 1, id, undefined, value('y')))),
        `echo: ${insertMarker} <- y`,
      )
    })

    it('has a statement that the node forgot prepared again, without a word of it to the client', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const id = await prepare(alice, insertMarker)
      for (const stream of [1, 2]) {
        running.node.prepared.clear()
        const answer = await alice.ask(executeEnvelope(version, stream, id, Buffer.alloc(16, 9), value('z')))
        assert.equal(describe(answer), `echo: ${insertMarker} <- z`)
      }
      const second = await prepare(alice, 'UPDATE shop.items SET v = ? WHERE k = 1')
      running.node.prepared.clear()
      const items = [id, second, id].map((each) => ({ id: each, values: value('b') }))
      const before = running.node.requests.length
      assert.equal(describe(await alice.ask(batchEnvelope(version, 3, 0, items))), 'result 1')
      const sent = running.node.requests.slice(before).map(({ opcode }) => opcode)
      assert.deepEqual(sent, [Opcode.BATCH, Opcode.PREPARE, Opcode.BATCH, Opcode.PREPARE, Opcode.BATCH])
    })

    it('is told UNPREPARED when the columns became others with an ALTER, and not a row that it would misread', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const id = await prepare(alice, insertMarker)
      running.node.prepared.clear()
      running.node.intercept = (request) => {
        if (request.opcode !== Opcode.PREPARE) return false
        running.node.learn(request.text, request.connection.keyspace)
        const bind = { keyspace: 'shop', table: 'items', columns: [], pkIndexes: [] }
        const columns = [{ name: 'added', type: { kind: 'text' } as const }]
        const resultMetadataId = Buffer.alloc(16, 8)
        const result = { keyspace: 'shop', table: 'items', columns }
        request.reply(preparedEnvelope(request.connection.version, 0, { id, resultMetadataId, bind, result }))
        return true
      }
      const execute = executeEnvelope(version, 1, id, Buffer.alloc(16, 9), value('z'))
      const answer = await alice.ask(execute)
      assert.equal(readError(wholeEnvelope(answer)).code, 0x2500, describe(answer))
      // What the client then does itself, after which the statement is mended silently again.
      await prepare(alice, insertMarker)
      running.node.prepared.clear()
      assert.equal(describe(await alice.ask(execute)), `echo: ${insertMarker} <- z`)
    })

    it('is told UNPREPARED when the node forgets again and again: no loop', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const id = await prepare(alice, insertMarker)
      const taken: NodeRequest[] = []
      running.node.intercept = (request) => {
        if (request.opcode !== Opcode.EXECUTE && request.opcode !== Opcode.BATCH) return false
        taken.push(request)
        request.reply(unpreparedEnvelope(request.connection.version, 0, id, 'never heard of it'))
        return true
      }
      const answer = await alice.ask(executeEnvelope(version, 4, id, Buffer.alloc(16, 9), value('z')))
      assert.equal(readError(wholeEnvelope(answer)).code, 0x2500)
      assert.equal(headerStream(answer, 0), 4)
      assert.equal(taken.length, 2)
      const batch = await alice.ask(batchEnvelope(version, 4, 0, [{ id, values: value('b') }]))
      assert.equal(readError(wholeEnvelope(batch)).code, 0x2500)
      assert.ok(taken.length < 100)
      running.node.intercept = undefined
      assert.equal(describe(await alice.ask(queryEnvelope(version, 5, select))), `echo: ${select}`)
    })

    it('changes its keyspace with the node’s result only; what came behind the USE waits for it', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const taken = hold(/^USE shop$/)
      const used = alice.ask(queryEnvelope(version, 1, 'USE shop'))
      const behind = alice.ask(queryEnvelope(version, 2, 'SELECT * FROM items'))
      await until('USE arrived', () => taken.length > 0)
      await sleep(30)
      assert.equal(sentOf('SELECT * FROM items'), 0)
      taken[0]!.answer()
      const result = await used
      assert.equal(readSetKeyspace(wholeEnvelope(result)), 'shop')
      assert.equal(describe(await behind), 'echo: SELECT * FROM items')
      assert.equal(
        running.node.requests.find(({ text }) => text === 'SELECT * FROM items')?.connection.keyspace,
        'shop',
      )
      const other = await world.client(running.port, 'alice', { version })
      assert.match(describe(await other.ask(queryEnvelope(version, 3, 'SELECT * FROM items'))), /^0x2200 No keyspace/)
    })

    it('stays in its keyspace when USE fails or is refused, and goes on', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      await alice.ask(queryEnvelope(version, 1, 'USE shop'))
      const answers = await Promise.all([
        alice.ask(queryEnvelope(version, 2, 'USE secret')),
        alice.ask(queryEnvelope(version, 3, 'SELECT * FROM items')),
      ])
      assert.match(describe(answers[0]), /^0x2100 /)
      assert.equal(describe(answers[1]), 'echo: SELECT * FROM items')
    })

    it('whose USE the node answers with another keyspace is told so, and what waited is not lost', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      await alice.ask(queryEnvelope(version, 1, 'USE shop'))
      running.node.intercept = (request) => {
        if (request.text !== 'USE play') return false
        request.reply(setKeyspaceEnvelope(version, 0, 'system'))
        return true
      }
      const used = alice.ask(queryEnvelope(version, 2, 'USE play'))
      const behind = alice.ask(queryEnvelope(version, 3, 'SELECT * FROM items'))
      assert.match(describe(await used), /^0x0000 /)
      assert.equal(describe(await behind), 'echo: SELECT * FROM items')
    })

    it('executes a prepared USE', async () => {
      const alice = await world.client(running.port, 'alice', { version })
      const id = await prepare(alice, 'USE play')
      const used = await alice.ask(executeEnvelope(version, 2, id, Buffer.alloc(16, 9), []))
      assert.equal(readSetKeyspace(wholeEnvelope(used)), 'play')
      assert.equal(
        describe(await alice.ask(queryEnvelope(version, 3, 'SELECT * FROM things'))),
        'echo: SELECT * FROM things',
      )
    })
  })
}

suite('custom payload', () => {
  /** A QUERY or EXECUTE with `{"proxy": 0x0102}` in front of its body. */
  function withPayload(envelope: Buffer): Buffer {
    const payload = Buffer.from('000100', 'hex')
    const entry = Buffer.concat([Buffer.from([5]), Buffer.from('proxy'), Buffer.from('000000020102', 'hex')])
    const body = Buffer.concat([payload, entry, envelope.subarray(9)])
    const header = Buffer.from(envelope.subarray(0, 9))
    header[1] = 4
    header.writeInt32BE(body.length, 5)
    return Buffer.concat([header, body])
  }

  for (const [name, text] of [
    ['a statement', select],
    ['a USE', 'USE shop'],
  ] as const) {
    it(`is taken off ${name}`, async () => {
      const alice = await world.client(running.port, 'alice')
      const before = running.node.requests.length
      const answer = await alice.ask(withPayload(queryEnvelope(4, 3, text)))
      assert.notEqual(headerOpcode(answer, 0), Opcode.ERROR, describe(answer))
      const request = running.node.requests.slice(before).find((each) => each.text === text && each.stream >= 0)!
      assert.ok(running.node.requests.slice(before).every(({ flags }) => (flags & 4) === 0))
      assert.ok(request.envelope.subarray(9).equals(queryEnvelope(4, 3, text).subarray(9)))
    })
  }
})

suite('policy', () => {
  it('is judged anew on a live session when a revision comes: QUERY, EXECUTE and BATCH', async () => {
    const alice = await world.client(running.port, 'alice')
    const id = await prepare(alice, insertMarker)
    const ask = async (): Promise<string[]> => [
      describe(await alice.ask(queryEnvelope(4, 1, select))).slice(0, 6),
      describe(await alice.ask(executeEnvelope(4, 2, id, undefined, value('p')))).slice(0, 6),
      describe(await alice.ask(batchEnvelope(4, 3, 0, [{ id, values: value('p') }]))).slice(0, 6),
    ]
    assert.deepEqual(await ask(), ['echo: ', 'echo: ', 'result'])
    running.feed.apply(usualPolicy.replace('keyspaces: [shop, play]', 'keyspaces: [play]'))
    const before = running.node.requests.length
    assert.deepEqual(await ask(), ['0x2100', '0x2100', '0x2100'])
    assert.equal(running.node.requests.length, before)
    running.feed.apply(usualPolicy)
    assert.deepEqual(await ask(), ['echo: ', 'echo: ', 'result'])
  })

  it('that does not compile is not put in force', async () => {
    const alice = await world.client(running.port, 'alice')
    running.feed.apply('kind: Nonsense')
    const { policyFault = '' } = running.feed.report!()
    assert.match(policyFault, /^revision \d+: .+/)
    assert.equal(describe(await alice.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
    running.feed.apply(usualPolicy)
    assert.equal(running.feed.report!().policyFault, undefined)
  })
})

suite('events', () => {
  it('reach those who registered, in their own version, and nobody else', async () => {
    const [five, three, deaf] = [
      await world.client(running.port, 'alice', { version: 5 }),
      await world.client(running.port, 'bob', { version: 3 }),
      await world.client(running.port, 'alice'),
    ]
    assert.equal(
      headerOpcode(await five.ask(registerEnvelope(5, 1, ['SCHEMA_CHANGE', 'STATUS_CHANGE'])), 0),
      Opcode.READY,
    )
    assert.equal(headerOpcode(await three.ask(registerEnvelope(3, 1, ['STATUS_CHANGE'])), 0), Opcode.READY)
    running.node.emit(tableCreated)
    running.node.emit({ type: 'STATUS_CHANGE', change: 'UP', address: '127.0.0.9', port: 9042 })
    const seen = [await five.next(), await five.next(), await three.next()]
    assert.deepEqual(
      seen.map((event) => [event[0], headerStream(event, 0), readEvent(wholeEnvelope(event)).type]),
      [
        [0x85, -1, 'SCHEMA_CHANGE'],
        [0x85, -1, 'STATUS_CHANGE'],
        [0x83, -1, 'STATUS_CHANGE'],
      ],
    )
    await sleep(20)
    assert.equal(three.unasked.length + five.unasked.length + deaf.unasked.length, 0)
  })
})

suite('answers that do not come', () => {
  it('are answered with a timeout, and when they come late they reach nobody', async (t) => {
    const alice = await world.client(running.port, 'alice')
    const taken = hold(/slow/)
    const slow = alice.ask(queryEnvelope(4, 1, `${select} WHERE k = 'slow'`))
    const write = alice.ask(queryEnvelope(4, 2, "UPDATE shop.items SET v = 'slow' WHERE k = 1"))
    await until('both arrived', () => taken.length === 2)
    const real = performance.now.bind(performance)
    const mocked = t.mock.method(performance, 'now', () => real() + limits.requestTimeoutMs + 1_000)
    const [read, wrote] = [await slow, await write]
    mocked.mock.restore()
    assert.equal(readError(wholeEnvelope(read)).code, 0x1200)
    assert.equal(readError(wholeEnvelope(wrote)).code, 0x1100)
    // The client may use its stream again at once; the one towards the node may not be.
    const next = Array.from({ length: 60 }, (_, i) => alice.ask(queryEnvelope(4, i + 1, `${select} WHERE n = ${i}`)))
    for (const request of taken) request.reply(echo(4, 0, 'far too late'))
    for (const [i, answer] of (await Promise.all(next)).entries()) {
      assert.equal(describe(answer), `echo: ${select} WHERE n = ${i}`)
    }
    await sleep(30)
    assert.equal(alice.unasked.length, 0)
    running.node.intercept = undefined
    const lost = running.records().filter(({ outcome }) => outcome === 'lost')
    assert.ok(lost.length >= 2)
  })

  it('of a USE, which opens a connection to the node, are waited for as long as those of any request', async (t) => {
    // Nobody has been in that keyspace there.
    const { node, port } = await world.sidecar()
    const alice = await world.client(port, 'alice')
    let held: NodeRequest | undefined
    node.intercept = (request) => {
      if (request.text !== 'USE "play"') return false
      held = request
      return true
    }
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const use = alice.ask(queryEnvelope(4, 1, 'USE play'), 60_000)
    // Until a timer of its own would have to be waited for: those stand still.
    for (let turns = 0; held === undefined && turns < 1_000_000; turns++) await setImmediate()
    t.mock.timers.tick(limits.handshakeTimeoutMs + 1000)
    t.mock.timers.reset()
    node.intercept = undefined
    held?.answer()
    assert.equal(describe(await use), 'result 3')
    assert.equal(describe(await alice.ask(queryEnvelope(4, 2, select))), `echo: ${select}`)
  })
})
