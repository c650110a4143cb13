/** Log-ins by token at both doors, by a client without a driver's manners: what is taken, what is refused and how, what is written of it. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../src/base/limits.ts'
import { authResponseEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readAuthToken } from '../../src/cql/responses.fixture.ts'
import { readAuthenticate } from '../../src/cql/responses.ts'
import { makeKey, part, signed, signedBySecret } from '../../src/identity/jwt/tokens.fixture.ts'
import type { PassportRequest } from '../../src/identity/passport.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import type { KeySet } from '../../src/identity/providers/in-force.ts'
import type { SpiffeId } from '../../src/identity/spiffe.ts'
import type { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { type ClientOptions, describe, type RawClient } from './client.ts'
import { passportWith } from './passport-of.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const key = makeKey('k1')
const next = makeKey('k2', 'RS256')
const foreign = makeKey('k1')
const aliceId = 'spiffe://demo.local/user/corp/alice'
const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: ${issuer}
  audiences: [ringfence]
  userName: claimed
  claims: { groups: groups, forPolicy: [acr] }
  allowedGroups: [analysts]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: people }
spec: { subjects: [{ spiffeId: "spiffe://demo.local/user/corp/*" }, { spiffeId: spiffe://demo.local/svc/orders }], keyspaces: [shop], operations: [ALL] }
`
const claims = (change: object = {}): object => {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss: issuer,
    aud: 'ringfence',
    sub: 'alice',
    iat: now - 5,
    exp: now + 300,
    jti: 'j1',
    groups: ['analysts'],
    ...change,
  }
}
const keySet = (...keys: readonly (typeof key)[]): KeySet[] => [
  { provider: 'corp', issuer, keys: keys.map(({ jwk }) => jwk), fetchedAtMs: Date.now() },
]
const select = 'SELECT * FROM shop.items'
const ask = (client: RawClient, text = select): Promise<string> =>
  client.ask(queryEnvelope(client.version, 5, text)).then(describe)

let world: World
let sidecar: RunningSidecar
let feeds: FakeFeed[]
const ports: Record<string, number> = {}
const modes = ['token', 'both', 'either', 'certificate'] as const

before(async () => {
  world = await World.make()
  const at = (mode: (typeof modes)[number]): readonly string[] => listenerModes[mode]!
  const sidecars = await Promise.all(
    modes.map((mode) => world.sidecar({ name: mode, policy: policyText, authentication: at(mode) })),
  )
  sidecar = sidecars[0]!
  const gateways = await Promise.all(
    modes.map((mode, i) => world.gateway([sidecars[i]!], { name: mode, authentication: [...at(mode)] })),
  )
  feeds = [...sidecars, ...gateways].map(({ feed }) => feed)
  for (const { feed } of gateways) feed.apply(policyText)
  for (const [i, mode] of modes.entries()) {
    ports[`${mode} at a sidecar`] = sidecars[i]!.port
    ports[`${mode} through a gateway`] = gateways[i]!.port
  }
})
after(() => world.close())
beforeEach(() => tell(keySet(key)))

function tell(sets: readonly KeySet[]): void {
  for (const feed of feeds) feed.value(pushedKinds.keySets).set(sets)
}

async function asked(port: number, options: Partial<ClientOptions> = {}): Promise<RawClient> {
  const client = await world.connect(port, undefined, { credentials: { bundlePem: world.ca.bundlePem }, ...options })
  const answer = await client.startup()
  assert.equal(headerOpcode(answer, 0), Opcode.AUTHENTICATE, describe(answer))
  assert.equal(readAuthenticate(wholeEnvelope(answer)), 'org.apache.cassandra.auth.PasswordAuthenticator')
  return client
}

/** `in`, what the ERROR says, or `closed`. */
async function told(client: RawClient, password: string, user = 'alice'): Promise<string> {
  try {
    const answer = await client.logIn(user, password)
    return headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS ? 'in' : describe(answer)
  } catch (reason) {
    return String(reason).includes('closed') ? 'closed' : String(reason)
  }
}
const oneText = '0x0100 these credentials are not accepted here'

