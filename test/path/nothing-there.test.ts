/** What exists for nobody is INVALID, as from the node; what may be there and is hidden is UNAUTHORIZED, whether it is there or not. */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { batchEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readError } from '../../src/cql/responses.ts'
import type { RawClient } from './client.ts'
import { type RunningSidecar, World } from './world.ts'

let world: World
let running: RunningSidecar
const doors = new Map<string, RawClient>()

/** One table of each; the fake schema has `system.local`, `system_schema.tables` and `system_views.clients` already. */
const thereByKeyspace: Readonly<Record<string, string>> = {
  system: 'prepared_statements',
  system_schema: 'tables',
  system_virtual_schema: 'tables',
  system_views: 'clients',
  system_auth: 'roles',
  system_traces: 'sessions',
  system_distributed: 'repair_history',
}

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  const virtual = ['system_views', 'system_virtual_schema']
  running.node.migrate(
    ...Object.entries(thereByKeyspace)
      .filter(([keyspace]) => keyspace !== 'system_schema' && keyspace !== 'system_views')
      .map(([keyspace, name]) => ({
        keyspace,
        name,
        partitionKey: { k: 'text' },
        ...(virtual.includes(keyspace) ? { virtual: true } : {}),
      })),
    { keyspace: 'system_mine', name: 'hidden', partitionKey: { k: 'text' } },
  )
  doors.set('sidecar', await world.client(running.port, 'bob'))
  const gateway = await world.gateway([running])
  doors.set('gateway', await world.client(gateway.port, 'bob'))
})
after(() => {
  for (const client of doors.values()) client.close()
  return world.close()
})

async function codeOf(client: RawClient, envelope: Buffer): Promise<number> {
  const answer = await client.ask(envelope)
  if (headerOpcode(answer, 0) !== Opcode.ERROR) return 0
  return readError(wholeEnvelope(answer)).code
}

const select = (table: string): string => `SELECT * FROM ${table}`
const insert = (table: string): string => `INSERT INTO ${table} (k) VALUES ('x')`
const update = (table: string): string => `UPDATE ${table} SET v = 'x' WHERE k = 'x'`
const remove = (table: string): string => `DELETE FROM ${table} WHERE k = 'x'`

