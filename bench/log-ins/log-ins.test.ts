/** What the figures of log-ins are made of: the cost out of samples, and the tokens of the bench's own provider. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { parseOptions } from '../options.ts'
import { costOf, quietOf } from './costs.ts'
import type { Sample } from './probe.ts'
import { algorithms, BenchProvider, tokenMaker } from './provider.ts'

/** Each half second from 0 on, with so many milliseconds of work in each. */
function samplesOf(...workMs: readonly number[]): Sample[] {
  const samples = [{ atMs: 0, busyMs: 100, cpuMs: 50 }]
  for (const ms of workMs) {
    const { atMs, busyMs, cpuMs } = samples.at(-1)!
    samples.push({ atMs: atMs + 500, busyMs: busyMs + ms, cpuMs: cpuMs + ms / 2 })
  }
  return samples
}

describe('the cost of a log-in', () => {
  const quiet = quietOf(samplesOf(10, 10, 400, 10), 0, 2_000)

  it('is what a half second had more than a quiet one, for each that was done in it, at the median', () => {
    assert.deepEqual(quiet, { busyMs: 20, cpuMs: 10 })
    const doneAtMs = [1, 2, 501, 502, 503, 504, 1_001]
    const cost = costOf(samplesOf(14, 22, 500, 80), [0, 2_000], doneAtMs, quiet, 1)
    // 4 ms of two, 12 ms of four, 490 ms of one; nobody logged in in the last.
    assert.deepEqual(cost, { loopMs: 3, cpuMs: 1.5 })
  })

  it('has what neighbours did not ask for want of time', () => {
    assert.equal(costOf(samplesOf(15), [0, 500], [100], quiet, 0.5).loopMs, 10)
  })

  it('is none where nobody logged in, and leaves out what was before and after', () => {
    assert.ok(Number.isNaN(costOf(samplesOf(15), [0, 500], [], quiet, 1).loopMs))
    assert.ok(Number.isNaN(costOf(samplesOf(15, 15), [600, 1_000], [100, 700], quiet, 1).loopMs))
  })
})

describe('the identity provider of the bench', () => {
  let provider: BenchProvider
  before(async () => {
    provider = await BenchProvider.start()
  })
  after(() => provider.stop())

  it('makes tokens by the keys that it serves, of which no two are alike', async () => {
    const found = await fetch(`${provider.issuer}/.well-known/openid-configuration`)
    const { issuer, jwks_uri } = (await found.json()) as { issuer: string; jwks_uri: string }
    const keys = createRemoteJWKSet(new URL(jwks_uri))
    for (const algorithm of algorithms) {
      const make = tokenMaker(provider.signer, algorithm)
      const tokens = Array.from({ length: 20 }, make)
      assert.equal(new Set(tokens.map((token) => decodeJwt(token).jti)).size, tokens.length)
      const { payload } = await jwtVerify(tokens[0]!, keys, { issuer, audience: 'ringfence', algorithms: [algorithm] })
      assert.equal(payload.sub, 'person-0')
    }
    assert.equal((await fetch(`${provider.issuer}/token`)).status, 404)
  })

  it('shows no private key', async () => {
    const { keys } = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: object[] }
    for (const key of keys) assert.ok(!('d' in key))
  })
})

describe('the command line of log-ins', () => {
  it('has 500 a second by default, and less of everything where it is to be quick', () => {
    assert.equal(parseOptions([]).logIns, undefined)
    const whole = { rounds: 5, seconds: 8, perSecond: 500, requestRounds: 15, only: undefined }
    assert.deepEqual(parseOptions(['--log-ins']).logIns, whole)
    const quick = parseOptions(['--log-ins', '--quick', '--rate', '100', '--only', 'bare,requests']).logIns
    assert.deepEqual(quick, { rounds: 1, seconds: 4, perSecond: 100, requestRounds: 3, only: ['bare', 'requests'] })
  })
})
