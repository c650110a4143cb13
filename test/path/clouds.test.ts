/** Workloads of clouds and clusters at both doors: AWS by token and by a pre-signed request, Kubernetes by keys and by TokenReview, JWT-SVIDs. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { auth, Client } from 'cassandra-driver'
import { presignedPassword } from '../../src/cli/aws-token.ts'
import { whyTable } from '../../src/cli/identity/why-table.ts'
import { RememberedRefusals } from '../../src/control/refused-log-ins.ts'
import { authResponseEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { type AwsKey, FakeSts } from '../../src/identity/aws/fake-sts.fixture.ts'
import { presignedPrefix } from '../../src/identity/aws/presigned.ts'
import { type PresignedUse, Replays } from '../../src/identity/aws/replays.ts'
import { makeKey, part, signed, signedBySecret, type TestKey } from '../../src/identity/jwt/tokens.fixture.ts'
import type { OutsideCalls } from '../../src/identity/outside/outside.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import type { KeySet } from '../../src/identity/providers/in-force.ts'
import { callsOutside } from '../../src/mesh/call-out.ts'
import type { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import type { RefusedPart } from '../../src/mesh/refused-log-ins.ts'
import { revocationKinds } from '../../src/mesh/revocations.ts'
import { describe, type RawClient } from './client.ts'
import { FakeApiServer } from './fake-api-server.ts'
import { OutsideServer } from './outside-server.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: cloud }
spec: { type: aws, issuer: "https://id1.tokens.sts.global.api.aws", audiences: [ringfence], accounts: ["123456789012"], organizations: [o-abc1234567], claims: { forPolicy: [org_id, principal_tags.team] } }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: sts }
spec: { type: aws-sts, serverId: mesh.example.com, accounts: ["123456789012"], allowPrivate: true }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: cluster }
spec: { type: kubernetes, issuer: "https://cluster.example.com", audiences: [ringfence], namespaces: [shop] }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: reviewed }
spec: { type: kubernetes, issuer: "https://kubernetes.default.svc", audiences: [ringfence], tokenReview: true }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: own }
spec: { type: spiffe, trustDomain: demo.local, audiences: [ringfence], jwks: "https://spire.example.com/bundle" }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: partner }
spec: { type: spiffe, trustDomain: partner.example, audiences: [ringfence], jwks: "https://spire.partner.example/bundle" }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: workloads }
spec:
  subjects:
    - spiffeId: spiffe://demo.local/aws/123456789012/role/etl
    - spiffeId: spiffe://demo.local/ns/shop/sa/orders
    - spiffeId: spiffe://demo.local/svc/orders
    - spiffeId: spiffe://partner.example/svc/reports
  keyspaces: [shop]
  operations: [ALL]
`
const keys = {
  cloud: makeKey('a1', 'ES384'),
  cluster: makeKey('c1', 'RS256'),
  reviewed: makeKey('r1', 'RS256'),
  own: makeKey('o1'),
  partner: makeKey('p1'),
}
/** Of nobody, by the same name. */
const foreign = new Map(Object.values(keys).map((key) => [key, makeKey(key.kid, key.algorithm)]))
const issuers = {
  cloud: 'https://id1.tokens.sts.global.api.aws',
  cluster: 'https://cluster.example.com',
  own: 'spiffe://demo.local',
  partner: 'spiffe://partner.example',
}
const keySets = (): KeySet[] =>
  (['cloud', 'cluster', 'own', 'partner'] as const).map((provider) => {
    const { jwk } = keys[provider]
    // As a bundle of SPIFFE has them.
    const use = provider === 'own' || provider === 'partner' ? 'jwt-svid' : 'sig'
    return { provider, issuer: issuers[provider], keys: [{ ...jwk, use }], fetchedAtMs: Date.now() }
  })
