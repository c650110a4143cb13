/**
 * Between a change of the schema and its reading nothing is judged by what was read before, where the change is known: it goes through this
 * sidecar, or the node told of it. Each thing that a decision looks at × each way to hear of its change × both directions, with a neighbour that
 * does not wait.
 */

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import {
  errorEnvelope,
  prepareEnvelope,
  queryEnvelope,
  schemaChangeEnvelope,
  voidEnvelope,
} from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import type { FakeTable } from './fake-schema.ts'
import { type RunningSidecar, until, World } from './world.ts'

const rule = (name: string, who: string, more: string): string => `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/${who} }]
  keyspaces: [shop]
  ${more}
---`
const rules = `${rule('alice', 'alice', "functions: ['shop.*']\n  operations: [ALL]")}
${rule('bob', 'bob', 'tables: [items, other, shown, wide]\n  operations: [READ, WRITE]')}
${rule('bob-tables', 'bob', 'tables: [items]\n  operations: [ALTER]')}
apiVersion: ringfence.dev/v1alpha1
kind: CedarPolicy
metadata: { name: no-late }
spec:
  cedar: |
    @id("no-late")
    forbid (principal == Workload::"spiffe://demo.local/svc/bob", action, resource)
    when { resource has column && resource.column like "late*" };
`

const table = (name: string, more: Partial<FakeTable> = {}): FakeTable => ({
  keyspace: 'shop',
  name,
  partitionKey: { k: 'text' },
  regulars: { v: 'text' },
  ...more,
})
const common = [table('other'), table('secret')]

interface Change {
  readonly name: string
  readonly ddl: string
  readonly target: 'TABLE' | 'FUNCTION' | 'AGGREGATE'
  readonly object: string
  readonly tables: readonly (readonly FakeTable[])[]
  readonly functions?: readonly (readonly string[])[]
  readonly aggregates?: readonly (readonly string[])[]
  /** What Bob asks: permitted under the first schema, refused under the second. */
  readonly asked: string
  readonly refusal: RegExp
}

const items = table('items')
const selectAbs = "SELECT abs(v) FROM shop.items WHERE k = 'a'"

const changes: readonly Change[] = [
  {
    name: 'a table that is made again as a view',
    ddl: 'CREATE MATERIALIZED VIEW shop.shown AS SELECT k, v FROM shop.secret WHERE k IS NOT NULL PRIMARY KEY (k)',
    target: 'TABLE',
    object: 'shown',
    tables: [
      [items, table('shown')],
      [items, table('shown', { base: 'secret' })],
    ],
    asked: "SELECT v FROM shop.shown WHERE k = 'a'",
    refusal: /^0x2\d00 /,
  },
  {
    name: 'a view of another table',
    ddl: 'DROP MATERIALIZED VIEW shop.shown',
    target: 'TABLE',
    object: 'shown',
    tables: [
      [items, table('shown', { base: 'items' })],
      [items, table('shown', { base: 'secret' })],
    ],
    asked: "SELECT v FROM shop.shown WHERE k = 'a'",
    refusal: /^0x2\d00 /,
  },
  {
    name: 'a user function with a native one’s name',
    ddl: 'CREATE FUNCTION shop.abs (v text) RETURNS NULL ON NULL INPUT RETURNS text LANGUAGE java AS $$return v;$$',
    target: 'FUNCTION',
    object: 'abs',
    tables: [[items], [items]],
    functions: [[], ['shop.abs']],
    asked: selectAbs,
    refusal: /^0x2100 .*EXECUTE permission on <function shop.abs>/,
  },
  {
    name: 'an aggregate with a native one’s name',
    ddl: 'CREATE AGGREGATE shop.abs (text) SFUNC f STYPE text',
    target: 'AGGREGATE',
    object: 'abs',
    tables: [[items], [items]],
    aggregates: [[], ['shop.abs']],
    asked: selectAbs,
    refusal: /^0x2100 .*EXECUTE permission on <function shop.abs>/,
  },
  {
    name: 'a column that is refused',
    ddl: 'ALTER TABLE shop.wide ADD late text',
    target: 'TABLE',
    object: 'wide',
    tables: [
      [items, table('wide')],
      [items, table('wide', { regulars: { v: 'text', late: 'text' } })],
    ],
    asked: "SELECT * FROM shop.wide WHERE k = 'a'",
    refusal: /^0x2100 .*SELECT permission on <table shop.wide>/,
  },
  {
    name: 'another partition key',
    ddl: 'CREATE TABLE shop.items (k text, v text, PRIMARY KEY ((k, v)))',
    target: 'TABLE',
    object: 'items',
    tables: [[items], [table('items', { partitionKey: { k: 'text', v: 'text' }, regulars: {} })]],
    asked: "SELECT v FROM shop.items WHERE k = 'a'",
    refusal: /^0x2100 .*SCAN permission on <table shop.items>/,
  },
  {
    name: 'an index of another table',
    ddl: 'CREATE INDEX of_v ON shop.secret (v)',
    target: 'TABLE',
    object: 'secret',
    tables: [[table('items', { indexes: ['of_v'] })], [items, table('secret', { indexes: ['of_v'] })]],
    asked: 'DROP INDEX shop.of_v',
    refusal: /^0x2100 .*ALTER permission/,
  },
]

