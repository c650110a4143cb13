import assert from 'node:assert/strict'
import { createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { maskKeyOf, PagingSeal, type SealContext } from './seal.ts'
import { Secrets } from './secrets.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest()
const old = { id: 1, key: Buffer.alloc(32, 1) }
const next = { id: 2, key: Buffer.alloc(32, 2) }
const context: SealContext = {
  identity: 'spiffe://mesh/orders',
  keyspace: 'shop',
  textDigest: sha256('SELECT * FROM orders'),
  valuesDigest: sha256(''),
}
const state = Buffer.from('a paging state of the node')

describe('a sealed paging state', () => {
  it('opens at another sidecar with the same keys', () => {
    const sealed = new PagingSeal([old]).seal(state, context)
    assert.deepEqual(new PagingSeal([old]).open(sealed, { ...context }), state)
    assert.ok(!sealed.includes(state))
    const empty = new PagingSeal([old]).seal(Buffer.alloc(0), context)
    assert.deepEqual(new PagingSeal([old]).open(empty, context), Buffer.alloc(0))
  })

  const others: [string, SealContext][] = [
    ['identity', { ...context, identity: 'spiffe://mesh/other' }],
    ['keyspace', { ...context, keyspace: 'other' }],
    ['statement', { ...context, textDigest: sha256('SELECT * FROM others') }],
    ['value', { ...context, valuesDigest: sha256('x') }],
    ['split of the same letters', { ...context, identity: 'spiffe://mesh/orderss', keyspace: 'hop' }],
  ]
  for (const [what, other] of others) {
    it(`does not open for another ${what}`, () => {
      const seal = new PagingSeal([old])
      assert.equal(seal.open(seal.seal(state, context), other), undefined)
    })
  }

  it('does not open with any bit changed, cut at any byte, or longer', () => {
    const seal = new PagingSeal([old, next])
    const sealed = seal.seal(state, context)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed)
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal(seal.open(changed, context), undefined)
    }
    for (let end = 0; end < sealed.length; end++) assert.equal(seal.open(sealed.subarray(0, end), context), undefined)
    assert.equal(seal.open(Buffer.concat([sealed, Buffer.of(0)]), context), undefined)
    assert.equal(seal.open(state, context), undefined)
  })

  it('is sealed with the newest key but one, which every sidecar has, and opens with each of them', () => {
    const before = new PagingSeal([old]).seal(state, context)
    for (const keys of [
      [next, old],
      [old, next],
    ]) {
      const seal = new PagingSeal(keys)
      assert.deepEqual(seal.open(before, context), state)
      assert.equal(seal.seal(state, context).readUInt32BE(1), 1)
    }
    const later = new PagingSeal([next, { id: 3, key: Buffer.alloc(32, 3) }, old]).seal(state, context)
    assert.equal(later.readUInt32BE(1), 2)
    assert.deepEqual(new PagingSeal([old, next]).open(later, context), state)
    assert.equal(new PagingSeal([next]).open(before, context), undefined)
  })

  it('never has the same nonce again', () => {
    const seal = new PagingSeal([old])
    assert.equal(
      new Set(Array.from({ length: 1000 }, () => seal.seal(state, context).toString('hex', 5, 17))).size,
      1000,
    )
  })

  it('is AES-256-GCM under a key of its own', () => {
    const sealed = new PagingSeal([old], (bytes) => Buffer.alloc(bytes, 7)).seal(state, context)
    assert.equal(sealed.toString('hex', 0, 17), `0100000001${'07'.repeat(12)}`)
    const key = Buffer.from(hkdfSync('sha256', old.key, '', 'ringfence paging', 32))
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(5, 17))
    const part = (bytes: Buffer | string) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      return Buffer.concat([length, Buffer.from(bytes)])
    }
    const { identity, keyspace, textDigest, valuesDigest } = context
    decipher.setAAD(
      Buffer.concat([sealed.subarray(0, 5), part(identity), part(keyspace), part(textDigest), part(valuesDigest)]),
    )
    decipher.setAuthTag(sealed.subarray(-16))
    assert.deepEqual(Buffer.concat([decipher.update(sealed.subarray(17, -16)), decipher.final()]), state)
  })

  it('is not given without a key, and none opens', () => {
    const sealed = new PagingSeal([old]).seal(state, context)
    const none = new PagingSeal([])
    assert.throws(
      () => none.seal(state, context),
      (e) => e instanceof RingfenceError && e.code === 'UNAVAILABLE',
    )
    assert.equal(none.open(sealed, context), undefined)
  })
})

describe('the key of column hashes', () => {
  const masks = (id: number, fromMs: number) => ({ id, key: Buffer.alloc(32, id), use: 'masks' as const, fromMs })

  it('is that of the last key for masks that has come into force, in whatever order they come', () => {
    const expected = (id: number): Buffer =>
      Buffer.from(hkdfSync('sha256', Buffer.alloc(32, id), '', 'ringfence mask', 32))
    const keys = [masks(9, 2_000), old, masks(7, 1_000), next]
    for (const given of [keys, keys.toReversed()]) {
      assert.deepEqual(maskKeyOf(given, 1_999), { key: expected(7), nextMs: 2_000 })
      assert.deepEqual(maskKeyOf(given, 2_000), { key: expected(9), nextMs: Number.POSITIVE_INFINITY })
      // A sidecar whose clock is behind hashes all the same.
      assert.deepEqual(maskKeyOf(given, 0), { key: expected(7), nextMs: 1_000 })
    }
  })

  it('is derived from the first key of a mesh that has none for masks yet, and is empty without one', () => {
    const expected = Buffer.from(hkdfSync('sha256', old.key, '', 'ringfence mask', 32))
    assert.deepEqual(maskKeyOf([next, old], 0).key, expected)
    assert.deepEqual(maskKeyOf([old, next], 0).key, expected)
    assert.notDeepEqual(maskKeyOf([next], 0).key, expected)
    assert.equal(maskKeyOf([], 0).key.length, 0)
  })

  it('changes at its moment without new keys, and seals no page', () => {
    let nowMs = 1_500
    const secrets = new Secrets([masks(9, 2_000), masks(7, 1_000), old], () => nowMs)
    const before = secrets.maskKey
    assert.equal(secrets.maskKey, before)
    nowMs = 2_000
    assert.notDeepEqual(secrets.maskKey, before)
    const sealed = secrets.seal.seal(state, context)
    assert.equal(sealed.readUInt32BE(1), old.id)
  })
})
