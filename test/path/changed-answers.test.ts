/**
 * Large answers that have to be changed: the same bytes as if they were changed in one go, and everybody else is served meanwhile.
 * Turns are measured by their CPU; node, client and sidecar are one process here, so the bound is wider than the sidecar's own.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { maskRows } from '../../src/cql/answers/mask.fixture.ts'
import type { Mask } from '../../src/cql/answers/mask.ts'
import { queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import type { ProtocolVersion } from '../../src/cql/protocol.ts'
import { readRows, rowsCount } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { Turns } from './turns.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

/** Ten for the sidecar, the rest for node, client and garbage. */
const turnMsMax = 60
const rowsMade = 60_000

const rules = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: MaskingPolicy
metadata: { name: some }
spec: { keyspaces: [shop], columns: [part], mask: partial, keepStart: 1, keepEnd: 1 }
---
apiVersion: ringfence.dev/v1alpha1
kind: MaskingPolicy
metadata: { name: gone }
spec: { keyspaces: [shop], columns: [gone], mask: "null" }
---
apiVersion: ringfence.dev/v1alpha1
kind: MaskingPolicy
metadata: { name: same }
spec: { keyspaces: [shop], columns: [full], mask: full }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-unmask }
spec: { effect: deny, subjects: [{ spiffeId: spiffe://demo.local/* }], keyspaces: [shop], operations: [UNMASK] }
`
const masks = new Map<string, Mask>([
  ['part', { kind: 'partial', keepStart: 1, keepEnd: 1 }],
  ['gone', { kind: 'null' }],
  ['full', { kind: 'full' }],
])

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
beforeEach(() => {
  running.node.requests.length = 0
  running.node.intercept = undefined
  running.feed.apply(rules)
})

const columns = ['k', 'part', 'gone', 'full'].map((name) => ({ name, type: native('text') }))
const table = { keyspace: 'shop', table: 'items', columns }

/** Long and short values, nulls and empty ones. */
function rowsOf(count: number): (Buffer | null)[][] {
  const values = ['x'.repeat(20), '', 'ää€', 'y'.repeat(60)].map((each) => Buffer.from(each))
  return Array.from({ length: count }, (_, at) => [
    Buffer.from(`key ${at}`),
    at % 7 === 0 ? null : values[at % 4]!,
    values[(at + 1) % 4]!,
    values[(at + 2) % 4]!,
  ])
}

const ask = 'SELECT * FROM shop.items'
const large = (version: ProtocolVersion, count = rowsMade): Buffer => rowsEnvelope(version, 0, table, rowsOf(count))
const expected = (answer: Buffer, version: ProtocolVersion): Buffer =>
  maskRows(wholeEnvelope(answer), version, (name) => masks.get(name), Buffer.alloc(0))

/** Only what asks for the large answer gets it. */
function answerWith(answer: Buffer, seen: (request: NodeRequest) => void = () => {}): void {
  running.node.intercept = (request) => {
    if (request.text !== ask) return false
    seen(request)
    request.reply(answer)
    return true
  }
}

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`a large masked answer, version ${version}`, () => {
    it('is the same bytes as in one go, at every size around the bound', async () => {
      const client = await world.client(running.port, 'alice', { version })
      for (const count of [2_000, 2_700, 3_000, 9_000]) {
        const answer = large(version, count)
        answerWith(answer)
        const given = await client.ask(queryEnvelope(version, 9, ask))
        const wanted = expected(answer, version)
        assert.ok(given.subarray(4).equals(wanted.subarray(4)), `${count} rows, ${answer.length} bytes`)
      }
      client.close()
    })

    it('lets others, and its own client’s other streams, be answered before it', async () => {
      const answer = large(version)
      const [client, other] = await Promise.all([
        world.client(running.port, 'alice', { version }),
        world.client(running.port, 'bob', { version }),
      ])
      answerWith(answer)
      await client.ask(queryEnvelope(version, 9, ask))
      await new Promise((resolve) => setTimeout(resolve, 50))
      turns.takeMs()
      let over = false
      const asked = client.ask(queryEnvelope(version, 9, ask)).then((given) => {
        over = true
        return given
      })
      const own: number[] = []
      const others: number[] = []
      const askOn = async (of: typeof client, stream: number, answered: number[]): Promise<void> => {
        while (!over) {
          const text = "SELECT v FROM shop.items WHERE k = 'small'"
          assert.match(describe(await of.ask(queryEnvelope(version, stream, text))), /^echo: /)
          if (!over) answered.push(performance.now())
        }
      }
      await Promise.all([askOn(client, 3, own), askOn(other, 3, others)])
      const turnMs = turns.takeMs()
      const given = await asked
      assert.equal(rowsCount(wholeEnvelope(given), version), rowsMade)
      assert.ok(own.length > 1 && others.length > 1, `${own.length} own and ${others.length} others' answers meanwhile`)
      assert.ok(turnMs < turnMsMax, `${turnMs} ms of CPU in one turn`)
      client.close()
      other.close()
    })
  })
}

