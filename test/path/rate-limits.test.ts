/**
 * Rate limits, from both doors: what is over one waits or is refused, nothing of it reaches the node, and the neighbour does not notice. Rates are
 * of a day where a test counts, so that no time that it takes gives anything back.
 */
import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { BodyReader } from '../../src/cql/reader.ts'
import { readWarnings } from '../../src/cql/responses.fixture.ts'
import { readError, readPrepared } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { describe, type RawClient } from './client.ts'
import { txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, until, usualPolicy, World } from './world.ts'

const byKey = 'SELECT v FROM shop.items WHERE k = 1'
const insert = 'INSERT INTO shop.items (k) VALUES (1)'

let world: World
let running: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  running = await world.sidecar({ name: 'limited' })
  gateway = await world.gateway([running])
})
after(() => world.close())
beforeEach(() => {
  running.node.requests.length = 0
  running.node.intercept = undefined
})

let names = 0
/** Puts one limit in force, of a name that no test had before. */
function limit(spec: object, ...more: readonly object[]): string {
  const name = `limit-${++names}`
  const apiVersion = 'ringfence.dev/v1alpha1'
  const documents = [{ apiVersion, kind: 'RateLimitPolicy', metadata: { name }, spec }, ...more]
  running.feed.apply([usualPolicy, ...documents.map((each) => JSON.stringify(each))].join('\n---\n'))
  return name
}

const ask = async (client: RawClient, text = byKey, stream = 1): Promise<string> =>
  describe(await client.ask(queryEnvelope(client.version, stream, text)))

/** How many of these go, one after the other, before one is refused; at most ten. */
async function goes(client: RawClient, text = byKey): Promise<number> {
  for (let gone = 0; gone < 10; gone++) {
    const answer = await ask(client, text)
    if (answer.startsWith('0x2300')) return gone
    assert.doesNotMatch(answer, /^0x/)
  }
  return 10
}

const doors = {
  'at a sidecar': () => running.port,
  'through a gateway': () => gateway.port,
} as const

