/**
 * Between the decision on a request and its sending time may pass. Every place where it waits, each with everything that may end a permit
 * meanwhile and without: what was permitted before is nothing that the node hears of afterwards.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { type RawClient, describe as told } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

const denyRule = `${usualPolicy}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: not-now }
spec:
  effect: deny
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: [shop, play]
  operations: [ALL]
`
const select = 'SELECT * FROM shop.items WHERE k = ?'
const insert = 'INSERT INTO shop.items (k) VALUES (?)'
const long = `SELECT * FROM shop.items WHERE k IN (${Array.from({ length: 4000 }, (_, n) => `'${n}'`).join()})`
const protocolVersion = 4

const noonMs = Date.UTC(2026, 10, 18, 12, 0)
const hours = `${usualPolicy.replace('operations: [ALL]', 'operations: [ALL]\n  when: { hours: 08:00-12:00 }')}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: in-the-afternoon }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: [elsewhere]
  operations: [ALL]
`
const manyDays = `${usualPolicy.replace('operations: [ALL]', 'operations: [ALL]\n  when: { days: [wed] }')}`
const minutes = `${usualPolicy}
---
apiVersion: ringfence.dev/v1alpha1
kind: CedarPolicy
metadata: { name: office-hours }
spec:
  cedar: |
    @id("not-from-noon")
    forbid (principal, action, resource) when { context.minuteOfDay >= 720 };
`

/** Everything that ends a permit: what is in force while the request comes and at which time, and what becomes of that. */
const ends: readonly {
  readonly name: string
  readonly policy: string
  readonly atMs: number
  readonly come: () => void
  readonly refusal: RegExp
}[] = [
  {
    name: 'a deny that is put in force',
    policy: usualPolicy,
    atMs: noonMs,
    come: () => running.feed.apply(denyRule),
    refusal: /^0x2100 .*not-now/,
  },
  {
    name: 'another text under the same revision',
    policy: usualPolicy,
    atMs: noonMs,
    come: () => running.feed.restore(denyRule),
    refusal: /^0x2100 .*not-now/,
  },
  {
    name: 'the end of its hours',
    policy: hours,
    atMs: noonMs - 1,
    come: () => {
      nowMs = noonMs
    },
    refusal: /^0x2100 .*default-deny/,
  },
  {
    name: 'the end of its day',
    policy: manyDays,
    atMs: noonMs + 43_200_000 - 1,
    come: () => {
      nowMs = noonMs + 43_200_000
    },
    refusal: /^0x2100 .*default-deny/,
  },
  {
    name: 'a minute of which a policy in Cedar speaks',
    policy: minutes,
    atMs: noonMs - 1,
    come: () => {
      nowMs = noonMs
    },
    refusal: /^0x2100 .*not-from-noon/,
  },
]

let world: World
let running: RunningSidecar
let nowMs = noonMs
/** The sidecar reads its clock once in a turn. */
let readings = 0
let endAtReading = Number.POSITIVE_INFINITY
/** The clock goes on where it is read for the first time in a turn to see whether a permit is still in force. */
let endAtSending = false
const stackOf = (): string => new Error('where').stack ?? ''

before(async () => {
  world = await World.make()
  const clock = (): number => {
    readings++
    const isSending = endAtSending && /at Judge\.inForce/.test(stackOf()) && !/inContext/.test(stackOf())
    if (isSending) nowMs = noonMs
    return readings >= endAtReading ? noonMs : nowMs
  }
  running = await world.sidecar({ connections: 1, nowMs: clock })
})
after(() => world.close())
beforeEach(async () => {
  running.node.intercept = undefined
  running.node.interceptOwn = undefined
})

/** What waits, taken from the node's hands. */
type Wait = { readonly waiting: () => boolean; readonly goOn: () => void }

interface Place {
  readonly name: string
  /** Brings a request to where it waits; `asked` is its answer. `text` is what must not reach the node again, `already` how often it did. */
  readonly arrive: (
    alice: RawClient,
  ) => Promise<Wait & { readonly asked: Promise<Buffer>; readonly text: string; readonly already: number }>
}

