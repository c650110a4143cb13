/**
 * A session that is on behalf of one person from its log-in to its end: the workload's own proof, and a transaction token, or a name, as authorization id of
 * SASL PLAIN. At both doors, by certificate and by token.
 */
import assert from 'node:assert/strict'
import { after, afterEach, before, it, describe as suite } from 'node:test'
import { auth, Client, policies } from 'cassandra-driver'
import { authResponseEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { partOf, revocationKinds } from '../../src/mesh/revocations.ts'
import { describe, type RawClient } from './client.ts'
import { tokensMade, txnKey, txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const jobs = 'https://id.example.com/realms/jobs'
const key = makeKey('k1')
const rule = (name: string, spec: string): string =>
  `---\napiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`
const web = '{ spiffeId: spiffe://demo.local/svc/web }'
const noNames = [
  rule('web', `{ subjects: [${web}], keyspaces: [shop, play], operations: [ALL] }`),
  rule('alice', '{ subjects: [{ person: corp/alice }], keyspaces: [shop], operations: [READ, SCAN] }'),
  rule(
    'staff',
    '{ subjects: [{ group: corp/staff }], keyspaces: [play], operations: [READ, SCAN], when: { authentication: [txn-token], claims: { acr: mfa } } }',
  ),
  `---\napiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: corp }\nspec: { type: oidc, issuer: "${issuer}", audiences: [ringfence], claims: { groups: groups, forPolicy: [acr] } }\n`,
  `---\napiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: jobs }\nspec: { type: oidc, issuer: "${jobs}", audiences: [ringfence], claims: { workload: sub, workloadPrefix: svc/, forPolicy: [acr] } }\n`,
].join('')
const policy = `${noNames}---\napiVersion: ringfence.dev/v1alpha1\nkind: Impersonation\nmetadata: { name: web-for-alice }\nspec: { subjects: [${web}], impersonate: [{ person: corp/alice }] }\n`
const select = 'SELECT * FROM shop.items'
const insert = "INSERT INTO shop.items (k) VALUES ('a')"

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  const authentication = [...listenerModes.behalf!, ...listenerModes.token!.filter((one) => one !== 'token-behalf')]
  sidecar = await world.sidecar({ policy, authentication })
  gateway = await world.gateway([sidecar], { authentication })
  ready()
})
after(() => world.close())
afterEach(() => ready())

function ready(text = policy): void {
  for (const { feed } of [sidecar, gateway]) {
    feed.apply(text)
    const known = { keys: [key.jwk], fetchedAtMs: Date.now() }
    feed.value(pushedKinds.keySets).set([
      { provider: 'corp', issuer, ...known },
      { provider: 'jobs', issuer: jobs, ...known },
    ])
    useTxnKeys({ feed } as RunningSidecar)
  }
}

/** About the workload `svc/web`, unless it says otherwise. */
function password(claims: object = {}, by = key): string {
  const iat = Math.floor(Date.now() / 1000) - 5
  return signed(by, { iss: jobs, aud: 'ringfence', sub: 'web', iat, exp: iat + 300, ...claims })
}
const alices = (): string => password({ iss: issuer, sub: 'alice' })

interface Tried {
  readonly client: RawClient
  /** `in`, or what the ERROR says. */
  readonly told: string
}

let clients = 0
const doors = { 'at a sidecar': () => sidecar.port, 'through a gateway': () => gateway.port }
const ways = {
  'by certificate': async (): Promise<[who: string | undefined, password: string]> => ['web', ''],
  'by token': async (): Promise<[who: string | undefined, password: string]> => [undefined, password()],
}

async function logIn(port: number, who: string | undefined, secret: string, behalf: string): Promise<Tried> {
  const localAddress = `127.0.61.${++clients}`
  const { bundlePem } = world.ca
  const options = {
    localAddress,
    driverName: 'DataStax Java Driver',
    ...(who === undefined ? { credentials: { bundlePem } } : {}),
  }
  const client = await world.connect(port, who, options)
  const asked = await client.startup()
  assert.equal(headerOpcode(asked, 0), Opcode.AUTHENTICATE, describe(asked))
  const answer = await client.ask(authResponseEnvelope(4, 1, Buffer.from(`${behalf}\0web\0${secret}`)))
  return { client, told: headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS ? 'in' : describe(answer) }
}

const ask = (client: RawClient, text: string): Promise<string> => client.ask(queryEnvelope(4, 5, text)).then(describe)
const records = (): Record<string, unknown>[] => sidecar.records()
const denied = /^0x2100/