for (const way of ['at a sidecar', 'through a gateway']) {
  suite(`a token as password, ${way}`, () => {
    const port = (mode: (typeof modes)[number] = 'token'): number => ports[`${mode} ${way}`]!

    it('lets its person in, by each version, and says when the session ends', async () => {
      for (const version of [3, 4, 5] as const) {
        const client = await asked(port(), { version })
        const exp = Math.floor(Date.now() / 1000) + 100
        const answer = await client.logIn('alice', signed(key, claims({ exp })))
        assert.equal(headerOpcode(answer, 0), Opcode.AUTH_SUCCESS, describe(answer))
        assert.equal(readAuthToken(wholeEnvelope(answer))?.toString(), `exp=${exp}`)
        assert.equal(await ask(client), `echo: ${select}`)
        client.close()
      }
      const records = sidecar.records()
      const connect = records.findLast(({ operation }) => operation === 'CONNECT')!
      assert.deepEqual([connect.workload, connect.person, connect.authentication], [aliceId, 'corp/alice', 'oidc'])
      const { provider, issuer: by, tokenId, tokenHash } = connect.evidence as Record<string, unknown>
      assert.deepEqual([provider, by, tokenId, typeof tokenHash], ['corp', issuer, 'j1', 'string'])
    })

    it('may come with any of the user names that say nothing, and with the one that it is about', async () => {
      for (const user of ['', 'token', 'alice'])
        assert.equal(await told(await asked(port()), signed(key, claims()), user), 'in')
      for (const user of ['bob', 'Alice', 'alice '])
        assert.equal(await told(await asked(port()), signed(key, claims()), user), oneText, user)
    })

    it('may have 32 KiB, and as much as an AUTH_RESPONSE may', async () => {
      for (const bytes of [32 * 1024, 46 * 1024]) {
        const client = await asked(port())
        assert.equal(await told(client, signed(key, claims({ padding: 'x'.repeat((bytes * 3) / 4) }))), 'in')
        assert.equal(await ask(client), `echo: ${select}`)
      }
      const over = await asked(port())
      assert.match(
        await told(over, signed(key, claims({ padding: 'x'.repeat(limits.authMessageBytesMax) }))),
        /^0x2200 body of/,
      )
    })

    const now = (): number => Math.floor(Date.now() / 1000)
    const permanent: Record<string, () => string> = {
      'another audience': () => signed(key, claims({ aud: 'other' })),
      'another issuer': () => signed(key, claims({ iss: `${issuer}/` })),
      'no signature': () => `${part({ alg: 'none' })}.${part(claims())}.`,
      'the public key as a secret': () =>
        signedBySecret(JSON.stringify(key.jwk), claims(), { alg: 'HS256', kid: 'k1' }),
      'another key': () => signed(foreign, claims()),
      'a disallowed group': () => signed(key, claims({ groups: ['others'] })),
      'no groups': () => signed(key, claims({ groups: undefined })),
      'no subject': () => signed(key, claims({ sub: undefined })),
      'a subject twice': () => signed(key, JSON.stringify(claims()).replace('{', '{"sub":"root",')),
      'a life that is too long': () => signed(key, claims({ exp: now() + 100_000 })),
      'no token but a password': () => 'cassandra',
      'a person that nobody knows, of another provider': () =>
        signed(key, claims({ iss: 'https://id.example.com/', sub: 'nobody' })),
    }
    for (const [name, make] of Object.entries(permanent)) {
      it(`is refused with one text for all drivers and all causes: ${name}`, async () => {
        for (const driverName of [
          undefined,
          'DataStax Python Driver',
          'DataStax Java Driver',
          'DataStax C/C++ Driver',
        ]) {
          const client = await asked(port(), driverName === undefined ? {} : { driverName })
          assert.equal(await told(client, make(), ''), oneText)
          // As with Cassandra, it may answer again.
          assert.equal(await told(client, signed(key, claims()), ''), 'in')
        }
      })
    }

    const temporary: Record<string, [make: () => string, words: RegExp]> = {
      expired: [() => signed(key, claims({ exp: now() - 1 })), /the token expired at .*; get a new one/],
      'as good as over': [() => signed(key, claims({ exp: now() + 1 })), /get a new one/],
      'not valid yet': [() => signed(key, claims({ nbf: now() + 100 })), /not valid before/],
      'by a key that is not known': [() => signed(next, claims()), /not accepted here/],
    }
    for (const [name, [make, words]] of Object.entries(temporary)) {
      it(`is refused by driver where that may pass: ${name}`, async () => {
        for (const driverName of [
          'DataStax Java Driver',
          'DataStax Node.js Driver',
          'github.com/gocql/gocql',
          'ScyllaDB Rust Driver',
          'DataStax C# Driver',
        ]) {
          const answer = await told(await asked(port(), { driverName }), make())
          assert.match(answer, /^0x0100 /, driverName)
          assert.match(answer, words, driverName)
        }
        const cpp = await asked(port(), { driverName: 'DataStax C/C++ Driver for Apache Cassandra' })
        assert.match(await told(cpp, make()), /^0x0000 /)
        for (const driverName of ['DataStax Python Driver', 'something new']) {
          // One of its own address that was never here is told; one that was is to come back by itself.
          const localAddress = `127.0.${temporaryNames.indexOf(name) + 1}.${way.length + driverName.length}`
          const options = { driverName, localAddress }
          assert.match(await told(await asked(port(), options), make()), words, driverName)
          assert.equal(await told(await asked(port(), options), signed(key, claims())), 'in')
          assert.equal(await told(await asked(port(), options), make()), 'closed', driverName)
        }
      })
    }
    const temporaryNames = Object.keys(temporary)

    it('ends its session at its end, when what is in flight was answered', async () => {
      const exp = now() + 4
      const client = await asked(port())
      assert.equal(await told(client, signed(key, claims({ exp }))), 'in')
      await client.closed
      const late = Date.now() - exp * 1000
      assert.ok(late > -600 && late < 1500, `${late} ms after its end`)
    })

    it('goes on by the keys that are there: a new key, none of before, none at all', async () => {
      const inBefore = await asked(port())
      assert.equal(await told(inBefore, signed(key, claims())), 'in')
      tell(keySet(key, next))
      for (const one of [key, next]) assert.equal(await told(await asked(port()), signed(one, claims())), 'in')
      tell(keySet(next))
      const removed = signed(key, claims({ jti: 'again' }))
      for (const token of [removed, removed])
        assert.match(await told(await asked(port(), { driverName: 'gocql' }), token), /^0x0100/)
      assert.equal(await ask(inBefore), `echo: ${select}`, 'a session lives to its end')
      tell([])
      const client = await world.connect(port(), undefined, { credentials: { bundlePem: world.ca.bundlePem } })
      assert.match(describe(await client.startup()), /^0x0000 no identity provider has keys here yet/)
      await client.closed
      tell([{ ...keySet(key)[0]!, fetchedAtMs: Date.now() - 25 * 3_600_000 }])
      const old = await world.connect(port(), undefined, { credentials: { bundlePem: world.ca.bundlePem } })
      assert.match(describe(await old.startup()), /^0x0000 /)
    })

    it('asks for keys anew where it names one that is not known', async () => {
      for (const feed of feeds) feed.report?.()
      await told(await asked(port(), { driverName: 'gocql' }), signed(next, claims()))
      assert.deepEqual(
        feeds.flatMap((feed) => feed.report?.().keysWanted ?? []),
        ['corp'],
      )
    })

    it('is needed beside the certificate where both are: the first end counts, and each is told of', async () => {
      const credentials = await world.credentials('svc/orders')
      const client = await asked(port('both'), { credentials })
      assert.equal(await told(client, signed(key, claims({ exp: now() + 60 }))), 'in')
      assert.equal(await ask(client), `echo: ${select}`)
      await assert.rejects(asked(port('both')), /0x0000 the client shows no certificate/)
      assert.equal(await told(await asked(port('both'), { credentials }), signed(foreign, claims())), oneText)
      const short = await asked(port('both'), { credentials: await world.freshCredentials('svc/orders', 4000) })
      assert.equal(await told(short, signed(key, claims())), 'in')
      await short.closed
    })

    it('is not asked for where either is enough and a certificate is shown', async () => {
      const orders = await world.client(port('either'), 'orders')
      assert.equal(await ask(orders), `echo: ${select}`)
      const alice = await asked(port('either'))
      assert.equal(await told(alice, signed(key, claims())), 'in')
      assert.equal(await ask(alice), `echo: ${select}`)
    })

    it('is not asked for where a bad certificate is shown: what is wrong with that is answered to STARTUP', async () => {
      const { bundlePem } = world.ca
      const foreign = await World.make('demo.local')
      const expired = await world.freshCredentials('svc/orders', 1000)
      const bad = { authority: await foreign.credentials('svc/orders'), expired }
      await foreign.close()
      await sleep(Math.max(0, expired.notAfterMs - Date.now()) + 1000)
      for (const mode of modes) {
        for (const [word, credentials] of Object.entries(bad)) {
          const client = await world.connect(port(mode), undefined, { credentials: { ...credentials, bundlePem } })
          assert.match(describe(await client.startup()), new RegExp(`^0x0000 the client's certificate .*${word}`), mode)
          await client.closed
          // It takes a server's error for a version that is not spoken, and shows no words.
          const options = {
            credentials: { ...credentials, bundlePem },
            driverName: 'github.com/apache/cassandra-gocql-driver',
          }
          const go = await world.connect(port(mode), undefined, options)
          assert.match(describe(await go.startup()), new RegExp(`^0x1001 the client's certificate .*${word}`), mode)
          await go.closed
        }
      }
    })

    it('is no longer looked at where too many were refused', async () => {
      const localAddress = `127.0.9.${way.length}`
      const bad = signed(foreign, claims({ sub: 'mallory' }))
      const options = { localAddress, driverName: 'gocql' }
      let answer = ''
      for (let tries = 0; tries < 60 && !/too many/.test(answer); tries++) {
        const client = await asked(port(), options)
        for (let i = 0; i < 16 && !/too many/.test(answer); i++) answer = await told(client, bad, '')
        client.close()
      }
      assert.match(answer, /^0x0100 too many log-ins were refused before/)
      assert.equal(
        await told(await asked(port(), options), signed(key, claims())),
        'in',
        'others of the address are not kept out',
      )
    })
  })
}

