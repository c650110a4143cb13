/** Keys, requests for certificates, and the `Credentials` made of the answer. */
import {
  createPrivateKey,
  generateKeyPair as generateKeyPairLater,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto'
import { promisify } from 'node:util'
import { sha256Hex } from '../base/digest.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import type { SpiffeId } from '../identity/spiffe.ts'

export interface Credentials {
  readonly spiffeId: SpiffeId
  /** The leaf, then the issuing certificate. */
  readonly certificatePem: string
  /** PKCS #8. */
  readonly keyPem: string
  /** The trusted roots. */
  readonly bundlePem: string
  readonly leafDer: Buffer
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** Another certificate or other roots. */
export function credentialsVersion({ certificatePem, bundlePem }: Credentials): string {
  return sha256Hex(certificatePem + bundlePem)
}

const generateKeyPair = promisify(generateKeyPairLater)

export interface FreshKey {
  readonly keyPem: string
  readonly csrPem: string
}

/** A new P-256 key and a signing request that proves we hold it; the request names nobody, the control plane decides who we are. */
export async function makeKey(): Promise<FreshKey> {
  const { publicKey, privateKey } = await generateKeyPair('ec', { namedCurve: 'P-256' })
  const request = signingRequest(publicKey, privateKey)
  const csrPem = pem('CERTIFICATE REQUEST', request)
  return { keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), csrPem }
}

/**
 * A PKCS #10 request (RFC 2986 §4.2) without a name and without attributes: of its bytes only the key and the signature ever differ, and
 * the library that could make any request would stay in the memory of every proxy.
 */
function signingRequest(publicKey: KeyObject, privateKey: KeyObject): Buffer {
  const version0 = Buffer.from([0x02, 0x01, 0x00])
  const noName = Buffer.from([0x30, 0x00])
  const noAttributes = Buffer.from([0xa0, 0x00])
  // 1.2.840.10045.4.3.2
  const ecdsaWithSha256 = Buffer.from('300a06082a8648ce3d040302', 'hex')
  const info = der(0x30, version0, noName, publicKey.export({ type: 'spki', format: 'der' }), noAttributes)
  const signature = der(0x03, Buffer.from([0x00]), sign('sha256', info, privateKey))
  return der(0x30, info, ecdsaWithSha256, signature)
}

/** Contents of at most 255 bytes. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const contents = Buffer.concat(parts)
  assert(contents.length < 256, 'a signing request of P-256 is short')
  const length = contents.length < 128 ? [contents.length] : [0x81, contents.length]
  return Buffer.concat([Buffer.from([tag, ...length]), contents])
}

export async function privateKeyPem(key: CryptoKey): Promise<string> {
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', key))
  return pem('PRIVATE KEY', pkcs8)
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
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
