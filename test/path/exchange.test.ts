/** Tokens of a real provider for certificates: the control plane and the agent as they are, and a real driver with what they made at both doors. */
import 'reflect-metadata'
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { X509CertificateGenerator } from '@peculiar/x509'
import { Client, policies } from 'cassandra-driver'
import { type Agent, type AgentOptions, startAgent } from '../../src/agent/agent.ts'
import type { TokenSource } from '../../src/agent/exchange.ts'
import { type ControlPlane, startControl } from '../../src/control/main.ts'
import { readLeaf } from '../../src/identity/certificate.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { type Credentials, privateKeyPem } from '../../src/mesh/credentials.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { IdentityProvider } from './identity-provider.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const key = makeKey('k1', 'ES256')
const people = [
  { id: 'alice', groups: ['analysts'] },
  { id: 'bob', groups: ['interns'] },
  { id: 'dora', groups: ['analysts'], seconds: 8 },
  { id: 'carol', groups: ['analysts'], audience: 'another' },
]
const folder = mkdtempSync(join(tmpdir(), 'ringfence-exchange-'))
const bundleFile = join(folder, 'bundle.pem')
const logged: string[] = []
// Whatever is told at any level is looked at in the end.
process.env.RINGFENCE_LOG = 'trace'
const log = createLogger('exchange', { write: (line) => void logged.push(line) })
delete process.env.RINGFENCE_LOG
const agents: Agent[] = []

let provider: IdentityProvider
let world: World
let control: ControlPlane
let sidecar: RunningSidecar
let gateway: RunningGateway

