/**
 * What may be revoked, and how each is written.
 *
 * Rule: what is revoked is compared to the letter with what is known of a caller, so it is brought to the form here that `callerFacts` has.
 */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { presignedPrefix } from '../aws/presigned.ts'
import { parseSpiffeId, parseSpiffePattern, pathSegmentsOf, personOf, type SpiffeId, trustDomainOf } from '../spiffe.ts'

/**
 * `id`: a SPIFFE id, or a pattern of them: workloads, and gateways and sidecars. `issuer-key`: `kid` of an identity provider's key. `authority`: all
 * that one of the mesh's own issuing keys signed, by the identifier of that key.
 */
export const revokedKinds = ['id', 'one-certificate', 'key', 'person', 'one-token', 'issuer-key', 'authority'] as const
export type RevokedKind = (typeof revokedKinds)[number]

/** As a proxy is told of it. Who did it and why, the control plane keeps for itself. */
export const revocation = z.object({
  /** Its number; the record names it. */
  id: z.int().positive(),
  kind: z.enum(revokedKinds),
  value: z.string().min(1).max(limits.revokedValueCharsMax),
  /** Of `issuer-key`, and of `token` where it is that of one provider only. */
  provider: z.string().min(1).max(253).optional(),
  /** It counts no longer then, milliseconds since 1970. */
  untilMs: z.number().optional(),
})
export type Revocation = Readonly<z.infer<typeof revocation>>

export type Revoked = Pick<Revocation, 'kind' | 'value' | 'provider'>

/** The rule that stands in the record, in the place of one of the policy. */
export const revokedRule = 'revoked'

export function revokedText(id: number): string {
  return `access was revoked (revocation ${id})`
}

const serialShape = /^[0-9A-F]{2,42}$/
const sha256Shape = /^[0-9a-f]{64}$/
const anySha256Shape = /^[0-9a-f]{64}$/i
/** As a JSON Web Token begins; a join token; a pre-signed request. */
const secretShape =
  /^\s*([Bb]earer\s+)?eyJ[\w-]+\.[\w-]*\.|(?<![\w-])[\w-]{43}(?:\.[0-9a-f]{64}){1,3}$|X-Amz-Signature=/
const presignedShape = new RegExp(`${presignedPrefix.replace('.', '\\.')}[\\w-]{32,}`)
/** Perhaps a JSON Web Token within other text: three parts or more, with the header first. */
const partsShape = /(?<![\w-])([\w-]{8,})\.[\w-]*\.[\w-]*/g
const keyIdShape = /^[0-9a-f]{40}$/
const personShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\/[^\p{C}\ufffd]+$/u
const wordShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/

/**
 * What is to be revoked, as it is compared.
 * @throws RingfenceError USAGE where it can be nobody's
 */
export function parseRevoked(kind: RevokedKind, text: string, trustDomain: string, provider?: string): Revoked {
  if (provider !== undefined && (!wordShape.test(provider) || (kind !== 'one-token' && kind !== 'issuer-key')))
    throw usage('a provider is the name of an IdentityProvider of the policy, and of a token or a key of it only')
  // What is revoked is written to logs and disks of the whole mesh. Nothing of it stands in the error.
  if (isSecret(text)) throw secretGiven()
  if (text.length > limits.revokedValueCharsMax) throw usage('it is longer than revokedValueCharsMax')
  switch (kind) {
    case 'id':
      return parseId(text, trustDomain)
    case 'one-certificate': {
      const bare = text.replaceAll(':', '').toUpperCase()
      // Who has a certificate signed by ECDSA can write its signature in another way, and so give it another SHA-256.
      if (sha256Shape.test(bare.toLowerCase()))
        throw usage(
          'a certificate is not sure by its SHA-256',
          'give its serial number or its file, or its key by --key',
        )
      // DER has a zero in front of some, which is not shown.
      const serial = bare.replace(/^(00)+(?=..)/, '')
      if (serialShape.test(serial) && serial.length % 2 === 0 && serial !== '00') return { kind, value: serial }
      throw usage('a certificate is its serial number, in hexadecimal', 'ringfence x509 list')
    }
    case 'key': {
      const bare = text.replaceAll(':', '').toLowerCase()
      if (sha256Shape.test(bare)) return { kind, value: bare }
      throw usage('a key is the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal')
    }
    case 'person':
      if (personShape.test(text)) return { kind, value: text }
      throw usage('a person is written corp/alice')
    case 'one-token':
      if (/\p{C}/u.test(text) || text === '') throw usage('a token is its id ("jti") or its SHA-256')
      return { kind, value: tokenName(text), ...(provider === undefined ? {} : { provider }) }
    case 'authority':
      if (keyIdShape.test(text)) return { kind, value: text }
      throw usage('an authority is the identifier of its key, 40 hexadecimal digits', 'ringfence ca show')
    case 'issuer-key':
      if (provider === undefined || text === '' || /\p{C}/u.test(text))
        throw usage('a key of an issuer is written corp/<kid>: the IdentityProvider and the key’s "kid"')
      return { kind, value: text, provider }
  }
}

/** It opens a door itself, and is the id of nothing. */
export function isSecret(text: string): boolean {
  if (secretShape.test(text) || presignedShape.test(text)) return true
  for (const [, head = ''] of text.matchAll(partsShape)) if (isHeader(head)) return true
  return false
}

function isHeader(part: string): boolean {
  try {
    const header: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof header === 'object' && header !== null
  } catch {
    return false
  }
}

export function secretGiven(): RingfenceError {
  return usage('that is a token itself, and would be written everywhere', 'give its "jti", or its SHA-256, by --token')
}

/** The id or hash of a token, as it is compared: a SHA-256 is the same in capitals. */
export function tokenName(text: string): string {
  return text.length === 64 && anySha256Shape.test(text) ? text.toLowerCase() : text
}

function parseId(text: string, trustDomain: string): Revoked {
  try {
    if (!text.includes('*')) {
      const id = parseSpiffeId(text)
      const person = personOf(id)
      // One person, by whichever name and behind whichever workload.
      if (person !== undefined && trustDomainOf(id) === trustDomain) return { kind: 'person', value: person }
      refuseOwn(id)
      return { kind: 'id', value: id }
    }
    return { kind: 'id', value: parseSpiffePattern(text) }
  } catch (reason) {
    if (!(reason instanceof RingfenceError) || reason.code !== 'IDENTITY') throw reason
    throw new RingfenceError('USAGE', reason.message, reason.hint === undefined ? {} : { hint: reason.hint })
  }
}

/** Who would take it back then. */
function refuseOwn(id: SpiffeId): void {
  const [owner, part] = pathSegmentsOf(id)
  if (owner === 'ringfence' && part === 'control-plane')
    throw usage('the control plane cannot be revoked', 'stop it, and restore its state on another host')
}

function usage(message: string, hint?: string): RingfenceError {
  return new RingfenceError('USAGE', message, hint === undefined ? {} : { hint })
}