for (const [door, portOf] of Object.entries(doors)) {
  suite(`a limit ${door}`, () => {
    const client = (who: string, more: object = {}) => world.client(portOf(), who, { version: 4, ...more })

    for (const version of [3, 4, 5] as const) {
      it(`of each identity: the first go, the next are refused with its name and when to come back (v${version})`, async () => {
        const name = limit({ perIdentity: '3/d' })
        const [alice, bob] = [await client('alice', { version }), await client('bob', { version })]
        assert.equal(await goes(alice), 3)
        const refused = await alice.ask(queryEnvelope(version, 1, byKey))
        const { code, message } = readError(wholeEnvelope(refused))
        assert.equal(code, 0x2300)
        assert.match(
          message,
          new RegExp(`over the limit ${name} \\(3/d requests for each identity\\); come back in \\d+ ms`),
        )
        assert.deepEqual(payloadOf(refused, version).get('ringfence-limit'), version === 3 ? undefined : name)
        if (version > 3) assert.ok(Number(payloadOf(refused, version).get('ringfence-retry-after-ms')) > 1_000_000)
        assert.equal(running.node.texts().filter((text) => text === byKey).length, 3)
        assert.equal(await goes(bob), 3)
        await until('it is on record', () => running.records().at(-1)?.rule === name)
        const last = running.records().at(-1)!
        assert.deepEqual([last.verdict, last.outcome, (last.error as { code: number }).code], ['deny', 'error', 0x2300])
      })
    }

    it('in all: one uses it up for the other', async () => {
      limit({ total: '3/d' })
      assert.equal(await goes(await client('alice')), 3)
      assert.equal(await goes(await client('bob')), 0)
      assert.equal(running.node.texts().length, 3)
    })

    it('is told by ScyllaDB’s own error to who asked for that', async () => {
      limit({ perIdentity: '1/d' })
      const alice = await client('alice', { startup: { SCYLLA_RATE_LIMIT_ERROR: '' } })
      assert.doesNotMatch(await ask(alice), /^0x/)
      const read = await alice.ask(queryEnvelope(4, 1, byKey))
      const write = await alice.ask(queryEnvelope(4, 1, insert))
      assert.match(describe(read), /^0x4321 .*over the limit/)
      // Read or write, and that it was not a replica that refused.
      assert.deepEqual([...read.subarray(-2)], [0, 1])
      assert.deepEqual([...write.subarray(-2)], [1, 1])
    })

    it('makes who is a little over it wait, and then goes on', async () => {
      const name = limit({ perIdentity: '20/s', burst: '50ms', maxDelay: '2s' })
      const alice = await client('alice')
      const answers = await Promise.all([1, 2, 3, 4].map((stream) => alice.ask(queryEnvelope(4, stream, byKey))))
      for (const answer of answers) assert.doesNotMatch(describe(answer), /^0x/)
      const warnings = answers.flatMap((answer) => readWarnings(wholeEnvelope(answer)))
      assert.ok(
        warnings.some((text) => text.includes(`by the limit ${name}`)),
        warnings.join(),
      )
      assert.equal(running.node.texts().length, 4)
    })

    it('refuses at once who asked for that by THROW_ON_OVERLOAD', async () => {
      limit({ perIdentity: '1/m', burst: '1m', maxDelay: '2s' })
      const alice = await client('alice', { startup: { THROW_ON_OVERLOAD: '1' } })
      assert.doesNotMatch(await ask(alice), /^0x/)
      assert.match(await ask(alice), /^0x2300/)
      limit({ perIdentity: '2/s', burst: '500ms', maxDelay: '2s' })
      const [patient, hasty] = [await client('bob'), await client('bob', { startup: { THROW_ON_OVERLOAD: '1' } })]
      assert.doesNotMatch(await ask(patient), /^0x/)
      assert.match(await ask(hasty), /^0x2300/)
      assert.doesNotMatch(await ask(patient), /^0x/)
    })

    it('does not make the neighbour wait on whom it refuses', async () => {
      limit({ perIdentity: '1/d', subjects: [{ spiffeId: 'spiffe://demo.local/svc/alice' }] })
      const [alice, bob] = [await client('alice'), await client('bob')]
      const flood = Array.from({ length: 500 }, (_, stream) => alice.ask(queryEnvelope(4, stream, byKey)))
      const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => ask(bob, byKey, at)))
      assert.ok(answers.every((answer) => answer.startsWith('echo')))
      const refused = (await Promise.all(flood)).map(describe).filter((answer) => answer.startsWith('0x2300'))
      assert.equal(refused.length, 499)
      assert.equal(running.node.texts().length, 21)
      // Who was refused goes on as soon as it may.
      running.feed.apply(usualPolicy)
      assert.doesNotMatch(await ask(alice), /^0x/)
    })
  })
}