const now = (): number => Math.floor(Date.now() / 1000)
const usual = (): object => ({ aud: 'ringfence', iat: now() - 5, exp: now() + 300, jti: randomUUID() })
const awsClaims = { aws_account: '123456789012', org_id: 'o-abc1234567', principal_tags: { team: 'data' } }
const cloudClaims = (change: object = {}): object => ({
  ...usual(),
  iss: issuers.cloud,
  sub: 'arn:aws:iam::123456789012:role/team/etl',
  'https://sts.amazonaws.com/': awsClaims,
  ...change,
})
const podClaims = (change: object = {}): object => ({
  ...usual(),
  iss: issuers.cluster,
  sub: 'system:serviceaccount:shop:orders',
  'kubernetes.io': {
    namespace: 'shop',
    serviceaccount: { name: 'orders', uid: 'u' },
    pod: { name: 'orders-1', uid: 'p' },
  },
  ...change,
})
const reviewedClaims = (change: object = {}): object => podClaims({ iss: 'https://kubernetes.default.svc', ...change })
const svidClaims = (sub: string, change: object = {}): object => ({
  aud: ['ringfence'],
  exp: now() + 300,
  sub,
  ...change,
})

const awsKey: AwsKey = {
  accessKeyId: 'ASIAEXAMPLEEXAMPLE00',
  secretAccessKey: 'secret/with+signs',
  sessionToken: 'IQoJb3JpZ2lu//token+==',
  account: '123456789012',
  arn: 'arn:aws:sts::123456789012:assumed-role/etl/i-0123456789abcdef0',
}
const presigned = async (change: Partial<AwsKey> = {}, server = 'mesh.example.com', ageMs = 0): Promise<string> => {
  const { accessKeyId, secretAccessKey, sessionToken } = { ...awsKey, ...change }
  process.env.AWS_ACCESS_KEY_ID = accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = secretAccessKey
  process.env.AWS_SESSION_TOKEN = sessionToken
  return (await presignedPassword(server, 'eu-central-1', Date.now() - ageMs)).password
}
let fresh = 0
/** By an access key that nobody else has, so that no other request is the same. */
function freshPresigned(): Promise<string> {
  const accessKeyId = `ASIAFRESH${String(fresh++).padStart(11, '0')}`
  sts.keys.set(accessKeyId, { ...awsKey, accessKeyId })
  return presigned({ accessKeyId })
}
/** Of a Pod that is there, unless said otherwise. */
function podToken(claims: object, isThere = true): string {
  const token = signed(keys.reviewed, claims)
  const { sub } = claims as { sub: string }
  if (isThere) apiServer.tokens.set(token, { username: sub, audiences: ['ringfence'] })
  return token
}

const sts = new FakeSts()
const apiServer = new FakeApiServer()
const folder = mkdtempSync(join(tmpdir(), 'ringfence-clouds-'))
const servers: { sts: OutsideServer; api: OutsideServer }[] = []
let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
let feeds: FakeFeed[]

/** Everything that somebody showed as a password, good or bad. */
const shown = new Set<string>()

before(async () => {
  // Whatever is told at any level is looked at in the end.
  process.env.RINGFENCE_LOG = 'trace'
  world = await World.make()
  delete process.env.RINGFENCE_LOG
  const outsideServer = await OutsideServer.start(
    world.ca,
    ['sts.eu-central-1.amazonaws.com', 'sts.us-east-1.amazonaws.com'],
    sts.answer,
  )
  const api = await OutsideServer.start(world.ca, ['kubernetes.default.svc'], apiServer.answer)
  servers.push({ sts: outsideServer, api })
  const [tokenFile, caFile] = [join(folder, 'token'), join(folder, 'ca.crt')]
  writeFileSync(tokenFile, apiServer.reviewer)
  writeFileSync(caFile, api.caPem)
  const access = { apiServer: `https://kubernetes.default.svc:${api.port}`, tokenFile, caFile }
  // One for each process, as it is outside.
  const outside = (): OutsideCalls => callsOutside(access, outsideServer.world)
  const authentication = [...listenerModes.either!]
  sidecar = await world.sidecar({ policy: policyText, authentication, more: { outside: outside() } })
  gateway = await world.gateway([sidecar], { authentication, outside: outside() })
  gateway.feed.apply(policyText)
  feeds = [sidecar.feed, gateway.feed]
})
beforeEach(() => {
  sts.keys.clear()
  sts.keys.set(awsKey.accessKeyId, awsKey)
  sts.throttles = false
  for (const feed of feeds) feed.value(pushedKinds.keySets).set(keySets())
})
after(async () => {
  await world.close()
  for (const each of servers) await Promise.all([each.sts.stop(), each.api.stop()])
  rmSync(folder, { recursive: true, force: true })
})