function takeOver(which: (request: NodeRequest) => boolean, of: 'intercept' | 'interceptOwn' = 'intercept'): Wait {
  const taken: NodeRequest[] = []
  running.node[of] = (request) => {
    if (!which(request)) return false
    taken.push(request)
    return true
  }
  return {
    waiting: () => taken.length > 0,
    goOn: () => {
      running.node[of] = undefined
      for (const request of taken) request.answer()
    },
  }
}

async function prepare(alice: RawClient, text: string): Promise<Buffer> {
  const answer = await alice.ask(prepareEnvelope(protocolVersion, 50, text))
  return readPrepared(wholeEnvelope(answer), protocolVersion).id
}

async function cutConnectionsOfPlay(): Promise<void> {
  const ofPlay = () => [...running.node.connections].filter(({ keyspace }) => keyspace === 'play')
  for (const { socket } of ofPlay()) socket.destroy()
  await until('the connections are gone', () => ofPlay().length === 0)
  await sleep(20)
  running.node.requests.length = 0
}

const value = [Buffer.from('x')]
const isPrepare = ({ opcode }: NodeRequest): boolean => opcode === Opcode.PREPARE

const places: readonly Place[] = [
  {
    name: 'an EXECUTE whose statement the node forgot, while it is prepared again',
    arrive: async (alice) => {
      const id = await prepare(alice, select)
      running.node.prepared.clear()
      running.node.requests.length = 0
      const wait = takeOver(isPrepare)
      const asked = alice.ask(executeEnvelope(protocolVersion, 1, id, undefined, value))
      // The node could not tell the text of the one that it did not know.
      return { ...wait, asked, text: select, already: 1 }
    },
  },
  {
    name: 'a BATCH of such statements',
    arrive: async (alice) => {
      const id = await prepare(alice, insert)
      running.node.prepared.clear()
      running.node.requests.length = 0
      const wait = takeOver(isPrepare)
      const asked = alice.ask(batchEnvelope(protocolVersion, 1, 0, [{ id, values: value }]))
      return { ...wait, asked, text: insert, already: 1 }
    },
  },
  {
    name: 'a USE, while the connection of its keyspace opens',
    arrive: async (alice) => {
      await cutConnectionsOfPlay()
      const wait = takeOver(({ text }) => text === 'USE "play"')
      return { ...wait, asked: alice.ask(queryEnvelope(protocolVersion, 1, 'USE play')), text: 'USE play', already: 0 }
    },
  },
  {
    name: 'what came behind a USE',
    arrive: async (alice) => {
      running.node.requests.length = 0
      const wait = takeOver(({ text }) => text === 'USE shop')
      void alice.ask(queryEnvelope(protocolVersion, 2, 'USE shop')).catch(() => {})
      const text = 'SELECT v FROM shop.items'
      return { ...wait, asked: alice.ask(queryEnvelope(protocolVersion, 1, text)), text, already: 0 }
    },
  },
  {
    name: 'a question for a table that is not known, while the schema is read again',
    arrive: async (alice) => {
      running.node.requests.length = 0
      const { topology } = running.node
      topology.schemaVersion = Buffer.alloc(16, topology.schemaVersion[0]! + 1)
      const wait = takeOver(({ text }) => /system_schema\.keyspaces/.test(text), 'interceptOwn')
      const text = `SELECT * FROM shop.new${topology.schemaVersion[0]}`
      return { ...wait, asked: alice.ask(queryEnvelope(protocolVersion, 1, text)), text, already: 0 }
    },
  },
  {
    name: 'a long text, while another thread reads it',
    arrive: async (alice) => {
      running.node.requests.length = 0
      const asked = alice.ask(queryEnvelope(protocolVersion, 1, long))
      return { waiting: () => true, goOn: () => {}, asked, text: long, already: 0 }
    },
  },
  {
    name: 'a request that finds no connection to the node',
    arrive: async (alice) => {
      await alice.ask(queryEnvelope(protocolVersion, 2, 'USE play'))
      await cutConnectionsOfPlay()
      const wait = takeOver(({ text }) => text === 'USE "play"')
      const text = 'SELECT * FROM play.items'
      return { ...wait, asked: alice.ask(queryEnvelope(protocolVersion, 1, text)), text, already: 0 }
    },
  },
]