suite('what a limit counts', () => {
  let alice: RawClient
  before(async () => {
    alice = await world.client(running.port, 'alice', { version: 4 })
  })

  it('keyspaces, tables, operations and statements that it names, and no other', async () => {
    limit({ total: '1/d', keyspaces: ['shop'], tables: ['items'], operations: ['WRITE'] })
    assert.equal(await goes(alice, insert), 1)
    assert.doesNotMatch(await ask(alice, byKey), /^0x/)
    limit({ total: '1/d', statements: [byKey] })
    assert.equal(await goes(alice, 'SELECT v FROM shop.items WHERE k = 99'), 1)
    assert.doesNotMatch(await ask(alice, 'SELECT k FROM shop.items WHERE k = 99'), /^0x/)
  })

  it('each address by itself, and only those that it names', async () => {
    limit({ perAddress: '2/d', clientAddresses: ['127.0.0.2', '127.0.0.3'] })
    const from = (localAddress: string) => world.client(running.port, 'alice', { version: 4, localAddress })
    const [first, second, other] = [await from('127.0.0.2'), await from('127.0.0.3'), await from('127.0.0.4')]
    assert.deepEqual([await goes(first), await goes(second), await goes(other)], [2, 2, 10])
  })

  it('an override in the place of the rate, or none', async () => {
    const subjects = (who: string) => [{ spiffeId: `spiffe://demo.local/svc/${who}` }]
    limit({
      perIdentity: '1/d',
      overrides: [
        { subjects: subjects('alice'), perIdentity: '4/d' },
        { subjects: subjects('bob'), perIdentity: 'none' },
      ],
    })
    const bob = await world.client(running.port, 'bob', { version: 4 })
    assert.deepEqual([await goes(alice), await goes(bob)], [4, 10])
  })

  it('a prepared statement as often as it is run, and not its PREPARE', async () => {
    limit({ perIdentity: '2/d' })
    const text = 'SELECT v FROM shop.items WHERE k = ?'
    const { id } = readPrepared(wholeEnvelope(await alice.ask(prepareEnvelope(4, 1, text))), 4)
    const run = async () => describe(await alice.ask(executeEnvelope(4, 2, id, undefined, [Buffer.alloc(4)])))
    assert.doesNotMatch(await run(), /^0x/)
    assert.doesNotMatch(await run(), /^0x/)
    assert.match(await run(), /^0x2300/)
    assert.doesNotMatch(describe(await alice.ask(prepareEnvelope(4, 1, `${text} LIMIT 7`))), /^0x/)
  })

  it('each statement of a BATCH, of a message and of a text', async () => {
    limit({ perIdentity: '5/d' })
    const parts = (count: number) =>
      Array.from({ length: count }, () => ({
        text: 'INSERT INTO shop.items (k) VALUES (?)',
        values: [Buffer.from('same')],
      }))
    assert.doesNotMatch(describe(await alice.ask(batchEnvelope(4, 1, 1, parts(4)))), /^0x/)
    assert.doesNotMatch(await ask(alice, insert), /^0x/)
    assert.match(await ask(alice, insert), /^0x2300/)
    limit({ perIdentity: '5/d' })
    assert.match(await ask(alice, `BEGIN UNLOGGED BATCH ${`${insert}; `.repeat(5)} APPLY BATCH`), /^result/)
    assert.match(await ask(alice, insert), /^0x2300/)
    // Many more than is left is a debt, and the next one waits for all of it.
    limit({ perIdentity: '5/d' })
    assert.doesNotMatch(describe(await alice.ask(batchEnvelope(4, 1, 1, parts(300)))), /^0x/)
    assert.match(await ask(alice, insert), /^0x2300 .*come back in \d{10} ms/)
  })

  const weights: readonly (readonly [string, number])[] = [
    ['SELECT v FROM shop.items WHERE k IN (1, 2, 3)', 3],
    ['SELECT v FROM shop.items', 10],
    ['SELECT v FROM shop.items WHERE v = 1 ALLOW FILTERING', 50],
  ]
  for (const [text, weight] of weights) {
    it(`nothing of what takes more than ever goes at once, where others would pay: ${text}`, async () => {
      const bob = await world.client(running.port, 'bob', { version: 4 })
      for (const [scope, word] of [
        ['total', 'all together'],
        ['perAddress', 'each address'],
      ] as const) {
        const name = limit({ [scope]: `${weight - 1}/d`, keyspaces: ['shop'] })
        const refused = await alice.ask(queryEnvelope(4, 1, text))
        const words = `over the limit ${name} (${weight - 1}/d requests for ${word}): it takes ${weight}, of which ${weight - 1} go at once; it does not help to wait`
        assert.ok(describe(refused).includes(words), describe(refused))
        assert.deepEqual([...payloadOf(refused, 4)], [['ringfence-limit', name]])
        assert.equal(await goes(bob), Math.min(10, weight - 1))
        running.node.requests.length = 0
        limit({ [scope]: `${weight}/d` })
        assert.doesNotMatch(await ask(alice, text), /^0x/)
        const observing = limit({ [scope]: `${weight - 1}/d`, mode: 'observe' })
        const answer = await alice.ask(queryEnvelope(4, 1, text))
        assert.match(readWarnings(wholeEnvelope(answer)).join(), new RegExp(`would be refused .*rule ${observing}`))
        assert.equal(running.node.texts().filter((one) => one === text).length, 2)
      }
    })

    it(`more of what costs more: ${weight} for ${text}`, async () => {
      limit({ perIdentity: `${weight + 2}/d` })
      assert.doesNotMatch(await ask(alice, text), /^0x/)
      assert.equal(await goes(alice), 2)
    })
  }

  const lists = (count: number, elements: number): Buffer[] =>
    Array.from({ length: count }, () => {
      const bytes = Buffer.alloc(4 + 4 * elements)
      bytes.writeInt32BE(elements)
      return bytes
    })
  const endless: readonly (readonly [string, (stream: number) => Buffer])[] = [
    [
      'a BATCH with a list that is null',
      (stream) =>
        batchEnvelope(4, stream, 1, [
          { text: 'DELETE FROM shop.items WHERE k IN ?', values: [null] },
          { text: insert, values: [] },
        ]),
    ],
    [
      'a BATCH with an empty list beside one that is null',
      (stream) =>
        batchEnvelope(4, stream, 1, [
          { text: 'DELETE FROM shop.items WHERE k IN () AND k IN ?', values: [null] },
          { text: insert, values: [] },
        ]),
    ],
    [
      'lists whose sizes multiply beyond every number',
      (stream) =>
        queryEnvelope(4, stream, `SELECT v FROM shop.items WHERE ${'k IN ? AND '.repeat(199)}k IN ?`, {
          values: lists(200, 40),
        }),
    ],
    [
      'written lists that multiply beyond every number',
      (stream) => queryEnvelope(4, stream, `SELECT v FROM shop.items WHERE ${'k IN (1,2) AND '.repeat(1100)}k = 1`),
    ],
  ]
  for (const [what, envelope] of endless) {
    it(`no more than can be paid, and of its own limit only: ${what}`, async () => {
      limit({ perIdentity: '1000/s' })
      const bob = await world.client(running.port, 'bob', { version: 4 })
      await alice.ask(envelope(1))
      // A debt that is a number.
      assert.match(await ask(alice), /^0x2300 .*come back in \d{5,10} ms/)
      assert.equal(await goes(bob), 10)
    })
  }

  it('rows when they are known, as a debt', async () => {
    limit({ perIdentity: '100/d', unit: 'rows', operations: ['READ'] })
    const columns = [{ name: 'v', type: native('text') }]
    running.node.intercept = (request) => {
      const rows = Array.from({ length: 150 }, () => [Buffer.from('x')])
      request.reply(rowsEnvelope(4, 0, { keyspace: 'shop', table: 'items', columns }, rows))
      return true
    }
    const bob = await world.client(running.port, 'bob', { version: 4 })
    assert.equal(await goes(alice), 1)
    assert.equal(await goes(bob), 1)
    assert.equal(running.node.texts().length, 2)
  })

  it('bytes of requests and answers', async () => {
    limit({ perIdentity: '4KiB/d', unit: 'bytes' })
    running.node.intercept = (request) => {
      const columns = [{ name: 'v', type: native('text') }]
      request.reply(rowsEnvelope(4, 0, { keyspace: 'shop', table: 'items', columns }, [[Buffer.alloc(1500)]]))
      return true
    }
    assert.equal(await goes(alice), 3)
  })

  it('read and write units', async () => {
    limit({ perIdentity: '2/d', unit: 'cost' })
    // By ONE, half a unit each.
    assert.equal(await goes(alice), 4)
    limit({ perIdentity: '2/d', unit: 'cost' })
    const long = `INSERT INTO shop.items (k, v) VALUES (1, '${'x'.repeat(3000)}')`
    assert.equal(await goes(alice, long), 1)
  })

  it('nothing of what policy denies, nor the drivers’ questions about the topology', async () => {
    limit({ perIdentity: '1/d' })
    const bob = await world.client(running.port, 'bob', { version: 4 })
    for (let i = 0; i < 5; i++) {
      assert.match(await ask(bob, insert), /^0x2100/)
      assert.doesNotMatch(await ask(bob, 'SELECT * FROM system.local'), /^0x/)
    }
    assert.equal(await goes(bob), 1)
  })
})

