/**
 * Log-ins over HTTP, as NGINX asks the gateway's door: attempts are bounded by address and by who is claimed, what a stranger sends leads
 * nowhere, and nothing of what anybody showed is written.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { HttpDoor } from '../../src/gateway/http/door.ts'
import { makeKey, part, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { ProvidersInForce } from '../../src/identity/providers/in-force.ts'
import { Revocations } from '../../src/identity/revoked/revocations.ts'
import { loadProviders } from '../../src/policy/providers.ts'
import { createLogger } from '../../src/telemetry/log.ts'

const key = makeKey('idp')
const foreign = makeKey('idp')
const clientSecret = 'a-secret-of-the-client'
const logged: string[] = []
const folder = mkdtempSync(join(tmpdir(), 'rf-web-log-ins-'))
let issuer: string
let provider: Server
let door: HttpDoor
let nowMs = Date.now()
/** What the provider was sent for codes. */
const sent: URLSearchParams[] = []
let discovered = 0

/** A provider that refuses every code but `good-…`, and quotes in its refusal what it was sent. */
function answer(url: string, body: string): [status: number, body: object] {
  if (url.startsWith('/.well-known/')) {
    discovered++
    return [
      200,
      {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      },
    ]
  }
  const fields = new URLSearchParams(body)
  sent.push(fields)
  const [, sub, nonce] = /^good-(\w+)-(.*)$/.exec(fields.get('code') ?? '') ?? []
  if (sub === undefined) return [400, { error: 'invalid_grant', error_description: `no such code: ${body}` }]
  return [
    200,
    {
      access_token: 'opaque-access',
      token_type: 'bearer',
      refresh_token: 'opaque-refresh',
      id_token: idToken(sub, { nonce, aud: 'web' }),
    },
  ]
}

function idToken(sub: string, change: object = {}, by = key): string {
  const iat = Math.floor(nowMs / 1000)
  return signed(by, { iss: issuer, aud: 'web', sub, iat, exp: iat + 600, ...change })
}

before(async () => {
  provider = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk
    })
    request.on('end', () => {
      const [status, value] = answer(request.url ?? '', body)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    })
  })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
  issuer = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
  writeFileSync(join(folder, 'secret'), clientSecret)
})
after(() => {
  door.stop()
  provider.closeAllConnections()
  provider.close()
  rmSync(folder, { recursive: true })
})
beforeEach(async () => {
  door?.stop()
  door = await startedDoor()
})

async function startedDoor(): Promise<HttpDoor> {
  const providers = new ProvidersInForce()
  providers.setDocuments(
    loadProviders(`apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", allowPrivate: true, audiences: [web], algorithms: [ES256] }
`),
  )
  providers.setKeySets([{ provider: 'corp', issuer, keys: [key.jwk], fetchedAtMs: nowMs }])
  const logIn = { issuer, clientId: 'web', clientSecretFile: join(folder, 'secret'), token: 'id' as const }
  const started = new HttpDoor({
    revocations: Revocations.none,
    config: {
      address: '127.0.0.1',
      port: 0,
      applications: [
        { name: 'shop', workload: 'spiffe://demo.local/svc/web', url: 'https://shop.example.com', logIn },
        { name: 'api', workload: 'spiffe://demo.local/svc/api' },
      ],
    },
    providers,
    trustDomain: 'demo.local',
    ask: async ({ token }) => ({ token: `txn-of-${token.length}`, transaction: 't', expiresAtMs: nowMs + 300_000 }),
    log: createLogger('door', { write: (line) => logged.push(line) }),
    nowMs: () => nowMs,
  })
  await started.start()
  return started
}

interface Answered {
  readonly status: number
  readonly text: string
  readonly headers: NodeJS.Dict<string | string[]>
}

/** As NGINX asks, for a client at that address. */
function ask(
  path: string,
  address = '192.0.2.1',
  lines: string[] = [],
  method = 'GET',
  application = 'shop',
): Promise<Answered> {
  const headers = ['Host', 'gateway', 'X-Ringfence-Application', application, 'X-Ringfence-Client', address, ...lines]
  return askRaw(path, headers, method)
}

