import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { exchangedOf, readExchanged } from './exchanged.ts'
import type { VerifiedIdentity } from './verified.ts'

const token = { provider: 'corp', issuer: 'https://login.example.com', id: 'j1', hash: '0f'.repeat(32), key: 'k1' }
const full = {
  person: 'corp/alice',
  groups: ['corp/analysts', 'corp/on"call', 'corp/Ä\u{1f600}'],
  role: 'arn:aws:iam::123456789012:role/etl',
  claims: { acr: 'mfa', amr: ['pwd', 'otp'], nested: { deep: [1, true, null] }, empty: '' },
  methods: ['oidc'],
  token,
}
const bare = { person: undefined, groups: [], role: undefined, claims: {}, methods: ['spiffe'], token }
const of = (one: object): Buffer | undefined => exchangedOf(one as VerifiedIdentity)
const utf8String = (text: string): Buffer => {
  const { length } = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x0c, 0x82, length >> 8, length & 0xff]), Buffer.from(text)])
}
const json = (value: unknown): Buffer => utf8String(JSON.stringify(value))

describe('what a certificate says of a token', () => {
  it('is read as it was written', () => {
    for (const one of [full, { ...bare, token: { ...token, issuer: undefined, id: undefined } }, bare])
      assert.deepEqual(readExchanged(of(one)!), one)
  })

  it('is nothing where there was no token, and where it is more than fits or can be read', () => {
    assert.equal(of({ ...full, token: undefined }), undefined)
    let nested: unknown = 'x'
    for (let depth = 0; depth < 40; depth++) nested = { a: nested }
    assert.equal(of({ ...full, claims: { nested } }), undefined)
    assert.equal(of({ ...full, claims: JSON.parse('{"__proto__":"a"}') }), undefined, 'nothing is lost on the way')
    const spare = limits.exchangedBytesMax - of({ ...bare, claims: { a: 'x'.repeat(300) } })!.length + 300
    assert.equal(of({ ...bare, claims: { a: 'x'.repeat(spare) } })?.length, limits.exchangedBytesMax)
    assert.equal(of({ ...bare, claims: { a: 'x'.repeat(spare + 1) } }), undefined)
  })

  it('is refused where anything of it is not understood', () => {
    const good = JSON.parse(String(of(full)?.subarray(4))) as Record<string, unknown>
    assert.ok(readExchanged(json(good)))
    const bad: Record<string, Buffer> = {
      nothing: Buffer.alloc(0),
      'no JSON': utf8String(`x${' '.repeat(300)}`),
      'no string of DER': Buffer.from(JSON.stringify(good)),
      'more behind it': Buffer.concat([json(good), Buffer.alloc(1)]),
      'a list': json([good]),
      'a name twice': utf8String(JSON.stringify(good).replace('"groups":', '"groups":[],"groups":')),
      'a name that is not known': json({ ...good, admin: true }),
      'groups that are no list': json({ ...good, groups: 'corp/analysts' }),
      'a person that is no text': json({ ...good, person: ['corp/alice'] }),
      'no way of authentication': json({ ...good, methods: [] }),
      'no token': json({ ...good, token: undefined }),
      'no hash': json({ ...good, token: { provider: 'corp', hash: 'x' } }),
      'a null': json({ ...good, role: null }),
      'too much': json({ ...good, claims: { a: 'x'.repeat(limits.exchangedBytesMax) } }),
    }
    for (const [name, value] of Object.entries(bad))
      assert.throws(() => readExchanged(value), { code: 'IDENTITY' }, name)
  })
})