/** Requests of clients for the text; an EXECUTE that the node did not know, and a BATCH of such, have none there. */
function heard(text: string): number {
  return running.node.requests.filter(
    (request) => request.opcode !== Opcode.PREPARE && (request.text === text || ['', '?'].includes(request.text)),
  ).length
}

for (const { name: ending, policy, atMs, come, refusal } of ends) {
  describe(`${ending}, while a request waits`, () => {
    beforeEach(() => {
      nowMs = atMs
      running.feed.apply(policy)
    })

    for (const { name, arrive } of places) {
      it(`holds for ${name}`, async () => {
        const alice = await world.client(running.port, 'alice', { version: protocolVersion })
        const { asked, waiting, goOn, text, already } = await arrive(alice)
        await until('it waits', waiting)
        const before = running.records().length
        come()
        goOn()
        assert.match(told(await asked), refusal)
        assert.equal(heard(text), already)
        const refused = running.records().slice(before)
        assert.ok(refused.some(({ verdict }) => verdict === 'deny'))
      })

      it(`and without, ${name} is served`, async () => {
        const alice = await world.client(running.port, 'alice', { version: protocolVersion })
        const { asked, waiting, goOn, text, already } = await arrive(alice)
        await until('it waits', waiting)
        goOn()
        assert.match(told(await asked), /^(echo|result)/)
        assert.equal(heard(text), already + 1)
      })
    }
  })
}

describe('a large BATCH whose hours end while it is judged', () => {
  const text = 'INSERT INTO shop.items (k) VALUES (?)'
  const parts = Array.from({ length: 12_000 }, (_, at) => ({ text, values: [Buffer.from(String(at))] }))
  // Counted after all parts were decided on.
  const counted = `${hours}
---
apiVersion: ringfence.dev/v1alpha1
kind: Guardrail
metadata: { name: few }
spec: { keyspaces: [shop], partitionsPerBatchMax: 20000 }
`
  after(() => {
    endAtReading = Number.POSITIVE_INFINITY
  })

  it('is refused as a whole, in whichever turn of its judging that is', async () => {
    nowMs = noonMs - 1
    running.feed.apply(counted)
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    let turn = 0
    for (; turn < 200; turn++) {
      running.node.requests.length = 0
      readings = 0
      endAtReading = turn + 1
      const answer = told(await alice.ask(batchEnvelope(protocolVersion, 1, 0, parts)))
      const hasEnded = readings >= endAtReading
      endAtReading = Number.POSITIVE_INFINITY
      if (!hasEnded) {
        assert.match(answer, /^result/)
        break
      }
      assert.match(answer, /^0x2100 .*default-deny/)
      assert.equal(running.node.requests.length, 0)
    }
    assert.ok(turn > 2, `it was judged in ${turn} turns`)
  })

  it('is refused as a whole where that is after the last of them was decided on', async () => {
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    let ended = 0
    for (let asked = 0; asked < 50 && ended < 3; asked++) {
      nowMs = noonMs - 1
      running.feed.apply(counted)
      running.node.requests.length = 0
      endAtSending = true
      const answer = told(await alice.ask(batchEnvelope(protocolVersion, 1, 0, parts)))
      endAtSending = false
      // Else it was sent in the turn of its last decision.
      if (nowMs === noonMs) ended++
      assert.match(answer, nowMs === noonMs ? /^0x2100 .*default-deny/ : /^result/)
      assert.equal(running.node.requests.length, nowMs === noonMs ? 0 : 1)
    }
    assert.ok(ended > 0)
  })
})
