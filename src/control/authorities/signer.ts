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
import { RingfenceError } from '../../base/errors.ts'
import { privateKeyPem } from '../../mesh/credentials.ts'
import { writeFileAtomically } from '../../mesh/files.ts'

export const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
/** Clocks of the mesh may differ by this much at first contact: a machine that has just started may not have set its clock. */
export const backDateMsMax = 60_000

export type AuthorityKind = 'root' | 'issuing'

export interface Signer {
  readonly certificate: X509Certificate
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
  const { kind, trustDomain, parent, lifeMs, nowMs } = order
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const serialNumber = freshSerial()
  // The serial number tells certificates of one authority apart wherever only names are printed.
  const subject = `O=Ringfence, CN=${trustDomain} ${kind} ${serialNumber.slice(0, 8)}`
  const extensions: Extension[] = [
    new BasicConstraintsExtension(true, parent === undefined ? 1 : 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]
  if (parent !== undefined) extensions.push(await AuthorityKeyIdentifierExtension.create(parent.certificate.publicKey))
  // Nothing that a root signed outlives it.
  const endMs = Math.min(nowMs + lifeMs, parent?.certificate.notAfter.getTime() ?? Number.POSITIVE_INFINITY)
  const certificate = await X509CertificateGenerator.create({
    serialNumber,
    subject,
    issuer: parent === undefined ? subject : parent.certificate.subject,
    notBefore: wholeSecond(nowMs - Math.min(backDateMsMax, lifeMs / 5)),
    notAfter: wholeSecond(endMs),
    publicKey: keys.publicKey,
    signingKey: parent === undefined ? keys.privateKey : parent.privateKey,
    signingAlgorithm: algorithm,
    extensions,
  })
  const pem = `${await privateKeyPem(keys.privateKey)}${certificate.toString('pem')}\n`
  writeFileAtomically(path, pem, 0o600)
  return { certificate, privateKey: keys.privateKey }
}

/** Undefined where there is no such file. @throws RingfenceError CONFIG where it is damaged */
export async function readSigner(path: string): Promise<Signer | undefined> {
  if (!existsSync(path)) return undefined
  const pem = readFileSync(path, 'utf8')
  try {
    const pkcs8 = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' })
    const privateKey = await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), algorithm, false, ['sign'])
    return { certificate: new X509Certificate(new Uint8Array(new NodeCertificate(pem).raw)), privateKey }
  } catch (cause) {
    throw new RingfenceError('CONFIG', `${path} is damaged`, { cause, hint: 'restore it from a backup' })
  }
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
