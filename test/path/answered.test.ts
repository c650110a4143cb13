/**
 * A mask and a deny follow the answer's own columns: the sidecar reads the schema behind its node, so a column that was added a moment ago
 * comes in answers before the schema says that it is there.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { type ColumnSpec, prepareEnvelope, queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readPrepared, readRows } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { describe } from './client.ts'
import { type RunningSidecar, usualPolicy, World } from './world.ts'

const rules = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: MaskingPolicy
metadata: { name: masks }
spec: { keyspaces: [shop], columns: [late, "Odd_*"], mask: full, exceptSubjects: [{ spiffeId: spiffe://demo.local/svc/carol }] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: carol-shop }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/carol }], keyspaces: [shop], operations: [READ, SCAN] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-unmask }
spec: { effect: deny, subjects: [{ spiffeId: spiffe://demo.local/* }], keyspaces: [shop], operations: [UNMASK] }
---
apiVersion: ringfence.dev/v1alpha1
kind: CedarPolicy
metadata: { name: no-tax }
spec:
  cedar: |
    forbid (principal, action, resource) when { resource has column && resource.column like "tax_*" };
`

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  running.node.schema.tables = [
    ...running.node.schema.tables,
    { keyspace: 'shop', name: 'seen', base: 'items', partitionKey: { k: 'text' }, regulars: { v: 'text' } },
  ]
  running.node.emit({
    type: 'SCHEMA_CHANGE',
    change: 'CREATED',
    target: 'TABLE',
    keyspace: 'shop',
    name: 'seen',
    argTypes: [],
  })
})
after(() => world.close())
beforeEach(() => {
  running.node.requests.length = 0
  running.node.intercept = undefined
  running.feed.apply(rules)
})

const text = native('text')
const known = ['k', 'v']

/** The node answers everything but PREPARE with one row, whose values are the names of its columns in capitals. */
function answerWith(
  version: ProtocolVersion,
  table: string,
  names: readonly string[],
  more: readonly ColumnSpec[] = [],
): void {
  const columns = [...more, ...names.map((name) => ({ name, type: text }))]
  const row = columns.map(({ name, type }) => (type === text ? Buffer.from(name.toUpperCase()) : Buffer.alloc(1)))
  running.node.intercept = (request) => {
    if (request.opcode === Opcode.PREPARE) return false
    request.reply(rowsEnvelope(version, 0, { keyspace: 'shop', table, columns }, [row]))
    return true
  }
}

const applied: ColumnSpec = { name: '[applied]', type: native('boolean') }

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`an answer with a column that the schema does not know yet, version ${version}`, () => {
    const ask = async (name: string, request: Buffer): Promise<string[] | string> => {
      const client = await world.client(running.port, name, { version })
      const answer = await client.ask(request)
      client.close()
      if (headerOpcode(answer, 0) === Opcode.ERROR) return describe(answer)
      const { rows, columns } = readRows(wholeEnvelope(answer), version)
      return rows[0]!.flatMap((value, i) => (columns[i]!.type.kind === 'text' ? [String(value)] : []))
    }
    const query = (statement: string): Buffer => queryEnvelope(version, 7, statement)
    /** Prepared before the column came; the columns are left out, as drivers ask for. */
    const executed = async (
      name: string,
      statement: string,
      names: readonly string[],
      table = 'items',
    ): Promise<string[] | string> => {
      const client = await world.client(running.port, name, { version })
      const prepared = await client.ask(prepareEnvelope(version, 3, statement))
      const { id } = readPrepared(wholeEnvelope(prepared), version)
      client.close()
      answerWith(version, table, names)
      return ask(name, executeEnvelope(version, 4, id, Buffer.alloc(16, 9), [], { skipMetadata: true }))
    }

    it('is masked in it, in tables and views, asked for by QUERY and by EXECUTE', async () => {
      for (const table of ['items', 'seen']) {
        for (const late of ['late', 'Odd_one']) {
          answerWith(version, table, [...known, late])
          assert.deepEqual(await ask('bob', query(`SELECT * FROM shop.${table}`)), ['K', 'V', '****'])
          assert.deepEqual(await executed('bob', `SELECT * FROM shop.${table}`, [...known, late], table), [
            'K',
            'V',
            '****',
          ])
        }
      }
    })

    it('is as it is for whom no mask binds, and where no rule speaks of it', async () => {
      answerWith(version, 'items', [...known, 'late'])
      assert.deepEqual(await ask('carol', query('SELECT * FROM shop.items')), ['K', 'V', 'LATE'])
      answerWith(version, 'items', [...known, 'other'])
      assert.deepEqual(await ask('bob', query('SELECT * FROM shop.items')), ['K', 'V', 'OTHER'])
    })

    it('is not handed on where it may not be read', async () => {
      answerWith(version, 'items', [...known, 'tax_id'])
      assert.match(String(await ask('carol', query('SELECT * FROM shop.items'))), /^0x2100 .*no SELECT .*no-tax/)
      assert.match(String(await executed('bob', 'SELECT * FROM shop.items', [...known, 'tax_id'])), /^0x2100 .*no-tax/)
      answerWith(version, 'items', known)
      assert.deepEqual(await ask('carol', query('SELECT * FROM shop.items')), ['K', 'V'])
    })

    it('is told by its keys in JSON', async () => {
      const json = (row: string): void => {
        const columns = [{ name: '[json]', type: text }]
        const answer = rowsEnvelope(version, 0, { keyspace: 'shop', table: 'items', columns }, [[Buffer.from(row)]])
        running.node.intercept = (request) => {
          request.reply(answer)
          return true
        }
      }
      json('{"k": "a", "v": "b", "tax_id": "c"}')
      assert.match(String(await ask('carol', query('SELECT JSON * FROM shop.items'))), /^0x2100 .*no-tax/)
      json('{"k": "a", "v": "b", "\\"Tax\\"": "c"}')
      assert.equal(String(await ask('carol', query('SELECT JSON * FROM shop.items'))).slice(0, 9), '{"k": "a"')
      assert.match(String(await ask('bob', query('SELECT JSON * FROM shop.items'))), /^0x2100 .*masks/)
    })

    it('is masked in the answer of a condition, alone and in a BATCH', async () => {
      const insert = "INSERT INTO shop.items (k, v) VALUES ('a', 'b') IF NOT EXISTS"
      answerWith(version, 'items', [...known, 'late'], [applied])
      assert.deepEqual(await ask('alice', query(insert)), ['K', 'V', '****'])
      assert.deepEqual(await ask('alice', query(`BEGIN BATCH ${insert} APPLY BATCH`)), ['K', 'V', '****'])
      assert.deepEqual(await ask('alice', batchEnvelope(version, 7, 0, [{ text: insert, values: [] }])), [
        'K',
        'V',
        '****',
      ])
      answerWith(version, 'items', [...known, 'tax_id'], [applied])
      assert.match(String(await ask('alice', query(insert))), /^0x2100 .*no-tax/)
      assert.match(String(await ask('alice', batchEnvelope(version, 7, 0, [{ text: insert, values: [] }]))), /no-tax/)
    })
  })
}

