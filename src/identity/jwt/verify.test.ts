/** Attacks on tokens (RFC 8725, and what readers of JSON disagree about), each with the token beside it that is good. */
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { describe, it, mock } from 'node:test'
import { limits } from '../../base/limits.ts'
import { LogInRefused, type RefusalCause } from '../refusal.ts'
import { algorithms, KeyRing, type PublicJwk, publicJwk } from './keys.ts'
import { makeKey, part, signature, signed, signedBySecret, type TestKey } from './tokens.fixture.ts'
import { readToken, type TokenRules, unverifiedClaims, usualTypes, type VerifiedToken, verifyToken } from './verify.ts'

const nowMs = Date.UTC(2026, 10, 29, 12)
const now = nowMs / 1000
const key = makeKey('k1')
const rsa = makeKey('r1', 'RS256')
const foreign = makeKey('k1')
const ring = new KeyRing([key.jwk, rsa.jwk])
const rules: TokenRules = {
  issuer: 'https://id.example.com/realms/corp',
  audiences: ['ringfence', 'spare'],
  algorithms: ['ES256', 'RS256'],
  types: usualTypes,
  leewayMs: 30_000,
  lifeMsMax: 24 * 3_600_000,
}
const good = { iss: rules.issuer, aud: 'ringfence', sub: 'alice', iat: now - 10, exp: now + 300, jti: 'j1' }
const { exp: _exp, ...endless } = good
const { iat: _iat, ...undated } = good
const { sub: _sub, ...nobody } = good
const { aud: _aud, ...forNobody } = good
const { iss: _iss, ...ofNobody } = good
/** Claims as text, with more before the end. */
const textWith = (more: string): string => `${JSON.stringify(good).slice(0, -1)},${more}}`

const verify = async (text: string, change: Partial<TokenRules> = {}, atMs = nowMs): Promise<VerifiedToken> =>
  verifyToken(readToken(text), { ...rules, ...change }, ring, atMs)

async function causeOf(text: string, change: Partial<TokenRules> = {}): Promise<RefusalCause | undefined> {
  try {
    await verify(text, change)
    return undefined
  } catch (reason) {
    assert.ok(reason instanceof LogInRefused && reason.code === 'IDENTITY', String(reason))
    assert.ok(!reason.message.includes(text.split('.')[0] || 'nothing'), 'no part of a token is told')
    return reason.why
  }
}

