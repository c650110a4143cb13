/** The shop's schema and products, made through the mesh by an identity that may do just that. */
import { readFileSync } from 'node:fs'
import { Client, types } from 'cassandra-driver'
import { RingfenceError } from '../src/base/errors.ts'
import { type HostPort, show, spiffeIds } from './parts/layout.ts'
import type { Mesh } from './parts/mesh.ts'

const products = [
  'teapot',
  'kettle',
  'cup',
  'saucer',
  'spoon',
  'sugar bowl',
  'milk jug',
  'tray',
  'strainer',
  'tea towel',
]

/** Idempotent. Throws UNAVAILABLE. */
export async function migrate(mesh: Mesh, door: HostPort): Promise<void> {
  const files = await mesh.identity(spiffeIds.service('migration'), 15 * 60 * 1000)
  const client = new Client({
    contactPoints: [show(door)],
    localDataCenter: 'datacenter1',
    sslOptions: {
      key: readFileSync(files.keyFile),
      cert: readFileSync(files.certFile),
      ca: [readFileSync(files.caFile)],
      rejectUnauthorized: true,
    },
    queryOptions: { consistency: types.consistencies.quorum, isIdempotent: true },
    socketOptions: { readTimeout: 30_000 },
  })
  try {
    await client.connect()
    const replicas = Math.min(3, mesh.layout.nodes.length)
    const statements = [
      `CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': ${replicas}}`,
      'CREATE TABLE IF NOT EXISTS shop.products (id int PRIMARY KEY, name text, price decimal)',
      'CREATE TABLE IF NOT EXISTS shop.orders (id uuid PRIMARY KEY, customer text, product int, amount int, card text) WITH default_time_to_live = 3600',
      'CREATE TABLE IF NOT EXISTS shop.reports (day text, product int, sold int, PRIMARY KEY (day, product))',
    ]
    for (const statement of statements) await client.execute(statement)
    const insert = 'INSERT INTO shop.products (id, name, price) VALUES (?, ?, ?)'
    for (let id = 0; id < 20; id++) {
      const price = types.BigDecimal.fromString(`${3 + id}.50`)
      await client.execute(insert, [id, products[id % products.length], price], { prepare: true })
    }
  } catch (cause) {
    throw new RingfenceError('UNAVAILABLE', `the schema was not made: ${String(cause)}`, { cause })
  } finally {
    await client.shutdown()
  }
}
