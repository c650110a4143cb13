/**
 * What stands outside the mesh while people and workloads log in: a real provider of OpenID Connect, the published keys of AWS's token issuer
 * and of a Kubernetes cluster, AWS STS, and authorities that the mesh does not know.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/base/clock.ts'
import { CertificateAuthority } from '../../../src/control/ca.ts'
import { FakeSts } from '../../../src/identity/aws/fake-sts.fixture.ts'
import { makeKey } from '../../../src/identity/jwt/tokens.fixture.ts'
import type { KeySet } from '../../../src/identity/providers/in-force.ts'
import { type Client, IdentityProvider } from '../../path/identity-provider.ts'
import { OutsideServer } from '../../path/outside-server.ts'

/** In every id of this suite, so that its records are found. */
export const marker = 'e2e-log-ins'
export const account = '123456789012'
export const serverId = 'mesh.example.com'
export const stsRegion = 'eu-central-1'
export const stsHost = `sts.${stsRegion}.amazonaws.com`
export const issuers = {
  aws: 'https://id1.tokens.sts.global.api.aws',
  kubernetes: 'https://kubernetes.default.svc.cluster.local',
} as const
export const group = 'analysts'
/** Base64 makes 32 KiB of it. */
const paddingBytes = 24 * 1024

/** Clients of the provider. A token of the second has 32 KiB; the third, and whose names begin so, never come in. */
export const people = { usual: marker, large: `${marker}-large`, stranger: `${marker}-stranger` } as const
const clients: readonly Client[] = [
  { id: people.usual, groups: [group] },
  { id: people.large, groups: [group], padding: paddingBytes },
  { id: people.stranger, groups: [group] },
]

export class Outside {
  readonly keys = { oidc: makeKey('o1', 'ES256'), aws: makeKey('a1', 'ES384'), kubernetes: makeKey('c1', 'RS256') }
  readonly sts = new FakeSts()
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringfence-outside-'))
  readonly #closers: (() => unknown)[] = []
  #provider: IdentityProvider | undefined
  #stsServer: OutsideServer | undefined
  #keysServer: Server | undefined
  /** Each has the files of a `CertificateAuthority`: one of the mesh's own name, and one of another name. */
  readonly foreignDirs = { sameName: join(this.#folder, 'same-name'), otherName: join(this.#folder, 'other-name') }

  static async start(): Promise<Outside> {
    const outside = new Outside()
    await outside.#start()
    return outside
  }

  async #start(): Promise<void> {
    const { oidc, aws, kubernetes } = this.keys
    await CertificateAuthority.open(this.foreignDirs.sameName, 'demo.local', systemClock)
    const other = await CertificateAuthority.open(this.foreignDirs.otherName, 'other.local', systemClock)
    this.#provider = await IdentityProvider.start(clients, [oidc])
    this.#closers.push(() => this.provider.stop())
    this.#stsServer = await OutsideServer.start(other, [stsHost], this.sts.answer)
    this.#closers.push(() => this.stsServer.stop())
    writeFileSync(join(this.#folder, 'sts-ca.pem'), this.#stsServer.caPem)
    const published: Readonly<Record<string, object>> = {
      '/aws': { keys: [aws.jwk] },
      '/kubernetes': { keys: [kubernetes.jwk] },
    }
    const keysServer = createServer(({ url = '' }, response) => {
      const body = published[url]
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body ?? {}))
    })
    keysServer.listen(0, '127.0.0.1')
    await once(keysServer, 'listening')
    this.#keysServer = keysServer
    this.#closers.push(() => keysServer.close())
  }

  get provider(): IdentityProvider {
    return this.#provider!
  }

  get stsServer(): OutsideServer {
    return this.#stsServer!
  }

  /** For a process that is to find STS here. */
  get environment(): Readonly<Record<string, string>> {
    return {
      NODE_OPTIONS: `--import=${join(import.meta.dirname, 'outside-hosts.ts')}`,
      RF_STS_HOST: stsHost,
      RF_STS_PORT: String(this.stsServer.port),
      RF_STS_CA: join(this.#folder, 'sts-ca.pem'),
    }
  }

  /** As the control plane fetches them, for a mesh that has none. */
  get keySets(): readonly KeySet[] {
    const { oidc, aws, kubernetes } = this.keys
    const sets = {
      corp: [this.provider.issuer, oidc],
      cloud: [issuers.aws, aws],
      cluster: [issuers.kubernetes, kubernetes],
    } as const
    return Object.entries(sets).map(([provider, [issuer, { jwk }]]) => ({
      provider,
      issuer,
      keys: [jwk],
      fetchedAtMs: Date.now(),
    }))
  }

  /**
   * The providers, and one rule for all who log in here.
   * @param admits `all`; or `others`: every provider's document names another group, account or namespace than those who come
   */
  policy(keyspace: string, tables: readonly string[], admits: 'all' | 'others' = 'all'): string {
    const { port } = this.#keysServer!.address() as AddressInfo
    const [groups, accounts, namespaces] =
      admits === 'all' ? [group, account, 'shop'] : ['oncall', '210987654321', 'elsewhere']
    return `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: ${this.provider.issuer}
  allowPrivate: true
  audiences: [ringfence]
  claims: { groups: groups }
  allowedGroups: [${groups}]
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: cloud }
spec:
  type: aws
  issuer: ${issuers.aws}
  jwks: http://127.0.0.1:${port}/aws
  allowPrivate: true
  audiences: [ringfence]
  accounts: ["${accounts}"]
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: sts }
spec: { type: aws-sts, serverId: ${serverId}, accounts: ["${accounts}"], allowPrivate: true }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: cluster }
spec:
  type: kubernetes
  issuer: ${issuers.kubernetes}
  jwks: http://127.0.0.1:${port}/kubernetes
  allowPrivate: true
  audiences: [ringfence]
  namespaces: [${namespaces}]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${marker} }
spec:
  subjects:
    - spiffeId: spiffe://demo.local/svc/${marker}
    - person: "corp/*"
    - role: arn:aws:iam::${account}:role/${marker}
    - spiffeId: spiffe://demo.local/ns/shop/sa/${marker}
  keyspaces: [${keyspace}]
  tables: [${tables.join(', ')}]
  operations: [READ, SCAN]
`
  }

  async stop(): Promise<void> {
    for (const close of this.#closers.reverse()) await close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
