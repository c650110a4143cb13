/**
 * A web application behind NGINX, with people who log in at a real provider: NGINX asks the gateway's HTTP door who is there, and the application's
 * statements at a sidecar are on behalf of that person.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { Client, policies } from 'cassandra-driver'
import { findNginx } from '../../src/cli/commands/nginx.ts'
import { foreignHeaders, nginxHttp } from '../../src/control/nginx-http.ts'
import { HttpDoor } from '../../src/gateway/http/door.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { ProvidersInForce } from '../../src/identity/providers/in-force.ts'
import { Revocations } from '../../src/identity/revoked/revocations.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import { makeTxnToken } from '../../src/identity/txn/token.ts'
import { loadProviders } from '../../src/policy/providers.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { freePort } from '../free-port.ts'
import { Browser, PeopleProvider, webClientId, webClientSecret } from './people-provider.ts'
import { txnKey, txnToken, useTxnKeys } from './txn-tokens.ts'
import { type RunningSidecar, until, World } from './world.ts'

const nginx = findNginx('nginx')
const skip = nginx === undefined && process.env.CI !== 'true' ? 'nginx is not on this host' : false
const key = makeKey('idp', 'ES256')
const folder = mkdtempSync(join(tmpdir(), 'rf-web-'))
const logged: string[] = []

let world: World
let people: PeopleProvider
let sidecar: RunningSidecar
let door: HttpDoor
let application: Server
let proxy: ChildProcess
let site: string
let driver: Client
/** Orders for transaction tokens, as the control plane would get them. */
const orders: { token: string; workload: string }[] = []
/** What reached the application. */
const seen: {
  cookie: string | undefined
  authorization: string | undefined
  txn: string
  url: string
  headers: NodeJS.Dict<string | string[]>
}[] = []
let away = false

function policyOf(issuer: string): string {
  return `apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: ${issuer}
  allowPrivate: true
  audiences: [ringfence]
  algorithms: [ES256]
  claims: { groups: groups }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/web }], keyspaces: [shop], operations: [ALL] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: staff }
spec: { subjects: [{ group: corp/staff }], keyspaces: [shop], operations: [READ, SCAN] }
`
}

