/**
 * Requests about one row reach a replica first. Two witnesses that are not ours: Cassandra's own tracing says which node coordinated a
 * request, and the driver's own reading of the ring (of the real nodes, at a sidecar) says which nodes own its row.
 */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, types } from 'cassandra-driver'
import type { ProtocolVersion } from '../../src/cql/protocol.ts'
import { topologyForms } from '../../src/gateway/topology/forms.fixture.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { atNode, driverAt, openAt } from './people.ts'
import { changeSchema, createKeyspace } from './schema.ts'
import { byExecute, byQuery, difference } from './topology-answers.ts'

const requests = 100
const traceMsMax = 10_000

let mesh: MeshFixture
/** Through NGINX and the gateway, as a driver outside knows it: one host. */
let outside: Client
/** At the sidecars, where a driver sees the nodes' own ring. */
let inside: Client

before(async () => {
  mesh = await useMesh()
  const changes: string[] = []
  for (const copies of [1, 2, 3]) {
    const keyspace = keyspaceOf(copies)
    changes.push(`DROP KEYSPACE IF EXISTS ${keyspace}`, createKeyspace(mesh, keyspace, copies))
    for (const [table, { columns }] of tables) {
      const names = columns.map((_, i) => `k${i}`)
      const key = columns.length === 1 ? 'k0' : `(${names.join(', ')})`
      changes.push(
        `CREATE TABLE ${keyspace}.${table} (${columns.map((type, i) => `k${i} ${type}`).join(', ')}, v text, PRIMARY KEY (${key}))`,
      )
    }
  }
  await changeSchema(mesh, changes)
  inside = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await inside.connect()
  outside = driverAt(mesh, 'nginx', mesh.identities.admin)
  await outside.connect()
})
after(async () => {
  await outside.shutdown()
  await inside.shutdown()
  await changeSchema(
    mesh,
    [1, 2, 3].map((copies) => `DROP KEYSPACE IF EXISTS ${keyspaceOf(copies)}`),
  )
})

const keyspaceOf = (copies: number): string => `e2e_routing_${copies}`

/** Tables by the types of their partition key, with keys as the driver takes them. */
const tables = new Map<string, { readonly columns: readonly string[]; readonly key: () => unknown[] }>([
  ['by_text', { columns: ['text'], key: () => [`key ${randomUUID()}`] }],
  ['by_int', { columns: ['int'], key: () => [randomBytes(4).readInt32BE()] }],
  ['by_bigint', { columns: ['bigint'], key: () => [types.Long.fromNumber(Math.random() * 2 ** 52)] }],
  ['by_uuid', { columns: ['uuid'], key: () => [types.Uuid.random()] }],
  ['by_blob', { columns: ['blob'], key: () => [randomBytes(40)] }],
  [
    'by_three',
    { columns: ['text', 'int', 'uuid'], key: () => [randomUUID(), randomBytes(4).readInt32BE(), types.Uuid.random()] },
  ],
])

/** The address of the node that coordinated each request, by the node's own trace. */
async function coordinators(traceIds: readonly types.Uuid[]): Promise<string[]> {
  const found: string[] = []
  for (const id of traceIds) {
    const deadline = performance.now() + traceMsMax
    for (;;) {
      const { rows } = await inside.execute(
        'SELECT coordinator FROM system_traces.sessions WHERE session_id = ?',
        [id],
        {
          prepare: true,
        },
      )
      const coordinator: types.InetAddress | null | undefined = rows[0]?.coordinator
      if (coordinator != null) {
        found.push(coordinator.toString())
        break
      }
      assert.ok(performance.now() < deadline, `no trace ${id}`)
      await sleep(50)
    }
  }
  return found
}

/** The owners of a row that is there: its token as Cassandra computes it, looked up in the ring as the driver knows it. */
async function ownersOf(keyspace: string, table: string, key: readonly unknown[]): Promise<string[]> {
  const names = key.map((_, i) => `k${i}`)
  const where = names.map((name) => `${name} = ?`).join(' AND ')
  const text = `SELECT token(${names.join(', ')}) AS t FROM ${keyspace}.${table} WHERE ${where}`
  const { rows } = await inside.execute(text, [...key], { prepare: true })
  const token: types.Long | undefined = rows[0]?.t
  assert.ok(token !== undefined, 'the row is there')
  const replicas = inside.metadata.getReplicas(keyspace, inside.metadata.newToken(token.toString()))
  return replicas.map(({ address }) => address.split(':')[0]!)
}

interface Sent {
  readonly key: readonly unknown[]
  readonly traceId: types.Uuid
}

/** How many of `sent` were coordinated by a node that owns the row. */
async function atOwners(keyspace: string, table: string, sent: readonly Sent[]): Promise<number> {
  const nodes = await coordinators(sent.map(({ traceId }) => traceId))
  let count = 0
  for (const [i, { key }] of sent.entries()) {
    if ((await ownersOf(keyspace, table, key)).includes(nodes[i]!)) count++
  }
  return count
}