suite('a limit in observe mode', () => {
  it('refuses and delays nothing, and says what it would have done', async () => {
    const name = limit({ perIdentity: '1/d', mode: 'observe' })
    const alice = await world.client(running.port, 'alice', { version: 4 })
    assert.doesNotMatch(await ask(alice), /^0x/)
    const answer = await alice.ask(queryEnvelope(4, 1, byKey))
    assert.doesNotMatch(describe(answer), /^0x/)
    assert.match(
      readWarnings(wholeEnvelope(answer)).join(),
      new RegExp(`would be refused by policy \\(rule ${name}\\)`),
    )
    await until('it is on record', () => running.records().at(-1)?.verdict === 'observe')
    assert.equal(running.records().at(-1)?.rule, name)
  })
})

suite('a person in a session of several people', () => {
  it('is refused at once where the others would wait with her, and they go on', async () => {
    const people = {
      apiVersion: 'ringfence.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name: 'people' },
      spec: { subjects: [{ person: 'corp/*' }], keyspaces: ['shop'], operations: ['READ'] },
    }
    limit({ perPerson: '30/m', burst: '2s', maxDelay: '2s' }, people)
    useTxnKeys(running)
    const alice = await world.client(running.port, 'alice', { version: 4 })
    const tokens = new Map(
      ['corp/ann', 'corp/ben'].map((person) => [person, txnToken(person, { req_wl: 'spiffe://demo.local/svc/alice' })]),
    )
    const askFor = async (person: string, stream: number): Promise<string> =>
      describe(await alice.ask(withPayload(queryEnvelope(4, stream, byKey), [['ProxyExecute', tokens.get(person)!]])))
    assert.doesNotMatch(await askFor('corp/ann', 1), /^0x/)
    const [again, other, own] = await Promise.all([askFor('corp/ann', 1), askFor('corp/ben', 2), ask(alice, byKey, 3)])
    assert.match(again!, /^0x2300 .*for each person/)
    assert.doesNotMatch(other!, /^0x/)
    assert.doesNotMatch(own!, /^0x/)
    assert.equal(running.node.texts().filter((text) => text === byKey).length, 3)
  })
})