/** Each client has an address of its own, so that what one did is no other's. */
let clients = 0
async function asked(
  port: number,
  localAddress = `127.0.${1 + (clients >> 8)}.${clients++ & 255}`,
): Promise<RawClient> {
  const options = { credentials: { bundlePem: world.ca.bundlePem }, driverName: 'DataStax Java Driver', localAddress }
  const client = await world.connect(port, undefined, options)
  const answer = await client.startup()
  assert.equal(headerOpcode(answer, 0), Opcode.AUTHENTICATE, describe(answer))
  return client
}

/** `in`, or what the ERROR says. */
async function told(client: RawClient, password: string): Promise<string> {
  shown.add(password)
  const answer = await client.logIn('aws', password)
  return headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS ? 'in' : describe(answer)
}

/** The cause of the last refusal, as the sidecar's record or the gateway's log has it. */
async function causeOf(port: number, password: string): Promise<string> {
  const isGateway = port !== sidecar.port
  const causes = (): string[] =>
    isGateway
      ? world.logged.flatMap((line) => {
          const { msg, cause, peer } = JSON.parse(line) as Record<string, unknown>
          return msg === 'log-in refused' ? [`${String(cause)} ${String(peer)}`] : []
        })
      : sidecar
          .records()
          .flatMap(({ event, cause, client }) =>
            event === 'log-in refused'
              ? [`${String(cause)} ${(client as { address: string } | undefined)?.address}`]
              : [],
          )
  const client = await asked(port)
  const answer = await told(client, password)
  client.close()
  if (answer === 'in') return 'in'
  const address = `127.0.${1 + ((clients - 1) >> 8)}.${(clients - 1) & 255}`
  let found: string | undefined
  await until('the refusal is written', () => {
    found = causes().findLast((one) => one.endsWith(` ${address}`))
    return found !== undefined
  })
  return found!.split(' ')[0]!
}

const select = 'SELECT * FROM shop.items'
const ask = (client: RawClient): Promise<string> => client.ask(queryEnvelope(client.version, 5, select)).then(describe)

interface Way {
  readonly make: () => string | Promise<string>
  readonly workload: string
  readonly authentication: string
  readonly provider: string
}
const role = 'spiffe://demo.local/aws/123456789012/role/etl'
const ways: Readonly<Record<string, Way>> = {
  'a token of GetWebIdentityToken': {
    make: () => signed(keys.cloud, cloudClaims()),
    ...{ workload: role, authentication: 'aws', provider: 'cloud' },
  },
  'a pre-signed GetCallerIdentity': {
    make: () => freshPresigned(),
    ...{ workload: role, authentication: 'aws-sts', provider: 'sts' },
  },
  'a token of a service account': {
    make: () => signed(keys.cluster, podClaims()),
    ...{ workload: 'spiffe://demo.local/ns/shop/sa/orders', authentication: 'kubernetes', provider: 'cluster' },
  },
  'a token that is reviewed': {
    make: () => podToken(reviewedClaims()),
    ...{ workload: 'spiffe://demo.local/ns/shop/sa/orders', authentication: 'kubernetes', provider: 'reviewed' },
  },
  'a JWT-SVID of our own': {
    make: () => signed(keys.own, svidClaims('spiffe://demo.local/svc/orders')),
    ...{ workload: 'spiffe://demo.local/svc/orders', authentication: 'spiffe', provider: 'own' },
  },
  'a JWT-SVID of another trust domain': {
    make: () => signed(keys.partner, svidClaims('spiffe://partner.example/svc/reports'), { typ: 'JOSE' }),
    ...{ workload: 'spiffe://partner.example/svc/reports', authentication: 'spiffe', provider: 'partner' },
  },
}