describe('a token that is good', () => {
  const goods: Record<string, [text: string, change?: Partial<TokenRules>]> = {
    'as providers make it': [signed(key, good)],
    'by RSA': [signed(rsa, good)],
    'of several audiences, one of them ours': [signed(key, { ...good, aud: ['other', 'spare'] })],
    'without typ': [signed(key, good, { typ: undefined })],
    'an access token (RFC 9068)': [signed(key, good, { typ: 'at+jwt' })],
    'with application/ before its type': [signed(key, good, { typ: 'application/AT+JWT' })],
    'with nbf in the past': [signed(key, { ...good, nbf: now - 5 })],
    'issued within the leeway ahead': [signed(key, { ...good, iat: now + 29, nbf: now + 29 })],
    'as long as one may live': [signed(key, { ...good, iat: now - 1, exp: now - 1 + 86_400 })],
    'with addresses of keys in its header, which nobody calls': [
      signed(key, good, { jku: 'https://evil.example/', x5u: 'https://evil.example/', x5c: ['AAAA'], x5t: 'AA' }),
    ],
    'with a key in its header that is not looked at': [signed(key, good, { jwk: foreign.jwk })],
    'that names no key where one alone fits': [signed(key, good, { kid: undefined })],
    'of the client that is allowed': [signed(key, { ...good, azp: 'app' }), { authorizedParties: ['app'] }],
    'with nested objects that have the same names': [
      signed(key, { ...good, a: { sub: 'x', a: { sub: 'y' } }, b: [{ sub: 1 }, { sub: 2 }] }),
    ],
    'with fractions of seconds': [signed(key, { ...good, iat: now - 0.5, exp: now + 10.25 })],
    'of 32 KiB': [
      signed(key, { ...good, groups: Array.from({ length: 1000 }, (_, i) => `group-of-some-length-${i}`) }),
    ],
  }
  for (const [name, [text, change]] of Object.entries(goods)) {
    it(name, async () => assert.equal((await verify(text, change)).subject, 'alice'))
  }

  for (const algorithm of algorithms) {
    it(`by ${algorithm}, where the provider allows it and not where it does not`, async () => {
      const own = makeKey('own', algorithm)
      const text = signed(own, good)
      const only = new KeyRing([own.jwk])
      const verified = await verifyToken(readToken(text), { ...rules, algorithms: [algorithm] }, only, nowMs)
      assert.equal(verified.subject, 'alice')
      const others = algorithms.filter((one) => one !== algorithm)
      await assert.rejects(verifyToken(readToken(text), { ...rules, algorithms: others }, only, nowMs), {
        why: 'algorithm',
      })
    })
  }

  it('is verified by a key that is made ready once', async () => {
    const own = makeKey('own', 'RS256')
    const only = new KeyRing([own.jwk])
    const imported = mock.method(crypto.subtle, 'importKey')
    try {
      for (let at = 0; at < 5; at++)
        await verifyToken(readToken(signed(own, { ...good, jti: `${at}` })), rules, only, nowMs)
      assert.equal(imported.mock.callCount(), 1)
    } finally {
      imported.mock.restore()
    }
  })

  it('is not taken for the one that was read before it', async () => {
    const [alice, bob] = [signed(key, good), signed(key, { ...good, sub: 'bob' })]
    for (let at = 0; at < 2; at++) {
      assert.equal(unverifiedClaims(alice)?.sub, 'alice')
      assert.equal(readToken(bob).claims.sub, 'bob')
      assert.equal((await verify(alice)).subject, 'alice')
      assert.equal(unverifiedClaims('a.b.c'), undefined)
      assert.throws(() => readToken('a.b.c'), { why: 'malformed' })
      assert.equal((await verify(bob)).subject, 'bob')
    }
  })

  it('says who, until when, and by what it is told', async () => {
    const text = signed(key, good)
    const { subject, issuer, tokenId, issuedAtMs, expiresAtMs, hash } = await verify(text)
    assert.deepEqual(
      { subject, issuer, tokenId, issuedAtMs, expiresAtMs },
      {
        subject: 'alice',
        issuer: rules.issuer,
        tokenId: 'j1',
        issuedAtMs: nowMs - 10_000,
        expiresAtMs: nowMs + 300_000,
      },
    )
    assert.match(hash, /^[0-9a-f]{64}$/)
  })
})

describe('a token whose signature ends in another character', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const algorithm of algorithms) {
    it(`is the token in one writing only, of all 64: ${algorithm}`, async () => {
      const own = makeKey('own', algorithm)
      const text = signed(own, good)
      const only = new KeyRing([own.jwk])
      const taken: string[] = []
      for (const last of alphabet) {
        const other = text.slice(0, -1) + last
        const outcome = await (async () =>
          verifyToken(readToken(other), { ...rules, algorithms: [algorithm] }, only, nowMs))().then(
          () => 'taken',
          (reason: LogInRefused) => reason.why,
        )
        if (outcome === 'taken') taken.push(other)
        // Of the same bytes it is not even read; of others it is read and not believed.
        else assert.equal(outcome, isWrittenSo(other) ? 'signature' : 'malformed', last)
      }
      assert.deepEqual(taken, [text])
    })
  }

  function isWrittenSo(text: string): boolean {
    const mac = text.split('.')[2]!
    return Buffer.from(mac, 'base64url').toString('base64url') === mac
  }
})