suite('across a mesh link', () => {
  it('a sidecar verifies the token itself', async () => {
    const gateway = await world.credentials('ringfence/gateway/gateway1')
    const link = await RawLink.open(sidecar.port, gateway)
    const passport = (token: string, change: Partial<PassportRequest> = {}): Promise<string> => {
      const evidence = { kind: 'jwt', chain: [], shown: { token, user: '' } }
      return passportWith(world, sidecar, { subject: aliceId as SpiffeId, evidence, ...change })
    }
    const bob = 'spiffe://demo.local/user/corp/bob' as SpiffeId
    const offers: readonly (readonly [Promise<string>, RegExp])[] = [
      [passport(signed(key, claims())), /^opened$/],
      [passport(signed(foreign, claims())), /IDENTITY.*signature/],
      [passport(signed(key, claims()), { subject: bob }), /IDENTITY.*names another than its evidence/],
      [passport(signed(key, claims()), { expiresAtMs: Date.now() + 400_000 }), /IDENTITY.*outlive/],
      [
        passport(signed(key, claims()), { evidence: { kind: 'jwt', chain: [], shown: {} } }),
        /IDENTITY.*not understood/,
      ],
      [
        passport(signed(key, claims()), {
          evidence: {
            kind: 'both',
            chain: [],
            shown: { kind: 'jwt', shown: { token: signed(key, claims()), user: '' } },
          },
        }),
        /IDENTITY.*no certificate/,
      ],
    ]
    for (const [index, [offer, wanted]] of offers.entries())
      assert.match(await link.offer(10 + index, await offer), wanted, String(index))
    await until('the refusal is on record', () =>
      sidecar
        .records()
        .some(
          ({ event, cause, gateway: by }) =>
            event === 'log-in refused' && cause === 'signature' && by === gateway.spiffeId,
        ),
    )
    link.socket.destroy()
  })
})

