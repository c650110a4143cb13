/**
 * A root whose key is kept elsewhere: a request for the next issuing certificate, which somebody signs there, and what comes back.
 *
 *   control plane                       where the root's key is                 control plane
 *   request ─ issuing-request.pem ─▶ file ─▶ signRequest ─▶ certificate ─▶ takeSigned ─▶ issuing-next.pem
 *
 * Rule: what comes back is an issuing certificate such as the control plane makes itself, for the key that was asked for and by the root that is active. Else it
 * is refused, and nothing is changed.
 */
import 'reflect-metadata'
import { createPublicKey } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
} from '@peculiar/x509'
import { RingfenceError } from '../../base/errors.ts'
import { privateKeyPem } from '../../mesh/credentials.ts'
import { readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import { byOffline, usage } from './refusals.ts'
import {
  type Authority,
  algorithm,
  certificateOf,
  domainIdOf,
  extensionsOf,
  idOf,
  importKey,
  type KeyPair,
  makeAuthorityKeys,
  pemOf,
  type Signer,
  signerIdOf,
  signerPem,
} from './signer.ts'

const requestName = 'issuing-request.pem'

/** A signing request, whose key stays here. One that was made before is made again, for the same key. */
export async function makeRequest(folder: string, trustDomain: string): Promise<string> {
  const keys = (await readKeys(folder)) ?? (await makeAuthorityKeys())
  writeFileAtomically(join(folder, requestName), await privateKeyPem(keys.privateKey), 0o600)
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: `O=Ringfence, CN=${trustDomain} issuing`,
    keys,
    signingAlgorithm: algorithm,
    extensions: await extensionsOf('issuing', trustDomain, keys.publicKey),
  })
  return `${request.toString('pem')}\n`
}

/**
 * What who has the root's key makes of a request.
 * @throws RingfenceError CONFIG where it is no request, or not of the root's trust domain
 */
export async function signRequest(requestPem: string, root: Signer, lifeMs: number, nowMs: number): Promise<string> {
  const domain = domainIdOf(root)
  let publicKey: CryptoKey | undefined
  let asked: string | undefined
  try {
    const request = new Pkcs10CertificateRequest(requestPem)
    const names = request.getExtension('2.5.29.17')
    asked = names instanceof SubjectAlternativeNameExtension ? names.names.toJSON()[0]?.value : undefined
    if (await request.verify()) publicKey = await request.publicKey.export(algorithm, ['verify'])
  } catch (cause) {
    throw new RingfenceError('CONFIG', 'this is no signing request of ringfence ca prepare', { cause })
  }
  if (publicKey === undefined) throw new RingfenceError('CONFIG', 'the request is not signed by its own key')
  if (domain === undefined || asked !== domain)
    throw new RingfenceError('CONFIG', `the request is of ${asked ?? 'nobody'}, the root of ${domain ?? 'nobody'}`)
  const trustDomain = domain.slice('spiffe://'.length)
  const order = { kind: 'issuing', trustDomain, parent: root, lifeMs, nowMs } as const
  return pemOf(await certificateOf({ publicKey }, order))
}

export interface Expected {
  readonly folder: string
  readonly trustDomain: string
  readonly root: Authority
  readonly nowMs: number
  /** It is to live for more than this. */
  readonly leafMs: number
}

/** The key that was asked for, and its certificate, in the file `path`. @throws RingfenceError USAGE */
export async function takeSigned(path: string, pem: string, expected: Expected): Promise<Signer> {
  const keys = await readKeys(expected.folder)
  if (keys === undefined) throw usage('there is no request that this would answer', byOffline)
  const certificate = await checked(pem, keys.publicKey, expected)
  writeFileAtomically(path, await signerPem(keys.privateKey, certificate), 0o600)
  dropRequest(expected.folder)
  return { certificate, privateKey: keys.privateKey }
}

function dropRequest(folder: string): void {
  rmSync(join(folder, requestName), { force: true })
}

