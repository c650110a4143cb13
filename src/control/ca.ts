/**
 * The certificate authority: a root signs an issuing certificate, which signs X.509-SVIDs (spiffe/spiffe standards/X509-SVID.md). Both look after themselves:
 *
 *   prepared at 1/2 of the present one's life ─▶ active at 5/6 ─▶ old ─▶ dropped when it ends
 *                                                                  └─ tainted ─▶ revoked
 *
 * A root is in the bundle from `prepared` on, so that everybody trusts it before anybody shows what it signed. Leaves carry the issuing certificate along, so
 * nobody who trusts the root notices a new one.
 *
 * Rule: changes come one after the other, and each is on disk before it counts.
 */
import 'reflect-metadata'
import { createHash, X509Certificate as NodeCertificate } from 'node:crypto'
import { mkdirSync } from 'node:fs'
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
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { listenerIdentitiesOid } from '../identity/certificate.ts'
import { exchangedOid } from '../identity/exchanged.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { privateKeyPem } from '../mesh/credentials.ts'
import { AuthorityKeys } from './authorities/keys.ts'
import type { AuthorityLives } from './authorities/lives.ts'
import { algorithm, backDateMsMax, freshSerial, wholeSecond } from './authorities/signer.ts'

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
  /** The root that the chain ends in. */
  readonly rootPem: string
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export class CertificateAuthority {
  readonly trustDomain: string
  readonly keys: AuthorityKeys
  readonly #clock: Clock

  private constructor(trustDomain: string, clock: Clock, keys: AuthorityKeys) {
    this.trustDomain = trustDomain
    this.#clock = clock
    this.keys = keys
  }

  /** Reads the authority of `folder`, or makes it. Keys are files of mode 0600 in a folder of mode 0700. */
  static async open(
    folder: string,
    trustDomain: string,
    clock: Clock,
    lives: AuthorityLives = {},
  ): Promise<CertificateAuthority> {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return new CertificateAuthority(trustDomain, clock, await AuthorityKeys.open(folder, trustDomain, clock, lives))
  }

  /** The roots that the mesh trusts: the active one first. */
  get bundlePem(): string {
    return this.keys.bundlePem
  }

  /** SHA-256 of the active root's DER, hexadecimal. */
  get rootFingerprint(): string {
    return fingerprintOf(this.keys.root.certificate.rawData)
  }

  /** Of all roots of the bundle, the active one first: what a join token carries, so that it is good whichever of them is active when it is used. */
  get rootFingerprints(): string[] {
    return this.keys.rootPems.map((pem) => fingerprintOf(new NodeCertificate(pem).raw))
  }

  /**
   * Whether the authority that a leaf names is the mesh's own. Without roots beside the mesh's all that TLS lets in is: a control plane that was restored does
   * not know each of its issuing keys.
   */
  hasSigned(authority: string | undefined): boolean {
    if (this.keys.outside.pemAt(this.#clock.now()) === '') return true
    return this.keys.shown().some(({ kind, id }) => kind === 'issuing' && id === authority)
  }

  get issuingNotBeforeMs(): number {
    return this.keys.issuing.certificate.notBefore.getTime()
  }

  get issuingNotAfterMs(): number {
    return this.keys.issuing.certificate.notAfter.getTime()
  }

  get rootNotBeforeMs(): number {
    return this.keys.root.certificate.notBefore.getTime()
  }

  get rootNotAfterMs(): number {
    return this.keys.root.certificate.notAfter.getTime()
  }

  /** Signs a leaf. A back-date of up to a minute comes on top of `ttlMs`; the end is never after the issuing certificate's. */
  async issue(request: LeafRequest): Promise<IssuedLeaf> {
    try {
      await this.keys.rotateIfDue()
    } catch (reason) {
      // What signs now is good, and the sweep tries again and says what is wrong.
      if (this.#clock.now() >= this.issuingNotAfterMs) throw reason
    }
    const { privateKey, certificate: issuer } = this.keys.issuing
    const rootPem = this.keys.issuingRootPem
    const now = this.#clock.now()
    if (now >= issuer.notAfter.getTime())
      throw new RingfenceError('UNAVAILABLE', 'the issuing certificate has ended, and the next one is not signed yet')
    const notBefore = wholeSecond(now - Math.min(backDateMsMax, request.ttlMs / 5))
    const notAfter = wholeSecond(Math.min(now + request.ttlMs, issuer.notAfter.getTime()))
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
      rootPem,
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

/** Not critical, for Cassandra and drivers look at these certificates too and need not know it. */
function listenerIdentities(ids: readonly string[]): Extension[] {
  if (ids.length === 0) return []
  const names = new GeneralNames(ids.map((value) => ({ type: 'url', value })))
  return [new Extension(listenerIdentitiesOid, false, names.rawData)]
}

function fingerprintOf(der: ArrayBuffer | Buffer): string {
  return createHash('sha256')
    .update(Buffer.from(der as ArrayBuffer))
    .digest('hex')
}
