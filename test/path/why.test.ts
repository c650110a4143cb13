/** What is remembered of log-ins that are refused, at both doors: every cause, of whom it was, and nothing of what was shown. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { whyTable } from '../../src/cli/identity/why-table.ts'
import { RememberedRefusals } from '../../src/control/refused-log-ins.ts'
import { authResponseEnvelope } from '../../src/cql/encode.ts'
import { makeKey, part, signed, signedBySecret } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import type { KeySet } from '../../src/identity/providers/in-force.ts'
import type { SpiffeId } from '../../src/identity/spiffe.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import type { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { cutReport, readReport, reportText } from '../../src/mesh/report.ts'
import { describe } from './client.ts'
import { passportWith } from './passport-of.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const key = makeKey('k1')
const next = makeKey('k2', 'RS256')
const foreign = makeKey('k1')
const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", audiences: [ringfence], userName: claimed, claims: { groups: groups }, allowedGroups: [analysts] }
`
const now = (): number => Math.floor(Date.now() / 1000)
const claims = (sub: string, change: object = {}): object => ({
  iss: issuer,
  aud: 'ringfence',
  sub,
  iat: now() - 5,
  exp: now() + 300,
  jti: `id-of-${sub}`,
  groups: ['analysts'],
  ...change,
})
const keySet: KeySet[] = [{ provider: 'corp', issuer, keys: [key.jwk], fetchedAtMs: Date.now() }]

/** What a client of that name shows as password, by the cause that it is refused for. */
const tokens: Record<string, (sub: string) => string> = {
  expired: (sub) => signed(key, claims(sub, { exp: now() - 9 })),
  'not-yet-valid': (sub) => signed(key, claims(sub, { nbf: now() + 900 })),
  'unknown-key': (sub) => signed(next, claims(sub)),
  audience: (sub) => signed(key, claims(sub, { aud: 'other' })),
  algorithm: (sub) => signedBySecret(JSON.stringify(key.jwk), claims(sub), { alg: 'HS256', kid: 'k1' }),
  signature: (sub) => signed(foreign, claims(sub)),
  group: (sub) => signed(key, claims(sub, { groups: ['others'] })),
  lifetime: (sub) => signed(key, claims(sub, { exp: now() + 900_000 })),
  'user-name': (sub) => signed(key, claims(sub)),
}
/** Of whom nobody knows whom they claim to be. */
const strangers: Record<string, () => string> = {
  issuer: () => signed(key, claims('eve', { iss: `${issuer}/` })),
  claims: () => signed(key, claims('eve', { sub: undefined })),
  malformed: () => 'a password that a person has elsewhere',
  'not-supported': () => 'SigV4',
}

let world: World
let sidecar: RunningSidecar
const doors: Record<string, { port: number; plainPort: number; feed: FakeFeed; driverHost: number }> = {}

before(async () => {
  world = await World.make()
  const [token, certificate] = ['token', 'certificate'].map((mode) => [...listenerModes[mode]!])
  sidecar = await world.sidecar({ name: 'why', policy: policyText, authentication: token! })
  const plain = await world.sidecar({ name: 'plain', policy: policyText, authentication: certificate! })
  const gateway = await world.gateway([sidecar], { name: 'why', authentication: token! })
  const plainGateway = await world.gateway([sidecar], { name: 'plain', authentication: certificate! })
  gateway.feed.apply(policyText)
  doors['at a sidecar'] = { port: sidecar.port, plainPort: plain.port, feed: sidecar.feed, driverHost: 1 }
  doors['through a gateway'] = { port: gateway.port, plainPort: plainGateway.port, feed: gateway.feed, driverHost: 2 }
  plainFeeds['at a sidecar'] = plain.feed
  plainFeeds['through a gateway'] = plainGateway.feed
})
const plainFeeds: Record<string, FakeFeed> = {}
after(() => world.close())
beforeEach(() => {
  for (const { feed } of Object.values(doors)) {
    feed.value(pushedKinds.keySets).set(keySet)
    feed.report?.()
  }
  sidecar.feed.value(pushedKinds.keySets).set(keySet)
})

