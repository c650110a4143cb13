/**
 * Both sides of each claim: what is permitted passes; the same by another identity is refused with UNAUTHORIZED, the connection stays
 * usable, the refusal is in our audit, and Cassandra's own log knows nothing of it.
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { pagingStateOf } from '../../src/cql/answers/paging.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readError, readPrepared, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from '../path/client.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { policyFile } from './held.ts'
import { doorNames, driverAt, openAt } from './people.ts'
import { changeSchema, createKeyspace } from './schema.ts'

const keyspaceName = 'e2e_verdicts'
/** The target of the issue: a policy is in force everywhere within a second. */
const policyMsMax = 1000
const unauthorized = 0x2100

/** `reader` may write the keyspace of this suite, for a while. */
const grant = `
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: e2e-verdicts-grant }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/e2e-reader }]
  keyspaces: [${keyspaceName}]
  operations: [WRITE]
`

let mesh: MeshFixture
let admin: Client
let control: AdminClient

before(async () => {
  mesh = await useMesh()
  control = new AdminClient(mesh.layout.dirs.control)
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  const tables = doorNames.flatMap((door) => [4, 5].map((version) => tableOf(door, version)))
  await changeSchema(mesh, [
    `DROP KEYSPACE IF EXISTS ${keyspaceName}`,
    createKeyspace(mesh, keyspaceName),
    ...tables.map((table) => `CREATE TABLE ${table} (k text PRIMARY KEY, v text)`),
  ])
})
after(async () => {
  await admin?.execute(`DROP KEYSPACE IF EXISTS ${keyspaceName}`)
  await admin?.shutdown()
})

const tableOf = (door: string, version: number): string => `${keyspaceName}.t_${door}_${version}`
const text = (value: string): Buffer => Buffer.from(value)

/** The code of an ERROR, or −1. */
function codeOf(answer: Buffer): number {
  return headerOpcode(answer, 0) === Opcode.ERROR ? readError(wholeEnvelope(answer)).code : -1
}

async function prepared(client: RawClient, stream: number, statement: string) {
  const answer = await client.ask(prepareEnvelope(client.version, stream, statement))
  assert.equal(codeOf(answer), -1, describe(answer))
  return readPrepared(wholeEnvelope(answer), client.version)
}