suite('a debt', () => {
  it('of minutes is told in the log, and is gone where the rate is another', async () => {
    const name = 'twenty'
    const document = (perIdentity: string): string => {
      const words = { apiVersion: 'ringfence.dev/v1alpha1', kind: 'RateLimitPolicy', metadata: { name } }
      return `${usualPolicy}---\n${JSON.stringify({ ...words, spec: { perIdentity } })}`
    }
    const { feed, port } = await world.sidecar({ name: 'debtor', policy: document('20/d') })
    const alice = await world.client(port, 'alice', { version: 4 })
    assert.doesNotMatch(await ask(alice, `SELECT v FROM shop.items WHERE k IN (${'1, '.repeat(99)}1)`), /^0x/)
    const told = world.logged
      .filter((line) => line.includes('debt') && line.includes(name))
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      told.map(({ scope, who }) => [scope, who]),
      [['perIdentity', 'spiffe://demo.local/svc/alice']],
    )
    // 80 of 20 a day are four days.
    assert.ok(Math.abs(told[0].seconds / 86_400 - 4) < 0.01, String(told[0].seconds))
    assert.equal(await goes(alice), 0)
    feed.apply(document('20/d'))
    assert.equal(await goes(alice), 0)
    feed.apply(document('3/d'))
    assert.equal(await goes(alice), 3)
  })
})

suite('who is near a limit', () => {
  it('is told once a second, with its name', async () => {
    const name = limit({ perIdentity: '10/d' })
    const alice = await world.client(running.port, 'alice', { version: 4 })
    const warnings: string[] = []
    for (let i = 0; i < 10; i++)
      warnings.push(...readWarnings(wholeEnvelope(await alice.ask(queryEnvelope(4, 1, byKey)))))
    assert.deepEqual(warnings, [`90% of the limit ${name} is used (10/d requests for each identity)`])
  })
})

suite('several sidecars', () => {
  it('give an equal part each', async () => {
    running.feed.place([running.endpoint, { ...running.endpoint, name: 'another' }])
    try {
      limit({ perIdentity: '6/d' })
      const alice = await world.client(running.port, 'alice', { version: 4 })
      assert.equal(await goes(alice), 3)
    } finally {
      running.feed.place([])
    }
  })
})

function payloadOf(envelope: Buffer, version: ProtocolVersion): ReadonlyMap<string, string> {
  const payload = new Map<string, string>()
  if (version === 3 || (headerFlags(envelope, 0) & Flag.CUSTOM_PAYLOAD) === 0) return payload
  const reader = new BodyReader()
  reader.reset(envelope, envelopeHeaderBytes, envelope.length)
  for (let left = reader.short(); left > 0; left--) {
    const key = reader.string()
    payload.set(key, reader.bytes()?.toString() ?? '')
  }
  return payload
}