for (const [door, portOf] of Object.entries(doors)) {
  for (const [way, own] of Object.entries(ways)) {
    suite(`a session on behalf of somebody, ${way}, ${door}`, () => {
      const come = async (behalf: string): Promise<Tried> => logIn(portOf(), ...(await own()), behalf)

      it('is judged as workload and person, and recorded with both', async () => {
        const token = txnToken('corp/alice', { txn: `txn-of-${door}-${way}` })
        const { client, told } = await come(token)
        assert.equal(told, 'in')
        assert.equal(await ask(client, select), `echo: ${select}`)
        assert.match(await ask(client, insert), denied)
        assert.match(await ask(client, 'SELECT * FROM play.items'), denied)
        for (const { operation, person, workload, transaction, tokenHash, authentication } of records().slice(-4)) {
          const what = String(operation)
          assert.deepEqual([person, workload], ['corp/alice', 'spiffe://demo.local/svc/web'], what)
          assert.equal(transaction, `txn-of-${door}-${way}`, what)
          assert.match(String(tokenHash), /^[0-9a-f]{64}$/, what)
          assert.equal(authentication, `${way === 'by token' ? 'oidc' : 'certificate'}+txn-token`, what)
        }
        client.close()
      })

      it('has the groups and claims of its person', async () => {
        const rctx = { groups: ['corp/staff'], claims: { acr: 'mfa' } }
        const { client } = await come(txnToken('corp/dora', { rctx }))
        assert.match(await ask(client, 'SELECT * FROM play.items'), /^echo/)
        assert.match(await ask(client, select), denied)
        client.close()
        const { client: less } = await come(txnToken('corp/dora', { rctx: { ...rctx, claims: {} } }))
        assert.match(await ask(less, 'SELECT * FROM play.items'), denied)
        less.close()
      })

      it('has the claims of its person only, where its workload says the same of itself', async () => {
        // By certificate it says nothing of itself.
        const [who, secret] = way === 'by token' ? [undefined, password({ acr: 'mfa' })] : await own()
        for (const [acr, isPermitted] of [
          ['mfa', true],
          ['pwd', false],
        ] as const) {
          const token = txnToken('corp/dora', { rctx: { groups: ['corp/staff'], claims: { acr } } })
          const { client, told } = await logIn(portOf(), who, secret, token)
          assert.equal(told, 'in')
          assert.match(await ask(client, 'SELECT * FROM play.items'), isPermitted ? /^echo/ : denied, acr)
          client.close()
        }
      })

      it('ends with its token', async () => {
        const exp = Math.floor(Date.now() / 1000) + 4
        const { client, told } = await come(txnToken('corp/alice', { exp }))
        assert.equal(told, 'in')
        assert.equal(await ask(client, select), `echo: ${select}`)
        await client.closed
        assert.ok(Date.now() < exp * 1000 + 5_000)
      })

      it('acts on behalf of nobody else by a request', async () => {
        const { client } = await come(txnToken('corp/alice'))
        for (const text of [txnToken('corp/alice'), txnToken('corp/bob'), 'corp/alice'])
          assert.match(
            describe(await client.ask(withPayload(queryEnvelope(4, 5, select), [['ProxyExecute', text]]))),
            denied,
          )
        assert.equal(await ask(client, select), `echo: ${select}`)
        client.close()
      })

      it('is refused for a token that counts for nothing, with the cause', async () => {
        const past = Math.floor(Date.now() / 1000) - 100
        const bad: Record<string, [string, RegExp]> = {
          'of another workload': [
            txnToken('corp/alice', { req_wl: 'spiffe://demo.local/svc/other' }),
            /^0x0100 these credentials/,
          ],
          expired: [txnToken('corp/alice', { iat: past - 100, exp: past }), /^0x0100 the token expired/],
          'by another key': [txnToken('corp/alice', {}, {}, makeKey('t1')), /^0x0100 these credentials/],
          'by a key that is not known': [
            txnToken('corp/alice', {}, { kid: 't9' }, makeKey('t9')),
            /^0x0100 these credentials/,
          ],
          'for another trust domain': [txnToken('corp/alice', { aud: 'other.local' }), /^0x0100 these credentials/],
          'that lives too long': [txnToken('corp/alice', { exp: past + 1000 }), /^0x0100 these credentials/],
          'of another kind': [alices(), /^0x0100 these credentials/],
          'that is no token and no name': ['nobody', /^0x0100 these credentials/],
        }
        for (const [what, [behalf, words]] of Object.entries(bad)) {
          const { client, told } = await come(behalf)
          assert.match(told, words, what)
          client.close()
        }
      })

      it('is refused and ended where the person, the token or what that was made for is revoked, and no other', async () => {
        const source = { provider: 'corp', hash: 'cd'.repeat(32) }
        const revoked = [
          { kind: 'person' as const, value: 'corp/alice' },
          { kind: 'one-token' as const, value: 'txn-thrown-out' },
          { kind: 'one-token' as const, value: source.hash },
        ]
        for (const [at, each] of revoked.entries()) {
          const token = txnToken('corp/alice', { txn: 'txn-thrown-out', src: source })
          const { client, told } = await come(token)
          assert.equal(told, 'in')
          const { client: neighbour } = await come(txnToken('corp/bob'))
          const entry = { id: 1 + at, ...each }
          const tell = (entries: (typeof entry)[]): void => {
            for (const { feed } of [sidecar, gateway]) feed.value(revocationKinds[partOf(entry.id)]!).set(entries)
          }
          tell([entry])
          await client.closed
          assert.match((await come(token)).told, /^0x0100/)
          assert.match(await ask(neighbour, insert), denied)
          neighbour.close()
          tell([])
        }
      })

      it('may be by a name alone only while policy lets its workload say it', async () => {
        const { client, told } = await come('corp/alice')
        assert.equal(told, 'in')
        assert.equal(await ask(client, select), `echo: ${select}`)
        assert.match(await ask(client, insert), denied)
        const { person, authentication } = records().at(-1)!
        assert.deepEqual([person, String(authentication).split('+').at(-1)], ['corp/alice', 'impersonation'])
        const other = await come('corp/bob')
        assert.match(other.told, /^0x0100 no rule lets this workload act on behalf of whom it names/)
        other.client.close()
        ready(noNames)
        assert.match(await ask(client, select), /^0x2100 .*no rule lets this workload/)
        assert.match(
          describe(await client.ask(withPayload(queryEnvelope(4, 5, select), [['other', 'x']]))),
          /^0x2100 .*no rule lets this workload/,
        )
        const again = await come('corp/alice')
        assert.match(again.told, /^0x0100 no rule lets/)
        for (const one of [client, again.client]) one.close()
      })
    })
  }

  suite(`an authorization id ${door}`, () => {
    it('is nothing for a person, who acts on behalf of nobody', async () => {
      const { client, told } = await logIn(portOf(), undefined, alices(), txnToken('corp/alice'))
      assert.match(told, /^0x0100 only a workload acts on behalf of somebody/)
      client.close()
    })

    it('makes no good proof of a bad one', async () => {
      const { client, told } = await logIn(portOf(), undefined, password({}, makeKey('k1')), txnToken('corp/alice'))
      assert.match(told, /^0x0100 these credentials/)
      client.close()
      // What one certificate says is not what another token is for.
      const other = await logIn(portOf(), 'other', '', txnToken('corp/alice'))
      assert.match(other.told, /^0x0100 these credentials/)
      other.client.close()
    })

    it('is given by the Node.js driver as it is', async () => {
      const { keyPem: own, certificatePem: cert, bundlePem: ca } = await world.credentials('svc/web')
      const driver = new Client({
        contactPoints: [`127.0.0.1:${portOf()}`],
        protocolOptions: { port: portOf() },
        policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
        isMetadataSyncEnabled: false,
        authProvider: new auth.DsePlainTextAuthProvider('web', '', txnToken('corp/alice')),
        sslOptions: { key: own, cert, ca: [ca], rejectUnauthorized: true, checkServerIdentity: () => undefined },
      })
      await driver.connect()
      await driver.execute(select)
      await assert.rejects(driver.execute(insert), /no|permission|Unauthorized/i)
      await driver.shutdown()
    })
  })
}

