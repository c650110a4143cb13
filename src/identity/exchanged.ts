/**
 * A certificate that somebody got for a token at the control plane says who they are just as the token did: subject, person, groups, role, claims and
 * the way in which all that was proved. So it permits what the token does and no more, and no rule that the token meets is escaped by it.
 *
 * Rule: only the authority writes the extension, out of a `VerifiedIdentity`; whoever reads it has verified the chain.
 */
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { DerReader, tag } from './der.ts'
import { parseStrictObject } from './jwt/json.ts'
import type { Claims, ClaimValue, VerifiedIdentity } from './verified.ts'

/** Our own extension, drawn at random as the other one is (`certificate.ts`). Its value is a UTF8String of JSON. */
export const exchangedOid = '2.25.1521949139'

const text = z.string().max(2048)
const claimValue: z.ZodType<ClaimValue> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(claimValue), z.record(z.string(), claimValue)]),
)

const schema = z.strictObject({
  person: text.optional(),
  groups: z.array(text),
  role: text.optional(),
  claims: z.record(z.string(), claimValue),
  methods: z.array(text).min(1),
  token: z.strictObject({
    provider: text,
    issuer: text.optional(),
    id: text.optional(),
    hash: z.string().regex(/^[0-9a-f]{64}$/),
    key: text.optional(),
  }),
})

/** What such a certificate says besides its subject. */
export interface Exchanged extends Pick<VerifiedIdentity, 'person' | 'groups' | 'role' | 'methods'> {
  readonly claims: Claims
  readonly token: NonNullable<VerifiedIdentity['token']>
}

/** Undefined for who showed no token, and where it is too much for a certificate. */
export function exchangedOf({ person, groups, role, claims, methods, token }: VerifiedIdentity): Buffer | undefined {
  if (token === undefined) return undefined
  const { provider, issuer, id, hash, key } = token
  const said: Exchanged = { person, groups, role, claims, methods, token: { provider, issuer, id, hash, key } }
  const value = utf8String(Buffer.from(JSON.stringify(said)))
  try {
    // Nothing may be lost on the way: what cannot be read as it was said (nested too deep, for one) is too much as well.
    return value !== undefined && isDeepStrictEqual(readExchanged(value), said) ? value : undefined
  } catch {
    return undefined
  }
}

/** @throws RingfenceError IDENTITY */
export function readExchanged(value: Buffer): Exchanged {
  const file = new DerReader(value)
  const { content } = file.expect(tag.utf8String, 'what a token said')
  file.end('what a token said')
  const read = value.length > limits.exchangedBytesMax ? undefined : parseStrictObject(content.toString('utf8'))
  const parsed = schema.safeParse(read)
  if (!parsed.success) throw new RingfenceError('IDENTITY', 'certificate says of a token what is not understood here')
  const { person, groups, role, claims, methods, token } = parsed.data
  const { provider, issuer, id, hash, key } = token
  return { person, groups, role, claims, methods, token: { provider, issuer, id, hash, key } }
}

/** In DER; undefined where it is longer than its length can say in two bytes. */
function utf8String(content: Buffer): Buffer | undefined {
  const { length } = content
  if (length > 0xffff) return undefined
  const long = length > 0xff ? [0x82, length >> 8, length & 0xff] : length > 0x7f ? [0x81, length] : [length]
  return Buffer.concat([Buffer.from([tag.utf8String, ...long]), content])
}