/** What is wrong with a token, whoever its issuer is: all are tried with each. */
const tokenFaults: Readonly<Record<string, [make: (key: TestKey, claims: object) => string, cause: string]>> = {
  expired: [(key, claims) => signed(key, { ...claims, exp: now() - 1 }), 'expired'],
  'not valid yet': [(key, claims) => signed(key, { ...claims, nbf: now() + 120 }), 'not-yet-valid'],
  'for another audience': [(key, claims) => signed(key, { ...claims, aud: 'other' }), 'audience'],
  'for nobody': [(key, claims) => signed(key, { ...claims, aud: undefined }), 'audience'],
  'without an end': [(key, claims) => signed(key, { ...claims, exp: undefined }), 'claims'],
  'by another key of that name': [(key, claims) => signed(foreign.get(key)!, claims), 'signature'],
  'without a signature': [(_, claims) => `${part({ alg: 'none' })}.${part(claims)}.`, 'algorithm malformed'],
  'by the public key as a secret': [
    (key, claims) => signedBySecret(JSON.stringify(key.jwk), claims, { alg: 'HS256', kid: key.kid }),
    'algorithm',
  ],
  'of another purpose': [(key, claims) => signed(key, claims, { typ: 'dpop+jwt' }), 'type'],
  'with its subject twice': [
    (key, claims) => signed(key, JSON.stringify(claims).replace('{', '{"sub":"root",')),
    'malformed',
  ],
}
const tokenWays: readonly (readonly [string, TestKey, () => object])[] = [
  ['AWS', keys.cloud, cloudClaims],
  ['a cluster', keys.cluster, podClaims],
  ['our own trust domain', keys.own, () => svidClaims('spiffe://demo.local/svc/orders')],
  ['another trust domain', keys.partner, () => svidClaims('spiffe://partner.example/svc/reports')],
]