/** What the control plane knows after a report of it. */
function heard(feed: FakeFeed, into = new RememberedRefusals()): RememberedRefusals {
  const { report, dropped } = readReport(JSON.parse(reportText(cutReport(feed.report!()))))
  assert.deepEqual(dropped, [])
  into.take(report, 'one')
  return into
}

/** Answers AUTHENTICATE with it from an address of its own; resolves when it was answered. */
async function tries(
  port: number,
  password: string,
  localAddress: string,
  user = '',
  authorizationId = '',
): Promise<string> {
  const client = await world.connect(port, undefined, {
    credentials: { bundlePem: world.ca.bundlePem },
    localAddress,
    driverName: 'DataStax Java Driver',
  })
  const started = describe(await client.startup())
  if (!/^0x/.test(started)) {
    const answer = Buffer.from(`${authorizationId}\0${user}\0${password}`)
    await client.ask(authResponseEnvelope(4, 0, answer)).catch(() => {})
  }
  client.close()
  return started
}

/** Answers again and again, as fast as may be, until it is no longer looked at. */
async function triesUntilTooMany(port: number, password: string, localAddress: string): Promise<void> {
  const credentials = { bundlePem: world.ca.bundlePem }
  let told = ''
  for (let i = 0; i < 60 && !/too many/.test(told); i++) {
    const client = await world.connect(port, undefined, { credentials, localAddress, driverName: 'gocql' })
    await client.startup()
    for (let j = 0; j < 16 && !/too many/.test(told); j++) told = describe(await client.logIn('', password))
    client.close()
  }
  assert.match(told, /too many/)
}

for (const way of ['at a sidecar', 'through a gateway']) {
  suite(`a log-in that is refused, ${way}`, () => {
    it('is remembered with its cause, once for each who tried, and nothing of the token', async () => {
      const { port, feed, driverHost } = doors[way]!
      const remembered = heard(feed)
      const shown: string[] = []
      const address = (i: number): string => `127.0.${driverHost}.${10 + i}`
      const all = Object.entries({ ...tokens, ...strangers })
      for (const [i, [cause, make]] of all.entries()) {
        const password = make(cause)
        shown.push(password)
        if (cause === 'not-supported') await tries(port, '', address(i), '', 'SigV4')
        else await tries(port, password, address(i), cause === 'user-name' ? 'another' : '')
      }
      heard(feed, remembered)
      for (const [i, [cause]] of all.entries()) {
        const [row, ...others] = remembered.find(address(i))
        assert.deepEqual([row?.cause, row?.count, others.length], [cause, 1, 0], address(i))
        assert.equal(row?.driver, 'DataStax Java Driver')
        assert.equal(row?.listener, `127.0.0.1:${port}`)
        assert.ok(Math.abs((row?.lastMs ?? 0) - Date.now()) < 60_000)
        if (!(cause in tokens)) continue
        assert.deepEqual(
          remembered.find(`corp/${cause}`).map((found) => [found.cause, found.address]),
          [[cause, address(i)]],
        )
        assert.match(String(row?.tokenHash), /^[0-9a-f]{64}$/)
        assert.deepEqual([row?.issuer, row?.tokenId], [issuer, `id-of-${cause}`])
      }
      const written = all.flatMap(([,], i) =>
        whyTable(remembered.find(address(i)), { nowMs: Date.now(), widthMax: 80, rowsMax: 9 }),
      )
      for (const line of written) assert.ok(line.length <= 80, line)
      const everything = written.join('\n') + JSON.stringify(all.map((_, i) => remembered.find(address(i))))
      for (const password of shown.filter((text) => text !== 'SigV4'))
        for (const piece of password.split('.')) if (piece !== '') assert.ok(!everything.includes(piece), piece)
      assert.doesNotMatch(everything, /eyJ[\w-]{8}/)
      assert.deepEqual(heard(feed).find(address(0)), [], 'it is reported once')
    })

    it('is remembered where nobody can be verified, where too many were refused, and not where it was good', async () => {
      const { port, feed, driverHost } = doors[way]!
      feed.value(pushedKinds.keySets).set([])
      const [without, many, good] = [1, 2, 3].map((last) => `127.0.${driverHost}.${100 + last}`)
      assert.match(await tries(port, '', without!), /^0x0000/)
      feed.value(pushedKinds.keySets).set(keySet)
      await tries(port, signed(key, claims('good')), good!)
      await triesUntilTooMany(port, signed(foreign, claims('mallory')), many!)
      const remembered = heard(feed)
      assert.deepEqual(
        remembered.find(without!).map(({ cause }) => cause),
        ['no-keys'],
      )
      assert.deepEqual(remembered.find(good!), [])
      assert.deepEqual(remembered.find('corp/good'), [])
      const causes = remembered.find('corp/mallory').map(({ cause, count }) => [cause, count > 10])
      assert.deepEqual(causes.sort(), [
        ['signature', true],
        ['too-many-attempts', false],
      ])
    })

    it('is remembered of certificates: expired or foreign, whatever the listener takes', async () => {
      const { port, plainPort, feed, driverHost } = doors[way]!
      const other = await World.make('demo.local')
      const expired = await world.freshCredentials('svc/orders', 1000)
      const bad: [Credentials, RegExp][] = [
        [await other.credentials('svc/orders'), /authority that is not known/],
        [expired, /has expired/],
      ]
      await other.close()
      await sleep(Math.max(0, expired.notAfterMs - Date.now()) + 1000)
      for (const [where, plain] of [
        [port, false],
        [plainPort, true],
      ] as const) {
        const from = plain ? plainFeeds[way]! : feed
        for (const [i, [credentials, words]] of bad.entries()) {
          const localAddress = `127.0.${driverHost}.${200 + i + (plain ? 10 : 0)}`
          const options = { credentials: { ...credentials, bundlePem: world.ca.bundlePem }, localAddress }
          await world
            .connect(where, undefined, options)
            .then(async (client) => {
              await client.startup().catch(() => {})
              client.close()
            })
            .catch(() => {})
          await sleep(50)
          const rows = heard(from).find(localAddress)
          assert.deepEqual(
            rows.map(({ cause }) => cause),
            ['certificate'],
            `${where} ${localAddress}`,
          )
          assert.match(rows[0]!.words, words)
        }
      }
    })
  })
}