async function traced(text: string, params: unknown[], prepare: boolean): Promise<types.Uuid> {
  const { info } = await outside.execute(text, params, {
    prepare,
    traceQuery: true,
    consistency: types.consistencies.one,
  })
  assert.ok(info.traceId !== undefined && info.traceId !== null, 'the request was traced')
  return info.traceId
}

/** Of a row that is there already. */
async function anyKey(keyspace: string): Promise<string> {
  const key = `key ${randomUUID()}`
  await inside.execute(`INSERT INTO ${keyspace}.by_text (k0, v) VALUES (?, 'v')`, [key], { prepare: true })
  return key
}

suite('a request about one row, through NGINX and the gateway', () => {
  for (const copies of [1, 2, 3]) {
    for (const [table, { columns, key }] of tables) {
      it(`is coordinated by a replica: ${table}, ${copies} of three nodes have it`, async () => {
        const keyspace = keyspaceOf(copies)
        const names = columns.map((_, i) => `k${i}`)
        const insert = `INSERT INTO ${keyspace}.${table} (v, ${names.join(', ')}) VALUES (?, ${names.map(() => '?').join(', ')})`
        // The gateway opens its upstream sessions and gives them the statement when they are first wanted.
        for (let i = 0; i < 20; i++) await outside.execute(insert, ['v', ...key()], { prepare: true })
        const sent: Sent[] = []
        for (let i = 0; i < requests / 5; i++) {
          const made = key()
          sent.push({ key: made, traceId: await traced(insert, ['v', ...made], true) })
        }
        assert.equal(await atOwners(keyspace, table, sent), sent.length)
      })
    }
  }

  it('is coordinated by a replica in 99 of 100 cases at least, reads, texts with values and batches among them', async () => {
    const keyspace = keyspaceOf(1)
    const read = `SELECT v FROM ${keyspace}.by_text WHERE k0 = ?`
    const byName = `SELECT v FROM ${keyspace}.by_text WHERE k0 = ? AND v = ? ALLOW FILTERING`
    const update = `UPDATE ${keyspace}.by_text SET v = ? WHERE k0 = ?`
    const sent: Sent[] = []
    const send = async (): Promise<void> => {
      for (let i = 0; i < requests / 4; i++) {
        for (const [text, params, prepare] of [
          [read, ['?'], true],
          [byName, ['?', 'v'], false],
          [update, ['v', '?'], true],
        ] as const) {
          const key = await anyKey(keyspace)
          const traceId = await traced(
            text,
            params.map((param) => (param === '?' ? key : param)),
            prepare,
          )
          sent.push({ key: [key], traceId })
        }
        const key = await anyKey(keyspace)
        const { info } = await outside.batch(
          [
            { query: update, params: ['a', key] },
            { query: update, params: ['b', key] },
          ],
          { prepare: true, traceQuery: true },
        )
        assert.ok(info.traceId)
        sent.push({ key: [key], traceId: info.traceId })
      }
    }
    await send()
    sent.length = 0
    await send()
    const count = await atOwners(keyspace, 'by_text', sent)
    console.log(`${count} of ${sent.length} requests reached a replica first`)
    assert.ok(count >= sent.length * 0.99, `${count} of ${sent.length}`)
  })
})

suite('a service in the mesh, at the sidecars', () => {
  it('stays token-aware by its own driver', async () => {
    const keyspace = keyspaceOf(1)
    const insert = `INSERT INTO ${keyspace}.by_text (k0, v) VALUES (?, 'v')`
    const sent: Sent[] = []
    for (let i = 0; i < requests / 2; i++) {
      const key = `key ${randomUUID()}`
      const { info } = await inside.execute(insert, [key], { prepare: true, traceQuery: true })
      assert.ok(info.traceId)
      sent.push({ key: [key], traceId: info.traceId })
    }
    assert.equal(await atOwners(keyspace, 'by_text', sent), sent.length)
  })
})

suite('questions about the topology are answered through the gateway as by a node', () => {
  for (const version of [4, 5] as ProtocolVersion[]) {
    it(`version ${version}, by QUERY and by PREPARE with EXECUTE`, async () => {
      const node = await atNode(mesh, version)
      const ours = await openAt(mesh.doors.nginx, mesh.identities.admin, version)
      const wrong: string[] = []
      for (const form of topologyForms) {
        // A node ends a connection at the second request in a row that it cannot read.
        const asked = form.pagingState === undefined ? node : await atNode(mesh, version)
        for (const [how, ask] of [
          ['QUERY', byQuery],
          ['EXECUTE', byExecute],
        ] as const) {
          const differs = difference(form, await ask(asked, form), await ask(ours, form))
          if (differs !== undefined) wrong.push(`${how} ${form.text}\n  ${differs}`)
        }
        if (asked !== node) asked.close()
      }
      node.close()
      ours.close()
      assert.deepEqual(wrong, [])
    })
  }
})