before(async () => {
  if (skip !== false) return
  const port = await freePort()
  site = `http://127.0.0.1:${port}`
  people = await PeopleProvider.start(key, {
    groups: { alice: ['staff'], bob: ['staff'], carol: [] },
    webRedirectUri: `${site}/.ringfence/callback`,
  })
  const policy = policyOf(people.issuer)
  world = await World.make()
  sidecar = await world.sidecar({ policy })
  useTxnKeys(sidecar)

  const secret = join(folder, 'secret')
  writeFileSync(secret, `${webClientSecret}\n`)
  const providers = new ProvidersInForce()
  providers.setDocuments(loadProviders(policy))
  providers.setKeySets([{ provider: 'corp', issuer: people.issuer, keys: [key.jwk], fetchedAtMs: Date.now() }])
  door = new HttpDoor({
    revocations: Revocations.none,
    config: {
      address: '127.0.0.1',
      port: 0,
      applications: [
        {
          name: 'shop',
          workload: 'spiffe://demo.local/svc/web',
          url: site,
          logIn: { issuer: people.issuer, clientId: webClientId, clientSecretFile: secret, token: 'access' },
        },
        { name: 'api', workload: 'spiffe://demo.local/svc/api' },
      ],
    },
    providers,
    trustDomain: 'demo.local',
    ask: async (order) => {
      orders.push(order)
      if (away) throw new Error('the control plane is away')
      const { person, groups = [] } = await providers.current.verify(order.token, 'demo.local', Date.now(), '')
      const expiresAtMs = Date.now() + 300_000
      const workload = parseSpiffeId(order.workload)
      const made = {
        person: person!,
        groups,
        claims: {},
        workload,
        transaction: 'web-1',
        expiresAtMs,
        source: undefined,
      }
      return { token: await makeTxnToken(txnKey, made, {}, Date.now()), transaction: 'web-1', expiresAtMs }
    },
    log: createLogger('door', { write: (line) => logged.push(line) }),
  })
  await door.start()

  const { keyPem, certificatePem: cert } = await world.credentials('svc/web')
  driver = new Client({
    contactPoints: [`127.0.0.1:${sidecar.port}`],
    protocolOptions: { port: sidecar.port },
    policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
    isMetadataSyncEnabled: false,
    sslOptions: { key: keyPem, cert, ca: [world.ca.bundlePem], checkServerIdentity: () => undefined },
  })
  application = createServer((request, response) => {
    const txn = String(request.headers['txn-token'] ?? '')
    const { cookie, authorization } = request.headers
    seen.push({ cookie, authorization, txn, url: request.url ?? '', headers: request.headers })
    driver.execute('SELECT * FROM shop.items', [], { executeAs: txn } as object).then(
      ({ rows }) => response.end(`${rows.length} row`),
      (reason: Error) => response.writeHead(403).end(reason.message),
    )
  })
  await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve))
  const upstream = `127.0.0.1:${(application.address() as AddressInfo).port}`

  const config = join(folder, 'nginx.conf')
  const http = nginxHttp({
    listen: [`127.0.0.1:${port}`],
    certificate: undefined,
    gateway: `127.0.0.1:${door.port}`,
    applications: [{ name: 'shop', serverName: '127.0.0.1', upstream }],
  })
  writeFileSync(config, `pid ${folder}/nginx.pid;\nerror_log stderr notice;\ndaemon off;\nevents {}\n${http}`)
  proxy = spawn('nginx', ['-c', config, '-p', folder, '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'pipe'] })
  proxy.stderr?.on('data', (chunk: Buffer) => logged.push(chunk.toString()))
  await until('NGINX listens', () => logged.some((line) => /start worker process/.test(line)))
})
after(async () => {
  if (skip !== false) return
  proxy.kill('SIGTERM')
  await driver.shutdown()
  application.close()
  door.stop()
  people.stop()
  await world.close()
  rmSync(folder, { recursive: true, force: true })
})

/** One request, with header lines as they stand in it. */
function get(
  path: string,
  lines: string[] = [],
  method = 'GET',
): Promise<{ status: number; text: string; headers: NodeJS.Dict<string | string[]> }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(site)
    const headers = ['Host', hostname, ...lines]
    const sent = httpRequest(
      { host: hostname, port, path, method, headers, agent: false, setHost: false },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text, headers: answer.headers }))
      },
    )
    sent.on('error', reject)
    sent.end()
  })
}

/** An access token of the provider, as an API's client has one. */
function accessToken(sub: string, claims: object = {}): string {
  const iat = Math.floor(Date.now() / 1000)
  return signed(
    key,
    { iss: people.issuer, aud: 'ringfence', sub, iat, exp: iat + 600, groups: ['staff'], ...claims },
    { typ: 'at+jwt' },
  )
}

