/** An authority such as SPIRE's server, which signs SVIDs with its root. */
import 'reflect-metadata'
import { X509Certificate as NodeCertificate } from 'node:crypto'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { type Credentials, credentialsOf, privateKeyPem } from '../../mesh/credentials.ts'
import { algorithm, freshSerial, idOf, makeAuthorityKeys, makeSigner, type Signer } from './signer.ts'

const hourMs = 3_600_000

export class OutsideAuthority {
  readonly #root: Signer
  readonly bundlePem: string

  private constructor(root: Signer) {
    this.#root = root
    this.bundlePem = new NodeCertificate(Buffer.from(root.certificate.rawData)).toString()
  }

  /** @param folder is there */
  static async make(folder: string, trustDomain: string, nowMs = Date.now()): Promise<OutsideAuthority> {
    const order = { kind: 'root', trustDomain, parent: undefined, lifeMs: hourMs, nowMs } as const
    return new OutsideAuthority(await makeSigner(join(folder, `${freshSerial()}.pem`), order))
  }

  get id(): string {
    return idOf(this.#root.certificate)
  }

  async svid(spiffeId: string, nowMs = Date.now()): Promise<Credentials> {
    const { certificate, privateKey } = this.#root
    const keys = await makeAuthorityKeys()
    const leaf = await X509CertificateGenerator.create({
      serialNumber: freshSerial(),
      subject: 'C=US, O=SPIRE',
      issuer: certificate.subject,
      notBefore: new Date(nowMs - 10_000),
      notAfter: new Date(nowMs + hourMs / 6),
      publicKey: keys.publicKey,
      signingKey: privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }]),
        await AuthorityKeyIdentifierExtension.create(certificate.publicKey),
      ],
    })
    return credentialsOf(`${leaf.toString('pem')}\n`, await privateKeyPem(keys.privateKey), this.bundlePem)
  }
}
