/** Certificates of every shape, good and bad, by an authority whose files are at hand. */
import 'reflect-metadata'
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const minuteMs = 60_000

export interface CertificateShape {
  readonly spiffeId: string
  /** From now; may be negative. */
  readonly beginsMs?: number
  readonly endsMs?: number
  readonly usages?: readonly ('client' | 'server')[]
  /** By its own key, and by no authority. */
  readonly isSelfSigned?: true
  /** So often the chain has its issuing certificate. */
  readonly repeats?: number
}

export interface MadeCertificate {
  /** With its chain. */
  readonly certificatePem: string
  readonly keyPem: string
}

/** @param authorityDir where a `CertificateAuthority` has its files */
export async function makeCertificate(authorityDir: string, shape: CertificateShape): Promise<MadeCertificate> {
  const { spiffeId, beginsMs = -minuteMs, endsMs = 60 * minuteMs, usages = ['client', 'server'], repeats = 1 } = shape
  const authorityPem = readFileSync(join(authorityDir, 'issuing.pem'), 'utf8')
  const issuing = new X509Certificate(authorityPem)
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const pkcs8 = createPrivateKey(authorityPem).export({ format: 'der', type: 'pkcs8' })
  const authorityKey = await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), algorithm, false, ['sign'])
  const subject = 'O=Ringfence'
  const leaf = await X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(15).toString('hex')}`,
    subject,
    issuer: shape.isSelfSigned ? subject : issuing.subject.split('\n').join(', '),
    notBefore: new Date(Date.now() + beginsMs),
    notAfter: new Date(Date.now() + endsMs),
    publicKey: keys.publicKey,
    signingKey: shape.isSelfSigned ? keys.privateKey : authorityKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(
        usages.map((usage) => (usage === 'client' ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth)),
      ),
      new SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }]),
    ],
  })
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey))
  const keyPem = createPrivateKey({ key, format: 'der', type: 'pkcs8' }).export({ format: 'pem', type: 'pkcs8' })
  const chain = shape.isSelfSigned ? '' : `${issuing.toString()}`.repeat(repeats)
  return { certificatePem: `${leaf.toString('pem')}\n${chain}`, keyPem: String(keyPem) }
}
