/** Clients of the suites that need to see the protocol itself: one connection each, with an identity of the mesh. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { auth, Client, policies, types } from 'cassandra-driver'
import type { IdentityFiles } from '../../demo/parts/certificates.ts'
import { authResponseEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { describe, RawClient } from '../path/client.ts'
import type { Door, DoorName, MeshFixture } from './fixture.ts'

export const doorNames = ['nginx', 'sidecar'] as const satisfies readonly DoorName[]

export function pemsOf(files: IdentityFiles): { keyPem: string; certificatePem: string; bundlePem: string } {
  return {
    keyPem: readFileSync(files.keyFile, 'utf8'),
    certificatePem: readFileSync(files.certFile, 'utf8'),
    bundlePem: readFileSync(files.caFile, 'utf8'),
  }
}

/** READY at a door. */
export function openAt(door: Door, files: IdentityFiles, version: ProtocolVersion = 4): Promise<RawClient> {
  return RawClient.open({ host: door.host, port: door.port, credentials: pemsOf(files), version })
}

/** Logged in at the node of the first sidecar, past the mesh: by that sidecar's certificate, for nobody else gets in. */
export async function atNode(mesh: MeshFixture, version: ProtocolVersion = 4): Promise<RawClient> {
  const { cql, sidecarDir } = mesh.layout.nodes[0]!
  const credentials = JSON.parse(readFileSync(join(sidecarDir, 'identity.json'), 'utf8')) as Credentials
  const client = await RawClient.connect({ host: cql.address, port: cql.port, credentials, version })
  let answer = await client.startup()
  if (headerOpcode(answer, 0) === Opcode.AUTHENTICATE) {
    answer = await client.ask(authResponseEnvelope(version, 1, Buffer.alloc(0)))
  }
  if (headerOpcode(answer, 0) !== Opcode.AUTH_SUCCESS) throw new Error(`no log-in: ${describe(answer)}`)
  return client
}

/** The unmodified driver of npm at a door. */
export function driverAt(mesh: MeshFixture, door: DoorName, files: IdentityFiles, requestMs = 12_000): Client {
  const { host, port } = mesh.doors[door]
  const { keyPem: key, certificatePem: cert, bundlePem: ca } = pemsOf(files)
  return new Client({
    contactPoints: [`${host}:${port}`],
    localDataCenter: mesh.dataCenter,
    protocolOptions: { port },
    sslOptions: { key, cert, ca: [ca], checkServerIdentity: () => undefined },
    authProvider: new auth.PlainTextAuthProvider('', ''),
    socketOptions: { connectTimeout: 3000, readTimeout: requestMs },
    queryOptions: { consistency: types.consistencies.localQuorum, isIdempotent: false },
    pooling: { heartBeatInterval: 2000 },
    // The default doubles its wait, so that half a minute of an outage would be the driver's own.
    policies: { reconnection: new policies.reconnection.ConstantReconnectionPolicy(500) },
  })
}

/** A keyspace with as many copies as the suites ask for, and these tables, whatever an earlier run left. */
export async function freshKeyspace(
  admin: Client,
  mesh: MeshFixture,
  keyspace: string,
  ...tables: string[]
): Promise<void> {
  const replication = `{'class': 'NetworkTopologyStrategy', '${mesh.dataCenter}': ${mesh.replication}}`
  await admin.execute(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  await admin.execute(`CREATE KEYSPACE ${keyspace} WITH replication = ${replication}`)
  for (const table of tables) await admin.execute(`CREATE TABLE ${keyspace}.${table}`)
}