for (const door of ['at a sidecar', 'through a gateway']) {
  const port = (): number => (door === 'at a sidecar' ? sidecar.port : gateway.port)

  suite(`a workload of a cloud, ${door}`, () => {
    for (const [name, { make, workload, authentication, provider }] of Object.entries(ways)) {
      it(`logs in with ${name}`, async () => {
        const password = await make()
        const client = await asked(port())
        assert.equal(await told(client, password), 'in')
        assert.equal(await ask(client), `echo: ${select}`)
        const connect = sidecar.records().findLast(({ operation }) => operation === 'CONNECT')!
        assert.deepEqual(
          [connect.workload, connect.person, connect.authentication],
          [workload, undefined, authentication],
        )
        assert.equal((connect.evidence as Record<string, unknown>).provider, provider)
        const written = `${JSON.stringify(sidecar.records())} ${world.logged.join('\n')}`
        assert.ok(!written.includes(password.slice(-40)), 'the password is written nowhere')
        client.close()
      })
    }

    it('logs in with the Node.js driver, as it is', async (test) => {
      // The node of these tests answers no driver's questions about itself; a gateway does.
      if (door === 'at a sidecar') return test.skip('through a gateway only')
      for (const { make, provider } of Object.values(ways)) {
        const client = new Client({
          contactPoints: [`127.0.0.1:${port()}`],
          protocolOptions: { port: port() },
          localDataCenter: 'dc1',
          // The one of before belongs to another address.
          authProvider: new auth.PlainTextAuthProvider(
            'aws',
            provider === 'sts' ? await freshPresigned() : await make(),
          ),
          sslOptions: { ca: [world.ca.bundlePem], checkServerIdentity: () => undefined },
        })
        try {
          await client.connect()
          assert.equal((await client.execute(select)).rows.length, 1)
        } finally {
          await client.shutdown()
        }
      }
    })

    for (const [issuer, key, claims] of tokenWays) {
      for (const [fault, [make, causes]] of Object.entries(tokenFaults)) {
        it(`is refused with a token of ${issuer} that is ${fault}`, async () => {
          const cause = await causeOf(port(), make(key, claims()))
          assert.ok(causes.split(' ').includes(cause), cause)
        })
      }
    }

    const others: Readonly<Record<string, [make: () => string | Promise<string>, cause: string]>> = {
      'an AWS token of another account': [
        () =>
          signed(
            keys.cloud,
            cloudClaims({
              sub: 'arn:aws:iam::210987654321:role/etl',
              'https://sts.amazonaws.com/': { ...awsClaims, aws_account: '210987654321' },
            }),
          ),
        'account',
      ],
      'an AWS token of another organization': [
        () =>
          signed(keys.cloud, cloudClaims({ 'https://sts.amazonaws.com/': { ...awsClaims, org_id: 'o-other00000' } })),
        'account',
      ],
      'an AWS token that names two accounts': [
        () => signed(keys.cloud, cloudClaims({ sub: 'arn:aws:iam::210987654321:role/etl' })),
        'malformed',
      ],
      'an AWS token of the root of the account': [
        () => signed(keys.cloud, cloudClaims({ sub: 'arn:aws:iam::123456789012:root' })),
        'claims',
      ],
      'an AWS token by the keys of another account’s issuer': [
        () => signed(keys.cloud, cloudClaims({ iss: 'https://id2.tokens.sts.global.api.aws' })),
        'issuer',
      ],
      'a token of another namespace': [
        () =>
          signed(
            keys.cluster,
            podClaims({
              sub: 'system:serviceaccount:other:orders',
              'kubernetes.io': { namespace: 'other', serviceaccount: { name: 'orders' } },
            }),
          ),
        'account',
      ],
      'a token that names two service accounts': [
        () => signed(keys.cluster, podClaims({ sub: 'system:serviceaccount:shop:admin' })),
        'malformed',
      ],
      'a token of a node': [() => signed(keys.cluster, podClaims({ sub: 'system:node:worker-1' })), 'claims'],
      'a token of a Secret': [
        () =>
          signed(
            keys.cluster,
            podClaims({ 'kubernetes.io': undefined, 'kubernetes.io/serviceaccount/namespace': 'shop' }),
          ),
        'malformed',
      ],
      'a reviewed token that has expired': [() => podToken(reviewedClaims({ exp: now() - 1 })), 'expired'],
      'a reviewed token for another audience': [() => podToken(reviewedClaims({ aud: 'kubernetes' })), 'audience'],
      'a reviewed token that the API server does not know': [() => podToken(reviewedClaims(), false), 'signature'],
      'a reviewed token of another user than it says': [
        () => {
          const token = podToken(reviewedClaims())
          apiServer.tokens.set(token, { username: 'system:serviceaccount:shop:admin', audiences: ['ringfence'] })
          return token
        },
        'claims',
      ],
      'a JWT-SVID of ours by another trust domain’s keys': [
        () => signed(keys.partner, svidClaims('spiffe://demo.local/svc/orders')),
        'unknown-key',
      ],
      'a JWT-SVID of ours that another trust domain issued': [
        () => signed(keys.partner, svidClaims('spiffe://demo.local/svc/orders', { iss: 'spiffe://partner.example' })),
        'claims',
      ],
      'a JWT-SVID of a trust domain that nobody federates with': [
        () => signed(keys.partner, svidClaims('spiffe://partner.example.org/svc/reports')),
        'issuer',
      ],
      'a JWT-SVID of the mesh itself': [
        () => signed(keys.own, svidClaims('spiffe://demo.local/ringfence/gateway/g1')),
        'other',
      ],
      'a JWT-SVID of the other mesh itself': [
        () => signed(keys.partner, svidClaims('spiffe://partner.example/ringfence/gateway/g1')),
        'other',
      ],
      'a JWT-SVID of a person': [() => signed(keys.own, svidClaims('spiffe://demo.local/user/corp/alice')), 'claims'],
      'a JWT-SVID of a person of another trust domain': [
        () => signed(keys.partner, svidClaims('spiffe://partner.example/user/corp/alice')),
        'claims',
      ],
      'a JWT-SVID of a trust domain only': [() => signed(keys.own, svidClaims('spiffe://demo.local')), 'issuer'],
      'a pre-signed request for another mesh': [() => presigned({}, 'other.example.com'), 'signature'],
      'a pre-signed request by a wrong secret': [() => presigned({ secretAccessKey: 'other' }), 'signature'],
      'a pre-signed request by a key that AWS does not know': [
        () => presigned({ accessKeyId: 'ASIAEXAMPLEEXAMPLE99' }),
        'signature',
      ],
      'a pre-signed request of 15 minutes ago': [() => presigned({}, undefined, 15 * 60_000), 'expired'],
      'a pre-signed request of the future': [() => presigned({}, undefined, -120_000), 'not-yet-valid'],
      'a pre-signed request of another partition': [
        async () => {
          await presigned()
          return (await presignedPassword('mesh.example.com', 'cn-north-1', Date.now())).password
        },
        'issuer',
      ],
      'a URL of somebody else’s': [
        () => presignedPrefix + Buffer.from('https://169.254.169.254/?Action=GetCallerIdentity').toString('base64url'),
        'issuer',
      ],
      'a pre-signed request that was changed': [
        async () => {
          const url = Buffer.from((await presigned()).slice(presignedPrefix.length), 'base64url').toString()
          return presignedPrefix + Buffer.from(url.replace(/Expires=\d+/, 'Expires=901')).toString('base64url')
        },
        'signature',
      ],
    }
    for (const [name, [make, cause]] of Object.entries(others)) {
      it(`is refused with ${name}`, async () => {
        assert.equal(await causeOf(port(), await make()), cause)
      })
    }

    it('of another AWS account is refused, whatever STS says', async () => {
      sts.keys.set(awsKey.accessKeyId, {
        ...awsKey,
        account: '210987654321',
        arn: 'arn:aws:iam::210987654321:role/etl',
      })
      assert.equal(await causeOf(port(), await presigned()), 'account')
    })

    it('opens a pool with one pre-signed request, which is nothing to another address', async () => {
      const password = await freshPresigned()
      const before = servers[0]!.sts.asked.length
      const pool = await Promise.all(Array.from({ length: 8 }, () => asked(port(), '127.0.77.1')))
      assert.deepEqual(await Promise.all(pool.map((client) => told(client, password))), Array(8).fill('in'))
      const asks = servers[0]!.sts.asked.length - before
      assert.equal(asks, door === 'at a sidecar' ? 1 : 2, 'each process asks once')
      const thief = await asked(port(), '127.0.77.2')
      assert.match(await told(thief, password), /^0x0100 the pre-signed request was used from another address/)
    })

    it('with a pre-signed request that is revoked by its SHA-256 comes back in no other writing of it', async () => {
      const password = await freshPresigned()
      const [address, whole] = [`127.0.78.${door === 'at a sidecar' ? 1 : 2}`, writings(password)]
      const open = await asked(port(), address)
      assert.equal(await told(open, password), 'in')
      const connect = sidecar.records().findLast(({ operation }) => operation === 'CONNECT')!
      const { tokenHash } = connect.evidence as { tokenHash: string }
      for (const feed of feeds) feed.value(revocationKinds[1]!).set([{ id: 1, kind: 'one-token', value: tokenHash }])
      try {
        await open.closed
        for (const [name, written] of Object.entries({ 'as it was': password, ...whole })) {
          const again = await asked(port(), address)
          assert.match(await told(again, written), /^0x0100 access was revoked|^0x0100 these credentials/, name)
          again.close()
        }
        // Another request of the same role.
        const neighbour = await asked(port(), address)
        assert.equal(await told(neighbour, await freshPresigned()), 'in')
        neighbour.close()
      } finally {
        for (const feed of feeds) feed.value(revocationKinds[1]!).set([])
      }
    })

    it('with another writing of a pre-signed request is the same to who counts what was used', async () => {
      const password = await freshPresigned()
      const owner = await asked(port(), `127.0.79.${door === 'at a sidecar' ? 1 : 2}`)
      assert.equal(await told(owner, password), 'in')
      for (const written of Object.values(writings(password))) assert.equal(await causeOf(port(), written), 'replayed')
    })

    it('is told to try again while STS has too many requests, and is in afterwards', async () => {
      const password = await freshPresigned()
      const client = await asked(port())
      sts.throttles = true
      assert.match(await told(client, password), /^0x0100 AWS STS does not answer as it should; try again/)
      sts.throttles = false
      assert.equal(await told(client, password), 'in')
    })

    it('with AWS’s SigV4 plug-in hears what to do', async () => {
      const client = await asked(port())
      const answer = describe(await client.ask(authResponseEnvelope(client.version, 0, Buffer.from('SigV4\0\0'))))
      assert.match(answer, /^0x0100 SigV4 can be checked only by AWS; set user 'aws'.*ringfence aws-token/)
    })
  })
}