suite('a BATCH message with a condition', () => {
  it('needs the primary key readable, which its answer shows', async () => {
    const rules = (columns: string): string => `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: write }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/alice }], keyspaces: [shop], operations: [MODIFY] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: read }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/alice }], keyspaces: [shop], tables: [items], columns: [${columns}], operations: [SELECT] }
`
    const client = await world.client(running.port, 'alice')
    const update = "UPDATE shop.items SET v = 'a' WHERE k = 'b' IF v = 'c'"
    const prepared = await client
      .ask(prepareEnvelope(4, 3, update))
      .then((answer) => readPrepared(wholeEnvelope(answer), 4))
    const parts = [[{ text: update, values: [] }], [{ id: prepared.id, values: [] }]]
    for (const items of parts) {
      running.feed.apply(rules('v'))
      assert.match(
        describe(await client.ask(batchEnvelope(4, 7, 0, items))),
        /^0x2100 .*no SELECT permission on <table shop.items>/,
      )
      running.feed.apply(rules('v, k'))
      assert.doesNotMatch(describe(await client.ask(batchEnvelope(4, 7, 0, items))), /^0x/)
    }
    running.feed.apply(rules('v'))
    assert.doesNotMatch(describe(await client.ask(queryEnvelope(4, 7, update))), /^0x/)
    client.close()
  })
})

suite('a user function with a native name', () => {
  it('needs EXECUTE as soon as the node has told of it', async () => {
    const client = await world.client(running.port, 'alice')
    const call = "SELECT abs(v) FROM shop.items WHERE k = 'a'"
    assert.doesNotMatch(describe(await client.ask(queryEnvelope(4, 7, call))), /^0x/)
    for (const kind of ['functions', 'aggregates'] as const) {
      running.node.schema[kind] = ['shop.abs']
      const change = { change: 'CREATED', target: 'FUNCTION', keyspace: 'shop', name: 'abs', argTypes: ['text'] }
      running.node.emit({ type: 'SCHEMA_CHANGE', ...change })
      await untilRefused(() => client.ask(queryEnvelope(4, 7, call)))
      running.node.schema[kind] = []
      running.node.emit({ type: 'SCHEMA_CHANGE', ...change, change: 'DROPPED' })
      await untilRefused(() => client.ask(queryEnvelope(4, 7, call)), false)
    }
    client.close()
  })
})

async function untilRefused(ask: () => Promise<Buffer>, refused = true): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (/^0x2100 .*EXECUTE permission on <function shop.abs>/.test(describe(await ask())) === refused) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.fail(`not ${refused ? 'refused' : 'permitted'} in time`)
}