suite('a large answer that is being changed', () => {
  it('is recorded once, with its rows and its own length', async () => {
    const client = await world.client(running.port, 'alice')
    const answer = large(4, 5_000)
    answerWith(answer)
    const before = running.records().length
    const given = await client.ask(queryEnvelope(4, 9, ask))
    await until('it is written', () => running.records().length > before)
    const lines = running.records().slice(before)
    assert.equal(lines.length, 1)
    const [line] = lines
    assert.equal(JSON.stringify(line).includes('"rows":5000'), true, JSON.stringify(line))
    assert.equal(JSON.stringify(line).includes(`${given.length}`), true, JSON.stringify(line))
    client.close()
  })

  it('has its paging state sealed, whether or not it has masks', async () => {
    const client = await world.client(running.port, 'alice')
    const state = Buffer.from('the node’s own state')
    for (const shown of [columns, [columns[0]!]]) {
      const rows = rowsOf(40_000).map((row) => row.slice(0, shown.length))
      const spec = { ...table, columns: shown, pagingState: state }
      answerWith(rowsEnvelope(4, 0, spec, rows))
      const given = await client.ask(queryEnvelope(4, 9, ask, { pageSize: 40_000 }))
      const read = readRows(wholeEnvelope(given), 4)
      assert.equal(read.rows.length, 40_000)
      assert.equal(read.pagingState?.includes(state), false)
      let opened: string | undefined
      answerWith(rowsEnvelope(4, 0, { ...table, columns: shown }, []), (request) => {
        opened = request.envelope.includes(state) ? 'the same' : 'another'
      })
      await client.ask(queryEnvelope(4, 9, ask, { pageSize: 40_000, pagingState: read.pagingState! }))
      assert.equal(opened, 'the same')
    }
    client.close()
  })

  it('fails by itself where it cannot be changed, and what comes after it goes on', async () => {
    const client = await world.client(running.port, 'alice')
    const answer = large(4, 5_000)
    // The last value is longer than the rest of the message.
    answer.writeInt32BE(1_000, answer.lastIndexOf(Buffer.from('key 4999')) - 4)
    answerWith(answer)
    assert.match(describe(await client.ask(queryEnvelope(4, 9, ask))), /^0x[0-9a-f]+ .*the answer cannot be given/)
    running.node.intercept = undefined
    assert.match(describe(await client.ask(queryEnvelope(4, 9, "SELECT v FROM shop.items WHERE k = 'x'"))), /^echo: /)
    client.close()
  })

  it('is nobody else’s loss where its client leaves, or the connection to the node dies, in the middle', async () => {
    for (const ends of ['client', 'node'] as const) {
      const client = await world.client(running.port, 'alice')
      let connection: NodeRequest['connection'] | undefined
      answerWith(large(4), (request) => {
        connection = request.connection
      })
      const asked = client.ask(queryEnvelope(4, 9, ask)).then(
        () => 'answered',
        () => 'lost',
      )
      await until('it came', () => connection !== undefined)
      await until('it is being changed', () => turns.takeMs() > 3)
      if (ends === 'client') client.close()
      else connection?.socket.destroy()
      assert.ok(['answered', 'lost'].includes(await Promise.race([asked, pause(10_000).then(() => 'nothing')])))
      client.close()
    }
    const again = await world.client(running.port, 'bob')
    assert.match(describe(await again.ask(queryEnvelope(4, 3, "SELECT v FROM shop.items WHERE k = 'y'"))), /^echo: /)
    again.close()
  })
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
