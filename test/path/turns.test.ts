/**
 * No client has the event loop for long, whatever it sends: turns are measured by their CPU while each dear input is served, permitted and
 * refused. Node, client and sidecar are one process here, so the bound is wider than the sidecar's own.
 */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { batchEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Flag } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { describe, type RawClient } from './client.ts'
import { Turns } from './turns.ts'
import { type RunningSidecar, until, World } from './world.ts'

/** Ten for the sidecar, the rest for node, client, garbage and code that is not compiled yet. Without pieces the large ones take 55 to 2,500. */
const turnMsMax = 40

let world: World
let running: RunningSidecar
let turns: Turns

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  turns = new Turns()
})
after(async () => {
  turns.stop()
  await world.close()
})

const list = <T>(count: number, item: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => item(at))
const insert = (key: string, table = 'items'): string => `INSERT INTO shop.${table} (k, v) VALUES (${key}, 'x')`
const textBatch = (texts: readonly string[]): Buffer =>
  batchEnvelope(
    4,
    1,
    0,
    texts.map((text) => ({ text, values: [] })),
  )
const unauthorized = /^0x2100 /

/** What is sent, how often it is answered, and what a permitted one hears. */
const inputs: readonly (readonly [what: string, requests: () => readonly Buffer[], permitted: RegExp])[] = [
  ['a SELECT of 60,000 columns', () => [select(60_000)], /^0x2200 .*statementFactsMax/],
  ['a SELECT of 8,000 columns', () => [select(8_000)], /^echo: SELECT/],
  [
    'a SELECT of one column 60,000 times',
    () => [query(`SELECT ${list(60_000, () => 'v').join()} FROM shop.items`)],
    /^echo/,
  ],
  ['a BATCH of 8,000 texts with numbers', () => [textBatch(list(8_000, (at) => insert(String(at))))], /^result 1$/],
  ['a BATCH of 8,000 texts with strings', () => [textBatch(list(8_000, (at) => insert(`'${at}'`)))], /^result 1$/],
  ['a BATCH of 1,000 tables', () => [textBatch(list(1_000, (at) => insert('1', `t${at}`)))], /^result 1$/],
  [
    'a SELECT with 8,000 relations',
    () => [query(`SELECT v FROM shop.items WHERE ${list(8_000, (at) => `c${at}=${at}`).join(' AND ')}`)],
    /^echo: SELECT/,
  ],
  [
    'an UPDATE of one null with 8,000 relations',
    () => [query(`UPDATE shop.items SET v=null WHERE ${list(8_000, (at) => `c${at}=${at}`).join(' AND ')}`)],
    /^echo: UPDATE/,
  ],
  [
    'a BATCH text of 8,000 statements',
    () => [query(`BEGIN BATCH ${list(8_000, (at) => insert(`'${at}'`)).join(' ')} APPLY BATCH`)],
    /^echo: BEGIN/,
  ],
  [
    '200 QUERYs of 8 KB at once',
    () => list(200, (at) => query(`SELECT v FROM shop.items WHERE k IN ('${at}'${",'y'".repeat(1_900)})`, at)),
    /^echo: SELECT/,
  ],
  [
    '500 short QUERYs at once',
    () => list(500, (at) => query(`SELECT v FROM shop.items WHERE k = 'n${at}'`, at)),
    /^echo: SELECT/,
  ],
]

function query(text: string, stream = 1): Buffer {
  return queryEnvelope(4, stream, text)
}

/** Nothing that is read, in front of all that is. */
function withPayload(envelope: Buffer): Buffer {
  const payload = Buffer.from([0, 1, 0, 1, 0x6b, 0, 0, 0, 1, 0x76])
  const whole = Buffer.concat([envelope.subarray(0, 9), payload, envelope.subarray(9)])
  whole[1]! |= Flag.CUSTOM_PAYLOAD
  whole.writeInt32BE(whole.length - 9, 5)
  return whole
}

function select(columns: number): Buffer {
  return query(`SELECT ${list(columns, (at) => `"C${at}"`).join()} FROM shop.items`)
}

async function longest(client: RawClient, requests: readonly Buffer[]): Promise<{ answers: string[]; turnMs: number }> {
  // The first turns of a test are its own.
  await new Promise((resolve) => setTimeout(resolve, 20))
  turns.takeMs()
  const answers = await Promise.all(requests.map((request) => client.ask(request)))
  const turnMs = turns.takeMs()
  return { answers: answers.map(describe), turnMs }
}

