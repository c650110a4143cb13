/** What the tests of `ringfence connect` share: a person who is logged in, a gateway and a sidecar that take tokens, and tools. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auth, Client, policies } from 'cassandra-driver'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { type ConnectOptions, type RunningConnect, startConnect } from '../../src/people/connect/start.ts'
import { type Profile, ProfileFolder, type Tokens } from '../../src/people/profile.ts'
import { clientId, PeopleProvider } from './people-provider.ts'
import { endPrograms } from './program.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const key = makeKey('k1', 'ES256')
export const base = mkdtempSync(join(tmpdir(), 'ringfence-connect-'))
export const read = 'SELECT * FROM shop.items'
export let provider: PeopleProvider
export let world: World
export let sidecar: RunningSidecar
export let gateway: RunningGateway
let turn = 0
const running: RunningConnect[] = []
export const said: string[] = []
export const secrets = new Set<string>()

/** What all tests of `connect` stand on; once in a process. */
export async function begin(): Promise<void> {
  provider = await PeopleProvider.start(key, { groups: { alice: ['analysts'], bob: ['analysts'] } })
  const source = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${provider.issuer}", allowPrivate: true, audiences: [ringfence], claims: { groups: groups }, allowedGroups: [analysts] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice }
spec: { subjects: [{ person: corp/alice }], keyspaces: [shop], operations: [ALL] }
`
  world = await World.make()
  sidecar = await world.sidecar({ policy: source, authentication: ['token'] })
  gateway = await world.gateway([sidecar], { authentication: ['token'] })
  gateway.feed.apply(source)
  const sets = [{ provider: 'corp', issuer: provider.issuer, keys: [key.jwk], fetchedAtMs: Date.now() }]
  for (const { feed } of [sidecar, gateway]) feed.value(pushedKinds.keySets).set(sets)
}

export async function end(): Promise<void> {
  endPrograms()
  for (const one of running) one.stop()
  provider.stop()
  await world.close()
  rmSync(base, { recursive: true })
}

export function tokensOf(who: string, seconds: number, groups: readonly string[] = ['analysts']): Tokens {
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: provider.issuer, aud: 'ringfence', sub: who, groups, iat: now, exp: now + seconds }
  const token = signed(key, claims)
  secrets.add(token)
  return {
    ...{ issuer: provider.issuer, clientId, kind: 'access', token, subject: who },
    ...{ expiresAtMs: (now + seconds) * 1000, obtainedAtMs: now * 1000 },
  }
}

function profileFor(port: number): Profile {
  return {
    issuer: provider.issuer,
    clientId,
    token: 'auto',
    door: { address: '127.0.0.1', port },
    doorCaPem: world.ca.bundlePem,
  }
}

/** Somebody is logged in for a door. */
export function loggedIn(port: number, tokens = tokensOf('alice', 300)): ProfileFolder {
  const folder = new ProfileFolder(join(base, String(++turn)), 'default')
  folder.write(profileFor(port), tokens)
  return folder
}

export async function start(folder: ProfileFolder, options: Partial<ConnectOptions> = {}): Promise<RunningConnect> {
  const started = await startConnect(folder, {
    listen: { address: '127.0.0.1', port: 0 },
    credentialsFile: undefined,
    isForPerson: false,
    say: (text) => said.push(text),
    ...options,
  })
  running.push(started)
  return started
}

/** A tool that knows an address and nothing else. */
function tool(port: number, password?: string): Client {
  return new Client({
    contactPoints: [`127.0.0.1:${port}`],
    protocolOptions: { port },
    policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
    isMetadataSyncEnabled: false,
    ...(password === undefined ? {} : { authProvider: new auth.PlainTextAuthProvider('ringfence', password) }),
  })
}

export async function outcome(port: number, password?: string): Promise<string> {
  const client = tool(port, password)
  try {
    await client.connect()
    return `${(await client.execute(read)).rows.length} row`
  } catch (reason) {
    const { innerErrors = {}, message } = reason as Error & { innerErrors?: Record<string, Error> }
    return Object.values(innerErrors)[0]?.message ?? message
  } finally {
    await client.shutdown()
  }
}