let world: World
let running: RunningSidecar
let alice: RawClient
let bob: RawClient

before(async () => {
  world = await World.make()
  running = await world.sidecar({ policy: rules })
})
after(() => world.close())
beforeEach(async () => {
  running.node.intercept = undefined
  running.node.interceptOwn = undefined
  alice = await world.client(running.port, 'alice')
  bob = await world.client(running.port, 'bob')
})
afterEach(() => {
  alice.close()
  bob.close()
})

function put({ tables, functions = [[], []], aggregates = [[], []] }: Change, at: number): void {
  const { schema, topology } = running.node
  schema.tables = [...common.filter(({ name }) => !tables[at]!.some((one) => one.name === name)), ...tables[at]!]
  schema.functions = functions[at]!
  schema.aggregates = aggregates[at]!
  topology.schemaVersion = Buffer.alloc(16, (topology.schemaVersion[0]! + 1) % 256)
}

function emit({ target, object }: Change): void {
  running.node.emit({
    type: 'SCHEMA_CHANGE',
    change: 'UPDATED',
    target,
    keyspace: 'shop',
    name: object,
    argTypes: target === 'TABLE' ? [] : ['text'],
  })
}

/** The sidecar knows the schema as it is. */
async function read(change: Change): Promise<void> {
  emit(change)
  const ask = (): Promise<Buffer> => bob.ask(queryEnvelope(4, 60, "SELECT v FROM shop.other WHERE k = 'a'"))
  await ask()
  // Its own events come in order.
  await until('it is read', () => running.node.schemaReads.length > 0)
  await sleep(20)
  running.node.schemaReads.length = 0
  running.node.requests.length = 0
}

/** Reads of the schema by the sidecar wait until the result is called. */
function holdReads(): () => void {
  const held: NodeRequest[] = []
  running.node.interceptOwn = (request) => {
    if (!/system_schema\./.test(request.text)) return false
    held.push(request)
    return true
  }
  return () => {
    running.node.interceptOwn = undefined
    for (const request of held) request.answer()
  }
}

/** Alice's statement, which the node carries out until the result is called. */
async function sendDdl(change: Change, prepared: boolean): Promise<(answer: Buffer) => void> {
  let held: NodeRequest | undefined
  let request = queryEnvelope(4, 1, change.ddl)
  if (prepared) {
    const answer = await alice.ask(prepareEnvelope(4, 1, change.ddl))
    request = executeEnvelope(4, 1, readPrepared(wholeEnvelope(answer), 4).id, undefined, [])
  }
  running.node.intercept = (each) => {
    if (each.text !== change.ddl) return false
    held = each
    return true
  }
  alice.ask(request).catch(() => {})
  await until('the node has it', () => held !== undefined)
  running.node.intercept = undefined
  return (answer) => held?.reply(answer)
}

const done = ({ target, object }: Change): Buffer =>
  schemaChangeEnvelope(4, 0, {
    change: 'UPDATED',
    target,
    keyspace: 'shop',
    name: object,
    argTypes: target === 'TABLE' ? [] : ['text'],
  })

/** How the change is known: puts the second schema in the node's hands, and lets it be read when the result is called. */
const ways: readonly (readonly [name: string, come: (change: Change, at: number) => Promise<() => void>])[] = [
  [
    'while the node carries it out',
    async (change, at) => {
      const answer = await sendDdl(change, false)
      put(change, at)
      return () => answer(done(change))
    },
  ],
  [
    'while the node carries it out, prepared',
    async (change, at) => {
      const answer = await sendDdl(change, true)
      put(change, at)
      return () => answer(done(change))
    },
  ],
  [
    'after the node’s answer',
    async (change, at) => {
      const answer = await sendDdl(change, false)
      put(change, at)
      const go = holdReads()
      answer(done(change))
      await sleep(20)
      return go
    },
  ],
  [
    'after the node’s answer that there was an error, which may have come too late',
    async (change, at) => {
      const answer = await sendDdl(change, false)
      put(change, at)
      const go = holdReads()
      answer(errorEnvelope(4, 0, CqlErrorCode.SERVER_ERROR, 'timed out'))
      await sleep(20)
      return go
    },
  ],
  [
    'after the connection to the node was lost',
    async (change, at) => {
      await sendDdl(change, false)
      put(change, at)
      const go = holdReads()
      for (const connection of running.node.connections) {
        if (connection.registered.length === 0) connection.socket.destroy()
      }
      await sleep(50)
      bob = await world.client(running.port, 'bob')
      return go
    },
  ],
  [
    'as the node tells of it',
    async (change, at) => {
      put(change, at)
      const go = holdReads()
      emit(change)
      await sleep(20)
      return go
    },
  ],
]

