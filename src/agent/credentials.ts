/** Keys, requests for certificates, and the `Credentials` made of the answer. */
import 'reflect-metadata'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import type { Credentials } from './api.ts'

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export interface FreshKey {
  readonly keyPem: string
  readonly csrPem: string
}

/** A new P-256 key and a signing request that proves we hold it; the request names nobody, the control plane decides who we are. */
export async function makeKey(): Promise<FreshKey> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
  const request = await Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: keyAlgorithm })
  return { keyPem: await privateKeyPem(keys.privateKey), csrPem: request.toString('pem') }
}

export async function privateKeyPem(key: CryptoKey): Promise<string> {
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', key))
  const lines = pkcs8.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`
}

/**
 * Puts the parts together and checks that they belong together.
 * @throws RingfenceError IDENTITY
 */
export function credentialsOf(certificatePem: string, keyPem: string, bundlePem: string): Credentials {
  let certificate: X509Certificate
  let key: KeyObject
  try {
    certificate = new X509Certificate(certificatePem)
    key = createPrivateKey(keyPem)
  } catch (cause) {
    throw new RingfenceError('IDENTITY', 'stored identity cannot be read', { cause })
  }
  if (!certificate.checkPrivateKey(key))
    throw new RingfenceError('IDENTITY', 'key and certificate do not belong together')
  const { spiffeId, notBeforeMs, notAfterMs } = readLeaf(certificate.raw)
  return { spiffeId, certificatePem, keyPem, bundlePem, leafDer: certificate.raw, notBeforeMs, notAfterMs }
}