describe('a token that is refused', () => {
  const [header = '', claims = '', mac = ''] = signed(key, good).split('.')
  const rsaPem = createPublicKey(rsa.privateKey).export({ type: 'spki', format: 'pem' }).toString()
  const flipped = Buffer.from(mac, 'base64url')
  flipped[10]! ^= 1
  const bads: Record<string, [cause: RefusalCause, text: string, change?: Partial<TokenRules>]> = {
    'alg none': ['algorithm', `${part({ alg: 'none', kid: 'k1' })}.${part(good)}.`],
    'alg none with a signature': ['algorithm', signed(key, good, { alg: 'none' })],
    'alg None': ['algorithm', signed(key, good, { alg: 'None' })],
    'HS256 by the public key as PEM': ['algorithm', signedBySecret(rsaPem, good, { alg: 'HS256', kid: 'r1' })],
    'HS256 by the public key as JWK': [
      'algorithm',
      signedBySecret(JSON.stringify(rsa.jwk), good, { alg: 'HS256', kid: 'r1' }),
    ],
    'RS256 by an EC key': ['unknown-key', signed(key, good, { alg: 'RS256' })],
    'PS256 by a key that is for RS256': ['algorithm', signed(rsa, good, { alg: 'PS256' })],
    'ES384 by a key of P-256': ['unknown-key', signed(key, good, { alg: 'ES384' }), { algorithms: ['ES384'] }],
    'EdDSA by an EC key': ['unknown-key', signed(key, good, { alg: 'EdDSA' }), { algorithms: ['EdDSA'] }],
    'an algorithm that is no text': ['malformed', signed(key, good, { alg: ['ES256'] })],
    'without an algorithm': ['malformed', signed(key, good, { alg: undefined })],
    'by another key of the same name': ['signature', signed(foreign, good)],
    'by the key in its own header': [
      'signature',
      signed(foreign, good, { jwk: foreign.jwk, jku: 'https://evil.example' }),
    ],
    'by a key that is not there': ['unknown-key', signed(makeKey('k9'), good)],
    'a kid that is a path': ['unknown-key', signed(key, good, { kid: '../../dev/null' })],
    'a kid with SQL': ['unknown-key', signed(key, good, { kid: "k1' UNION SELECT 'x" })],
    'a kid that is no text': ['malformed', signed(key, good, { kid: { $ne: null } })],
    'a kid that is too long': ['malformed', signed(key, good, { kid: 'k'.repeat(2000) })],
    'claims changed after signing': ['signature', `${header}.${part({ ...good, sub: 'root' })}.${mac}`],
    'header changed after signing': ['signature', `${part({ alg: 'ES256', kid: 'k1' })}.${claims}.${mac}`],
    'one bit of the signature changed': ['signature', `${header}.${claims}.${flipped.toString('base64url')}`],
    'an empty signature': ['signature', `${header}.${claims}.`],
    'a signature in DER': ['signature', `${header}.${claims}.${Buffer.from(`30${mac}`).toString('base64url')}`],
    'a signature of zeros (CVE-2022-21449)': [
      'signature',
      `${header}.${claims}.${Buffer.alloc(64).toString('base64url')}`,
    ],
    'crit that is unknown': ['type', signed(key, good, { crit: ['x'], x: 1 })],
    'crit that is empty': ['type', signed(key, good, { crit: [] })],
    'b64 false': ['type', signed(key, good, { b64: false, crit: ['b64'] })],
    'b64 without crit': ['type', signed(key, good, { b64: false })],
    'encrypted inside': ['type', signed(key, good, { enc: 'A256GCM' })],
    compressed: ['type', signed(key, good, { zip: 'DEF' })],
    'a token in a token': ['type', signed(key, good, { cty: 'JWT' })],
    'a token in a token, as a media type': ['type', signed(key, good, { cty: 'application/jwt' })],
    'five parts, an encrypted one': ['malformed', `${header}.${claims}.${mac}.${claims}.${mac}`],
    'two parts': ['malformed', `${header}.${claims}`],
    'with padding': ['malformed', `${header}=.${claims}.${mac}`],
    'with white space': ['malformed', ` ${header}.${claims}.${mac}`],
    'with a line feed at its end': ['malformed', `${header}.${claims}.${mac}\n`],
    'base64 with + and /': ['malformed', `${header}.${claims.slice(0, -4)}+/+/.${mac}`],
    'bits behind the last character': ['malformed', otherLastBits(header, claims, mac)],
    'claims that are no object': ['malformed', signed(key, '[1]')],
    'claims that are no JSON': ['malformed', signed(key, '{sub:1}')],
    'claims that are no UTF-8': ['malformed', rawClaims(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))],
    'nested too deep': ['malformed', signed(key, textWith(`"a":${'['.repeat(40)}${']'.repeat(40)}`))],
    'sub twice': ['malformed', signed(key, textWith('"sub":"root"'))],
    'sub twice, once escaped': ['malformed', signed(key, textWith('"\\u0073ub":"root"'))],
    'aud twice': ['malformed', signed(key, textWith('"aud":"ringfence"'))],
    'a name twice below': ['malformed', signed(key, textWith('"realm":{"roles":[],"x":1,"roles":["admin"]}'))],
    'a name twice in the header': ['malformed', signed(key, good, '{"alg":"none","alg":"ES256","kid":"k1"}')],
    'an ID for a log-out': ['type', signed(key, good, { typ: 'logout+jwt' })],
    'a DPoP proof': ['type', signed(key, good, { typ: 'dpop+jwt' })],
    'a transaction token': ['type', signed(key, good, { typ: 'txntoken+jwt' })],
    'a passport of the mesh': ['type', signed(key, good, { typ: 'ringfence-passport' })],
    'a type that is no text': ['malformed', signed(key, good, { typ: 7 })],
    'a log-out that says so by its claims only': [
      'type',
      signed(key, { ...good, events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }),
    ],
    'bound to a key by DPoP (RFC 9449)': ['type', signed(key, { ...good, cnf: { jkt: 'x' } })],
    'bound to a certificate (RFC 8705)': [
      'type',
      signed(key, { ...good, cnf: { 'x5t#S256': 'x' } }, { typ: 'at+jwt' }),
    ],
    'for registering a client': ['type', signed(key, { ...good, typ: 'InitialAccessToken' })],
    "Keycloak's refresh token": ['type', signed(key, { ...good, typ: 'Refresh' })],
    'another issuer': ['issuer', signed(key, { ...good, iss: 'https://id.example.com/realms/other' })],
    'the issuer with a slash behind': ['issuer', signed(key, { ...good, iss: `${rules.issuer}/` })],
    'the issuer in capitals': ['issuer', signed(key, { ...good, iss: rules.issuer!.toUpperCase() })],
    'the issuer in a list': ['issuer', signed(key, { ...good, iss: [rules.issuer] })],
    'no issuer': ['issuer', signed(key, ofNobody)],
    'another audience': ['audience', signed(key, { ...good, aud: 'other' })],
    'an audience that begins as ours': ['audience', signed(key, { ...good, aud: 'ringfence2' })],
    'an audience in other letters': ['audience', signed(key, { ...good, aud: 'Ringfence' })],
    'audiences as one text': ['audience', signed(key, { ...good, aud: 'other ringfence' })],
    'an empty list of audiences': ['audience', signed(key, { ...good, aud: [] })],
    'a list in a list of audiences': ['audience', signed(key, { ...good, aud: [['ringfence']] })],
    'no audience': ['audience', signed(key, forNobody)],
    'of another client': ['authorized-party', signed(key, { ...good, azp: 'evil' }), { authorizedParties: ['app'] }],
    'of no client that is named': ['authorized-party', signed(key, good), { authorizedParties: ['app'] }],
    'no subject': ['claims', signed(key, nobody)],
    'an empty subject': ['claims', signed(key, { ...good, sub: '' })],
    'a subject that is a number': ['claims', signed(key, { ...good, sub: 7 })],
    'no end': ['claims', signed(key, endless)],
    'an end as text': ['claims', signed(key, { ...good, exp: String(now + 300) })],
    'an end that is no number': ['claims', signed(key, textWith('"x":1').replace(`"exp":${now + 300}`, '"exp":null'))],
    'an end in milliseconds': ['claims', signed(key, { ...good, exp: nowMs + 300_000 })],
    'not said when it was issued': ['claims', signed(key, undated)],
    'a negative beginning': ['claims', signed(key, { ...good, iat: -1 })],
    'nbf that is no number': ['claims', signed(key, { ...good, nbf: 'now' })],
    'expired by a second': ['expired', signed(key, { ...good, exp: now - 1 })],
    'expired this very moment': ['expired', signed(key, { ...good, exp: now })],
    'not valid yet': ['not-yet-valid', signed(key, { ...good, nbf: now + 31 })],
    'issued in the future': ['not-yet-valid', signed(key, { ...good, iat: now + 31 })],
    'living too long': ['lifetime', signed(key, { ...good, iat: now - 1, exp: now + 86_400 })],
  }
  for (const [name, [cause, text, change]] of Object.entries(bads)) {
    it(`${name}: ${cause}`, async () => assert.equal(await causeOf(text, change), cause))
  }

  it('too long, by one byte, before anything of it is read', async () => {
    const max = limits.authMessageBytesMax
    const text = (bytes: number): string => `${'a'.repeat(bytes - 4)}.b.c`
    assert.equal(await causeOf(text(max + 1)), 'too-long')
    assert.equal(await causeOf(text(max)), 'malformed')
  })

  it('says of its claims only to who has the signature', async () => {
    for (const change of [{ exp: now - 1 }, { iss: 'x' }, { aud: 'x' }, { sub: '' }]) {
      assert.equal(await causeOf(signed(foreign, { ...good, ...change })), 'signature')
    }
  })
})