suite('a web application behind NGINX', { skip }, () => {
  it('gets a person who logs in by the browser, with her page as she asked for it', async () => {
    const page = await new Browser('alice').open(`${site}/orders?page=2`)
    assert.deepEqual([page.status, page.text], [200, '1 row'], page.text)
    assert.ok(page.url.endsWith('/orders?page=2'), page.url)
    const { person, workload, transaction, authentication } = sidecar
      .records()
      .findLast(({ operation }) => operation === 'SELECT')!
    assert.deepEqual([person, workload, transaction], ['corp/alice', 'spiffe://demo.local/svc/web', 'web-1'])
    assert.equal(authentication, 'certificate+txn-token')
  })

  it('has two people at once, each for herself, and asks for one token for each', async () => {
    const [alice, bob] = [new Browser('alice'), new Browser('bob')]
    for (const browser of [alice, bob]) assert.equal((await browser.open(`${site}/`)).text, '1 row')
    const asked = orders.length
    for (let round = 0; round < 3; round++)
      for (const browser of [alice, bob]) assert.equal((await browser.open(`${site}/?${round}`)).text, '1 row')
    assert.equal(orders.length, asked)
    const people = new Set(
      sidecar
        .records()
        .slice(-6)
        .map(({ person }) => person),
    )
    assert.deepEqual(people, new Set(['corp/alice', 'corp/bob']))
    // The cookies of the log-in are not the application's.
    for (const { cookie } of seen) assert.doesNotMatch(cookie ?? '', /ringfence/)
  })

  it('refuses in the sidecar what the person may not', async () => {
    const page = await new Browser('carol').open(`${site}/`)
    assert.equal(page.status, 403)
    assert.match(page.text, /corp\/carol/)
  })

  it('takes a bearer token of the same provider, and passes none on', async () => {
    const { status, text } = await get('/api', ['Authorization', `Bearer ${accessToken('bob')}`])
    assert.deepEqual([status, text], [200, '1 row'])
    const { authorization, txn } = seen.at(-1)!
    assert.equal(authorization, undefined)
    assert.equal(txn.split('.').length, 3)
  })

  it('lets nobody in by what is not to be believed, and the application sees nothing of it (D12)', async () => {
    const good = ['Authorization', `Bearer ${accessToken('bob')}`]
    const before = seen.length
    const cases: [string, string[], number][] = [
      ['nothing', [], 401],
      ['a transaction token in its own header', ['Txn-Token', txnToken('corp/alice')], 403],
      ['a second one beside a good credential', [...good, 'Txn-Token', txnToken('corp/alice')], 403],
      ['two of them', [...good, 'Txn-Token', 'a', 'txn-token', 'b'], 403],
      ['a transaction token as bearer', ['Authorization', `Bearer ${txnToken('corp/alice')}`], 401],
      // NGINX's own answer.
      ['two credentials', [...good, 'authorization', `Bearer ${accessToken('alice')}`], 400],
      ['another application', ['X-Ringfence-Application', 'api'], 401],
      ['a header of the mesh', [...good, 'X-Ringfence-Person', 'corp/alice'], 403],
      ['basic', ['Authorization', 'Basic YTpi'], 401],
      ['an expired token', ['Authorization', `Bearer ${accessToken('bob', { exp: 1 })}`], 401],
      ['another audience', ['Authorization', `Bearer ${accessToken('bob', { aud: 'x' })}`], 401],
      ['another issuer', ['Authorization', `Bearer ${accessToken('bob', { iss: 'https://evil.example.com' })}`], 401],
      ['a cookie of nobody', ['Cookie', '__Host-ringfence=AAAA'], 401],
      ['two cookies', ['Cookie', '__Host-ringfence=A; __Host-ringfence=B'], 403],
    ]
    for (const [name, lines, status] of cases) assert.equal((await get('/', lines)).status, status, name)
    assert.equal(seen.length, before)
    // An underscore is another spelling for some; NGINX passes no such header on.
    assert.equal((await get('/', [...good, 'Txn_Token', txnToken('corp/alice')])).status, 200)
    assert.notEqual(seen.at(-1)!.txn, txnToken('corp/alice'))
  })

  it('says who is there by the transaction token alone: no other header of a client that says it comes through', async () => {
    const good = ['Authorization', `Bearer ${accessToken('bob')}`]
    const lines = foreignHeaders.flatMap((name) => [name, 'corp/alice'])
    const forwarded = ['X-Forwarded-For', '198.51.100.9', 'X-Forwarded-Host', 'evil.example.com', 'X-Mine', 'kept']
    assert.equal((await get('/', [...good, ...lines, ...forwarded])).status, 200)
    const { headers } = seen.at(-1)!
    for (const name of foreignHeaders) assert.equal(headers[name.toLowerCase()], undefined, name)
    assert.deepEqual(
      [headers.host, headers['x-forwarded-host'], headers['x-forwarded-for'], headers['x-mine']],
      ['127.0.0.1', '127.0.0.1', '127.0.0.1', 'kept'],
    )
    for (const name of Object.keys(headers)) assert.doesNotMatch(name, /ringfence/)
    // A path that NGINX passes on as it is, and that would be another one to who reads it as browsers do.
    for (const path of [
      '/.ringfence/..\\authenticate',
      '/.ringfence/%2e%2e%5cauthenticate',
      '/.ringfence/x\\..\\..\\authenticate',
    ]) {
      const answer = await get(path, good)
      assert.deepEqual([answer.status, answer.headers['txn-token']], [404, undefined], path)
    }
    assert.equal((await get('/.ringfence-authenticate', good)).status, 404)
  })

  it('ends a log-in only in the browser that began it, once, and leads back to its own pages only', async () => {
    const begun = await get('/.ringfence/log-in?to=//evil.example.com/', ['Accept', 'text/html'])
    assert.equal(begun.status, 302)
    const state = new URL(String(begun.headers.location)).searchParams.get('state')!
    const [cookie = ''] = begun.headers['set-cookie'] as string[]
    assert.match(cookie, /^__Host-ringfence-log-in=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=600$/)
    const name = cookie.split(';')[0]!
    const back = `/.ringfence/callback?code=x&state=${state}`
    assert.equal((await get(back)).status, 400, 'without its cookie')
    assert.equal((await get(back, ['Cookie', '__Host-ringfence-log-in=AAAA'])).status, 400)
    assert.equal((await get(back.replace(state, 'other'), ['Cookie', name])).status, 400)
    assert.equal((await get(back, ['Cookie', name])).status, 503, 'the provider knows no such code')
    assert.equal((await get(back, ['Cookie', name])).status, 400, 'a second time')
    for (const to of ['//evil.example.com', '/\\evil', 'https://evil.example.com', '/.ringfence/log-out', '/a b']) {
      const page = await new Browser('alice').open(`${site}/.ringfence/log-in?to=${encodeURIComponent(to)}`)
      assert.equal(new URL(page.url).origin + new URL(page.url).pathname, `${site}/`, to)
    }
  })

  it('logs out by POST, and not by a link', async () => {
    const begun = logged.length
    const browser = new Browser('alice')
    await browser.open(`${site}/`)
    assert.ok(logged.slice(begun).some((line) => line.includes('a person logged in')))
    assert.equal((await get('/.ringfence/log-out')).status, 405)
    assert.equal((await get('/.ringfence/log-out', ['Origin', 'https://evil.example.com'], 'POST')).status, 403)
    const out = await get('/.ringfence/log-out', ['Origin', site], 'POST')
    assert.equal(out.status, 200)
    assert.match(String(out.headers['set-cookie']), /__Host-ringfence=; .*Max-Age=0/)
  })

  it('renews what a browser’s log-in gave before it ends, and goes on with it while the provider is away', async () => {
    people.options.seconds = 50
    try {
      const browser = new Browser('bob')
      assert.equal((await browser.open(`${site}/`)).text, '1 row')
      const given = people.given.size
      assert.equal((await browser.open(`${site}/`)).text, '1 row')
      assert.ok(people.given.size > given, 'new tokens')
      people.away()
      assert.equal((await browser.open(`${site}/`)).text, '1 row')
    } finally {
      people.back()
      people.options.seconds = 300
    }
  })

  it('is told when nobody can say, and goes on with what is there', async () => {
    away = true
    try {
      assert.equal((await get('/', ['Authorization', `Bearer ${accessToken('dora')}`])).status, 500)
      assert.equal((await get('/', ['Authorization', `Bearer ${accessToken('bob', { jti: 'kept' })}`])).status, 500)
    } finally {
      away = false
    }
    assert.equal((await get('/', ['Authorization', `Bearer ${accessToken('bob', { jti: 'kept' })}`])).status, 200)
  })

  it('writes no token, code or cookie anywhere', () => {
    const text = logged.join('\n') + world.logged.join('\n') + JSON.stringify(sidecar.records())
    assert.ok(people.given.size > 0)
    for (const secret of [...people.given, ...seen.map(({ txn }) => txn).filter((one) => one !== '')])
      assert.ok(!text.includes(secret), secret)
  })
})
