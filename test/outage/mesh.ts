/** The outage on real parts: NGINX, gateway, sidecars, Cassandra, as the end-to-end suites have them, with listeners that take tokens. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'cassandra-driver'
import { dataCenter, spiffeIds } from '../../demo/parts/layout.ts'
import { startMesh } from '../../demo/parts/mesh.ts'
import { makeKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { policyFile } from '../e2e/held.ts'
import { pemsOf } from '../e2e/people.ts'
import { IdentityProvider } from '../path/identity-provider.ts'
import { clientsFor, type OutageOptions, type OutageOutcome, runOutage } from './outage.ts'

export interface MeshOutageOptions extends Pick<OutageOptions, 'programs' | 'minutes' | 'say'> {
  readonly nodes: number
}

/** For documents of a policy; `keyspace` is what people may read. */
export function policyOf(issuer: string, keyspace: string): string {
  return `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: ${issuer}
  allowPrivate: true
  audiences: [ringfence]
  claims: { groups: groups }
  allowedGroups: [analysts]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: outage-people }
spec: { subjects: [{ person: "corp/*" }], keyspaces: [${keyspace}], operations: [ALL] }
`
}

/** Files and logs stay where it fails, and where RINGFENCE_E2E_KEEP is set. */
export async function outageOnMesh({ nodes, programs, minutes, say }: MeshOutageOptions): Promise<OutageOutcome> {
  const keys = ['k1', 'k2', 'k3'].map((kid) => makeKey(kid, 'ES256'))
  const provider = await IdentityProvider.start(clientsFor(minutes), keys.slice(0, 1))
  const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-outage-'))
  const tokens = join(stateDir, 'tokens')
  mkdirSync(tokens, { mode: 0o700 })
  const ownPolicy = join(stateDir, 'policy.yaml')
  writeFileSync(ownPolicy, `${readFileSync(policyFile, 'utf8')}\n---\n${policyOf(provider.issuer, 'e2e_outage')}`)
  say(`files and logs: ${stateDir}`)
  const mesh = await startMesh({
    stateDir,
    nodes,
    portOffset: 12_000 + (process.pid % 90),
    policyFile: ownPolicy,
    gatewayWorkers: 2,
    clusterName: 'outage',
    authentication: 'either',
  }).catch((reason: unknown) => {
    provider.stop()
    throw reason
  })
  try {
    const admin = await mesh.identity(spiffeIds.service('e2e-admin'))
    const { nginx, nodes: places } = mesh.layout
    const { sidecar } = places[0]!
    await makeTable(sidecar, pemsOf(admin), Math.min(3, nodes))
    const outcome = await runOutage({
      doors: [
        { name: 'through NGINX', host: nginx.address, port: nginx.port },
        { name: 'at a sidecar', host: sidecar.address, port: sidecar.port },
      ],
      provider,
      keys,
      caFile: admin.caFile,
      programs,
      env: { RF_DC: dataCenter, RF_QUERY: "SELECT total FROM e2e_outage.orders WHERE id = 'a'" },
      minutes,
      folder: tokens,
      say,
    })
    await mesh.close()
    if (process.env.RINGFENCE_E2E_KEEP === undefined) rmSync(stateDir, { recursive: true, force: true })
    return outcome
  } finally {
    provider.stop()
    await mesh.close()
  }
}

async function makeTable(
  { address, port }: { address: string; port: number },
  { keyPem: key, certificatePem: cert, bundlePem: ca }: ReturnType<typeof pemsOf>,
  copies: number,
): Promise<void> {
  const client = new Client({
    contactPoints: [`${address}:${port}`],
    protocolOptions: { port },
    localDataCenter: dataCenter,
    sslOptions: { key, cert, ca: [ca], rejectUnauthorized: true, checkServerIdentity: () => undefined },
    socketOptions: { readTimeout: 30_000 },
  })
  const replication = `{'class': 'NetworkTopologyStrategy', '${dataCenter}': ${copies}}`
  await client.execute(`CREATE KEYSPACE e2e_outage WITH replication = ${replication}`)
  await client.execute('CREATE TABLE e2e_outage.orders (id text PRIMARY KEY, total text)')
  await client.execute("INSERT INTO e2e_outage.orders (id, total) VALUES ('a', '1')")
  await client.shutdown()
}
