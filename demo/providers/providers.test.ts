/** Who vouches in the demonstration: what its providers give to whom, as the mesh reads it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import type { PublicJwk } from '../../src/identity/jwt/keys.ts'
import { ProvidersInForce, type TokenIdentity } from '../../src/identity/providers/in-force.ts'
import type { ProviderDocument } from '../../src/identity/providers/provider.ts'
import { logInByBrowser } from '../../src/people/log-in-by-browser.ts'
import { discover, refreshed } from '../../src/people/provider.ts'
import { loadProviders } from '../../src/policy/providers.ts'
import { layoutOf } from '../parts/layout.ts'
import { policyFileFor } from '../parts/people.ts'
import { Browser } from '../workloads/browser.ts'
import { tokenPath, toolsClient } from './clients.ts'
import { cloudIssuer, role } from './cloud.ts'
import { corpProvider } from './corp.ts'

const servers: Server[] = []
let corp: string
let cloud: string
let documents: ProviderDocument[]

async function listen(made: (issuer: string) => RequestListener): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  server.on('request', made(issuer))
  return issuer
}

before(async () => {
  const people = new Map([
    ['alice', { password: 'of alice', groups: ['analysts'] }],
    ['bob', { password: 'of bob', groups: ['interns'] }],
  ])
  const site = 'https://127.0.0.1:9642'
  corp = await listen((issuer) => corpProvider({ issuer, site, shopSecret: 'of the shop', people }))
  cloud = await listen((issuer) => cloudIssuer(issuer, 'of the job'))
  // The documents of the demonstration's own policy, about these ports.
  const rules = readFileSync(policyFileFor(layoutOf('/nowhere', 1, 0)), 'utf8')
  documents = loadProviders(rules.replace('http://127.0.0.1:9842', corp).replace('http://127.0.0.1:9942', cloud))
})
after(() => {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
})

/** As a door does it, by the keys that the provider publishes now. */
async function identify(token: string): Promise<TokenIdentity> {
  const providers = new ProvidersInForce()
  providers.setDocuments(documents)
  const keySets = await Promise.all(
    [corp, cloud].map(async (issuer, at) => {
      const { jwks_uri: address } = (await json(`${issuer}/.well-known/openid-configuration`)) as { jwks_uri: string }
      const { keys } = (await json(address)) as { keys: PublicJwk[] }
      return { provider: ['corp', 'cloud'][at]!, issuer, keys, fetchedAtMs: Date.now() }
    }),
  )
  providers.setKeySets(keySets)
  return await providers.current.verify(token, 'demo.local', Date.now(), '127.0.0.1')
}

async function json(address: string, options?: RequestInit): Promise<unknown> {
  return await (await fetch(address, options)).json()
}

async function logIn(name: string, password: string) {
  const profile = { issuer: corp, clientId: toolsClient, token: 'access' as const }
  const browser = new Browser(name, password)
  let page: Promise<{ status: number; text: string }> | undefined
  const ended = logInByBrowser(
    await discover(profile),
    profile,
    (address) => {
      page = browser.open(address)
    },
    // Long enough for who is let in; who is not hears it from the page at once.
    password.startsWith('of ') ? 20_000 : 1_500,
  )
  const tokens = await ended.catch(() => undefined)
  return { profile, page, tokens }
}

describe('the company of the demonstration', () => {
  for (const [name, group] of [
    ['alice', 'corp/analysts'],
    ['bob', 'corp/interns'],
  ] as const) {
    it(`vouches for ${name} by her password, with her group, and renews that`, async () => {
      const { profile, tokens } = await logIn(name, `of ${name}`)
      assert.ok(tokens?.refreshToken !== undefined)
      const renewed = await refreshed(profile, tokens, tokens.refreshToken, 'demo', Date.now())
      assert.notEqual(renewed.token, tokens.token)
      for (const { token } of [tokens, renewed]) {
        const { person, groups, subject } = await identify(token)
        assert.deepEqual([person, groups], [`corp/${name}`, [group]])
        assert.equal(subject, `spiffe://demo.local/user/corp/${name}`)
      }
    })
  }

  for (const [name, password] of [
    ['alice', 'bob’s'],
    ['alice', ''],
    ['mallory', 'x'],
    ['__proto__', 'x'],
  ] as const) {
    it(`lets nobody in as ${name} by the password "${password}"`, async () => {
      const { page, tokens } = await logIn(name, password)
      assert.equal(tokens, undefined)
      assert.equal((await page)?.status, 403)
    })
  }
})

describe('the cloud of the demonstration', () => {
  const ask = (secret: string, audience = 'ringfence') =>
    json(`${cloud}${tokenPath}?audience=${audience}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
    }) as Promise<{ token?: string }>

  it('gives a token of its role, another one each time', async () => {
    const tokens = [await ask('of the job'), await ask('of the job')].map(({ token }) => token!)
    assert.notEqual(tokens[0], tokens[1])
    for (const token of tokens) {
      const { role: given, subject } = await identify(token)
      assert.deepEqual([given, subject], [role, 'spiffe://demo.local/aws/123456789012/role/forecast'])
    }
  })

  it('gives none without the secret, and none for here that is for elsewhere', async () => {
    assert.deepEqual(await ask('of another job'), {})
    assert.deepEqual(await json(cloud + tokenPath, { method: 'POST' }), {})
    const { token } = await ask('of the job', 'elsewhere')
    await assert.rejects(identify(token!))
  })
})