suite('the places of a workload', () => {
  it('are no more where it comes on behalf of many, and those of others stay', async () => {
    const authentication = [...listenerModes.behalf!]
    const here = await world.sidecar({ name: 'here', policy, authentication, bounds: { perIdentityMax: 2 } })
    const linked = await world.sidecar({ name: 'linked', policy, authentication, linkedBounds: { perIdentityMax: 2 } })
    const behind = await world.gateway([linked], { name: 'gateway2', authentication })
    for (const { feed } of [here, linked, behind]) {
      feed.apply(policy)
      useTxnKeys({ feed } as RunningSidecar)
    }
    for (const { port } of [here, behind]) {
      const come = (person: string, workload = 'web'): Promise<Tried> =>
        logIn(port, workload, '', txnToken(person, { req_wl: `spiffe://demo.local/svc/${workload}` }))
      const tried = [await come('corp/alice'), await come('corp/bob'), await come('corp/carol')]
      const other = await come('corp/carol', 'other')
      assert.deepEqual([tried[0]!.told, tried[1]!.told, other.told], ['in', 'in', 'in'])
      assert.match(tried[2]!.told, /^0x1001 .*PerIdentityMax reached/)
      for (const { client } of [...tried, other]) client.close()
    }
  })
})

suite('a transaction token as authorization id', () => {
  it('is written nowhere', () => {
    const written = [...world.logged, JSON.stringify(records())].join('\n')
    for (const token of tokensMade) for (const part of token.split('.').slice(1)) assert.ok(!written.includes(part))
    assert.ok(txnKey.jwk.kid)
  })
})
