/** What docs/compatibility.md says is different by design, each held against a node asked directly: what it refuses has its permitted neighbour beside it. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, types } from 'cassandra-driver'
import { limits } from '../../src/base/limits.ts'
import { tracingIdOf } from '../../src/cql/answers/tracing.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Flag, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readError, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from '../path/client.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { policyFile } from './held.ts'
import { putInForce } from './in-force.ts'
import { atNode, doorNames, driverAt, freshKeyspace, openAt } from './people.ts'

const who = 'spiffe://demo.local/svc/e2e-compatible'
const keyspace = 'e2e_compatible'
const unauthorized = 0x2100
const invalid = 0x2200
const protocolError = 0x000a
const traceMsMax = 10_000
const largeMsMax = 30_000
/** As much as policy can give: what is refused all the same is what the page says. */
const accessPolicy = `---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: e2e-compatible }
spec:
  subjects: [{ spiffeId: ${who} }]
  keyspaces: [${keyspace}, system_traces, system_views]
  operations: [ALL]
`

let mesh: MeshFixture
let node: RawClient
let admin: Client

before(async () => {
  mesh = await useMesh()
  node = await atNode(mesh, 5)
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await freshKeyspace(admin, mesh, keyspace, 't (k text PRIMARY KEY, v text)')
  await putInForce(mesh, readFileSync(policyFile, 'utf8') + accessPolicy, policyFile)
})
after(async () => {
  await putInForce(mesh, readFileSync(policyFile, 'utf8'), policyFile)
  await admin?.execute(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  await admin?.shutdown()
  node?.close()
})

type Options = NonNullable<Parameters<typeof queryEnvelope>[3]>

/** The code of an error, or 0. */
async function codeOf(client: RawClient, text: string, options: Options = {}): Promise<number> {
  const answer = await client.ask(queryEnvelope(client.version, 1, text, options), largeMsMax)
  return headerOpcode(answer, 0) === Opcode.ERROR ? readError(wholeEnvelope(answer)).code : 0
}

/** What a finished trace says was asked. */
async function tracedText(id: types.Uuid): Promise<string | undefined> {
  const deadline = performance.now() + traceMsMax
  for (;;) {
    const { rows } = await admin.execute(
      'SELECT duration, parameters FROM system_traces.sessions WHERE session_id = ?',
      [id],
      { prepare: true },
    )
    const parameters: Readonly<Record<string, string>> | null | undefined = rows[0]?.parameters
    if (rows[0]?.duration != null) return parameters?.query
    if (performance.now() > deadline) return undefined
    await sleep(50)
  }
}

const insert = (more = ''): string => `INSERT INTO ${keyspace}.t (k, v) VALUES ('k', 'v')${more}`
const textOf = (bytes: number): string =>
  `INSERT INTO ${keyspace}.t (k, v) VALUES ('long', '${'x'.repeat(bytes - 70)}')`
const ahead = (ms: number): bigint => BigInt(Date.now() + ms) * 1000n
const [halfAnHourMs, twoHoursMs] = [1_800_000, 7_200_000]

/** What is sent, what the node says to it, and what a door says. */
const differences: readonly (readonly [
  name: string,
  text: () => string,
  options: () => Options,
  direct: number,
  here: number,
])[] = [
  ['a timestamp half an hour ahead', () => insert(` USING TIMESTAMP ${ahead(halfAnHourMs)}`), () => ({}), 0, 0],
  ['a timestamp two hours ahead', () => insert(` USING TIMESTAMP ${ahead(twoHoursMs)}`), () => ({}), 0, unauthorized],
  ['the request’s own, two hours ahead', () => insert(), () => ({ timestamp: ahead(twoHoursMs) }), 0, unauthorized],
  ['the request’s own, of now', () => insert(), () => ({ timestamp: ahead(0) }), 0, 0],
  [
    'DELETE two hours ahead',
    () => `DELETE FROM ${keyspace}.t USING TIMESTAMP ${ahead(twoHoursMs)} WHERE k = 'gone'`,
    () => ({}),
    0,
    0,
  ],
  ['a request that says what time it is', () => insert(), () => ({ nowInSeconds: 1_700_000_000 }), 0, unauthorized],
  ['a text of 2 MiB', () => textOf(limits.statementBytesMax - 1000), () => ({}), 0, 0],
  [
    'a table in system_traces',
    () => 'CREATE TABLE system_traces.t (k int PRIMARY KEY)',
    () => ({}),
    unauthorized,
    unauthorized,
  ],
  ['TRUNCATE of system_traces', () => 'TRUNCATE system_traces.sessions', () => ({}), unauthorized, unauthorized],
  [
    'a write into system_traces',
    () => 'DELETE FROM system_traces.sessions WHERE session_id = 7b0c1d2e-0000-1000-8000-000000000000',
    () => ({}),
    unauthorized,
    unauthorized,
  ],
  ['a read of system_traces', () => 'SELECT session_id FROM system_traces.sessions LIMIT 1', () => ({}), 0, 0],
]

for (const door of doorNames) {
  suite(`by the door ${door}`, () => {
    for (const [name, text, options, direct, here] of differences) {
      it(`${name}: ${here === 0 ? 'passes' : `0x${here.toString(16)}`}`, async () => {
        assert.equal(await codeOf(node, text(), options()), direct, 'at the node itself')
        const client = await openAt(mesh.doors[door], await mesh.identity(who), 5)
        assert.equal(await codeOf(client, text(), options()), here, 'at the door')
        assert.equal(await codeOf(client, insert()), 0, 'the connection goes on')
        client.close()
      })
    }

    it('system_views.clients has the mesh’s connections and none of the clients’ own', async () => {
      const client = await openAt(mesh.doors[door], await mesh.identity(who), 5)
      const question = 'SELECT username, driver_name, ssl_enabled FROM system_views.clients'
      const answer = await client.ask(queryEnvelope(5, 1, question))
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
      const { rows } = readRows(wholeEnvelope(answer), 5)
      assert.ok(rows.length > 0)
      for (const [username] of rows) assert.equal(String(username), 'ringfence')
      client.close()
    })

    it('a traced question that the mesh answers has the id of a trace that ends, of a question of the sidecar’s own', async () => {
      const client = await openAt(mesh.doors[door], await mesh.identity(who), 5)
      const schema = `SELECT table_name FROM system_schema.tables WHERE keyspace_name = '${keyspace}'`
      for (const text of [schema, ...(door === 'nginx' ? ['SELECT peer FROM system.peers'] : [])]) {
        const question = queryEnvelope(5, 1, text)
        question[1] = Flag.TRACING
        const answer = await client.ask(question)
        const id = tracingIdOf(wholeEnvelope(answer))
        assert.ok(id !== undefined, `${text}: ${describe(answer)}`)
        assert.equal(headerOpcode(answer, 0), Opcode.RESULT)
        assert.equal(await tracedText(new types.Uuid(id)), 'SELECT schema_version FROM system.local', text)
      }
      client.close()
    })

    it('a paging state that is none: 0x2200, where a node says protocol error', async () => {
      const text = `SELECT k FROM ${keyspace}.t`
      const options = { pageSize: 1, pagingState: Buffer.from('nonsense') }
      const [direct, client] = [await atNode(mesh, 5), await openAt(mesh.doors[door], await mesh.identity(who), 5)]
      assert.equal(await codeOf(direct, text, options), protocolError, 'at the node itself')
      assert.equal(await codeOf(client, text, options), invalid, 'at the door')
      assert.equal(await codeOf(client, insert()), 0, 'the connection goes on')
      direct.close()
      client.close()
    })

    it('a text of more than 2 MiB: 0x2200, where a node takes it by protocol 4', async () => {
      const [direct, client] = [await atNode(mesh, 4), await openAt(mesh.doors[door], await mesh.identity(who), 4)]
      // By a comment: a value of that size is more than a node with small segments of its commit log writes.
      const text = insert(` /* ${'x'.repeat(limits.statementBytesMax)} */`)
      assert.equal(await codeOf(direct, text), 0, 'at the node itself')
      assert.equal(await codeOf(client, text), invalid, 'at the door')
      assert.equal(await codeOf(client, insert()), 0, 'the connection goes on')
      direct.close()
      client.close()
    })

    for (const version of [4, 5] as const) {
      it(`an envelope of more than messageBytesMax costs that request, as at a node, v${version}`, async () => {
        const client = await openAt(mesh.doors[door], await mesh.identity(who), version)
        const value = Buffer.alloc(limits.messageBytesMax + 1, 120)
        const text = `INSERT INTO ${keyspace}.t (k, v) VALUES ('large', ?)`
        assert.equal(await codeOf(client, text, { values: [value] }), invalid)
        assert.equal(await codeOf(client, insert()), 0, 'the connection goes on')
        client.close()
      })
    }
  })
}

for (const version of [4, 5] as const) {
  it(`a node itself refuses an envelope of more than 16 MiB and goes on, v${version}`, async () => {
    const client = await atNode(mesh, version)
    const value = Buffer.alloc(limits.messageBytesMax + 1, 120)
    const text = `INSERT INTO ${keyspace}.t (k, v) VALUES ('large', ?)`
    assert.equal(await codeOf(client, text, { values: [value] }), invalid)
    assert.equal(await codeOf(client, insert()), 0)
    client.close()
  })
}
