/**
 * The certificate authority: a root of ten years that signs an issuing certificate of thirty days, which signs X.509-SVIDs
 * (spiffe/spiffe standards/X509-SVID.md). The issuing certificate is made anew at half of its life; leaves carry it along, so
 * nobody who trusts the root notices.
 */
import 'reflect-metadata'
import { createHash, createPrivateKey, X509Certificate as NodeCertificate, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  GeneralNames,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { listenerIdentitiesOid } from '../identity/certificate.ts'
import { exchangedOid } from '../identity/exchanged.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { privateKeyPem } from '../mesh/credentials.ts'
import { writeFileAtomically } from '../mesh/files.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 24 * 60 * 60 * 1000
const rootLifetimeMs = 3650 * dayMs
const issuingLifetimeMs = 30 * dayMs
/** Clocks of the mesh may differ by this much at first contact: a machine that has just started may not have set its clock. */
const backDateMsMax = 60_000

export interface LeafRequest {
  readonly spiffeId: SpiffeId
  readonly publicKey: CryptoKey
  readonly ttlMs: number
  /** For Cassandra nodes, whose drivers and tools may check the address. */
  readonly ipAddresses?: readonly string[] | undefined
  readonly dnsNames?: readonly string[] | undefined
  /** Of a gateway (see `Leaf`). */
  readonly listenerIdentities?: readonly string[] | undefined
  /** What `exchangedOf` makes of an identity. */
  readonly exchanged?: Buffer | undefined
}

export interface IssuedLeaf {
  /** Leaf, then issuing certificate. */
  readonly certificatePem: string
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

interface Signer {
  readonly certificate: X509Certificate
  readonly privateKey: CryptoKey
}

export class CertificateAuthority {
  readonly trustDomain: string
  readonly #clock: Clock
  readonly #folder: string
  readonly #root: Signer
  #issuing: Signer

  private constructor(trustDomain: string, folder: string, clock: Clock, root: Signer, issuing: Signer) {
    this.trustDomain = trustDomain
    this.#folder = folder
    this.#clock = clock
    this.#root = root
    this.#issuing = issuing
  }

  /** Reads the authority of `folder`, or makes it. Keys are files of mode 0600 in a folder of mode 0700. */
  static async open(folder: string, trustDomain: string, clock: Clock): Promise<CertificateAuthority> {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const root = (await readSigner(folder, 'root')) ?? (await makeRoot(folder, trustDomain, clock))
    const authorityOf = root.certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON()[0]?.value
    if (authorityOf !== `spiffe://${trustDomain}`) {
      throw new RingfenceError('CONFIG', `state folder belongs to ${authorityOf}, not to spiffe://${trustDomain}`, {
        hint: 'use the same --trust-domain as before, or another --state-dir',
      })
    }
    const issuing = (await readSigner(folder, 'issuing')) ?? (await makeIssuing(folder, trustDomain, root, clock))
    return new CertificateAuthority(trustDomain, folder, clock, root, issuing)
  }

  /** The roots that the mesh trusts. */
  get bundlePem(): string {
    return `${this.#root.certificate.toString('pem')}\n`
  }

  /** SHA-256 of the root's DER, hexadecimal: what a join token carries. */
  get rootFingerprint(): string {
    return createHash('sha256').update(Buffer.from(this.#root.certificate.rawData)).digest('hex')
  }

  get issuingNotBeforeMs(): number {
    return this.#issuing.certificate.notBefore.getTime()
  }

  get issuingNotAfterMs(): number {
    return this.#issuing.certificate.notAfter.getTime()
  }

  get rootNotBeforeMs(): number {
    return this.#root.certificate.notBefore.getTime()
  }

  get rootNotAfterMs(): number {
    return this.#root.certificate.notAfter.getTime()
  }

  /** Makes a new issuing certificate when half of the old one's life is over. True when it did. */
  async rotateIfDue(): Promise<boolean> {
    const { notBefore, notAfter } = this.#issuing.certificate
    if (this.#clock.now() < (notBefore.getTime() + notAfter.getTime()) / 2) return false
    this.#issuing = await makeIssuing(this.#folder, this.trustDomain, this.#root, this.#clock)
    return true
  }

  /** Signs a leaf. A back-date of up to a minute comes on top of `ttlMs`; the end is never after the issuing certificate's. */
  async issue(request: LeafRequest): Promise<IssuedLeaf> {
    await this.rotateIfDue()
    const { privateKey, certificate: issuer } = this.#issuing
    const now = this.#clock.now()
    const notBefore = wholeSecond(now - Math.min(backDateMsMax, request.ttlMs / 5))
    const notAfter = wholeSecond(Math.min(now + request.ttlMs, this.issuingNotAfterMs))
    const names: JsonGeneralNames = [{ type: 'url', value: request.spiffeId }]
    for (const value of request.dnsNames ?? []) names.push({ type: 'dns', value })
    for (const value of request.ipAddresses ?? []) names.push({ type: 'ip', value })
    const serialNumber = freshSerial()
    const leaf = await X509CertificateGenerator.create({
      serialNumber,
      subject: 'O=Ringfence',
      issuer: issuer.subject,
      notBefore,
      notAfter,
      publicKey: request.publicKey,
      signingKey: privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension(names),
        await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        await SubjectKeyIdentifierExtension.create(request.publicKey),
        ...listenerIdentities(request.listenerIdentities ?? []),
        ...(request.exchanged === undefined
          ? []
          : [new Extension(exchangedOid, false, new Uint8Array(request.exchanged))]),
      ],
    })
    return {
      certificatePem: `${leaf.toString('pem')}\n${issuer.toString('pem')}\n`,
      serial: new NodeCertificate(Buffer.from(leaf.rawData)).serialNumber,
      notBeforeMs: notBefore.getTime(),
      notAfterMs: notAfter.getTime(),
    }
  }

  /** A leaf with a key made here, for the control plane itself and for `x509 mint`. */
  async mint(request: Omit<LeafRequest, 'publicKey'>): Promise<IssuedLeaf & { keyPem: string }> {
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const issued = await this.issue({ ...request, publicKey: keys.publicKey })
    return { ...issued, keyPem: await privateKeyPem(keys.privateKey) }
  }
}

/**
 * The key of a signing request whose own signature proves possession; P-256 only. Every name in it is ignored.
 * @throws RingfenceError IDENTITY
 */
export async function keyOfRequest(csrPem: string): Promise<CryptoKey> {
  try {
    const request = new Pkcs10CertificateRequest(csrPem)
    const key = await request.publicKey.export(algorithm, ['verify'])
    if (await request.verify()) return key
  } catch (cause) {
    throw new RingfenceError('IDENTITY', 'signing request cannot be read, or its key is not P-256', { cause })
  }
  throw new RingfenceError('IDENTITY', 'signing request is not signed by its own key')
}

async function makeRoot(folder: string, trustDomain: string, clock: Clock): Promise<Signer> {
  return makeAuthority(folder, 'root', trustDomain, undefined, rootLifetimeMs, clock)
}

async function makeIssuing(folder: string, trustDomain: string, root: Signer, clock: Clock): Promise<Signer> {
  return makeAuthority(folder, 'issuing', trustDomain, root, issuingLifetimeMs, clock)
}

async function makeAuthority(
  folder: string,
  name: 'root' | 'issuing',
  trustDomain: string,
  parent: Signer | undefined,
  lifetimeMs: number,
  clock: Clock,
): Promise<Signer> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const serialNumber = freshSerial()
  // The serial number tells issuing certificates of one authority apart wherever only names are printed.
  const subject = `O=Ringfence, CN=${trustDomain} ${name} ${serialNumber.slice(0, 8)}`
  const now = clock.now()
  const extensions: Extension[] = [
    new BasicConstraintsExtension(true, parent === undefined ? 1 : 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]
  if (parent !== undefined) extensions.push(await AuthorityKeyIdentifierExtension.create(parent.certificate.publicKey))
  const certificate = await X509CertificateGenerator.create({
    serialNumber,
    subject,
    issuer: parent === undefined ? subject : parent.certificate.subject,
    notBefore: wholeSecond(now - backDateMsMax),
    notAfter: wholeSecond(now + lifetimeMs),
    publicKey: keys.publicKey,
    signingKey: parent === undefined ? keys.privateKey : parent.privateKey,
    signingAlgorithm: algorithm,
    extensions,
  })
  // One file holds both, so key and certificate cannot come from two generations.
  const pem = `${await privateKeyPem(keys.privateKey)}${certificate.toString('pem')}\n`
  writeFileAtomically(join(folder, `${name}.pem`), pem, 0o600)
  return { certificate, privateKey: keys.privateKey }
}

async function readSigner(folder: string, name: string): Promise<Signer | undefined> {
  const path = join(folder, `${name}.pem`)
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

/** Not critical, for Cassandra and drivers look at these certificates too and need not know it. */
function listenerIdentities(ids: readonly string[]): Extension[] {
  if (ids.length === 0) return []
  const names = new GeneralNames(ids.map((value) => ({ type: 'url', value })))
  return [new Extension(listenerIdentitiesOid, false, names.rawData)]
}

/** 16 random bytes, positive (RFC 5280 §4.1.2.2). */
function freshSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

/** Certificates know whole seconds only. */
function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000)
}
