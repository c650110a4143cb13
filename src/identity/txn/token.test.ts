import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import { KeyRing, publicJwk } from '../jwt/keys.ts'
import { parseSpiffeId } from '../spiffe.ts'
import { makeTxnToken, type TxnToken, verifyTxnToken } from './token.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signer = { kid: 'k', privateKey: createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })) }
const ring = new KeyRing([
  publicJwk.parse({ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256', use: 'sig' }),
])
const nowMs = 1_800_000_000_000
const token: TxnToken = {
  person: 'corp/alice@example.com',
  groups: ['corp/a', 'corp/b'],
  claims: { acr: 'mfa', amr: ['otp', 'pwd'], nested: { x: 1 } },
  workload: parseSpiffeId('spiffe://demo.local/svc/web'),
  source: { provider: 'corp', id: 'j/1', hash: 'ab'.repeat(32), key: 'k1' },
  transaction: 'e1f3',
  expiresAtMs: nowMs + 120_000,
}

describe('a transaction token', () => {
  it('comes back as it was made', async () => {
    const text = await makeTxnToken(signer, token, { method: 'GET', route: '/orders' }, nowMs)
    assert.deepEqual(await verifyTxnToken(text, ring, 'demo.local', nowMs + 1000), token)
    const [header, claims] = text.split('.').map((part) => Buffer.from(part, 'base64url').toString())
    assert.deepEqual(JSON.parse(header!), { alg: 'ES256', typ: 'txntoken+jwt', kid: 'k' })
    const { iss, aud, sub, req_wl, txn, scope, exp, iat, tctx } = JSON.parse(claims!)
    assert.deepEqual([iss, aud, sub], ['spiffe://demo.local', 'demo.local', 'corp/alice@example.com'])
    assert.deepEqual([req_wl, txn, scope, exp - iat], ['spiffe://demo.local/svc/web', 'e1f3', 'cql', 120])
    assert.deepEqual(tctx, { method: 'GET', route: '/orders' })
  })

  it('may say nothing of what it was made for, or a part of it, as one of before', async () => {
    for (const source of [
      undefined,
      {},
      { provider: 'corp' },
      { hash: 'ab'.repeat(32) },
      { id: 'x'.repeat(1024), key: 'ü'.repeat(1024) },
    ]) {
      const text = await makeTxnToken(signer, { ...token, source }, {}, nowMs)
      assert.deepEqual(await verifyTxnToken(text, ring, 'demo.local', nowMs), { ...token, source })
      assert.ok(text.length < limits.txnTokenBytesMax)
    }
    for (const source of [{ id: 'x'.repeat(1025) }, { id: 7 }, { hash: 'a'.repeat(65) }] as object[]) {
      const text = await makeTxnToken(signer, { ...token, source }, {}, nowMs)
      await assert.rejects(verifyTxnToken(text, ring, 'demo.local', nowMs), /claim src/)
    }
  })

  it('is good to its end and not after, and in its trust domain only', async () => {
    const text = await makeTxnToken(signer, token, {}, nowMs)
    await verifyTxnToken(text, ring, 'demo.local', token.expiresAtMs - 1)
    await assert.rejects(verifyTxnToken(text, ring, 'demo.local', token.expiresAtMs), /expired/)
    await assert.rejects(verifyTxnToken(text, ring, 'other.local', nowMs), /issuer/)
    await assert.rejects(verifyTxnToken(text, new KeyRing([]), 'demo.local', nowMs), /key/)
    const long = await makeTxnToken(signer, { ...token, expiresAtMs: nowMs + 301_000 }, {}, nowMs)
    await assert.rejects(verifyTxnToken(long, ring, 'demo.local', nowMs), /lives/)
  })

  it('is taken in one writing only: the last character of its signature has bits that say nothing', async () => {
    const text = await makeTxnToken(signer, token, {}, nowMs)
    const taken: string[] = []
    for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
      const other = text.slice(0, -1) + last
      await verifyTxnToken(other, ring, 'demo.local', nowMs).then(
        () => taken.push(other),
        () => {},
      )
    }
    assert.deepEqual(taken, [text])
  })

  it('is not made where no sidecar would read it', async () => {
    const groups = Array.from({ length: 400 }, (_, at) => `corp/${at}-${'x'.repeat(40)}`)
    await assert.rejects(makeTxnToken(signer, { ...token, groups }, {}, nowMs), /groups is too long/)
    const fewer = groups.slice(0, 200)
    assert.ok((await makeTxnToken(signer, { ...token, groups: fewer }, {}, nowMs)).length < limits.txnTokenBytesMax)
  })
})