for (const door of ['sidecar', 'gateway']) {
  suite(`by the ${door}`, () => {
    const ask = (envelope: Buffer): Promise<number> => codeOf(doors.get(door)!, envelope)

    for (const [keyspace, there] of Object.entries(thereByKeyspace)) {
      it(`a table that ${keyspace} has not`, async () => {
        for (const name of ['scylla_tables', 'size_tiered_nothing', '"Local"', 'x']) {
          for (const make of [select, insert, update, remove]) {
            const text = make(`${keyspace}.${name}`)
            // The fake node knows no columns: of a question about the schema it is asked, and what it says is handed on.
            const asked = make === select && /schema$/.test(keyspace)
            if (!asked) assert.equal(await ask(queryEnvelope(4, 1, text, {})), CqlErrorCode.INVALID, text)
            if (!asked) assert.equal(await ask(prepareEnvelope(4, 1, text)), CqlErrorCode.INVALID, text)
            if (make === select) continue
            for (const texts of [[text], [insert('shop.items'), text], [text, insert('play.items')]]) {
              const parts = texts.map((each) => ({ text: each, values: [] }))
              assert.equal(await ask(batchEnvelope(4, 1, 0, parts)), CqlErrorCode.INVALID, texts.join())
              const asText = `BEGIN BATCH ${texts.join('; ')}; APPLY BATCH`
              assert.equal(await ask(queryEnvelope(4, 1, asText, {})), CqlErrorCode.INVALID, asText)
            }
          }
        }
        // Whatever its columns are.
        const text = `INSERT INTO ${keyspace}.${there} JSON '{}'`
        assert.equal(await ask(queryEnvelope(4, 1, text, {})), CqlErrorCode.UNAUTHORIZED, text)
        assert.equal(await ask(prepareEnvelope(4, 1, text)), CqlErrorCode.UNAUTHORIZED, text)
        assert.equal(await ask(batchEnvelope(4, 1, 0, [{ text, values: [] }])), CqlErrorCode.UNAUTHORIZED, text)
      })
    }

    it('a column or a function that a table of Cassandra has not, and its neighbours', async () => {
      const table = 'system.prepared_statements'
      for (const [text, code] of [
        [`SELECT nocol FROM ${table}`, CqlErrorCode.INVALID],
        [`SELECT k FROM ${table} WHERE nocol = 1 ALLOW FILTERING`, CqlErrorCode.INVALID],
        [`SELECT nofunc(k) FROM ${table}`, CqlErrorCode.INVALID],
        [`INSERT INTO ${table} (k, nocol) VALUES ('x', 'y')`, CqlErrorCode.INVALID],
        [`UPDATE ${table} SET nocol = 'y' WHERE k = 'x'`, CqlErrorCode.INVALID],
        [`DELETE nocol FROM ${table} WHERE k = 'x'`, CqlErrorCode.INVALID],
        [`SELECT k FROM ${table}`, CqlErrorCode.UNAUTHORIZED],
        [`SELECT * FROM ${table}`, CqlErrorCode.UNAUTHORIZED],
        [`SELECT to_json(k) FROM ${table} WHERE k = 'x'`, CqlErrorCode.UNAUTHORIZED],
        // In a keyspace of users' both may be there and hidden.
        [`SELECT play.nofunc(k) FROM ${table}`, CqlErrorCode.UNAUTHORIZED],
        ['SELECT nocol FROM play.items', CqlErrorCode.UNAUTHORIZED],
        ['SELECT nofunc(id) FROM play.items', CqlErrorCode.UNAUTHORIZED],
      ] as const) {
        assert.equal(await ask(queryEnvelope(4, 1, text, {})), code, text)
        assert.equal(await ask(prepareEnvelope(4, 1, text)), code, text)
      }
    })

    it('what a DESCRIBE names and Cassandra has not, and its neighbours', async () => {
      for (const what of ['', 'TABLE ', 'MATERIALIZED VIEW ', 'INDEX ', 'TYPE ', 'FUNCTION ', 'AGGREGATE ']) {
        const text = `DESCRIBE ${what}system_auth.nothing`
        assert.equal(await ask(queryEnvelope(4, 1, text, {})), CqlErrorCode.INVALID, text)
      }
      for (const text of [
        'DESCRIBE system_auth.roles',
        'DESCRIBE TABLE system_auth.roles',
        'DESCRIBE KEYSPACE system_auth',
      ]) {
        assert.equal(await ask(queryEnvelope(4, 1, text, {})), CqlErrorCode.UNAUTHORIZED, text)
      }
      const answers = new Set<number>()
      for (const name of ['play.items', 'play.nothing', 'nothing.nothing', 'system_mine.hidden'])
        answers.add(await ask(queryEnvelope(4, 1, `DESCRIBE ${name}`, {})))
      assert.deepEqual([...answers], [CqlErrorCode.UNAUTHORIZED])
    })

    it('what may be there and hidden is refused in one way', async () => {
      const answers = new Set<string>()
      for (const table of [
        'play.items',
        'play.nothing',
        'nothing.nothing',
        'system_mine.hidden',
        'system_mine.nothing',
        'system_nowhere.x',
        'systematic.x',
        'system_metrics.x',
        '"System".x',
        'dse_system.x',
      ]) {
        for (const make of [select, insert, update, remove]) {
          const text = make(table)
          const envelopes = [queryEnvelope(4, 1, text, {}), prepareEnvelope(4, 1, text)]
          if (make !== select) envelopes.push(batchEnvelope(4, 1, 0, [{ text, values: [] }]))
          for (const envelope of envelopes) {
            const answer = await doors.get(door)!.ask(envelope)
            const { code, message } = readError(wholeEnvelope(answer))
            assert.equal(code, CqlErrorCode.UNAUTHORIZED, text)
            answers.add(message.replace(/ (SELECT|SCAN|MODIFY) /, ' ').replace(/<[^>]+>/, ''))
          }
        }
      }
      assert.equal(answers.size, 1, [...answers].join('\n'))
    })

    it('a table that a newer node has is refused as soon as it is there', async () => {
      const text = select('system.brand_new')
      assert.equal(await ask(queryEnvelope(4, 1, text, {})), CqlErrorCode.INVALID)
      // No event comes of a node that was replaced.
      running.node.schema.add({ keyspace: 'system', name: 'brand_new', partitionKey: { k: 'text' } })
      running.node.topology.schemaVersion = Buffer.alloc(16, 99)
      running.node.migrate({ keyspace: 'shop', name: `other_${door}`, partitionKey: { k: 'text' } })
      const deadline = Date.now() + 5000
      let code: number = CqlErrorCode.INVALID
      while (code === CqlErrorCode.INVALID && Date.now() < deadline) code = await ask(queryEnvelope(4, 1, text, {}))
      assert.equal(code, CqlErrorCode.UNAUTHORIZED)
      running.node.schema.remove('system', 'brand_new')
      running.node.migrate({ keyspace: 'shop', name: `again_${door}`, partitionKey: { k: 'text' } })
    })
  })
}

it('the record says why', () => {
  const rules = new Set(running.records().map(({ rule }) => rule))
  assert.ok(rules.has('nothing-there'))
})
