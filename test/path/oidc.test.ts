/** Log-ins by the tokens of a real provider, whose keys are fetched as the control plane fetches them, with a real driver at both doors. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { auth, Client, policies } from 'cassandra-driver'
import { ManualClock } from '../../src/base/clock.fixture.ts'
import { KeySets } from '../../src/control/key-sets/key-sets.ts'
import { makeKey, part, signed, signedBySecret } from '../../src/identity/jwt/tokens.fixture.ts'
import { Observed } from '../../src/mesh/observable.ts'
import { type PolicySnapshot, pushedKinds } from '../../src/mesh/pushed.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { IdentityProvider } from './identity-provider.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const keys = ['k1', 'k2'].map((kid) => makeKey(kid, 'ES256'))
const [first, second] = [keys[0]!, keys[1]!]
const foreign = makeKey('k1', 'ES256')
const people = [
  { id: 'alice', groups: ['analysts'] },
  { id: 'bob', groups: ['others'] },
  { id: 'carol', groups: ['analysts'], audience: 'another' },
  { id: 'dora', groups: ['analysts'], seconds: 2 },
  { id: 'erin', groups: ['analysts'], padding: 25_000 },
  { id: 'fred', groups: ['analysts'], padding: 60_000 },
]

let world: World
let provider: IdentityProvider
let sidecar: RunningSidecar
let gateway: RunningGateway
let keySets: KeySets
const clock = new ManualClock(Date.now())
const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-oidc-'))
let keysKnown: () => number

before(async () => {
  provider = await IdentityProvider.start(people, [first])
  const source = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: ${provider.issuer}
  allowPrivate: true
  audiences: [ringfence]
  claims: { groups: groups }
  allowedGroups: [analysts]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: people }
spec: { subjects: [{ spiffeId: "spiffe://demo.local/user/corp/*" }], keyspaces: [shop], operations: [ALL] }
`
  world = await World.make()
  sidecar = await world.sidecar({ policy: source, authentication: ['token'] })
  gateway = await world.gateway([sidecar], { authentication: ['token'] })
  gateway.feed.apply(source)
  const policy = new Observed<PolicySnapshot>({ revision: 1, source }, ({ source: text }) => text)
  const published = new Observed(pushedKinds.keySets.empty, (value) => pushedKinds.keySets.version(value))
  published.observe((sets) => {
    for (const { feed } of [sidecar, gateway]) feed.value(pushedKinds.keySets).set(sets)
  })
  keysKnown = () => published.current[0]?.keys.length ?? 0
  keySets = new KeySets({ policy, published, clock, log: createLogger('keys', { write() {} }), stateDir })
  keySets.start()
  await until('the keys are there', () => keysKnown() === 1)
})
after(async () => {
  keySets.stop()
  provider.stop()
  await world.close()
  rmSync(stateDir, { recursive: true })
})

const doors = { 'through a gateway': () => gateway.port, 'at a sidecar': () => sidecar.port }

/** What the driver's types do not tell. */
interface Host {
  shutdown(waits: boolean): Promise<void>
}

function open(port: number, token: string): Client {
  return new Client({
    contactPoints: [`127.0.0.1:${port}`],
    protocolOptions: { port },
    // The fake node does not say where it is, nor what its tables are.
    policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
    isMetadataSyncEnabled: false,
    authProvider: new auth.PlainTextAuthProvider('token', token),
    sslOptions: { ca: [world.ca.bundlePem], checkServerIdentity: () => undefined },
  })
}

/**
 * What ends a client. One whose sessions all ended adds its host anew, and the driver (4.10) forgets the first one with its timers: that would try to come in
 * for ever, and this process would not end.
 */
function endOf(client: Client): () => Promise<void> {
  const hosts = client.hosts.values() as unknown as Host[]
  return async () => {
    await client.shutdown()
    await Promise.all(hosts.map((host) => host.shutdown(false)))
  }
}

