/** The public keys of one provider (RFC 7517), as its key set says them. What is no public key for signatures is not among them. */
import type { JWK } from 'jose'
import { z } from 'zod'

/** Asymmetric only: a shared secret or no signature at all proves nothing of a provider (RFC 8725 §3.1). */
export const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const
export type Algorithm = (typeof algorithms)[number]

const base64url = z
  .string()
  .max(2048)
  .regex(/^[A-Za-z0-9_-]+$/)
const curves = ['P-256', 'P-384', 'P-521'] as const
const about = {
  kid: z.string().max(512).optional(),
  use: z.string().max(32).optional(),
  key_ops: z.array(z.string().max(32)).max(16).optional(),
  alg: z.string().max(32).optional(),
}
/** Whatever else a key has (certificates, the private part) is cut off. */
export const publicJwk = z.discriminatedUnion('kty', [
  z.object({
    kty: z.literal('RSA'),
    // 2048 to 8192 bits: shorter is too weak (RFC 7518 §3.3), longer costs too much.
    n: base64url.min(342).max(1366),
    e: base64url.max(8),
    ...about,
  }),
  z.object({ kty: z.literal('EC'), crv: z.enum(curves), x: base64url.max(88), y: base64url.max(88), ...about }),
  z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: base64url.length(43), ...about }),
])
export type PublicJwk = z.infer<typeof publicJwk>

/** Keys of one provider. Google has 2, Keycloak some, Entra ID about 10. */
export const keysPerSetMax = 64

const curveOf: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }

/** Where a key is found by what a token's header says. The header chooses among the provider's keys, and never brings one. */
export class KeyRing {
  static readonly none = new KeyRing([])
  readonly keys: readonly PublicJwk[]
  readonly #bare: ReadonlyMap<PublicJwk, JWK>

  constructor(keys: readonly PublicJwk[]) {
    this.keys = keys
    this.#bare = new Map(keys.map((key) => [key, bareOf(key)]))
  }

  /** For the library that verifies: the same object each time, by which it keeps what it made of the key. */
  bare(key: PublicJwk): JWK {
    return this.#bare.get(key) ?? bareOf(key)
  }

  /** Undefined where there is none. A token that names no key is verified only where one key alone can be meant. */
  find(kid: string | undefined, algorithm: Algorithm, use = 'sig'): PublicJwk | undefined {
    const fitting = this.keys.filter((key) => (kid === undefined || key.kid === kid) && fits(key, algorithm, use))
    return kid !== undefined || fitting.length === 1 ? fitting[0] : undefined
  }
}

/** What it may be used for `find` has looked at; the library knows `sig` only. */
function bareOf({ use: _, ...bare }: PublicJwk): JWK {
  return bare as JWK
}

function fits(key: PublicJwk, algorithm: Algorithm, use: string): boolean {
  if (key.use !== undefined && key.use !== 'sig' && key.use !== use) return false
  if (key.key_ops !== undefined && !key.key_ops.includes('verify')) return false
  if (key.alg !== undefined && key.alg !== algorithm && !(algorithm === 'EdDSA' && key.alg === 'Ed25519')) return false
  if (key.kty === 'RSA') return algorithm.startsWith('RS') || algorithm.startsWith('PS')
  if (key.kty === 'EC') return key.crv === curveOf[algorithm]
  return algorithm === 'EdDSA'
}
