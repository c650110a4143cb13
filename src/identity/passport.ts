/**
 * The passport that opens a session on a mesh link: a gateway says who its client is and shows why it believes so. A JWS in
 * compact form (RFC 7515), ES256 over the key of the gateway's certificate on that link. The evidence that the client gave is inside, so the
 * sidecar verifies it again and a gateway cannot make up a caller. Where the evidence is the gateway's own listener, it can speak only for
 * identities that the authority wrote into its certificate, because its join token named them.
 */
import { type KeyObject, randomUUID, sign, verify, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type Leaf, readLeaf } from './certificate.ts'
import { proofs } from './proofs/index.ts'
import type { Evidence, Trust } from './proofs/proof.ts'
import { isReserved, parseSpiffeId, pathSegmentsOf, type SpiffeId, trustDomainOf } from './spiffe.ts'
import { endingAt, type VerifiedIdentity } from './verified.ts'

export interface PassportRequest {
  readonly subject: SpiffeId
  /** What the client showed; it is verified again. */
  readonly evidence: Evidence
  readonly clientAddress: string
  readonly clientPort: number
  /** DRIVER_NAME of STARTUP, as the client wrote it; the first 256 characters travel. */
  readonly driverName: string | undefined
  /** Milliseconds since 1970, rounded down to a second; not after the end of the client's identity. */
  readonly expiresAtMs: number
  /** The one sidecar that may accept it. */
  readonly audience: SpiffeId
}

export interface PassportSigner {
  readonly spiffeId: SpiffeId
  /** The private key of the certificate that the gateway showed on this very link; a renewed key belongs to new links. */
  readonly key: KeyObject
}

export interface Passport {
  /** Its `expiresAtMs` is the first of the ends of the passport, the client's proof, the gateway's certificate, and `sessionMsMax`. */
  readonly identity: VerifiedIdentity
  readonly gateway: SpiffeId
  /** What the gateway says; nothing proves it. */
  readonly clientAddress: string
  readonly clientPort: number
  readonly driverName: string | undefined
}

export interface PassportCheck {
  /** The gateway's certificate on this link, its chain already verified by TLS. */
  readonly gatewayLeafDer: Buffer
  readonly trust: Trust
  readonly nowMs: number
  /** The sidecar's own id. */
  readonly audience: SpiffeId
  /** Called once the gateway is known to have said it, before what the client showed is verified: where its client is, as it says. */
  readonly signed?: (client: SaidClient) => void
}

export interface SaidClient {
  readonly address: string
  readonly port: number
}

/** A passport is used the moment it is made; more age than this is a replay or a wrong clock. */
const passportAgeMsMax = 60_000
const driverNameCharsMax = 256
const intermediatesMax = 4

const ipAddress = z.union([z.ipv4(), z.ipv6()])
const base64 = z
  .string()
  .max(24 * 1024)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/)
/** An IP address, with its zone where it has one, or `unix`. */
const clientAddress = z
  .string()
  .max(64)
  .refine((text) => text === 'unix' || ipAddress.safeParse(text.replace(/%[\w.-]{1,15}$/, '')).success)
const passportHeader = z.strictObject({ alg: z.literal('ES256'), typ: z.literal('ringfence-passport') })
const passportClaims = z.strictObject({
  iss: z.string().max(2048),
  sub: z.string().max(2048),
  aud: z.string().max(2048),
  iat: z.int().nonnegative(),
  exp: z.int().nonnegative(),
  jti: z.uuid(),
  /** The kind, as `Proof.evidence.name`. */
  evidence: z.string().max(32),
  /** Leaf first, DER in base64, as `x5c` of RFC 7515 §4.1.6. */
  chain: z.array(base64).max(1 + intermediatesMax),
  /** What else the client showed. */
  shown: z.unknown().optional(),
  client: z.strictObject({ address: clientAddress, port: z.int().min(0).max(65_535) }),
  driver: z.string().max(driverNameCharsMax).optional(),
})
const protectedHeader = encode({ alg: 'ES256', typ: 'ringfence-passport' })

/**
 * Makes the token for one session.
 * @throws RingfenceError IDENTITY when it has no end or would be longer than passportBytesMax
 */
export function signPassport(request: PassportRequest, signer: PassportSigner, nowMs: number): string {
  const { evidence } = request
  const exp = Math.floor(request.expiresAtMs / 1000)
  if (!Number.isSafeInteger(exp)) throw new RingfenceError('IDENTITY', 'passport has no end')
  const claims: z.infer<typeof passportClaims> = {
    iss: signer.spiffeId,
    sub: request.subject,
    aud: request.audience,
    iat: Math.floor(nowMs / 1000),
    exp,
    jti: randomUUID(),
    evidence: evidence.kind,
    chain: evidence.chain.map((der) => der.toString('base64')),
    ...(evidence.shown === undefined ? {} : { shown: evidence.shown }),
    client: { address: request.clientAddress, port: request.clientPort },
    ...(request.driverName === undefined ? {} : { driver: request.driverName.slice(0, driverNameCharsMax) }),
  }
  const input = `${protectedHeader}.${encode(claims)}`
  const signature = sign('sha256', Buffer.from(input), { key: signer.key, dsaEncoding: 'ieee-p1363' })
  const token = `${input}.${signature.toString('base64url')}`
  if (token.length > limits.passportBytesMax)
    throw new RingfenceError('IDENTITY', 'passport is longer than passportBytesMax')
  return token
}