async function readKeys(folder: string): Promise<KeyPair | undefined> {
  const pem = readIfThere(join(folder, requestName))
  if (pem === undefined) return undefined
  try {
    const spki = createPublicKey(pem).export({ format: 'der', type: 'spki' })
    const publicKey = await crypto.subtle.importKey('spki', new Uint8Array(spki), algorithm, true, ['verify'])
    return { privateKey: await importKey(pem, true), publicKey }
  } catch (cause) {
    const hint = 'remove it, and make another request'
    throw new RingfenceError('CONFIG', `${requestName} is damaged`, { cause, hint })
  }
}

async function checked(pem: string, publicKey: CryptoKey, expected: Expected): Promise<X509Certificate> {
  let certificate: X509Certificate
  try {
    if ((pem.match(/-----BEGIN CERTIFICATE-----/g) ?? []).length !== 1) throw new Error('not one certificate')
    certificate = new X509Certificate(pem)
  } catch (cause) {
    throw new RingfenceError('USAGE', 'this is not one certificate in PEM', { cause })
  }
  const fault = await faultOf(certificate, publicKey, expected)
  if (fault !== undefined) throw usage(`the certificate is not taken: ${fault}`, 'ringfence ca sign makes one that is')
  return certificate
}

/** What of it is not as the mesh needs it. */
async function faultOf(
  certificate: X509Certificate,
  publicKey: CryptoKey,
  { trustDomain, root, nowMs, leafMs }: Expected,
): Promise<string | undefined> {
  const own = await SubjectKeyIdentifierExtension.create(publicKey)
  const asked = Buffer.from(await crypto.subtle.exportKey('spki', publicKey))
  if (!asked.equals(Buffer.from(certificate.publicKey.rawData))) return 'it is of another key than was asked for'
  const rootId = idOf(root.certificate)
  if (!(await isSignedBy(certificate, root))) return `the active root ${rootId.slice(0, 12)} has not signed it`
  if (signerIdOf(certificate) !== rootId) return 'it does not name the key of the root (authority key identifier)'
  if (idOf(certificate) !== own.keyId.toLowerCase()) return 'it does not name its own key (subject key identifier)'
  const constraints = certificate.getExtension(BasicConstraintsExtension)
  if (constraints?.ca !== true || constraints.pathLength !== 0) return 'it is not of an authority with path length 0'
  const usages = certificate.getExtension(KeyUsagesExtension)?.usages ?? 0
  if ((usages & KeyUsageFlags.keyCertSign) === 0) return 'its key may not sign certificates (key usage)'
  if (domainIdOf({ certificate, privateKey: undefined }) !== `spiffe://${trustDomain}`)
    return `its one name is not spiffe://${trustDomain}`
  const more = certificate.extensions.filter(({ type }) => !knownExtensions.has(type))
  if (more.length > 0) return `it has the extension ${more.map(({ type }) => type).join(', ')}`
  const { notBefore, notAfter } = certificate
  if (notBefore.getTime() > nowMs) return `it is not good before ${notBefore.toISOString()}`
  if (notAfter.getTime() <= nowMs + leafMs)
    return `it ends at ${notAfter.toISOString()}, before a certificate of now would`
  if (notAfter > root.certificate.notAfter) return 'it outlives the root'
  return undefined
}

async function isSignedBy(certificate: X509Certificate, { certificate: root }: Authority): Promise<boolean> {
  if (certificate.issuer !== root.subject) return false
  try {
    return await certificate.verify({ publicKey: root.publicKey, signatureOnly: true })
  } catch {
    // By an algorithm that the root's key does not have.
    return false
  }
}

/** Basic constraints, key usage, names, and the identifiers of both keys: others may mean that fewer chains are good. */
const knownExtensions: ReadonlySet<string> = new Set(['2.5.29.19', '2.5.29.15', '2.5.29.17', '2.5.29.14', '2.5.29.35'])
