/**
 * A view whose base table is hidden is not there: no channel that tells of the schema, and no statement that names the view, says anything else
 * than it would were there no view. Each channel is tried by one who may see the base, too.
 */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { readEvent, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import type { FakeTable } from './fake-schema.ts'
import { type RunningSidecar, until, World } from './world.ts'

const rule = (who: string, tables: string): string => `---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${who} }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/${who} }]
  keyspaces: [shop]
  tables: [${tables}]
  operations: [READ, WRITE, SCAN, TRUNCATE, ALTER, DROP, AUTHORIZE]
`
const rules = `${rule('bob', 'items, shown, absent')}${rule('carol', 'items, shown, absent, secret')}`

const key = { partitionKey: { k: 'text' }, regulars: { v: 'text' } }
const shown: FakeTable = { keyspace: 'shop', name: 'shown', base: 'secret', ...key }
const change = { type: 'SCHEMA_CHANGE', keyspace: 'shop', target: 'TABLE', argTypes: [] } as const

let world: World
let running: RunningSidecar
const clients = new Map<string, RawClient>()

before(async () => {
  world = await World.make()
  const node = await world.node()
  node.schema.add({ keyspace: 'shop', name: 'secret', ...key }, shown)
  running = await world.sidecar({ node, policy: rules })
  for (const who of ['bob', 'carol']) clients.set(who, await world.client(running.port, who))
})
after(() => world.close())

const client = (who: string): RawClient => clients.get(who)!

async function rows(who: string, text: string): Promise<string[]> {
  const answer = await client(who).ask(queryEnvelope(4, 7, text))
  return readRows(wholeEnvelope(answer), 4).rows.map((row) => row.map((cell) => cell?.toString()).join())
}

suite('the tables about the schema', () => {
  const where = "WHERE keyspace_name = 'shop'"
  for (const [text, without, withBase] of [
    [`SELECT view_name, base_table_name FROM system_schema.views ${where}`, [], ['shown,secret']],
    [
      `SELECT table_name, column_name FROM system_schema.columns ${where}`,
      ['items,k', 'items,v'],
      ['items,k', 'items,v', 'secret,k', 'secret,v', 'shown,k', 'shown,v'],
    ],
    [`SELECT column_name FROM system_schema.columns ${where} AND table_name = 'shown'`, [], ['k', 'v']],
    [`SELECT count(*) FROM system_schema.columns ${where}`, ['2'], ['6']],
    ['SELECT DISTINCT keyspace_name FROM system_schema.views', [], ['shop']],
  ] as const) {
    it(text, async () => {
      const told = async (who: string): Promise<string[]> => {
        const answered = await rows(who, text)
        return text.includes('count') ? answered.map((row) => String(Buffer.from(row, 'latin1').at(-1))) : answered
      }
      assert.deepEqual(await told('bob'), without)
      assert.deepEqual(await told('carol'), withBase)
    })
  }
})

suite('a statement that names it', () => {
  const forms: readonly (readonly [string, (table: string) => Buffer])[] = [
    ['SELECT', (table) => queryEnvelope(4, 1, `SELECT v FROM shop.${table} WHERE k = 'a'`)],
    ['SELECT of all', (table) => queryEnvelope(4, 1, `SELECT * FROM shop.${table}`)],
    ['SELECT, prepared', (table) => prepareEnvelope(4, 1, `SELECT v FROM shop.${table} WHERE k = 'a'`)],
    ['INSERT', (table) => queryEnvelope(4, 1, `INSERT INTO shop.${table} (k, v) VALUES ('a', 'b')`)],
    ['INSERT, conditional', (table) => queryEnvelope(4, 1, `INSERT INTO shop.${table} (k) VALUES ('a') IF NOT EXISTS`)],
    ['UPDATE', (table) => queryEnvelope(4, 1, `UPDATE shop.${table} SET v = 'b' WHERE k = 'a'`)],
    ['DELETE', (table) => queryEnvelope(4, 1, `DELETE FROM shop.${table} WHERE k = 'a'`)],
    ...[
      'TRUNCATE shop.?',
      'TRUNCATE TABLE shop.?',
      'ALTER TABLE shop.? ADD w text',
      'ALTER TABLE shop.? WITH comment = 1',
      'DROP TABLE shop.?',
      'ALTER MATERIALIZED VIEW shop.? WITH comment = 1',
      'DROP MATERIALIZED VIEW shop.?',
      'CREATE INDEX ON shop.? (v)',
      "CREATE CUSTOM INDEX i ON shop.? (v) USING 'sai'",
      'GRANT SELECT ON shop.? TO r',
      'REVOKE MODIFY ON TABLE shop.? FROM r',
    ].flatMap((text): (readonly [string, (table: string) => Buffer])[] => [
      [text, (table) => queryEnvelope(4, 1, text.replace('?', table))],
      [`${text}, prepared`, (table) => prepareEnvelope(4, 1, text.replace('?', table))],
    ]),
    [
      'BATCH text',
      (table) => queryEnvelope(4, 1, `BEGIN BATCH INSERT INTO shop.${table} (k) VALUES ('a'); APPLY BATCH`),
    ],
    ['BATCH', (table) => batchEnvelope(4, 1, 0, [{ text: `INSERT INTO shop.${table} (k) VALUES ('a')`, values: [] }])],
    [
      'large BATCH',
      (table) =>
        batchEnvelope(4, 1, 0, Array(400).fill({ text: `INSERT INTO shop.${table} (k) VALUES ('a')`, values: [] })),
    ],
  ]
  for (const [form, request] of forms) {
    it(form, async () => {
      running.node.requests.length = 0
      assert.equal(describe(await client('bob').ask(request('shown'))), '0x2200 table shown does not exist')
      assert.deepEqual(running.node.texts(), [])
      // What is not there is the node's to say, for one who may ask.
      assert.doesNotMatch(describe(await client('bob').ask(request('absent'))), /^0x21/)
      // Who may see the base hears the node, also that a view cannot be written.
      assert.doesNotMatch(describe(await client('carol').ask(request('shown'))), /^0x/)
    })
  }

  it('and who has no permission on it hears as of any other name', async () => {
    const answers = await Promise.all(
      ['shown', 'secret', 'nothing'].map(async (table) => {
        const dave = await world.client(running.port, 'dave')
        const answer = describe(await dave.ask(queryEnvelope(4, 1, `SELECT v FROM shop.${table} WHERE k = 'a'`)))
        return answer.replaceAll(table, '…')
      }),
    )
    assert.equal(new Set(answers).size, 1, answers.join('\n'))
  })
})

suite('events', () => {
  it('tell of it as it comes, changes and goes only to who may see its base', async () => {
    for (const who of clients.keys()) await client(who).ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE']))
    const { node } = running
    const tell = (kind: 'CREATED' | 'UPDATED' | 'DROPPED', name: string): void => {
      node.topology.schemaVersion = Buffer.alloc(16, node.topology.schemaVersion[0]! + 1)
      node.emit({ ...change, change: kind, name })
    }
    node.schema.remove('shop', 'shown')
    tell('DROPPED', 'shown')
    await sleep(50)
    node.schema.add(shown)
    tell('CREATED', 'shown')
    tell('UPDATED', 'shown')
    tell('UPDATED', 'secret')
    await sleep(50)
    // As after a DROP through this sidecar: the schema is read before the event comes.
    node.schema.remove('shop', 'shown')
    tell('UPDATED', 'items')
    await sleep(50)
    tell('DROPPED', 'shown')
    tell('UPDATED', 'items')
    const heard = (who: string): string[] =>
      client(who).unasked.map((envelope) => {
        const event = readEvent(wholeEnvelope(envelope))
        return event.type === 'SCHEMA_CHANGE' ? `${event.change} ${event.name}` : event.type
      })
    await until('the last is heard', () => heard('carol').length === 7 && heard('bob').length === 2)
    assert.deepEqual(heard('bob'), ['UPDATED items', 'UPDATED items'])
    assert.deepEqual(heard('carol'), [
      'DROPPED shown',
      'CREATED shown',
      'UPDATED shown',
      'UPDATED secret',
      'UPDATED items',
      'DROPPED shown',
      'UPDATED items',
    ])
  })
})