suite('across a mesh link', () => {
  it('a sidecar remembers the session, the gateway, and the client that the gateway names', async () => {
    const gateway = await world.credentials('ringfence/gateway/gateway1')
    const link = await RawLink.open(sidecar.port, gateway)
    const subject = 'spiffe://demo.local/user/corp/linked' as SpiffeId
    const evidence = { kind: 'jwt', chain: [], shown: { token: signed(foreign, claims('linked')), user: '' } }
    await link.offer(7, await passportWith(world, sidecar, { subject, evidence, clientAddress: '192.0.2.77' }))
    await until('the refusal is on record', () => sidecar.records().some(({ claimed }) => claimed === 'corp/linked'))
    const record = sidecar.records().find(({ claimed }) => claimed === 'corp/linked')!
    assert.deepEqual((record.client as { address: string }).address, '192.0.2.77')
    const remembered = heard(sidecar.feed)
    for (const who of [String(record.session), '192.0.2.77', 'corp/linked', subject]) {
      const [row, ...others] = remembered.find(who)
      assert.deepEqual([row?.cause, row?.gateway, others.length], ['signature', gateway.spiffeId, 0], who)
    }
    link.socket.destroy()
  })
})

suite('many that are refused', () => {
  it('make no report longer than its bounds, and hide nobody of another address', async () => {
    const { port, feed } = doors['at a sidecar']!
    await tries(port, signed(key, claims('quiet', { exp: now() - 9 })), '127.0.77.1')
    for (let i = 0; i < 120; i++) await tries(port, signed(foreign, claims(`flood-${i}`)), '127.0.66.6')
    await tries(port, `${part({ alg: 'none' })}.${part(claims('none'))}.`, '127.0.77.2')
    const report = feed.report!()
    assert.ok((report.refusals?.length ?? 0) <= 30, `${report.refusals?.length} rows`)
    assert.ok((report.refusalsMissed ?? 0) >= 100)
    const remembered = new RememberedRefusals()
    remembered.take(report, 'one')
    assert.equal(remembered.find('corp/quiet').length, 1)
    assert.equal(remembered.find('127.0.77.2').length, 1)
    assert.equal(remembered.find('127.0.66.6').length, 20)
  })
})