function askRaw(path: string, headers: string[], method = 'GET'): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: '127.0.0.1', port: door.port, path, method, headers, agent: false, setHost: false },
      (from) => {
        let text = ''
        from.on('data', (chunk: Buffer) => {
          text += chunk
        })
        from.on('end', () => resolve({ status: from.statusCode ?? 0, text, headers: from.headers }))
      },
    )
    request.on('error', reject)
    request.end()
  })
}

const bearer = (token: string): string[] => ['Authorization', `Bearer ${token}`]
const authenticate = (token: string, address?: string): Promise<Answered> =>
  ask('/authenticate', address, bearer(token))

interface Begun {
  readonly state: string
  readonly nonce: string
  readonly cookie: string
}

async function begin(address?: string, path = '/.ringfence/log-in'): Promise<Begun> {
  const { status, headers } = await ask(path, address, ['Accept', 'text/html'])
  assert.equal(status, 302)
  const { searchParams } = new URL(String(headers.location))
  const cookie = String((headers['set-cookie'] as string[])[0]).split(';')[0]!
  return { state: searchParams.get('state')!, nonce: searchParams.get('nonce')!, cookie }
}

const callback = ({ state, cookie }: Begun, code: string, address?: string): Promise<Answered> =>
  ask(`/.ringfence/callback?code=${code}&state=${state}`, address, ['Cookie', cookie])

/** The cookie of a session. */
async function logIn(sub: string, address?: string): Promise<string> {
  const begun = await begin(address)
  const { status, headers, text } = await callback(begun, `good-${sub}-${begun.nonce}`, address)
  assert.equal(status, 302, text)
  return String((headers['set-cookie'] as string[])[0]).split(';')[0]!
}

async function many(times: number, work: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < times; i += 20)
    await Promise.all(Array.from({ length: Math.min(20, times - i) }, (_, n) => work(i + n)))
}

const causes = (): Map<string, number> => {
  const found = new Map<string, number>()
  for (const { cause, count } of door.takeRefused().refusals ?? []) found.set(cause, (found.get(cause) ?? 0) + count)
  return found
}

