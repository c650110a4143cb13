/** The key and the certificate of an authority: how they are made, and the one file that holds both, so that they cannot come from two generations. */
import 'reflect-metadata'
import { createPrivateKey, X509Certificate as NodeCertificate, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { assert, RingfenceError } from '../../base/errors.ts'
import { clockSkewMsMax } from '../../mesh/clock-skew.ts'
import { privateKeyPem } from '../../mesh/credentials.ts'
import { writeFileAtomically } from '../../mesh/files.ts'

export const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
/** Clocks of the mesh may differ by this much at first contact: a machine that has just started may not have set its clock. */
export const backDateMsMax = clockSkewMsMax

export type AuthorityKind = 'root' | 'issuing'

/** Of a root whose key is kept elsewhere there is the certificate only. */
export interface Authority {
  readonly certificate: X509Certificate
  readonly privateKey: CryptoKey | undefined
}

export interface Signer extends Authority {
  readonly privateKey: CryptoKey
}

export interface KeyPair {
  readonly publicKey: CryptoKey
  readonly privateKey: CryptoKey
}

interface SignerOrder {
  readonly kind: AuthorityKind
  readonly trustDomain: string
  /** The root that signs an issuing certificate. */
  readonly parent: Signer | undefined
  readonly lifeMs: number
  readonly nowMs: number
}

/** A fresh one, in the file `path` of mode 0600. */
export async function makeSigner(path: string, order: SignerOrder): Promise<Signer> {
  const keys = await makeAuthorityKeys()
  const certificate = await certificateOf(keys, order)
  writeFileAtomically(path, await signerPem(keys.privateKey, certificate), 0o600)
  return { certificate, privateKey: keys.privateKey }
}

export function makeAuthorityKeys(): Promise<KeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

export async function signerPem(privateKey: CryptoKey, certificate: X509Certificate): Promise<string> {
  return `${await privateKeyPem(privateKey)}${pemOf(certificate)}`
}

export function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

/** For the public one of `keys`; a root signs its own with the other. */
export async function certificateOf(
  keys: Pick<KeyPair, 'publicKey'> & Partial<KeyPair>,
  { kind, trustDomain, parent, lifeMs, nowMs }: SignerOrder,
): Promise<X509Certificate> {
  const serialNumber = freshSerial()
  // The serial number tells certificates of one authority apart wherever only names are printed.
  const subject = `O=Ringfence, CN=${trustDomain} ${kind} ${serialNumber.slice(0, 8)}`
  const signingKey = parent?.privateKey ?? keys.privateKey
  assert(signingKey !== undefined, 'somebody signs')
  const extensions = await extensionsOf(kind, trustDomain, keys.publicKey)
  if (parent !== undefined) extensions.push(await AuthorityKeyIdentifierExtension.create(parent.certificate.publicKey))
  // Nothing that a root signed outlives it.
  const endMs = Math.min(nowMs + lifeMs, parent?.certificate.notAfter.getTime() ?? Number.POSITIVE_INFINITY)
  return X509CertificateGenerator.create({
    serialNumber,
    subject,
    issuer: parent === undefined ? subject : parent.certificate.subject,
    notBefore: wholeSecond(nowMs - Math.min(backDateMsMax, lifeMs / 5)),
    notAfter: wholeSecond(endMs),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions,
  })
}

/** What makes a certificate one of an authority of the mesh. */
export async function extensionsOf(
  kind: AuthorityKind,
  trustDomain: string,
  publicKey: CryptoKey,
): Promise<Extension[]> {
  return [
    new BasicConstraintsExtension(true, kind === 'root' ? 1 : 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
    await SubjectKeyIdentifierExtension.create(publicKey),
  ]
}

/** Undefined where there is no such file. @throws RingfenceError CONFIG where it is damaged, or has no key */
export async function readSigner(path: string): Promise<Signer | undefined> {
  return read(path, async (pem) => ({ ...certificateIn(pem), privateKey: await importKey(pem) }))
}

/** A root's, which may be without its key. Undefined where there is no such file. @throws RingfenceError CONFIG where it is damaged */
export async function readRoot(path: string): Promise<Authority | undefined> {
  return read(path, async (pem) => ({
    ...certificateIn(pem),
    privateKey: pem.includes('PRIVATE KEY-----') ? await importKey(pem) : undefined,
  }))
}

async function read<T>(path: string, parse: (pem: string) => Promise<T>): Promise<T | undefined> {
  if (!existsSync(path)) return undefined
  try {
    return await parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new RingfenceError('CONFIG', `${path} is damaged`, { cause, hint: 'restore it from a backup' })
  }
}

/** @param extractable to be written again */
export function importKey(pem: string, extractable = false): Promise<CryptoKey> {
  const pkcs8 = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' })
  return crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), algorithm, extractable, ['sign'])
}

function certificateIn(pem: string): { certificate: X509Certificate } {
  return { certificate: new X509Certificate(new Uint8Array(new NodeCertificate(pem).raw)) }
}

/** @throws RingfenceError CONFIG where its key is kept elsewhere */
export function withKey({ certificate, privateKey }: Authority): Signer {
  if (privateKey !== undefined) return { certificate, privateKey }
  throw new RingfenceError('CONFIG', `the key of the root ${idOf(certificate)} is kept elsewhere`, {
    hint: 'restore the issuing key from a backup, or give root.pem its key back',
  })
}

/** The trust domain that a root is of, as a SPIFFE id. */
export function domainIdOf({ certificate }: Authority): string | undefined {
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON() ?? []
  return names.length === 1 ? names[0]?.value : undefined
}

/** The identifier of its key, as whatever it signed names it: 40 hexadecimal digits. */
export function idOf(certificate: X509Certificate): string {
  return certificate.getExtension(SubjectKeyIdentifierExtension)?.keyId.toLowerCase() ?? ''
}

/** Of who signed it; `''` for a root. */
export function signerIdOf(certificate: X509Certificate): string {
  return certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId?.toLowerCase() ?? ''
}

/** 16 random bytes, positive (RFC 5280 §4.1.2.2). */
export function freshSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

/** Certificates know whole seconds only. */
export function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000)
}

/** The clock was set back since it was made: nobody takes what it signs yet. */
export function isAhead({ certificate }: Authority, nowMs: number): boolean {
  return nowMs < certificate.notBefore.getTime()
}