for (const door of doorNames) {
  for (const version of [4, 5] as ProtocolVersion[]) {
    suite(`${door === 'nginx' ? 'through NGINX and the gateway' : 'directly at a sidecar'}, v${version}`, () => {
      const table = tableOf(door, version)
      /** A literal of its own for each statement, by which Cassandra's log is searched. */
      const mark = (name: string): string => `verdicts-${door}-${version}-${name}`
      const insert = (name: string): string => `INSERT INTO ${table} (k, v) VALUES ('${mark(name)}', 'x')`

      it('admin may write, by QUERY, PREPARE with EXECUTE, and BATCH', async () => {
        const client = await openAt(mesh.doors[door], mesh.identities.admin, version)
        assert.equal(codeOf(await client.ask(queryEnvelope(version, 1, insert('query')))), -1)
        const { id, resultMetadataId } = await prepared(client, 2, `INSERT INTO ${table} (k, v) VALUES (?, ?)`)
        const values = [text(mark('execute')), text('x')]
        assert.equal(codeOf(await client.ask(executeEnvelope(version, 3, id, resultMetadataId, values))), -1)
        const items = [
          { id, values: [text(mark('batch')), text('x')] },
          { text: insert('batch-text'), values: [] },
        ]
        assert.equal(codeOf(await client.ask(batchEnvelope(version, 4, 0, items))), -1)
        client.close()
        const rows = await admin.execute(`SELECT k FROM ${table}`)
        const found = rows.rows.map((row) => row.k as string).sort()
        assert.deepEqual(found, ['batch', 'batch-text', 'execute', 'query'].map(mark).sort())
        assert.ok((await mesh.cassandraLines(mark('query'))).length > 0, 'the witness sees what passes')
      })

      for (const [who, may] of [
        ['reader', true],
        ['nobody', false],
      ] as const) {
        it(`${who} may not, is told so, and goes on`, async () => {
          const client = await openAt(mesh.doors[door], mesh.identities[who], version)
          const statement = insert(`refused-${who}`)
          const refusals = [
            await client.ask(queryEnvelope(version, 1, statement)),
            await client.ask(prepareEnvelope(version, 2, statement)),
            await client.ask(batchEnvelope(version, 3, 1, [{ text: statement, values: [] }])),
          ]
          for (const refusal of refusals) {
            assert.equal(codeOf(refusal), unauthorized, describe(refusal))
            assert.match(describe(refusal), new RegExp(`e2e-${who} has no MODIFY permission on <table ${table}>`))
          }
          const read = await client.ask(queryEnvelope(version, 1, `SELECT * FROM ${table}`))
          assert.equal(codeOf(read), may ? -1 : unauthorized, describe(read))
          const local = await client.ask(
            queryEnvelope(version, 1, "SELECT release_version FROM system.local WHERE key = 'local'"),
          )
          assert.equal(codeOf(local), -1, describe(local))
          client.close()
          const { spiffeId } = mesh.identities[who]
          for (const request of ['QUERY', 'PREPARE', 'BATCH']) {
            await mesh.auditRecord(
              `the refused ${request} of ${who}`,
              [spiffeId, `t_${door}_${version}`],
              (record) => record.verdict === 'deny' && record.request === request && record.workload === spiffeId,
            )
          }
          assert.deepEqual(await mesh.cassandraLines(mark(`refused-${who}`)), [])
        })
      }

      it('a batch with one part that is refused is refused whole', async () => {
        const client = await openAt(mesh.doors[door], mesh.identities.admin, version)
        const items = [insert('part-1'), 'INSERT INTO system.batches (id, version) VALUES (now(), 1)', insert('part-2')]
        const refusal = await client.ask(
          batchEnvelope(
            version,
            3,
            0,
            items.map((each) => ({ text: each, values: [] })),
          ),
        )
        assert.equal(codeOf(refusal), unauthorized, describe(refusal))
        client.close()
        assert.deepEqual(await mesh.cassandraLines(mark('part')), [])
      })

      it('an id of admin’s is unknown to reader', async () => {
        const [owner, stranger] = [
          await openAt(mesh.doors[door], mesh.identities.admin, version),
          await openAt(mesh.doors[door], mesh.identities.reader, version),
        ]
        const { id, resultMetadataId } = await prepared(owner, 1, `INSERT INTO ${table} (k, v) VALUES (?, 'id')`)
        const execute = executeEnvelope(version, 2, id, resultMetadataId, [text(mark('stolen'))])
        const answer = await stranger.ask(execute)
        assert.equal(codeOf(answer), 0x2500, describe(answer))
        assert.deepEqual(readError(wholeEnvelope(answer)).preparedId, id)
        owner.close()
        stranger.close()
        const rows = await admin.execute(`SELECT k FROM ${table} WHERE k = '${mark('stolen')}'`)
        assert.equal(rows.rowLength, 0)
      })

      it('a policy that is applied takes effect on a live session within a second, and so does taking it back', async (t) => {
        const client = await openAt(mesh.doors[door], mesh.identities.reader, version)
        const before = readFileSync(policyFile, 'utf8')
        try {
          assert.equal(codeOf(await client.ask(queryEnvelope(version, 1, insert('policy')))), unauthorized)
          const granted = await applied(before + grant, () => codeIs(client, insert('policy'), -1))
          const { id, resultMetadataId } = await prepared(client, 2, `INSERT INTO ${table} (k, v) VALUES (?, 'policy')`)
          const execute = executeEnvelope(version, 3, id, resultMetadataId, [text(mark('policy-execute'))])
          assert.equal(codeOf(await client.ask(execute)), -1)
          const taken = await applied(before, async () => codeOf(await client.ask(execute)) === unauthorized)
          assert.equal(codeOf(await client.ask(queryEnvelope(version, 4, insert('policy')))), unauthorized)
          assert.equal(codeOf(await client.ask(queryEnvelope(version, 5, `SELECT * FROM ${table}`))), -1)
          t.diagnostic(`granted after ${Math.round(granted)} ms, taken back after ${Math.round(taken)} ms`)
          assert.ok(granted < policyMsMax && taken < policyMsMax, `${granted} ms, ${taken} ms`)
        } finally {
          await control.applyPolicy(before, policyFile, false)
          client.close()
        }
      })
    })
  }
}

