/** The tables of the applications, and what their rows say at the end beside what the applications were told. */
import { Client, types } from 'cassandra-driver'
import { dataCenter, spiffeIds } from '../../demo/parts/layout.ts'
import type { Mesh } from '../../demo/parts/mesh.ts'
import { pemsOf } from '../e2e/people.ts'
import type { Said } from './application.ts'
import type { Sums } from './summary.ts'

export async function makeTables(mesh: Mesh): Promise<void> {
  const client = await admin(mesh)
  const replication = `{'class': 'NetworkTopologyStrategy', '${dataCenter}': 3}`
  await client.execute(`CREATE KEYSPACE soak WITH replication = ${replication}`)
  await client.execute('CREATE TABLE soak.orders (id text PRIMARY KEY, total text)')
  await client.execute('CREATE TABLE soak.counters (id text PRIMARY KEY, n counter)')
  await client.shutdown()
}

/** What the rows say, beside what the applications were told. */
export async function sumsOf(mesh: Mesh, said: readonly Said[], isMeant = (_row: string) => true): Promise<Sums> {
  const rows = said.flatMap(({ increments }) => Object.entries(increments ?? {})).filter(([row]) => isMeant(row))
  const sums = { rows: rows.length, done: 0, unknown: 0, found: 0, lost: 0, doubled: 0 }
  if (rows.length === 0) return sums
  const client = await admin(mesh)
  for (const [id, [done, unknown]] of rows) {
    const read = await client.execute('SELECT n FROM soak.counters WHERE id = ?', [id], { prepare: true })
    const found = Number(read.rows[0]?.n ?? 0)
    sums.done += done
    sums.unknown += unknown
    sums.found += found
    sums.lost += Math.max(0, done - found)
    sums.doubled += Math.max(0, found - done - unknown)
  }
  await client.shutdown()
  return sums
}

async function admin(mesh: Mesh): Promise<Client> {
  const { address, port } = mesh.layout.nodes[0]!.sidecar
  // For a while only: nothing outlives the key that signed it.
  const {
    keyPem: key,
    certificatePem: cert,
    bundlePem: ca,
  } = pemsOf(await mesh.identity(spiffeIds.service('soak-admin'), 300_000))
  const client = new Client({
    contactPoints: [`${address}:${port}`],
    protocolOptions: { port },
    localDataCenter: dataCenter,
    sslOptions: { key, cert, ca: [ca], rejectUnauthorized: true },
    queryOptions: { consistency: types.consistencies.all, isIdempotent: true },
    socketOptions: { connectTimeout: 15_000, readTimeout: 60_000 },
  })
  await client.connect()
  return client
}
