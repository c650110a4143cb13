/** Cassandra accepts only the sidecar: every way around the mesh that a neighbour on the same host could try. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, it, describe as suite } from 'node:test'
import { auth, Client } from 'cassandra-driver'
import { authResponseEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { type ClientOptions, describe, RawClient } from '../path/client.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { atNode, pemsOf } from './people.ts'

type Pems = NonNullable<ClientOptions['credentials']>

/** The certificate is the answer; Cassandra does not take a null one. */
const noToken = Buffer.alloc(0)
const saslPassword = Buffer.from('\0cassandra\0cassandra')

let mesh: MeshFixture

before(async () => {
  mesh = await useMesh()
})

/** What STARTUP and AUTH_RESPONSE end with at a node itself: its last answer in words, or how the connection failed. */
async function logInAt(credentials: Pems | undefined, token: Buffer): Promise<string> {
  const { cql } = mesh.layout.nodes[0]!
  let client: RawClient | undefined
  try {
    client = await RawClient.connect({ host: cql.address, port: cql.port, credentials })
    let answer = await client.startup()
    if (headerOpcode(answer, 0) === Opcode.AUTHENTICATE) answer = await client.ask(authResponseEnvelope(4, 1, token))
    return headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS ? 'logged in' : describe(answer)
  } catch (reason) {
    return `no connection: ${String(reason)}`
  } finally {
    client?.close()
  }
}

/** The identity that a part of the mesh keeps in its state folder. */
function ownPems(stateDir: string): Pems {
  return JSON.parse(readFileSync(join(stateDir, 'identity.json'), 'utf8')) as Pems
}

suite('a Cassandra node', () => {
  it('lets its sidecar in, by the sidecar’s certificate', async () => {
    assert.equal(await logInAt(ownPems(mesh.layout.nodes[0]!.sidecarDir), noToken), 'logged in')
  })

  it('gives its sidecar a role that is no superuser', async () => {
    const client = await atNode(mesh)
    const ask = async (text: string): Promise<string> => describe(await client.ask(queryEnvelope(4, 1, text)))
    // As far as the role goes it may make roles, and none that may do more than itself.
    assert.match(await ask('CREATE ROLE bypass_superuser WITH SUPERUSER = true'), /^0x2100 Only superusers/)
    assert.match(await ask('ALTER ROLE cassandra WITH SUPERUSER = true'), /^0x2100 /)
    assert.equal(await ask('CREATE ROLE IF NOT EXISTS bypass_plain WITH LOGIN = false'), 'result 1')
    assert.equal(await ask('DROP ROLE IF EXISTS bypass_plain'), 'result 1')
    client.close()
  })

  it('refuses another certificate of the same CA', async () => {
    for (const files of Object.values(mesh.identities)) {
      assert.match(await logInAt(pemsOf(files), noToken), /^0x0100 /, files.spiffeId)
    }
  })

  it('refuses the gateway’s certificate', async () => {
    assert.match(await logInAt(ownPems(mesh.layout.dirs.gateway), noToken), /^0x0100 /)
  })

  it('refuses a password, with a certificate of the same CA and without', async () => {
    assert.match(await logInAt(pemsOf(mesh.identities.admin), saslPassword), /^0x0100 /)
    assert.match(await logInAt(undefined, saslPassword), /^no connection/)
    const { cql } = mesh.layout.nodes[0]!
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = pemsOf(mesh.identities.admin)
    const client = new Client({
      contactPoints: [`${cql.address}:${cql.port}`],
      localDataCenter: mesh.dataCenter,
      authProvider: new auth.PlainTextAuthProvider('cassandra', 'cassandra'),
      sslOptions: { key, cert, ca: [ca], checkServerIdentity: () => undefined },
    })
    await assert.rejects(client.connect(), /All host\(s\) tried/)
    await client.shutdown()
  })

  it('refuses a connection without TLS, and TLS without a certificate', async () => {
    assert.match(await logInAt(undefined, noToken), /^no connection/)
    const { bundlePem } = pemsOf(mesh.identities.admin)
    const nothing = { bundlePem } as Pems
    assert.match(await logInAt(nothing, noToken), /^no connection/)
  })

  it('refuses statements before a log-in', async () => {
    const { cql } = mesh.layout.nodes[0]!
    const client = await RawClient.connect({
      host: cql.address,
      port: cql.port,
      credentials: pemsOf(mesh.identities.admin),
    })
    const marker = 'bypass_before_login'
    await client.startup()
    const answer = await client.ask(queryEnvelope(4, 1, `SELECT * FROM system.local WHERE key = '${marker}'`))
    assert.match(describe(answer), /^0x000a /)
    client.close()
    assert.deepEqual(await mesh.cassandraLines(marker), [])
  })
})