suite('log-ins over HTTP are bounded', () => {
  const { logInsRefusedPerAddressBurstMax: ofAddress, logInsRefusedPerClaimBurstMax: ofClaim } = limits

  it('by address: bearer tokens and codes alike, and others come in', async () => {
    const known = idToken('alice')
    assert.equal((await authenticate(known, '192.0.2.66')).status, 204)
    const session = await logIn('bob', '192.0.2.66')
    await many(ofAddress - 5, (i) => authenticate(idToken(`m${i}`, {}, foreign), '192.0.2.66'))
    // The provider is asked about so many codes, and about no more.
    const before = sent.length
    const logIns = await Promise.all(Array.from({ length: 12 }, () => begin('192.0.2.66')))
    const statuses: number[] = []
    for (const one of logIns) statuses.push((await callback(one, 'guessed', '192.0.2.66')).status)
    assert.deepEqual(statuses, [...Array(5).fill(503), ...Array(7).fill(429)])
    assert.equal(sent.length - before, 5)
    const refused = await authenticate(idToken('carol'), '192.0.2.66')
    assert.deepEqual([refused.status, refused.text], [403, 'too many log-ins were refused before; try again later\n'])
    // Who is verified is not kept out, at that very address: by a token that is known, and by a session.
    assert.equal((await authenticate(known, '192.0.2.66')).status, 204)
    assert.equal((await authenticate(idToken('alice', { jti: 'renewed' }), '192.0.2.66')).status, 204)
    assert.equal((await ask('/authenticate', '192.0.2.66', ['Cookie', session])).status, 204)
    // Nor are others.
    assert.equal((await authenticate(idToken('carol'), '192.0.2.67')).status, 204)
    await logIn('carol', '192.0.2.67')
    const told = causes()
    assert.ok((told.get('too-many-attempts') ?? 0) >= 8, JSON.stringify([...told]))
    // A log-in that was not looked at is not spent.
    nowMs += 5_000
    const last = logIns.at(-1)!
    assert.equal((await callback(last, `good-dora-${last.nonce}`, '192.0.2.66')).status, 302)
  })

  it('by who is claimed, and who was here from her address is not kept out by others', async () => {
    assert.equal((await authenticate(idToken('alice'), '192.0.2.7')).status, 204)
    await logIn('bob', '192.0.2.8')
    for (const sub of ['alice', 'bob'])
      await many(ofClaim, (i) => authenticate(idToken(sub, { jti: `${i}` }, foreign), `198.51.100.${i}`))
    for (const [sub, address] of [
      ['alice', '192.0.2.7'],
      ['bob', '192.0.2.8'],
    ] as const) {
      const fresh = idToken(sub, { jti: 'fresh' })
      assert.equal((await authenticate(fresh, '203.0.113.1')).status, 403, sub)
      assert.equal((await authenticate(fresh, address)).status, 204, sub)
    }
    assert.equal((await authenticate(idToken('carol'), '203.0.113.1')).status, 204)
  })

  it('by what it costs to begin one, each address for itself', async () => {
    // `sessions.test.ts` fills it: an address forgets its own.
    const owners = async (address: string): Promise<string> => (await begin(address)).state.slice(0, 16)
    const [one, again, other] = [await owners('192.0.2.1'), await owners('192.0.2.1'), await owners('192.0.2.2')]
    const ofOne = [await owners('2001:db8::1'), await owners('2001:db8::2'), await owners('2001:db8:0:1::1')]
    assert.ok(one === again && one !== other)
    assert.ok(ofOne[0] === ofOne[1] && ofOne[1] !== ofOne[2])
  })

  it('and each is told, with its address and cause, to who asks why', async () => {
    const now = Math.floor(nowMs / 1000)
    await authenticate(idToken('alice', { exp: now - 9, iat: now - 99 }), '192.0.2.7')
    await authenticate(idToken('alice', { aud: 'other', jti: 'the-id' }), '192.0.2.7')
    await ask('/.ringfence/callback?code=x&state=y', '192.0.2.7')
    await callback(await begin('192.0.2.7'), 'guessed', '192.0.2.7')
    const rows = door.takeRefused().refusals ?? []
    assert.deepEqual(
      rows.map(({ cause, address, listener, claimed }) => [cause, address, listener, claimed]),
      [
        ['expired', '192.0.2.7', 'http of shop', 'corp/alice'],
        ['audience', '192.0.2.7', 'http of shop', 'corp/alice'],
        ['other', '192.0.2.7', 'http of shop', undefined],
      ],
    )
    assert.deepEqual([rows[1]?.tokenId, rows[2]?.count], ['the-id', 2])
    assert.equal(door.takeRefused().refusals, undefined, 'once')
  })
})

