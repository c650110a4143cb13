/**
 * The key that signs a log's checkpoints. It is made once for a log and never changes: who knows it recognises the log, whatever becomes of
 * the certificates of its sidecar. Each start certifies it anew, in the log itself.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto'
import { join } from 'node:path'
import { pathSegmentsOf, type SpiffeId, trustDomainOf } from '../../identity/spiffe.ts'
import { readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import { type NoteKey, noteKeyOf } from './note.ts'

export interface LogKey {
  readonly key: NoteKey
  readonly privateKey: KeyObject
}

/** Whose word the key is: the sidecar's certificate, and its key. */
export interface Certifier {
  readonly spiffeId: string
  /** The leaf, then the issuing certificate. */
  readonly certificatePem: string
  readonly keyPem: string
}

/** Of the log of one sidecar: by its identity, which nobody else has, and not by its name. */
export function originOf(spiffeId: SpiffeId): string {
  return `ringfence.${trustDomainOf(spiffeId)}/audit/${pathSegmentsOf(spiffeId).join('/')}`
}

/** Makes it where there is none. */
export function openLogKey(directory: string, origin: string): LogKey {
  const privateKey = openKey(join(directory, 'log.key'))
  return { key: noteKeyOf(origin, createPublicKey(privateKey)), privateKey }
}

/** An Ed25519 key, made where there is none. */
export function openKey(path: string): KeyObject {
  let pem = readIfThere(path)
  if (pem === undefined) {
    pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    writeFileAtomically(path, pem, 0o600)
  }
  return createPrivateKey(pem)
}

/** What is signed: that this key is the log's. */
export function statementText(key: string): string {
  return `ringfence-log-key/1\n${key}\n`
}

/** The event of the log that says whose the key is. */
export function keyStatement(key: NoteKey, { spiffeId, certificatePem, keyPem }: Certifier): object {
  const signature = sign('sha256', Buffer.from(statementText(key.text)), keyPem)
  const certificates = certificatePem
    .split(/(?=-----BEGIN CERTIFICATE-----)/)
    .filter((pem) => pem.includes('BEGIN CERTIFICATE'))
    .map((pem) => new X509Certificate(pem).raw.toString('base64'))
  return { event: 'log key', key: key.text, spiffeId, certificates, signature: signature.toString('base64') }
}