/**
 * Checks a token down to what the client showed.
 * @throws RingfenceError IDENTITY, now or later
 */
export function verifyPassport(token: string, check: PassportCheck): Passport | Promise<Passport> {
  const { nowMs } = check
  if (token.length > limits.passportBytesMax) throw fault('is longer than passportBytesMax')
  const [header = '', payload = '', signature = '', ...rest] = token.split('.')
  if (rest.length > 0 || !decode(header, passportHeader).success) throw fault('is not a passport')
  const { leaf: gatewayLeaf, publicKey, isP256 } = signerOf(check.gatewayLeafDer)
  const gateway = gatewayLeaf.spiffeId
  const [owner, part] = pathSegmentsOf(gateway)
  if (owner !== 'ringfence' || part !== 'gateway') throw fault(`comes from ${gateway}, which is no gateway`)
  if (!isP256) throw fault(`of ${gateway} is signed by a key that is not P-256`)
  const signatureBytes = Buffer.from(signature, 'base64url')
  const signed = Buffer.from(`${header}.${payload}`)
  if (
    signatureBytes.length !== 64 ||
    signatureBytes.toString('base64url') !== signature ||
    !verify('sha256', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signatureBytes)
  ) {
    throw fault(`is not signed by ${gateway}`)
  }
  const parsed = decode(payload, passportClaims)
  if (!parsed.success) throw fault('has claims that are not understood')
  const claims = parsed.data
  if (claims.iss !== gateway) throw fault(`was issued by another than ${gateway}`)
  if (claims.aud !== check.audience) throw fault(`of ${gateway} is for another sidecar`)
  if (Math.abs(nowMs - claims.iat * 1000) > passportAgeMsMax)
    throw fault(`of ${gateway} is too old, or a clock is wrong`)
  check.signed?.(claims.client)
  const endMs = claims.exp * 1000
  if (nowMs >= endMs) throw fault(`of ${gateway} has expired`)
  const subject = parseSpiffeId(claims.sub)
  const trustDomain = trustDomainOf(subject)
  // Of another trust domain is only whom one of its tokens is about.
  const isKnown = trustDomain === trustDomainOf(check.audience) || check.trust.providers.federates(trustDomain)
  if (!isKnown || isReserved(subject)) throw notItsToSay()
  // A gateway may be generous with others' time; it ends with what was verified here.
  const expiresAtMs = Math.min(endMs, gatewayLeaf.notAfterMs, nowMs + limits.sessionMsMax)
  if (nowMs >= expiresAtMs) throw fault(`of ${gateway} has expired`)
  const chain = claims.chain.map((text) => Buffer.from(text, 'base64'))
  const evidence: Evidence = { kind: claims.evidence, chain, shown: claims.shown }
  const identity = proofs.verify(evidence, {
    nowMs,
    trust: check.trust,
    gateway: gatewayLeaf,
    named: subject,
    address: claims.client.address,
  })
  return identity instanceof Promise ? identity.then(passportOf) : passportOf(identity)

  function passportOf(proved: VerifiedIdentity): Passport {
    if (proved.subject !== subject) throw fault(`of ${gateway} names another than its evidence`)
    if (endMs > proved.expiresAtMs) throw fault(`of ${gateway} would outlive its evidence`)
    return {
      identity: endingAt(proved, expiresAtMs),
      gateway,
      clientAddress: claims.client.address,
      clientPort: claims.client.port,
      driverName: claims.driver,
    }
  }

  function notItsToSay(): RingfenceError {
    return new RingfenceError('IDENTITY', `${gateway} may not speak for ${subject}`)
  }
}

interface Signer {
  readonly leaf: Leaf
  readonly publicKey: KeyObject
  readonly isP256: boolean
}

/** By the bytes of its certificate, which are the same object for all passports of a link. */
const signers = new WeakMap<Buffer, Signer>()

function signerOf(leafDer: Buffer): Signer {
  const known = signers.get(leafDer)
  if (known !== undefined) return known
  const { publicKey } = new X509Certificate(leafDer)
  const isP256 = publicKey.asymmetricKeyType === 'ec' && publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  const signer = { leaf: readLeaf(leafDer), publicKey, isP256 }
  signers.set(leafDer, signer)
  return signer
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function decode<T>(part: string, schema: z.ZodType<T>): { success: true; data: T } | { success: false } {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    return { success: false }
  }
  const result = schema.safeParse(value)
  return result.success ? { success: true, data: result.data } : { success: false }
}

function fault(what: string): RingfenceError {
  return new RingfenceError('IDENTITY', `passport ${what}`)
}