suite('a log-in over HTTP leads nowhere', () => {
  it('by a path that only reads like one of the door', async () => {
    const shown = bearer(idToken('alice'))
    assert.equal((await ask('/authenticate', undefined, shown)).status, 204)
    assert.equal((await ask('/authenticate?x=/../y', undefined, shown)).status, 204)
    for (const path of [
      '/.ringfence/..\\authenticate',
      '/.ringfence/../authenticate',
      '/.ringfence/%2e%2e/authenticate',
      '/.ringfence\\..\\authenticate',
      '//authenticate',
      '/authenticate/',
      '/./authenticate',
      '/Authenticate',
      '/authenticate%20',
      '/authenticate;x',
      'http://x/authenticate',
    ]) {
      const { status, headers } = await ask(path, undefined, shown)
      assert.deepEqual([status, headers['txn-token']], [404, undefined], path)
    }
  })

  it('to another site, wherever the page is named', async () => {
    for (const to of [
      '/.//evil.example.com',
      '/..//evil.example.com',
      '/%2e//evil.example.com',
      '/./\\evil',
      '/x/..//evil',
      '/..\\/evil',
    ]) {
      for (const begun of [
        await begin('192.0.2.1', `/.ringfence/log-in?to=${encodeURIComponent(to)}`),
        await ask('/.ringfence/log-in', '192.0.2.1', ['Accept', 'text/html', 'X-Ringfence-Return', to]).then(
          ({ headers }) => ({
            state: new URL(String(headers.location)).searchParams.get('state')!,
            nonce: new URL(String(headers.location)).searchParams.get('nonce')!,
            cookie: String((headers['set-cookie'] as string[])[0]).split(';')[0]!,
          }),
        ),
      ]) {
        const { headers } = await callback(begun, `good-alice-${begun.nonce}`)
        assert.equal(
          new URL(String(headers.location), 'https://shop.example.com/').origin,
          'https://shop.example.com',
          to,
        )
      }
    }
  })

  it('without an application and an address that NGINX says, once', async () => {
    const shown = bearer(idToken('alice'))
    const client = ['X-Ringfence-Client', '192.0.2.1']
    const shop = ['X-Ringfence-Application', 'shop']
    for (const [lines, status] of [
      [[...shop, ...client], 204],
      [[...shop, 'X-Ringfence-Client', '2001:db8::1'], 204],
      [client, 400],
      [shop, 400],
      [[...shop, 'X-Ringfence-Client', 'unix:'], 400],
      [[...shop, 'X-Ringfence-Client', '192.0.2.1, 192.0.2.2'], 400],
      [[...shop, ...client, ...client], 403],
      [[...shop, ...shop, ...client], 403],
      [['X-Ringfence-Application', 'shop, shop', ...client], 400],
      [[...shop, ...client, 'X_Ringfence_Client', '192.0.2.1'], 403],
      [[...shop, ...client, ...bearer(idToken('bob'))], 403],
      [[...shop, ...client, 'X-Forwarded-For', '198.51.100.9', 'Host', 'evil.example.com'], 204],
    ] as const)
      assert.equal((await askRaw('/authenticate', ['Host', 'x', ...shown, ...lines])).status, status, lines.join(' '))
  })

  it('for another application, with a session of this one; and the session is of the log-in, not of before (fixation)', async () => {
    const fixed = '__Host-ringfence=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    const begun = await begin()
    const { headers } = await ask(
      `/.ringfence/callback?code=good-alice-${begun.nonce}&state=${begun.state}`,
      undefined,
      ['Cookie', `${begun.cookie}; ${fixed}`],
    )
    const session = String((headers['set-cookie'] as string[])[0]).split(';')[0]!
    assert.notEqual(session, fixed)
    assert.equal((await ask('/authenticate', undefined, ['Cookie', fixed])).status, 401)
    assert.equal((await ask('/authenticate', undefined, ['Cookie', session])).status, 204)
    assert.equal((await ask('/authenticate', undefined, ['Cookie', session], 'GET', 'api')).status, 401)
    // A log-in cookie is no session, and a session no log-in.
    assert.equal((await ask('/authenticate', undefined, ['Cookie', begun.cookie])).status, 401)
  })

  it('by what another gateway began, or the same one before it was started anew: one logs in there again', async () => {
    const session = await logIn('alice')
    const begun = await begin()
    const first = door
    door = await startedDoor()
    try {
      const page = ['Cookie', session, 'Accept', 'text/html']
      assert.equal((await ask('/authenticate', undefined, page)).status, 401)
      const { status, headers } = await ask('/.ringfence/log-in', undefined, page)
      assert.deepEqual([status, String(headers.location).startsWith(issuer)], [302, true])
      assert.equal((await ask('/.ringfence/log-in', undefined, ['Cookie', session])).status, 401)
      const ended = await callback(begun, `good-alice-${begun.nonce}`)
      assert.equal(ended.status, 400)
      assert.match(ended.text, /was not begun in this browser, or is over/)
      const again = await logIn('alice')
      assert.equal((await ask('/authenticate', undefined, ['Cookie', again])).status, 204)
      // A bearer token is nobody's: each gateway verifies it.
      assert.equal((await authenticate(idToken('alice'))).status, 204)
    } finally {
      door.stop()
      door = first
    }
    // Where it was begun it goes on.
    assert.equal((await ask('/authenticate', undefined, ['Cookie', session])).status, 204)
    assert.equal((await callback(begun, `good-alice-${begun.nonce}`)).status, 302)
  })

  it('by a cookie that stands twice, a state of another browser, or a nonce of another log-in', async () => {
    const [own, other] = [await begin(), await begin()]
    const path = (state: string, nonce: string): string =>
      `/.ringfence/callback?code=good-alice-${nonce}&state=${state}`
    for (const [state, nonce, cookies, status] of [
      [own.state, own.nonce, [other.cookie], 400],
      [own.state, own.nonce, [`${own.cookie}; ${other.cookie}`], 400],
      [own.state, own.nonce, [], 400],
      [`${own.state}&state=${other.state}`, own.nonce, [own.cookie], 503],
      [other.state, own.nonce, [other.cookie], 503],
    ] as const) {
      const lines = cookies.flatMap((one) => ['Cookie', one])
      assert.equal((await ask(path(state, nonce), undefined, lines)).status, status, `${state} ${cookies.join()}`)
    }
  })

  it('and it ends by POST of the application’s pages, also beside a bearer token', async () => {
    const session = await logIn('alice')
    const lines = ['Cookie', session]
    const out = (origin: string[], method = 'POST'): Promise<Answered> =>
      ask('/.ringfence/log-out', undefined, [...lines, ...bearer(idToken('bob')), ...origin], method)
    for (const [origin, method, status] of [
      [[], 'GET', 405],
      [['Origin', 'https://evil.example.com'], 'POST', 403],
      [['Origin', 'null'], 'POST', 403],
      [['Origin', 'https://shop.example.com.evil'], 'POST', 403],
      [['Origin', 'http://shop.example.com'], 'POST', 403],
    ] as const)
      assert.equal((await out([...origin], method)).status, status, origin.join())
    assert.equal((await ask('/authenticate', undefined, lines)).status, 204)
    assert.equal((await out(['Origin', 'https://shop.example.com'])).status, 200)
    assert.equal((await ask('/authenticate', undefined, lines)).status, 401)
  })

  it('asks a provider about itself once, however many wait for it', async () => {
    const before = discovered
    await Promise.all(Array.from({ length: 30 }, () => begin()))
    assert.equal(discovered - before, 1)
  })
})

suite('of log-ins over HTTP nothing is written', () => {
  it('that anybody showed: not by the door, nor in what the provider says about it', async () => {
    const token = idToken('alice', { aud: 'other' })
    await authenticate(token)
    await authenticate(`${part({ alg: 'none' })}.${part({ sub: 'alice', mail: 'canary-claims' })}.`)
    const begun = await begin()
    const told = [(await callback(begun, 'canary-code')).text, (await callback(begun, 'canary-code')).text]
    const session = await logIn('alice')
    await ask('/authenticate', undefined, ['Cookie', session])
    const everything = [...logged, ...told, JSON.stringify(door.takeRefused())].join('\n')
    const secrets = [
      ...token.split('.').slice(1),
      'canary-code',
      'canary-claims',
      begun.state,
      begun.nonce,
      begun.cookie.split('=')[1]!,
      session.split('=')[1]!,
      clientSecret,
      'opaque-',
      ...sent.map((fields) => fields.get('code_verifier') ?? clientSecret),
    ]
    for (const secret of secrets) assert.ok(!everything.includes(secret), secret)
    assert.doesNotMatch(everything, /eyJ[\w-]{8}/)
    assert.match(everything, /refuses \(invalid_grant\)/)
  })
})