suite('in a mesh of two sidecars', () => {
  it('a pre-signed request is for the address that used it first, at whichever of them, by whichever door', async () => {
    const seen = new Replays(100)
    let isAway = false
    const firstUse = async (use: PresignedUse): Promise<boolean> => {
      if (isAway) throw new Error('the control plane is away')
      return seen.use(use, Date.now())
    }
    const { world: outsideWorld } = servers[0]!.sts
    const made = async (name: string) => {
      const outside = callsOutside({}, outsideWorld)
      const authentication = [...listenerModes.either!]
      const running = await world.sidecar({ name, policy: policyText, authentication, more: { outside, firstUse } })
      const door = await world.gateway([running], { name: `gateway-${name}`, authentication, outside })
      door.feed.apply(policyText)
      for (const feed of [running.feed, door.feed]) feed.value(pushedKinds.keySets).set(keySets())
      return { running, door }
    }
    const [one, other] = [await made('first'), await made('second')]
    const [owner, thief] = ['127.0.80.1', '127.0.80.2']
    const tried = async (port: number, address: string, password: string): Promise<string> => {
      const client = await asked(port, address)
      const answer = await told(client, password)
      client.close()
      return answer
    }
    // What a sidecar refuses, its gateway tells as what it refuses itself.
    const used = /^0x0100 the pre-signed request was used from another address/
    for (const [name, ofOwner, ofThief] of [
      ['at sidecars', one.running.port, other.running.port],
      ['through gateways', one.door.port, other.door.port],
      ['at a sidecar, then through a gateway', other.running.port, one.door.port],
      ['through a gateway, then at a sidecar', other.door.port, one.running.port],
    ] as const) {
      const password = await freshPresigned()
      assert.equal(await tried(ofOwner, owner, password), 'in', name)
      assert.match(await tried(ofThief, thief, password), used, name)
      // At a sidecar a thief who was refused has taken nothing from the owner.
      if (ofThief === one.running.port || ofThief === other.running.port)
        assert.equal(await tried(ofThief, owner, password), 'in', name)
    }
    // Each sidecar counts for itself while nobody can be asked, and log-ins go on.
    isAway = true
    const password = await freshPresigned()
    assert.equal(await tried(one.running.port, owner, password), 'in')
    assert.match(await tried(one.running.port, thief, password), used)
    assert.equal(await tried(other.running.port, thief, password), 'in')
  })
})