before(async () => {
  provider = await IdentityProvider.start(people, [key])
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
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: people }
spec: { subjects: [{ group: corp/analysts }, { spiffeId: "spiffe://demo.local/user/corp/bob" }], keyspaces: [shop], operations: [ALL] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-interns }
spec: { effect: deny, subjects: [{ group: corp/interns }], keyspaces: [shop], operations: [ALL] }
`
  world = await World.make()
  // Listeners as they were before anybody had tokens: certificates only, and no keys of any provider.
  sidecar = await world.sidecar({ policy: source })
  gateway = await world.gateway([sidecar])
  gateway.feed.apply(source)
  control = await startControl({
    stateDir: world.folder,
    listen: { address: '127.0.0.1', port: 0 },
    trustDomain: 'demo.local',
    policy: { source, fileName: 'policy.yaml' },
    log,
  })
  writeFileSync(bundleFile, world.ca.bundlePem)
  await until('the keys are there', () => control.value(pushedKinds.keySets).current.length === 1)
})
after(async () => {
  await Promise.all(agents.map((agent) => agent.stop()))
  await control.stop()
  provider.stop()
  await world.close()
  rmSync(folder, { recursive: true })
})

const doors = { 'through a gateway': () => gateway.port, 'at a sidecar': () => sidecar.port }

function tokenFile(name: string): { path: string; source: TokenSource } {
  const path = join(folder, `${name}.token`)
  const token = async (): Promise<string> => readFileSync(path, 'utf8').trim()
  return { path, source: { token, trustBundlePem: () => readFileSync(bundleFile, 'utf8') } }
}

async function agentFor(name: string, tokenSource: TokenSource, more: Partial<AgentOptions> = {}): Promise<Agent> {
  const stateDir = join(folder, name)
  const agent = await startAgent({
    ...{ role: 'workload', name, stateDir, controlUrl: control.url, tokenSource, log },
    ...more,
  })
  agents.push(agent)
  return agent
}

/** How many rows one reads with it, or what the driver says why not. */
async function read(port: number, { certificatePem, keyPem, bundlePem }: Credentials): Promise<string> {
  const client = new Client({
    contactPoints: [`127.0.0.1:${port}`],
    protocolOptions: { port },
    policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
    isMetadataSyncEnabled: false,
    sslOptions: { cert: certificatePem, key: keyPem, ca: [bundlePem], checkServerIdentity: () => undefined },
  })
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

async function selfSigned(): Promise<{ keyPem: string; certificatePem: string }> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=example',
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  })
  return { keyPem: await privateKeyPem(keys.privateKey), certificatePem: certificate.toString('pem') }
}

const msgs = (msg: string): Record<string, unknown>[] =>
  logged.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => line.msg === msg)

suite('ringfence agent with a token of oidc-provider', () => {
  for (const [door, portOf] of Object.entries(doors)) {
    it(`makes its certificate known as who the token named, ${door}: person and groups, what permits and what denies`, async () => {
      const { path, source } = tokenFile(`alice ${door}`)
      writeFileSync(path, await provider.token('alice'))
      const alice = await agentFor(`alice ${door}`, source)
      const { current } = alice.credentials
      assert.equal(current.spiffeId, 'spiffe://demo.local/user/corp/alice')
      assert.equal(await read(portOf(), current), '1 row')
      await until('it is on record', () => sidecar.records().some(({ operation }) => operation === 'CONNECT'))
      const connect = sidecar.records().findLast(({ operation }) => operation === 'CONNECT')!
      const { workload, person, authentication, evidence } = connect
      assert.deepEqual(
        { workload, person, authentication },
        { workload: current.spiffeId, person: 'corp/alice', authentication: 'oidc' },
      )
      const issued = msgs('certificate issued for a token').at(-1)
      const { tokenHash, provider: by } = evidence as Record<string, unknown>
      assert.deepEqual([tokenHash, by], [issued?.tokenHash, 'corp'])
      // The id alone would be permitted; the group that the token has is not.
      const bob = tokenFile(`bob ${door}`)
      writeFileSync(bob.path, await provider.token('bob'))
      const { credentials } = await agentFor(`bob ${door}`, bob.source)
      assert.equal(credentials.current.spiffeId, 'spiffe://demo.local/user/corp/bob')
      assert.match(await read(portOf(), credentials.current), /policy|permit|denied/i)
      const minted = await world.credentials('user/corp/bob')
      assert.equal(await read(portOf(), minted), '1 row', 'a certificate that enrolled knows no groups')
    })
  }

  it('renews with what the file has by then, and never past the end of the token', async () => {
    const { path, source } = tokenFile('dora')
    writeFileSync(path, await provider.token('dora'))
    const agent = await agentFor('dora', source, { random: () => 0.1 })
    const first = agent.credentials.current
    assert.ok(first.notAfterMs <= Date.now() + 8000)
    let exchanged = msgs('certificate issued for a token').length
    // The same token again would give no longer life: nobody is asked.
    await until('it tried', () => msgs('certificate was not renewed, trying again').length > 0, 10_000)
    assert.match(String(msgs('certificate was not renewed, trying again').at(-1)?.reason), /no newer token yet/)
    assert.equal(msgs('certificate issued for a token').length, exchanged)
    writeFileSync(path, await provider.token('dora'))
    await until('it renewed', () => agent.credentials.current !== first, 10_000)
    const second = agent.credentials.current
    assert.equal(second.spiffeId, first.spiffeId)
    assert.ok(second.notAfterMs > first.notAfterMs)
    assert.equal(await read(sidecar.port, second), '1 row')
    // Another's token is not taken for hers.
    exchanged = msgs('certificate issued for a token').length
    writeFileSync(path, await provider.token('bob'))
    await until('it asked', () => msgs('certificate issued for a token').length > exchanged, 10_000)
    await until('it refused', () =>
      msgs('certificate was not renewed, trying again').some(({ reason }) =>
        /renewed .*dora as .*bob/.test(String(reason)),
      ),
    )
    assert.equal(agent.credentials.current.spiffeId, first.spiffeId)
    // Its certificate has ended: the next token brings it back by itself.
    writeFileSync(path, 'no token')
    await until(
      'it ended',
      () => msgs('identity expired; it comes back with the next token that is accepted').length > 0,
      15_000,
    )
    const now = Math.floor(Date.now() / 1000)
    writeFileSync(
      path,
      signed(key, {
        iss: provider.issuer,
        aud: 'ringfence',
        sub: 'dora',
        groups: ['analysts'],
        iat: now,
        exp: now + 90,
      }),
    )
    await until('it is back', () => agent.credentials.current.notAfterMs > Date.now(), 45_000)
    assert.equal(await read(sidecar.port, agent.credentials.current), '1 row')
    await agent.stop()
  })

  it('shows its token to nobody but the control plane of its roots', async () => {
    const other = await World.make()
    const otherControl = await startControl({
      ...{ stateDir: other.folder, listen: { address: '127.0.0.1', port: 0 }, trustDomain: 'demo.local', log },
    })
    const { path, source } = tokenFile('shown')
    writeFileSync(path, await provider.token('alice'))
    const before = msgs('log-in refused').length
    await assert.rejects(agentFor('shown', source, { controlUrl: otherControl.url }), { code: 'UNAVAILABLE' })
    assert.equal(msgs('log-in refused').length, before)
    await otherControl.stop()
    await other.close()
    // Of the right roots, and no control plane; of given roots, and no SPIFFE id.
    const workload = await world.credentials('svc/impostor')
    const nameless = await selfSigned()
    for (const [{ keyPem, certificatePem }, bundlePem] of [
      [workload, world.ca.bundlePem],
      [nameless, nameless.certificatePem],
    ] as const) {
      const asked: string[] = []
      const server = createServer({ key: keyPem, cert: certificatePem }, ({ url = '' }, response) => {
        asked.push(url)
        response.end()
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const controlUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
      const trusting = { ...source, trustBundlePem: () => bundlePem }
      await assert.rejects(agentFor('shown', trusting, { controlUrl }), { code: 'IDENTITY' })
      server.close()
      assert.deepEqual(asked, [])
    }
    assert.ok(await agentFor('shown', source))
  })

  it('starts from what it kept, and takes no identity that came by a join token for its own', async () => {
    const { path, source } = tokenFile('kept')
    writeFileSync(path, await provider.token('alice'))
    const first = await agentFor('kept', source)
    await first.stop()
    writeFileSync(path, 'no token')
    const again = await agentFor('kept', source)
    assert.equal(again.credentials.current.certificatePem, first.credentials.current.certificatePem)
    await again.stop()
    await assert.rejects(
      startAgent({ role: 'workload', name: 'kept', stateDir: join(folder, 'kept'), controlUrl: control.url, log }),
      {
        code: 'IDENTITY',
        message: /was got for a token and cannot be renewed without one, and no join token was given/,
      },
    )
  })

  it('is refused in words that say where to look, for a token that is for another audience or signed by another', async () => {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: provider.issuer, aud: 'ringfence', sub: 'alice', iat: now, exp: now + 60 }
    const { path, source } = tokenFile('refused')
    for (const token of [await provider.token('carol'), signed(makeKey('k1', 'ES256'), claims), 'no token']) {
      writeFileSync(path, token)
      await assert.rejects(agentFor('refused', source), {
        code: 'IDENTITY',
        message: 'the token gets no certificate: these credentials are not accepted here',
      })
    }
    writeFileSync(path, signed(key, claims))
    assert.ok(await agentFor('refused', source))
  })

  it('leaves its token nowhere', async () => {
    const { path, source } = tokenFile('canary')
    const token = await provider.token('alice')
    writeFileSync(path, token)
    await agentFor('canary', source)
    const files = readdirSync(world.folder, { recursive: true, withFileTypes: true })
      .concat(readdirSync(join(folder, 'canary'), { withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
    for (const part of token.split('.').slice(1))
      for (const text of [...files, ...logged, ...world.logged]) assert.ok(!text.includes(part))
  })
})

suite('the program ringfence', () => {
  const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
  const run = async (name: string, args: readonly string[]): Promise<string> => {
    const all = ['agent', '--control-url', control.url, '--out', join(folder, name), '--once', ...args]
    try {
      await promisify(execFile)(process.execPath, [bin, ...all], { env: { ...process.env, NO_COLOR: '1' } })
      return readLeaf(Buffer.from(pemBody(readFileSync(join(folder, name, 'svid.pem'), 'utf8')), 'base64')).spiffeId
    } catch (reason) {
      return String((reason as { stderr?: string }).stderr ?? reason)
    }
  }
  const pemBody = (pem: string): string => pem.split('-----')[2] ?? ''

  it('takes a file, or what a command prints', async () => {
    const { path } = tokenFile('program')
    writeFileSync(path, `${await provider.token('alice')}\n`)
    const trust = ['--trust-bundle', bundleFile]
    assert.equal(await run('p1', [...trust, '--identity-token-file', path]), 'spiffe://demo.local/user/corp/alice')
    const command = `cat '${path}'`
    assert.equal(
      await run('p2', [...trust, '--identity-token-command', command]),
      'spiffe://demo.local/user/corp/alice',
    )
    const told = await run('p3', [...trust, '--identity-token-file', path, '--role', 'node'])
    assert.match(told, /is for the role workload, not for node/)
  })
})