suite('what Cassandra quotes when it refuses', () => {
  it('is in no record and no log', async () => {
    const word = 'kanarienvogel'
    const table = tableOf('sidecar', 5)
    const client = await openAt(mesh.doors.sidecar, mesh.identities.admin, 5)
    const refused = [
      `INSERT INTO ${table} JSON '{"k":1,"m":"\\"Mrs (Smith) diagnosed with ${word}\\""}'`,
      `INSERT INTO ${table} JSON '{"k":"O''${word}'`,
      `INSERT INTO ${table} JSON '${word}'`,
      `INSERT INTO ${table} (k, v) VALUES (fromJson('${word}'), 'x')`,
      `INSERT INTO ${table} (k, v) VALUES ({'${word}'}, 'x')`,
      `SELECT * FROM ${table} WHERE k = 'x' AND v = '${word}' LIMIT 0`,
      `SELECT (int)'${word}' FROM ${table}`,
      `CREATE TABLE ${keyspaceName}.t (k int PRIMARY KEY) WITH comment = '${word}' AND compression = {'${word}': '${word}'}`,
      `CREATE FUNCTION ${keyspaceName}.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return ${word};'`,
    ]
    let quoted = 0
    for (const statement of refused) {
      const answer = await client.ask(queryEnvelope(5, 1, statement))
      assert.notEqual(codeOf(answer), -1, statement)
      if (describe(answer).includes(word)) quoted++
    }
    assert.ok(quoted > 3, `${quoted} of the refusals quote the value`)
    client.close()
    await mesh.auditRecord('the last', ['CREATE FUNCTION', keyspaceName], ({ verdict }) => verdict === 'allow')
    assert.deepEqual(await mesh.auditRecords(word), [])
    const logs = join(mesh.layout.stateDir, 'log')
    for (const file of readdirSync(logs).filter((name) => /^(sidecar|gateway|control)/.test(name))) {
      assert.ok(!readFileSync(join(logs, file), 'utf8').includes(word), file)
    }
  })
})

