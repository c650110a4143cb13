/**
 * A sidecar takes over its node's certificate: the real node shows the new one to clients and between nodes, by its own nodetool, and neither a
 * driver's session at that sidecar nor a write to all three nodes fails.
 */
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, types } from 'cassandra-driver'
import { parse, stringify } from 'yaml'
import { type HostPort, spiffeIds } from '../../demo/parts/layout.ts'
import { nodetoolCommand } from '../../demo/parts/nodetool.ts'
import { setUpParts } from '../../demo/parts/setup.ts'
import { runCommand } from '../../src/agent/command.ts'
import { servedCertificate } from '../../src/agent/served-certificate.ts'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { eventually } from '../../src/control/mesh.fixture.ts'
import { credentialsOf } from '../../src/mesh/credentials.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { driverAt, freshKeyspace, pemsOf } from './people.ts'

const keyspace = 'e2e_node_certificate'

let mesh: MeshFixture
let folder: string
let nodetool: string
let configFile: string
let config: string

before(async () => {
  mesh = await useMesh()
  folder = mkdtempSync(join(tmpdir(), 'rf-e2e-node-'))
  const { cassandraDir, jmxPort } = mesh.layout.nodes[0]!
  nodetool = nodetoolCommand(cassandraDir, jmxPort, await setUpParts({ stateDir: mesh.stateDir }))
  configFile = join(mesh.layout.dirs.conf, 'sidecar-1.yaml')
  config = readFileSync(configFile, 'utf8')
})
after(async () => {
  const { node, roots } = filesOfNode()
  if (existsSync(join(folder, 'node.pem'))) {
    copyFileSync(join(folder, 'node.pem'), node)
    copyFileSync(join(folder, 'ca.pem'), roots)
    await runCommand(`${nodetool} reloadssl`, 60_000)
  }
  writeFileSync(configFile, config)
  await mesh.part('sidecar-1').stop()
  await mesh.part('sidecar-1').start()
  rmSync(folder, { recursive: true, force: true })
})

function filesOfNode(): { readonly node: string; readonly roots: string } {
  const dir = join(mesh.layout.nodes[0]!.cassandraDir, 'tls')
  return { node: join(dir, 'node.pem'), roots: join(dir, 'ca.pem') }
}

/** A driver at the first sidecar; undefined where that does not let it in yet. */
async function connected(): Promise<Client | undefined> {
  const client = driverAt(mesh, 'sidecar', mesh.identities.admin)
  try {
    await client.connect()
    return client
  } catch {
    await client.shutdown()
    return undefined
  }
}

/** The serial number of what is shown there. */
async function shown(at: HostPort): Promise<string | undefined> {
  const { keyPem, certificatePem, bundlePem } = pemsOf(mesh.identities.admin)
  const leaf = await servedCertificate(at, credentialsOf(certificatePem, keyPem, bundlePem))
  return leaf === undefined ? undefined : new X509Certificate(leaf).serialNumber
}

/** Writes to all replicas and reads again, without a second try, until it is stopped. */
class Writing {
  readonly faults: string[] = []
  readonly #client: Client
  readonly #byHost = new Map<string, number>()
  readonly #running: Promise<void>[]
  #isOver = false

  constructor(client: Client) {
    this.#client = client
    this.#running = [this.#write(0), this.#write(1)]
  }

  by(host: HostPort): number {
    return this.#byHost.get(`${host.address}:${host.port}`) ?? 0
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#running)
  }

  async #write(from: number): Promise<void> {
    const options = { prepare: true, consistency: types.consistencies.all, isIdempotent: false }
    for (let i = from; !this.#isOver; i += 2) {
      try {
        const { info } = await this.#client.execute(
          `INSERT INTO ${keyspace}.t (k, v) VALUES (?, ?)`,
          [i % 50, `${i}`],
          options,
        )
        this.#byHost.set(info.queriedHost, (this.#byHost.get(info.queriedHost) ?? 0) + 1)
      } catch (reason) {
        this.faults.push(reason instanceof Error ? reason.message : String(reason))
      }
      await sleep(2)
    }
  }
}

suite('a sidecar that keeps its node’s certificate', () => {
  it('has the node show the next one to clients and to nodes, and no request fails', async () => {
    const [first] = mesh.layout.nodes
    const { cql, sidecar } = first!
    const storage = { address: '127.0.0.1', port: mesh.layout.storagePort }
    const { node, roots } = filesOfNode()
    copyFileSync(node, join(folder, 'node.pem'))
    copyFileSync(roots, join(folder, 'ca.pem'))
    const before = new X509Certificate(readFileSync(node)).serialNumber
    assert.deepEqual([await shown(cql), await shown(storage)], [before, before])

    const spiffeId = spiffeIds.cassandra(1)
    const admin = new AdminClient(mesh.layout.dirs.control)
    const { token } = await admin.makeToken({ spiffeId, role: 'node', ipAddresses: [cql.address, '127.0.0.1'] })
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, token, { mode: 0o600 })
    const gate = join(folder, 'gate')
    const reload = `while [ ! -e '${gate}' ]; do sleep 0.1; done; ${nodetool} reloadssl`
    const document = parse(config) as { spec: Record<string, unknown> }
    document.spec.nodeCertificate = { keystore: node, truststore: roots, reload, tokenFile }
    writeFileSync(configFile, stringify(document))
    await mesh.part('sidecar-1').stop()
    await mesh.part('sidecar-1').start()

    const client = await eventually('the sidecar has its node again', connected)
    await freshKeyspace(client, mesh, keyspace, 't (k int PRIMARY KEY, v text)')
    const writing = new Writing(client)
    await eventually('there are writes at the sidecar', () => writing.by(sidecar) > 50)
    const written = new X509Certificate(readFileSync(node)).serialNumber
    assert.notEqual(written, before)
    assert.equal(statSync(node).mode & 0o777, 0o600)
    assert.ok(new X509Certificate(readFileSync(node)).checkPrivateKey(createPrivateKey(readFileSync(node))))
    assert.deepEqual([await shown(cql), await shown(storage)], [before, before], 'written, and not yet read')

    writeFileSync(gate, '')
    await eventually('clients are shown the next one', async () => (await shown(cql)) === written)
    // One `nodetool reloadssl` reads the one after the other.
    await eventually('and so are nodes', async () => (await shown(storage)) === written)
    const log = join(mesh.stateDir, 'log', 'sidecar-1.log')
    await eventually('the sidecar has looked', () =>
      readFileSync(log, 'utf8').includes('the node shows its new certificate'),
    )
    const then = writing.by(sidecar)
    await eventually('writes go on', () => writing.by(sidecar) > then + 200)
    await writing.stop()
    assert.deepEqual(writing.faults, [])
    // A connection of now is made with what the node shows now.
    const another = await eventually('a driver comes in', connected)
    await another.execute(`SELECT v FROM ${keyspace}.t WHERE k = 1`)
    await another.execute(`DROP KEYSPACE ${keyspace}`)
    await Promise.all([client.shutdown(), another.shutdown()])
  })
})