/** How many rows it reads, or what the driver says why not. */
async function read(port: number, token: string): Promise<string> {
  const client = open(port, token)
  try {
    await client.connect()
    return `${(await client.execute('SELECT * FROM shop.items')).rows.length} row`
  } catch (reason) {
    const { innerErrors = {}, message } = reason as Error & { innerErrors?: Record<string, Error> }
    return Object.values(innerErrors)[0]?.message ?? message
  } finally {
    await client.shutdown()
  }
}

/** A proxy has asked for it, as its report says. */
async function refreshed(count: number): Promise<void> {
  clock.advance(31_000)
  keySets.want([sidecar, gateway].flatMap(({ feed }) => feed.report?.().keysWanted ?? []))
  await until('the keys were fetched', () => keysKnown() === count)
}

for (const [door, portOf] of Object.entries(doors)) {
  suite(`the Node.js driver with a token of oidc-provider, ${door}`, () => {
    it('comes in, with a small token and one of 32 KiB', async () => {
      assert.equal(await read(portOf(), await provider.token('alice')), '1 row')
      const long = await provider.token('erin')
      assert.ok(long.length > 32 * 1024)
      assert.equal(await read(portOf(), long), '1 row')
    })

    it('is refused in words that are the same for whoever it is', async () => {
      const now = Math.floor(Date.now() / 1000)
      const claims = {
        iss: provider.issuer,
        aud: 'ringfence',
        sub: 'alice',
        groups: ['analysts'],
        iat: now,
        exp: now + 60,
      }
      const refused: Record<string, string> = {
        'a disallowed group': await provider.token('bob'),
        'another audience': await provider.token('carol'),
        'another issuer': signed(first, { ...claims, iss: `${provider.issuer}/` }),
        'no signature': `${part({ alg: 'none' })}.${part(claims)}.`,
        'HS256 with the public key': signedBySecret(JSON.stringify(first.jwk), claims, { alg: 'HS256', kid: 'k1' }),
        'another key of the same name': signed(foreign, claims),
      }
      for (const [name, token] of Object.entries(refused))
        assert.match(await read(portOf(), token), /these credentials are not accepted here/, name)
      assert.match(await read(portOf(), await provider.token('fred')), /longer than authMessageBytesMax|body of/)
    })

    it('is told in words that its token has expired, and its session ends then', async () => {
      const token = await provider.token('dora')
      const client = open(portOf(), token)
      await client.connect()
      const end = endOf(client)
      await sleep(2500)
      await assert.rejects(client.execute('SELECT * FROM shop.items'))
      await end()
      assert.match(await read(portOf(), token), /the token expired at .*; get a new one/)
    })

    it('goes on while keys rotate and while the provider is away', async () => {
      const old = await provider.token('alice')
      const client = open(portOf(), old)
      await client.connect()
      const end = endOf(client)
      provider.use([second, first])
      const fresh = await provider.token('alice')
      assert.match(await read(portOf(), fresh), /not accepted here/, 'until the new key was fetched')
      await refreshed(2)
      for (const token of [old, fresh]) assert.equal(await read(portOf(), token), '1 row')
      provider.away()
      clock.advance(600_000)
      keySets.want(['corp'])
      await sleep(50)
      for (const token of [old, fresh]) assert.equal(await read(portOf(), token), '1 row', 'by the keys of before')
      // The first key is taken away.
      provider.use([second])
      await until('the provider is asked again', () => keysKnown() === 1, 8000)
      assert.match(await read(portOf(), old), /not accepted here/)
      assert.equal(await read(portOf(), fresh), '1 row')
      assert.equal((await client.execute('SELECT * FROM shop.items')).rows.length, 1, 'a session lives to its end')
      await end()
      provider.use([first])
      await refreshed(1)
      await read(portOf(), await provider.token('alice'))
      await refreshed(1)
      await until('the first key is back', () => keysKnown() === 1)
    })
  })
}
