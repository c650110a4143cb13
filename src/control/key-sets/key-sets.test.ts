/** The fetching of keys: what a provider may answer, how it may fail, and what of it reaches the proxies. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { ManualClock } from '../../base/clock.fixture.ts'
import type { PublicJwk } from '../../identity/jwt/keys.ts'
import { makeKey } from '../../identity/jwt/tokens.fixture.ts'
import type { KeySource } from '../../identity/providers/provider.ts'
import { Observed } from '../../mesh/observable.ts'
import { addressFault } from '../../mesh/public-address.ts'
import { type PolicySnapshot, pushedKinds } from '../../mesh/pushed.ts'
import { createLogger } from '../../telemetry/log.ts'
import { type FetchKeys, fetchKeys } from './fetch-keys.ts'
import { KeySets } from './key-sets.ts'

const keys = [makeKey('k1').jwk, makeKey('k2', 'RS256').jwk]
let server: Server
let origin: string
let answer: (path: string, response: ServerResponse, request: IncomingMessage) => void
const asked: string[] = []

before(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? '')
    answer(request.url ?? '', response, request)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  asked.length = 0
  answer = (path, response) => {
    const issuer = `${origin}/realms/corp`
    const found: Record<string, unknown> = {
      '/realms/corp/.well-known/openid-configuration': { issuer, jwks_uri: `${origin}/keys`, more: 1 },
      '/keys': { keys },
    }
    response.statusCode = path in found ? 200 : 404
    response.end(JSON.stringify(found[path] ?? {}))
  }
})

const source = (change: Partial<KeySource> = {}): KeySource => ({
  at: { discoveryUrl: `${origin}/realms/corp/.well-known/openid-configuration`, issuer: `${origin}/realms/corp` },
  caPem: undefined,
  allowPrivate: true,
  refreshMs: 45_000,
  ...change,
})
const fetched = (from: KeySource, resolve?: Parameters<typeof fetchKeys>[2]): Promise<readonly PublicJwk[]> =>
  fetchKeys(from, new AbortController().signal, resolve)
const says = (body: string, status = 200, headers: Record<string, string> = {}): void => {
  answer = (_, response) => response.writeHead(status, headers).end(body)
}
const atKeys = (): KeySource => source({ at: { keysUrl: `${origin}/keys` } })

describe('keys of a provider', () => {
  it('are found by discovery, or at the address that is given', async () => {
    assert.deepEqual(await fetched(source()), keys)
    assert.deepEqual(await fetched(atKeys()), keys)
    assert.deepEqual(asked, ['/realms/corp/.well-known/openid-configuration', '/keys', '/keys'])
  })

  it('may be none; one that cannot be used costs itself only', async () => {
    says('{"keys":[]}')
    assert.deepEqual(await fetched(atKeys()), [])
    says(JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0' }, keys[0], { kty: 'new' }, null] }))
    assert.deepEqual(await fetched(atKeys()), [keys[0]])
  })

  const bads: Record<string, [RegExp, () => void]> = {
    'no JSON': [/JSON/, () => says('<html>')],
    'no key set': [/is no key set/, () => says('{"a":1}')],
    'a redirect': [/redirects are not followed/, () => says('', 302, { location: `${origin}/keys` })],
    'a failure': [/status 500/, () => says('{"keys":[]}', 500)],
    'no end': [/longer than 524288 bytes/, () => says(`{"keys":[${'1,'.repeat(300_000)}1]}`)],
    'a connection that is cut': [/socket hang up|aborted/, () => (answer = (_, response) => response.destroy())],
    'less than it announces': [
      /aborted/,
      () =>
        (answer = (_, response) => {
          response.writeHead(200, { 'content-length': '100' }).write('{"keys":')
          setTimeout(() => response.destroy(), 20)
        }),
    ],
  }
  for (const [name, [reason, set]] of Object.entries(bads)) {
    it(`are not taken of ${name}`, async () => {
      set()
      await assert.rejects(
        fetched(atKeys()),
        (error: Error) => reason.test(error.message) && error.message.includes(origin),
      )
    })
  }

  it('are not taken where the discovery document is another issuer’s, or sends elsewhere', async () => {
    for (const [document, reason] of [
      [{ issuer: `${origin}/realms/other`, jwks_uri: `${origin}/keys` }, /is of the issuer/],
      [{ issuer: `${origin}/realms/corp/`, jwks_uri: `${origin}/keys` }, /is of the issuer/],
      [{ issuer: `${origin}/realms/corp` }, /no "jwks_uri"/],
      [{ issuer: `${origin}/realms/corp`, jwks_uri: 'file:///etc/passwd' }, /must begin with https/],
      [{ issuer: `${origin}/realms/corp`, jwks_uri: 'http://169.254.169.254/latest' }, /must begin with https/],
    ] as const) {
      says(JSON.stringify(document))
      await assert.rejects(fetched(source()), reason)
    }
  })

  it('are asked for at public addresses only, by the address that was looked at, unless the document says otherwise', async () => {
    await assert.rejects(fetched(source({ allowPrivate: false })), /allowPrivate: true/)
    const atHost = source({ at: { keysUrl: 'https://id.example.com/keys' }, allowPrivate: false })
    for (const address of [
      '10.0.0.1',
      '127.0.0.1',
      '169.254.169.254',
      '::1',
      'fd00::1',
      '::ffff:10.0.0.1',
      '0.0.0.0',
    ]) {
      const family = address.includes(':') ? 6 : 4
      const public_ = { address: '192.0.2.1', family: 4 }
      await assert.rejects(
        fetched(atHost, async () => [public_, { address, family }]),
        /not a public address|never called/,
        address,
      )
    }
    await assert.rejects(
      fetched(atHost, async () => []),
      /has no address/,
    )
    const { port } = new URL(origin)
    const named = source({ at: { keysUrl: `http://localhost:${port}/keys` } })
    assert.deepEqual(await fetched(named, async () => [{ address: '127.0.0.1', family: 4 }]), keys)
    await assert.rejects(
      fetched(named, async () => [{ address: '10.0.0.1', family: 4 }]),
      /is not loopback/,
    )
  })
})

describe('addresses', () => {
  it('are public, private where that is allowed, or never called', () => {
    for (const address of ['8.8.8.8', '2606:4700::1111', '172.32.0.1', '100.128.0.1'])
      assert.equal(addressFault(address, false), undefined)
    for (const address of [
      '10.1.2.3',
      '172.16.0.1',
      '192.168.1.1',
      '100.64.0.1',
      '127.0.0.1',
      '::1',
      'fc00::1',
      '::ffff:192.168.0.1',
    ]) {
      assert.match(addressFault(address, false) ?? '', /not a public/, address)
      assert.equal(addressFault(address, true), undefined, address)
    }
    for (const address of [
      '169.254.169.254',
      '0.0.0.0',
      '::',
      'fe80::1',
      '224.0.0.1',
      '255.255.255.255',
      '::ffff:169.254.169.254',
      '64:ff9b::a00:1',
      '2002:a00:1::',
    ])
      assert.match(addressFault(address, true) ?? '', /never called/, address)
  })
})

/** Key sets over a provider in the test's hand, with a clock that stands still until it is moved. */
class Bench {
  readonly stateDir = mkdtempSync(join(tmpdir(), 'ringfence-keys-'))
  readonly policy: Observed<PolicySnapshot>
  readonly published = new Observed(pushedKinds.keySets.empty, (value) => pushedKinds.keySets.version(value))
  readonly calls: KeySource[] = []
  answer: () => Promise<readonly PublicJwk[]> = async () => keys
  readonly clock = new ManualClock()
  readonly #sets: KeySets[] = []