suite('what is written of log-ins', () => {
  it('names the cause, the provider and the token’s hash, and never the token', async () => {
    const tokens = [signed(key, claims({ exp: 7, iat: 1 })), signed(key, claims({ jti: 'told' }))]
    for (const token of tokens) {
      for (const port of Object.values(ports)) {
        const client = await world.connect(port, undefined, { credentials: { bundlePem: world.ca.bundlePem } })
        await client.startup().catch(() => {})
        await client.ask(authResponseEnvelope(4, 0, Buffer.from(`\0\0${token}`))).catch(() => {})
      }
    }
    await sleep(50)
    const refused = sidecar.records().filter(({ event }) => event === 'log-in refused')
    const expired = refused.findLast(({ cause }) => cause === 'expired')!
    assert.deepEqual(
      [expired.provider, expired.claimed, expired.tokenId, (expired.client as { address: string }).address],
      ['corp', 'corp/alice', 'j1', '127.0.0.1'],
    )
    assert.match(String(expired.tokenHash), /^[0-9a-f]{64}$/)
    const written = [...world.logged, ...sidecar.records().map((record) => JSON.stringify(record))].join('\n')
    assert.match(written, /"cause":"expired"/)
    for (const token of tokens) for (const piece of token.split('.')) assert.ok(!written.includes(piece))
    // Whoever came: no signature and no payload of any token.
    assert.doesNotMatch(written, /eyJ[\w-]{8}/)
  })
})