suite('a Pod that is deleted', () => {
  it('logs in no more, ten seconds after it was reviewed last', { timeout: 60_000 }, async () => {
    const token = podToken(reviewedClaims({ jti: 'deleted' }))
    assert.equal(await told(await asked(sidecar.port), token), 'in')
    apiServer.tokens.delete(token)
    await new Promise((resolve) => setTimeout(resolve, 10_500))
    assert.equal(await causeOf(sidecar.port, token), 'signature')
  })
})

suite('of what was shown', () => {
  it('nothing is written: no log at any level, no record, no report, no answer to who asks why', () => {
    const reports = feeds.map((feed) => JSON.stringify(feed.report?.()))
    const refused = new RememberedRefusals()
    for (const report of reports) refused.take(JSON.parse(report) as RefusedPart, 'one')
    const rows = Array.from({ length: 512 }, (_, i) => refused.find(`127.0.${1 + (i >> 8)}.${i & 255}`)).flat()
    assert.ok(rows.length > 10, `${rows.length} rows`)
    const files = readdirSync(world.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
    const table = whyTable(rows, { nowMs: Date.now(), widthMax: 80, rowsMax: 1000 })
    const written = [...world.logged, ...reports, ...table, ...files, JSON.stringify(rows)].join('\n')
    assert.match(written, /"level":"(debug|trace)"/)
    assert.ok(shown.size > 80, `${shown.size} were shown`)
    for (const secret of [awsKey.secretAccessKey, String(awsKey.sessionToken), apiServer.reviewer, ...shown].flatMap(
      secretsIn,
    ))
      assert.ok(!written.includes(secret), secret.slice(0, 40))
  })
})

/** The same request in other texts, each of which is taken. */
function writings(password: string): Readonly<Record<string, string>> {
  const url = Buffer.from(password.slice(presignedPrefix.length), 'base64url').toString('latin1')
  const [start, query = ''] = url.split('?')
  const pairs = query.split('&')
  const escaped = (name: string): string =>
    url.replace(new RegExp(`(${name}=)(.)`), (_, before: string, one: string) => {
      return `${before}%${one.charCodeAt(0).toString(16)}`
    })
  const urls = {
    turned: `${start}?${pairs.toReversed().join('&')}`,
    'with its last parameter first': `${start}?${[pairs.at(-1), ...pairs.slice(0, -1)].join('&')}`,
    'with small escapes': url.replace(/%[0-9A-F]{2}/g, (text) => text.toLowerCase()),
    'with an escape in its action': escaped('Action'),
    'with an escape in its signature': escaped('X-Amz-Signature'),
  }
  return Object.fromEntries(
    Object.entries(urls).map(([name, text]) => [name, presignedPrefix + Buffer.from(text).toString('base64url')]),
  )
}

/** What of it must stand nowhere: itself, its claims, its signature, what a pre-signed URL has of a session. */
function secretsIn(password: string): string[] {
  if (!password.startsWith(presignedPrefix))
    return password
      .split('.')
      .slice(1)
      .concat(password)
      .filter((one) => one.length > 8)
  const url = Buffer.from(password.slice(presignedPrefix.length), 'base64url').toString('latin1')
  const { searchParams } = URL.parse(url) ?? new URL('https://x')
  const values = ['X-Amz-Signature', 'X-Amz-Security-Token'].map((name) => searchParams.get(name) ?? '')
  return [password, password.slice(presignedPrefix.length), url, ...values, ...values.map(encodeURIComponent)].filter(
    (one) => one.length > 8,
  )
}