  constructor(text = documentOf()) {
    this.policy = new Observed({ revision: 1, source: text }, ({ source: one }) => one)
  }

  start(): KeySets {
    const fetch: FetchKeys = (from) => {
      this.calls.push(from)
      return this.answer()
    }
    const { policy, published, stateDir, clock } = this
    const sets = new KeySets({ policy, published, clock, log: createLogger('keys', { write() {} }), stateDir, fetch })
    this.#sets.push(sets)
    sets.start()
    return sets
  }

  get told(): Record<string, number> {
    return Object.fromEntries(this.published.current.map(({ provider, keys: own }) => [provider, own.length]))
  }

  close(): void {
    for (const sets of this.#sets) sets.stop()
    rmSync(this.stateDir, { recursive: true })
  }
}

function documentOf(name = 'corp', issuer = 'https://id.example.com'): string {
  return `apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: ${name} }\nspec: { type: oidc, issuer: "${issuer}", audiences: [a] }\n`
}
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

describe('what proxies are told', () => {
  it('follows the policy: a provider that comes, changes or goes', async () => {
    const bench = new Bench()
    bench.start()
    await settled()
    assert.deepEqual(bench.told, { corp: 2 })
    bench.policy.set({ revision: 2, source: `${documentOf()}---\n${documentOf('other', 'https://b.example')}` })
    await settled()
    assert.deepEqual(bench.told, { corp: 2, other: 2 })
    assert.equal(bench.calls.length, 2, 'the first was not asked again')
    bench.answer = () => Promise.reject(new Error('away'))
    bench.policy.set({ revision: 3, source: documentOf('corp', 'https://c.example') })
    await settled()
    assert.deepEqual(bench.told, {}, 'keys of another issuer are nobody’s')
    bench.close()
  })

  it('is each change at once, also that keys are fewer or none', async () => {
    const bench = new Bench()
    const sets = bench.start()
    await settled()
    for (const now of [keys.slice(0, 1), [], keys]) {
      bench.clock.advance(31_000)
      bench.answer = async () => now
      sets.want(['corp'])
      await settled()
      assert.deepEqual(bench.told, { corp: now.length })
    }
    bench.close()
  })

  it('is asked for no more often than each 30 s, whatever proxies want, and of no provider that the policy lacks', async () => {
    const bench = new Bench()
    const sets = bench.start()
    await settled()
    for (let i = 0; i < 100; i++) {
      bench.clock.advance(1000)
      sets.want(['corp', 'corp', 'unheard'])
      await settled()
    }
    assert.equal(bench.calls.length, 1 + 3)
    bench.close()
  })

  it('follows within 20 s when a provider is back, however long it was away', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const bench = new Bench()
    bench.answer = () => Promise.reject(new Error('away'))
    bench.start()
    const askedAtMs: number[] = []
    for (let nowMs = 0; nowMs < 600_000; nowMs += 1_000) {
      await turn()
      for (let more = bench.calls.length - askedAtMs.length; more > 0; more--) askedAtMs.push(nowMs)
      t.mock.timers.tick(1_000)
    }
    await turn()
    const gapsMs = askedAtMs.slice(1).map((atMs, at) => atMs - askedAtMs[at]!)
    assert.ok(Math.max(...gapsMs) <= 20_000, gapsMs.join(' '))
    assert.ok(askedAtMs.length < 70, `asked ${askedAtMs.length} times`)
    bench.answer = async () => keys
    t.mock.timers.tick(20_000)
    await turn()
    assert.deepEqual(bench.told, { corp: 2 })
    bench.close()
  })

  it('stays while the provider is away, through a restart of the control plane too', async () => {
    const bench = new Bench()
    bench.start().stop()
    const first = bench.start()
    await settled()
    const told = bench.published.current
    bench.answer = () => Promise.reject(new Error('away'))
    bench.clock.advance(60_000)
    first.want(['corp'])
    await settled()
    assert.equal(bench.published.current, told)
    first.stop()
    bench.published.set([])
    bench.start()
    assert.deepEqual(bench.told, { corp: 2 }, 'before anything was fetched')
    await settled()
    assert.deepEqual(bench.published.current, told, 'with the time at which they were fetched')
    bench.published.set([])
    writeFileSync(join(bench.stateDir, 'key-sets.json'), '{"keySets":7')
    bench.start()
    assert.deepEqual(bench.told, {})
    bench.close()
  })
})