suite('one client’s work in a turn is bounded', () => {
  for (const [what, requests, permitted] of inputs) {
    for (const who of ['alice', 'carol'] as const) {
      it(`${what}, ${who === 'alice' ? 'permitted' : 'refused'}`, async () => {
        const client = await world.client(running.port, who)
        // The first time takes longer, for V8 has not compiled the code.
        await longest(client, requests())
        const { answers, turnMs } = await longest(client, requests())
        const wanted = who === 'alice' || /statementFactsMax/.test(String(permitted)) ? permitted : unauthorized
        for (const answer of answers) assert.match(answer, wanted)
        assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
        await client.close()
      })
    }
  }

  for (const payload of [false, true]) {
    it(`a BATCH of 60,000 prepared statements, ${payload ? 'behind a custom payload' : 'alone'}`, async () => {
      const client = await world.client(running.port, 'alice')
      const answer = await client.ask(prepareEnvelope(4, 1, 'INSERT INTO shop.items (k, v) VALUES (?, ?)'))
      const { id } = readPrepared(wholeEnvelope(answer), 4)
      const value = Buffer.from('x')
      const items = list(60_000, () => ({ id, values: [value, value] }))
      const request = payload ? withPayload(batchEnvelope(4, 1, 0, items)) : batchEnvelope(4, 1, 0, items)
      // The fake node would have the loop for longer.
      running.node.isDeaf = true
      let turnMs = Number.POSITIVE_INFINITY
      for (let run = 0; run < 4; run++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        turns.takeMs()
        request.writeInt16BE(run, 2)
        client.send(request)
        await new Promise((resolve) => setTimeout(resolve, 500))
        turnMs = Math.min(turnMs, turns.takeMs())
      }
      running.node.isDeaf = false
      assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
      client.close()
    })
  }

  it('and what comes behind a large BATCH is served after it, in order', async () => {
    const client = await world.client(running.port, 'alice')
    const texts = list(1_500, (at) => insert(`'order ${at}'`))
    const before = running.node.texts().length
    const answers = await Promise.all([
      client.ask(textBatch(texts)),
      client.ask(prepareEnvelope(4, 2, "SELECT v FROM shop.items WHERE k = 'behind'")),
      client.ask(query("SELECT v FROM shop.items WHERE k = 'last'", 3)),
    ])
    assert.deepEqual(answers.map(describe).slice(0, 2), ['result 1', 'result 4'])
    const arrived = running.node.texts().slice(before)
    assert.deepEqual(arrived, [
      texts.join('; '),
      "SELECT v FROM shop.items WHERE k = 'behind'",
      "SELECT v FROM shop.items WHERE k = 'last'",
    ])
  })

  it('a statement that may not run refuses the whole BATCH, wherever it stands; one that is no CQL as well', async () => {
    const client = await world.client(running.port, 'alice')
    const good = list(600, (at) => insert(`'all or nothing ${at}'`))
    const before = running.node.texts().length
    for (const [at, bad, wanted] of [
      [0, "INSERT INTO bank.items (k) VALUES ('1')", unauthorized],
      [599, "INSERT INTO bank.items (k) VALUES ('1')", unauthorized],
      [300, 'INSERT nonsense', /^0x2000 /],
    ] as const) {
      const answer = describe(await client.ask(textBatch(good.with(at, bad))))
      assert.match(answer, wanted)
    }
    assert.equal(running.node.texts().length, before)
  })

  it('the first requests under a policy of many rules for one identity', async () => {
    const client = await world.client(running.port, 'carol')
    const { source } = running.feed.value(pushedKinds.policy).current
    const rules = list(1_000, (at) =>
      JSON.stringify({
        apiVersion: 'ringfence.dev/v1alpha1',
        kind: 'AccessPolicy',
        metadata: { name: `many-${at}` },
        spec: {
          subjects: [{ spiffeId: 'spiffe://demo.local/svc/carol' }],
          keyspaces: ['shop'],
          tables: [at === 0 ? 'items' : `t${at}`],
          operations: ['ALL'],
        },
      }),
    )
    const requests = (): Buffer[] => [
      query('SELECT v FROM shop.items'),
      query('USE shop', 2),
      query('SELECT * FROM system_schema.tables', 3),
    ]
    await longest(client, requests())
    running.feed.apply([source, ...rules].join('\n---\n'))
    let permitted = false
    for (let tries = 0; tries < 500 && !permitted; tries++) {
      const { answers, turnMs } = await longest(client, requests())
      permitted = answers[0]!.startsWith('echo')
      assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
    }
    assert.ok(permitted)
    running.feed.apply(source)
    await client.close()
  })

  it('is judged by the policy in force when it goes, not by one that was', async () => {
    const client = await world.client(running.port, 'alice')
    const { source } = running.feed.value(pushedKinds.policy).current
    const asked = client.ask(textBatch(list(2_500, (at) => insert(`'revoked ${at}'`))))
    const before = running.node.texts().length
    await until('the BATCH is being judged', () => turns.takeMs() > 1)
    running.feed.apply(source.replaceAll('[shop, play]', '[play]'))
    const answer = describe(await asked)
    if (running.node.texts().length === before) assert.match(answer, unauthorized)
    running.feed.apply(source)
  })
})
