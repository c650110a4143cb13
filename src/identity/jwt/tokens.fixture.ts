/** An issuer of tokens in a test's hand: keys of its own, and tokens of every shape, good and bad. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { PublicJwk } from './keys.ts'

export interface TestKey {
  readonly kid: string
  readonly algorithm: string
  readonly privateKey: KeyObject
  readonly jwk: PublicJwk
}

export function makeKey(kid: string, algorithm = 'ES256'): TestKey {
  const { privateKey, publicKey } = pairFor(algorithm)
  return { kid, algorithm, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' } as PublicJwk }
}

function pairFor(algorithm: string): { privateKey: KeyObject; publicKey: KeyObject } {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519')
  if (!algorithm.startsWith('ES')) return generateKeyPairSync('rsa', { modulusLength: 2048 })
  const namedCurve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[algorithm] ?? 'P-256'
  return generateKeyPairSync('ec', { namedCurve })
}

export function part(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

/** Header and claims may be given as text, for what `JSON.stringify` never writes. */
export function signed(key: TestKey, claims: unknown, header: unknown = {}): string {
  const whole =
    typeof header === 'string' ? header : { alg: key.algorithm, kid: key.kid, typ: 'JWT', ...(header as object) }
  const input = `${part(whole)}.${part(claims)}`
  return `${input}.${signature(key, input).toString('base64url')}`
}

export function signature(key: TestKey, input: string): Buffer {
  const bytes = Buffer.from(input)
  if (key.algorithm === 'EdDSA') return sign(null, bytes, key.privateKey)
  const hash = `sha${key.algorithm.slice(2)}`
  if (key.algorithm.startsWith('ES')) return sign(hash, bytes, { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  if (key.algorithm.startsWith('PS'))
    return sign(hash, bytes, { key: key.privateKey, padding: 6, saltLength: Number(key.algorithm.slice(2)) / 8 })
  return sign(hash, bytes, key.privateKey)
}

/** Signed by a secret that everybody knows: the classic confusion of algorithms. */
export function signedBySecret(secret: string, claims: unknown, header: object): string {
  const input = `${part(header)}.${part(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
