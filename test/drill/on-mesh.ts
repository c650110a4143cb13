/** The mesh of a drill: three nodes with their sidecars, two gateways, an identity provider, and one sidecar that can be cut off from the control plane. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'cassandra-driver'
import { dataCenter, spiffeIds } from '../../demo/parts/layout.ts'
import { type Mesh, startMesh } from '../../demo/parts/mesh.ts'
import { makeKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { pemsOf } from '../e2e/people.ts'
import { IdentityProvider } from '../path/identity-provider.ts'
import { drillOnce, type Sample } from './drill.ts'
import { type Door, kindsOf } from './kinds.ts'
import { Relay } from './relay.ts'
import { gatewayThrownOut, proxiesAway, proxyCutOff, type Stage, sidecarThrownOut } from './scenes.ts'

type Say = (line: string) => void

export async function drillOnMesh(rounds: number, say: Say): Promise<Sample[]> {
  const keys = [makeKey('k1', 'ES256'), makeKey('k2', 'ES256')] as const
  const provider = await IdentityProvider.start([], keys)
  const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-drill-'))
  const policyFile = join(stateDir, 'policy.yaml')
  const own = readFileSync(join(import.meta.dirname, 'policy.yaml'), 'utf8')
  writeFileSync(policyFile, `${providerOf(provider.issuer)}---\n${own}`)
  say(`files and logs: ${stateDir}`)
  const closers: (() => unknown)[] = [() => provider.stop()]
  try {
    const mesh = await startMesh({
      stateDir,
      nodes: 3,
      portOffset: 12_000 + (process.pid % 90),
      policyFile,
      gatewayWorkers: 2,
      spareGateway: true,
      clusterName: 'drill',
      authentication: 'either',
    })
    closers.push(() => mesh.close())
    await mesh.part('gateway-2').start()
    const relay = await Relay.start(mesh.layout.control)
    closers.push(() => relay.close())
    await throughRelay(mesh, 'sidecar-2', relay)
    await makeTable(mesh)
    const stage = { mesh, doors: doorsOf(mesh), relay }
    const samples = await allOf(stage, { admin: mesh.admin, issuer: provider.issuer, keys }, rounds, say)
    await mesh.close()
    if (process.env.RINGFENCE_E2E_KEEP === undefined) rmSync(stateDir, { recursive: true, force: true })
    return samples
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

async function allOf(stage: Stage, world: Parameters<typeof kindsOf>[0], rounds: number, say: Say): Promise<Sample[]> {
  const { mesh, doors } = stage
  const { admin } = mesh
  const kinds = kindsOf(world)
  const [first] = kinds
  const samples: Sample[] = []
  let serial = 0
  const take = (name: string, some: readonly Sample[]): void => {
    const closed = some.map(({ closedMs = Number.NaN }) => Math.round(closedMs))
    say(`${name}: closed after ${closed.join(', ')} ms`)
    samples.push(...some)
  }
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) take(kind.name, await drillOnce(kind, ++serial, { admin, doors }))
    take('a gateway', await gatewayThrownOut(stage, first!, ++serial))
    take('a sidecar', await sidecarThrownOut(stage, first!, ++serial))
  }
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    const dies = await drillOnce(first!, ++serial, {
      admin,
      doors,
      afterwards: () => mesh.part('control').kill(),
      beforeRestore: () => mesh.part('control').start(),
    })
    const name = 'while the control plane dies right after'
    take(
      name,
      dies.map((sample) => ({ ...sample, kind: name })),
    )
    take('a proxy that was away', await proxiesAway(stage, first!, ++serial))
    take('a proxy that was cut off', await proxyCutOff(stage, first!, ++serial))
  }
  return samples
}

function doorsOf({ layout }: Mesh): Door[] {
  const at = (name: string, { address: host, port }: { address: string; port: number }): Door => ({ name, host, port })
  return [
    at('NGINX', layout.nginx),
    at('gateway-2', layout.gateway2),
    ...layout.nodes.map(({ index, sidecar }) => at(`sidecar-${index}`, sidecar)),
  ]
}

/** It hears the control plane by that line from now on. */
async function throughRelay(mesh: Mesh, name: string, relay: Relay): Promise<void> {
  const file = join(mesh.layout.dirs.conf, `${name}.yaml`)
  const { address, port } = mesh.layout.control
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace(`https://${address}:${port}`, `https://127.0.0.1:${relay.port}`))
  await mesh.part(name).stop()
  await mesh.part(name).start()
}

function providerOf(issuer: string): string {
  return `apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", allowPrivate: true, audiences: [ringfence] }
`
}

async function makeTable(mesh: Mesh): Promise<void> {
  const { address, port } = mesh.layout.nodes[0]!.sidecar
  const {
    keyPem: key,
    certificatePem: cert,
    bundlePem: ca,
  } = pemsOf(await mesh.identity(spiffeIds.service('drill-admin')))
  const client = new Client({
    contactPoints: [`${address}:${port}`],
    protocolOptions: { port },
    localDataCenter: dataCenter,
    sslOptions: { key, cert, ca: [ca], rejectUnauthorized: true },
    socketOptions: { readTimeout: 30_000 },
  })
  await client.execute(
    `CREATE KEYSPACE drill WITH replication = {'class': 'NetworkTopologyStrategy', '${dataCenter}': 3}`,
  )
  await client.execute('CREATE TABLE drill.rows (id text PRIMARY KEY)')
  for (const id of ['a', 'b', 'c', 'd']) await client.execute(`INSERT INTO drill.rows (id) VALUES ('${id}')`)
  await client.shutdown()
}