for (const change of changes) {
  suite(change.name, () => {
    for (const [way, come] of ways) {
      for (const [direction, from, to] of [
        ['there', 0, 1],
        ['and back', 1, 0],
      ] as const) {
        it(`${way}, ${direction}`, async () => {
          put(change, from)
          await read(change)
          const question = queryEnvelope(4, 2, change.asked)
          const first = describe(await bob.ask(question))
          if (from === 0) assert.doesNotMatch(first, /^0x/)
          else assert.match(first, change.refusal)
          const go = await come(change, to)
          running.node.requests.length = 0
          let answered = false
          const asked = bob.ask(question).finally(() => {
            answered = true
          })
          // Of another session, and about something else.
          const other = await world.client(running.port, 'bob')
          const neighbour = "SELECT v FROM shop.other WHERE k = 'a'"
          assert.equal(describe(await other.ask(queryEnvelope(4, 3, neighbour))), `echo: ${neighbour}`)
          await sleep(30)
          assert.equal(answered, false)
          assert.ok(!running.node.texts().includes(change.asked))
          go()
          const second = describe(await asked)
          if (to === 0) assert.doesNotMatch(second, /^0x/)
          else assert.match(second, change.refusal)
          assert.equal(running.node.texts().includes(change.asked), to === 0)
          other.close()
        })
      }
    }
  })
}

suite('a statement waits in each form', () => {
  const change = changes.find(({ target }) => target === 'FUNCTION')!
  const insert = "INSERT INTO shop.items (k, v) VALUES ('a', abs('x'))"
  const part = { text: insert, values: [] }
  const forms: readonly (readonly [string, () => Promise<Buffer>])[] = [
    ['QUERY', async () => queryEnvelope(4, 5, insert)],
    ['PREPARE', async () => prepareEnvelope(4, 5, insert)],
    [
      'EXECUTE',
      async () => {
        const answer = await bob.ask(prepareEnvelope(4, 5, insert))
        return executeEnvelope(4, 5, readPrepared(wholeEnvelope(answer), 4).id, undefined, [])
      },
    ],
    ['BATCH', async () => batchEnvelope(4, 5, 0, [{ text: insert.replace("abs('x')", "'y'"), values: [] }, part])],
    ['BATCH text', async () => queryEnvelope(4, 5, `BEGIN BATCH ${insert}; ${insert}; APPLY BATCH`)],
    ['large BATCH', async () => batchEnvelope(4, 5, 0, Array(500).fill(part))],
  ]
  for (const [form, made] of forms) {
    it(form, async () => {
      put(change, 0)
      await read(change)
      const request = await made()
      assert.doesNotMatch(describe(await bob.ask(request)), /^0x2[^2]/)
      const answer = await sendDdl(change, false)
      put(change, 1)
      running.node.requests.length = 0
      const asked = bob.ask(request)
      await sleep(50)
      assert.deepEqual(
        running.node.requests.filter(({ opcode }) => opcode !== Opcode.PREPARE).map(({ text }) => text),
        [],
      )
      answer(done(change))
      assert.match(describe(await asked), change.refusal)
    })
  }
})

it('a statement that changed nothing, such as IF NOT EXISTS, costs one small question and lets others go', async () => {
  const [change] = changes
  put(change!, 0)
  await read(change!)
  // The version is known again when all was read.
  running.node.interceptOwn = undefined
  const ddl = 'CREATE TABLE IF NOT EXISTS shop.items (k text PRIMARY KEY)'
  const answer = await sendDdl({ ...change!, ddl }, false)
  const question = "SELECT v FROM shop.items WHERE k = 'a'"
  const asked = bob.ask(queryEnvelope(4, 2, question))
  await sleep(20)
  answer(voidEnvelope(4, 0))
  assert.equal(describe(await asked), `echo: ${question}`)
})

it('a change that the node takes longer than five seconds for counts as not made yet', async () => {
  const change = changes.find(({ target }) => target === 'FUNCTION')!
  put(change, 0)
  await read(change)
  const answer = await sendDdl(change, false)
  const since = performance.now()
  assert.doesNotMatch(describe(await bob.ask(queryEnvelope(4, 2, change.asked))), /^0x/)
  assert.ok(performance.now() - since > 4500)
  put(change, 1)
  answer(done(change))
  await until('it is read', () => running.node.schemaReads.length > 0)
  assert.match(describe(await bob.ask(queryEnvelope(4, 2, change.asked))), change.refusal)
})