describe('a key set', () => {
  const fields = (one: TestKey): Record<string, unknown> => ({ ...one.jwk })
  const read = (jwk: unknown): PublicJwk | undefined => publicJwk.safeParse(jwk).data

  it('keeps of a key what is public and about signatures', () => {
    const whole = { ...rsa.privateKey.export({ format: 'jwk' }), kid: 'r1', x5c: ['AAAA'] }
    assert.deepEqual(Object.keys(read(whole) ?? {}).sort(), ['e', 'kid', 'kty', 'n'])
  })

  it('takes no secret, no weak key, no curve that is not for signatures, and no key that is no key', () => {
    const weak = Buffer.alloc(128, 0xff).toString('base64url')
    for (const bad of [
      { kty: 'oct', k: 'c2VjcmV0' },
      { ...fields(rsa), n: weak },
      { ...fields(key), crv: 'secp256k1' },
      { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) },
      { kty: 'RSA' },
      { ...fields(key), x: 'not base64!' },
      null,
      'x',
    ]) {
      assert.equal(read(bad), undefined, JSON.stringify(bad))
    }
  })

  it('gives no key for what it is not meant for, and none where it is not sure', () => {
    const encrypting = { ...key.jwk, use: 'enc' }
    assert.equal(new KeyRing([encrypting]).find('k1', 'ES256'), undefined)
    assert.equal(new KeyRing([{ ...key.jwk, key_ops: ['sign'] }]).find('k1', 'ES256'), undefined)
    assert.equal(new KeyRing([{ ...rsa.jwk, alg: 'PS256' }]).find('r1', 'RS256'), undefined)
    assert.equal(new KeyRing([{ ...rsa.jwk, alg: 'PS256' }]).find('r1', 'PS256')?.kid, 'r1')
    assert.equal(new KeyRing([key.jwk, { ...foreign.jwk, kid: 'k2' }]).find(undefined, 'ES256'), undefined)
    assert.equal(new KeyRing([]).find('k1', 'ES256'), undefined)
  })
})

/** The same bytes, written with other bits behind the last character. */
function otherLastBits(header: string, claims: string, mac: string): string {
  for (const [at, text] of [header, claims].entries()) {
    if (text.length % 4 === 0) continue
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const other = text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)!) ^ 1]
    return at === 0 ? `${other}.${claims}.${mac}` : `${header}.${other}.${mac}`
  }
  return `${header}A.${claims}.${mac}`
}

function rawClaims(bytes: Buffer): string {
  const input = `${part({ alg: 'ES256', kid: 'k1' })}.${bytes.toString('base64url')}`
  return `${input}.${signature(key, input).toString('base64url')}`
}
