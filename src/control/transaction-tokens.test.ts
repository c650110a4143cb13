/** Who gets a transaction token of the control plane, for whom and for how long. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { KeyRing } from '../identity/jwt/keys.ts'
import { makeKey, signed } from '../identity/jwt/tokens.fixture.ts'
import { ProvidersInForce } from '../identity/providers/in-force.ts'
import { Revocations } from '../identity/revoked/revocations.ts'
import { verifyTxnToken } from '../identity/txn/token.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { madeTxnToken, txnTokensPath } from '../mesh/transaction-tokens.ts'
import { loadProviders } from '../policy/providers.ts'
import { LogInRefusals } from '../session/refusals.ts'
import { createLogger } from '../telemetry/log.ts'
import type { Member } from './callers.ts'
import { eventually, type Mesh, overHttps, withMesh } from './mesh.fixture.ts'
import type { ControlParts } from './services/parts.ts'
import { makeToken } from './services/transaction-tokens.ts'
import { CallerBudgets } from './txn/caller-budgets.ts'

const key = makeKey('idp')
const policy = `apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: https://login.example.com
  audiences: [ringfence]
  claims: { groups: groups, forPolicy: [acr] }
---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: jobs }
spec:
  type: oidc
  issuer: https://jobs.example.com
  audiences: [ringfence]
  claims: { workload: azp, workloadPrefix: job/ }
`
const web = 'spiffe://demo.local/svc/web'

function idToken(claims: object = {}): string {
  const iat = Math.floor(Date.now() / 1000)
  const usual = {
    iss: 'https://login.example.com',
    aud: 'ringfence',
    sub: 'alice',
    iat,
    exp: iat + 3600,
    groups: ['staff'],
    acr: 'mfa',
  }
  return signed(key, { ...usual, ...claims })
}

const asked = (mesh: Mesh, credentials: Parameters<typeof overHttps>[1], body: object) =>
  overHttps(mesh, credentials, 'POST', '/v1/transaction-tokens', body) as Promise<{
    status: number
    body: Record<string, never>
  }>

describe('a loop that asks for transaction tokens', () => {
  it('takes no more than one caller may have, and nothing of others', () => {
    let ms = 0
    const budgets = new CallerBudgets({ now: () => ms, monotonic: () => ms })
    const { txnTokensPerCallerBurstMax: burst, txnTokensPerCallerPerSecondMax: perSecond } = limits
    for (let at = 0; at < burst; at++) budgets.take(web)
    assert.throws(() => budgets.take(web), { code: 'OVERLOADED' })
    budgets.take('spiffe://demo.local/svc/other')
    ms = 1000
    for (let at = 0; at < perSecond; at++) budgets.take(web)
    assert.throws(() => budgets.take(web), { code: 'OVERLOADED' })
  })

  it('is told so before a token is looked at', async () => {
    const txnBudgets = new CallerBudgets({ now: () => 0, monotonic: () => 0 })
    for (let at = 0; at < limits.txnTokensPerCallerBurstMax; at++) txnBudgets.take(web)
    const revocations = { current: Revocations.none }
    const clock = { now: () => 0 }
    const parts = {
      txnBudgets,
      revocations,
      clock,
      store: { agent: () => undefined },
      ca: { trustDomain: 'demo.local' },
    }
    const caller = { kind: 'member', peer: { spiffeId: web } } as unknown as Member
    const order = { token: 'junk', lifeMs: 60_000 }
    await assert.rejects(makeToken(parts as unknown as ControlParts, caller, order), { code: 'OVERLOADED' })
  })
})

describe('POST /v1/transaction-tokens', () => {
  it('gives a workload a token for itself, a gateway one for a workload behind it, and nobody one for others', () =>
    withMesh({ fetchKeys: async () => [key.jwk] }, async (mesh) => {
      await mesh.admin.applyPolicy(policy, 'p.yaml', false)
      await eventually('the keys', () => mesh.control.value(pushedKinds.keySets).current.length === 2)
      const workload = await mesh.admin.mint({ spiffeId: web })
      const gateway = await mesh.agent('g1', await mesh.token('spiffe://demo.local/ringfence/gateway/g1', 'gateway'), {
        role: 'gateway',
      })
      const sidecar = await mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'))
      const ring = new KeyRing(mesh.control.value(pushedKinds.txnKeys).current)
      const verified = (token: string) => verifyTxnToken(token, ring, 'demo.local', Date.now())

      const shown = idToken({ jti: 'j-7' })
      const own = await asked(mesh, workload, { token: shown, transaction: 'request-7', lifeMs: 60_000 })
      assert.equal(own.status, 200, JSON.stringify(own.body))
      const { token, transaction, expiresAtMs } = own.body as unknown as {
        token: string
        transaction: string
        expiresAtMs: number
      }
      const made = await verified(token)
      assert.deepEqual(made, {
        person: 'corp/alice',
        groups: ['corp/staff'],
        claims: { acr: 'mfa' },
        workload: web,
        transaction: 'request-7',
        expiresAtMs,
        // By what it may be revoked.
        source: { provider: 'corp', id: 'j-7', hash: createHash('sha256').update(shown).digest('hex'), key: 'idp' },
      })
      assert.equal(transaction, 'request-7')
      assert.ok(expiresAtMs > Date.now() + 50_000 && expiresAtMs <= Date.now() + 60_000)

      const forWeb = await asked(mesh, gateway.credentials.current, { token: idToken(), workload: web })
      assert.equal((await verified(forWeb.body.token!)).workload, web)
      // As the agent of a gateway asks.
      const through = await gateway.askControl(txnTokensPath, { token: idToken(), workload: web }, madeTxnToken)
      assert.equal((await verified(through.token)).person, 'corp/alice')
      // It ends no later than what was shown.
      const soon = Math.floor(Date.now() / 1000) + 20
      const short = await asked(mesh, workload, { token: idToken({ exp: soon }) })
      assert.equal(short.body.expiresAtMs, soon * 1000)

      const refusals: [string, typeof workload, object, RegExp][] = [
        [
          'another workload',
          workload,
          { token: idToken(), workload: 'spiffe://demo.local/svc/other' },
          /for itself only/,
        ],
        [
          'a sidecar for a workload',
          sidecar.credentials.current as never,
          { token: idToken(), workload: web },
          /for itself only/,
        ],
        ['a sidecar for itself', sidecar.credentials.current as never, { token: idToken() }, /no workload/],
        ['a gateway for itself', gateway.credentials.current as never, { token: idToken() }, /no workload/],
        [
          'a person',
          gateway.credentials.current as never,
          { token: idToken(), workload: 'spiffe://demo.local/user/corp/bob' },
          /no workload/,
        ],
        [
          'another domain',
          gateway.credentials.current as never,
          { token: idToken(), workload: 'spiffe://evil.local/svc/web' },
          /no workload/,
        ],
        ['expired', workload, { token: idToken({ exp: 1 }) }, /expired/],
        ['of another issuer', workload, { token: idToken({ iss: 'https://evil.example.com' }) }, /issuer/],
        ['for another audience', workload, { token: idToken({ aud: 'x' }) }, /audience/],
        [
          'by another key',
          workload,
          { token: signed(makeKey('idp'), { iss: 'https://login.example.com' }) },
          /signature/,
        ],
        ['of a job', workload, { token: idToken({ iss: 'https://jobs.example.com', azp: 'etl' }) }, /not of a person/],
        ['a transaction token', workload, { token }, /issuer/],
        ['no token', workload, { token: 'x' }, /JSON Web Token/],
      ]
      for (const [name, credentials, body, words] of refusals) {
        const { status, body: said } = await asked(mesh, credentials, body)
        assert.equal(status, 403, name)
        assert.match(JSON.stringify(said), words, name)
      }
      for (const body of [
        { token: idToken(), lifeMs: 59_999 },
        { token: idToken(), lifeMs: 300_001 },
        { token: idToken(), transaction: 'a b' },
      ])
        assert.equal((await asked(mesh, workload, body)).status, 400)
    }))

  it('looks at no more tokens of a member that showed too many that were refused, and at those of others', async () => {
    const providers = new ProvidersInForce()
    providers.setDocuments(loadProviders(policy))
    const keySet = { provider: 'corp', issuer: 'https://login.example.com', keys: [key.jwk], fetchedAtMs: Date.now() }
    providers.setKeySets([keySet])
    const log = createLogger('t', { write() {} })
    const nowMs = Date.now()
    const logInRefusals = new LogInRefusals(log, () => nowMs)
    const { privateKey } = makeKey('txn')
    const parts = {
      ...{ providers, logInRefusals, log, clock: { now: () => nowMs }, ca: { trustDomain: 'demo.local' } },
      ...{
        revocations: { current: Revocations.none },
        store: { agent: () => undefined },
        txnKeys: { signer: { kid: 'txn', privateKey } },
      },
      txnBudgets: new CallerBudgets({ now: () => 0, monotonic: () => 0 }),
    } as unknown as ControlParts
    const ask = (spiffeId: string, token: string): Promise<string> =>
      makeToken(parts, { kind: 'member', peer: { spiffeId } } as Member, { token, lifeMs: 60_000 }).then(
        () => 'made',
        (reason: Error) => reason.message,
      )
    const forged = signed(makeKey('idp'), { iss: 'https://login.example.com', sub: 'alice' })
    for (let i = 0; i < limits.logInsRefusedPerAddressBurstMax; i++)
      assert.match(await ask(web, forged), /signature/, String(i))
    assert.match(await ask(web, forged), /too many log-ins were refused before/)
    assert.match(await ask(web, idToken()), /too many log-ins were refused before/)
    assert.equal(await ask(`${web}-2`, idToken()), 'made', 'another member, for the very person')
    const { refusals } = logInRefusals.takeRecent()
    assert.deepEqual(
      refusals?.map(({ cause, address, listener }) => [cause, address, listener]),
      [
        ['signature', web, '/v1/transaction-tokens'],
        ['too-many-attempts', web, '/v1/transaction-tokens'],
      ],
    )
  })

  it('gives sidecars and gateways the public keys, also after a restart', () =>
    withMesh({}, async (mesh) => {
      const gateway = await mesh.agent('g1', await mesh.token('spiffe://demo.local/ringfence/gateway/g1', 'gateway'), {
        role: 'gateway',
      })
      const sidecar = await mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'))
      const published = mesh.control.value(pushedKinds.txnKeys).current
      assert.equal(published.length, 1)
      await eventually('the keys', () => sidecar.value(pushedKinds.txnKeys).current.length === 1)
      assert.deepEqual(sidecar.value(pushedKinds.txnKeys).current, published)
      await eventually('the keys at the gateway', () => gateway.value(pushedKinds.txnKeys).current.length === 1)
      await mesh.control.stop()
      await mesh.restart()
      assert.deepEqual(mesh.control.value(pushedKinds.txnKeys).current, published, 'through a restart')
    }))
})