suite('DESCRIBE of who sees half of a keyspace is that of a keyspace which has only this half', () => {
  const java = (name: string, args: string, body: string): string =>
    `CREATE FUNCTION ${name}(${args}) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return ${body};'`
  const objects = (keyspace: string, which: 'seen' | 'hidden'): string[] => {
    const view = `SELECT * FROM ${keyspace}.seen WHERE k IS NOT NULL AND v IS NOT NULL PRIMARY KEY (v, k)`
    return [
      ...(which === 'seen' ? [`CREATE TYPE ${keyspace}.ty (a int)`] : []),
      java(`${keyspace}.${which}`, 'a int, b int', 'a'),
      `CREATE AGGREGATE ${keyspace}.${which}_sum(int) SFUNC ${which} STYPE int`,
      ...(which === 'hidden' ? [`CREATE AGGREGATE ${keyspace}.seen_sum(bigint) SFUNC hidden_big STYPE int`] : []),
      `CREATE TABLE ${keyspace}.${which} (k int PRIMARY KEY, v text)`,
      `CREATE TABLE ${keyspace}."${which === 'seen' ? 'Seen' : 'Hidden'}Too" (k int PRIMARY KEY, v text)`,
      `CREATE INDEX ${which}_idx ON ${keyspace}.${which} (v)`,
      `CREATE MATERIALIZED VIEW ${keyspace}.${which}_view AS ${view}`,
    ]
  }
  const keyspaces = ['e2e_half', 'e2e_whole']
  before(async () => {
    const drops = keyspaces.map((keyspace) => `DROP KEYSPACE IF EXISTS ${keyspace}`)
    const seen = keyspaces.flatMap((keyspace) => [createKeyspace(mesh, keyspace), ...objects(keyspace, 'seen')])
    const big = java('e2e_half.hidden_big', 'a int, b bigint', 'a')
    await changeSchema(mesh, [...drops, ...seen, big, ...objects('e2e_half', 'hidden')])
  })
  after(() =>
    changeSchema(
      mesh,
      keyspaces.map((keyspace) => `DROP KEYSPACE IF EXISTS ${keyspace}`),
    ),
  )

  /** Rows of each page, or the error. */
  async function pagesOf(client: RawClient, statement: string, pageSize: number): Promise<string[]> {
    const pages: string[] = []
    let pagingState: Buffer | undefined
    do {
      const options = { ...(pageSize > 0 && { pageSize }), ...(pagingState !== undefined && { pagingState }) }
      const answer = await client.ask(queryEnvelope(client.version, 1, statement, options))
      if (codeOf(answer) >= 0) return [describe(answer)]
      const { rows } = readRows(wholeEnvelope(answer), client.version)
      pages.push(rows.map((row) => row.map(String).join(' | ')).join('\n'))
      pagingState = pagingStateOf(wholeEnvelope(answer), client.version)
    } while (pagingState !== undefined)
    return pages
  }

  const forms = [
    'DESCRIBE KEYSPACE',
    'DESCRIBE ONLY KEYSPACE',
    'DESCRIBE KEYSPACE $',
    'DESCRIBE TABLES',
    'DESCRIBE TYPES',
    'DESCRIBE FUNCTIONS',
    'DESCRIBE AGGREGATES',
    'DESCRIBE TABLE seen',
    'DESCRIBE TABLE $."SeenToo"',
    'DESCRIBE MATERIALIZED VIEW seen_view',
    'DESCRIBE TYPE ty',
    'DESCRIBE TYPE $.nope',
    'DESCRIBE FUNCTION seen',
    'DESCRIBE AGGREGATE seen_sum',
  ]
  for (const door of doorNames) {
    for (const version of [4, 5] as const) {
      it(`${door}, v${version}: ${forms.length} forms in pages of any size`, async () => {
        const half = await openAt(
          mesh.doors[door],
          await mesh.identity('spiffe://demo.local/svc/e2e-describer'),
          version,
        )
        const whole = await openAt(mesh.doors[door], mesh.identities.admin, version)
        await half.ask(queryEnvelope(version, 1, 'USE e2e_half'))
        await whole.ask(queryEnvelope(version, 1, 'USE e2e_whole'))
        for (const form of forms) {
          for (const pageSize of [0, 1, 2, 5]) {
            const wanted = await pagesOf(whole, form.replace('$', 'e2e_whole'), pageSize)
            const came = await pagesOf(half, form.replace('$', 'e2e_half'), pageSize)
            assert.deepEqual(
              came.map((page) => page.replaceAll('e2e_half', 'e2e_whole')),
              wanted,
              `${form} in pages of ${pageSize}`,
            )
          }
        }
        half.close()
        whole.close()
      })
    }
  }
})

async function codeIs(client: RawClient, statement: string, code: number): Promise<boolean> {
  return codeOf(await client.ask(queryEnvelope(client.version, 40, statement))) === code
}

/** Applies a policy and polls until it shows; milliseconds from the answer of the control plane. */
async function applied(source: string, shows: () => Promise<boolean>): Promise<number> {
  await control.applyPolicy(source, policyFile, false)
  const started = performance.now()
  while (!(await shows())) {
    if (performance.now() - started > 10_000) throw new Error('the policy does not show')
    await sleep(10)
  }
  return performance.now() - started
}
