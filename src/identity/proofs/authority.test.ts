/** What a stolen issuing key can sign, once it is revoked: nothing that is let in, however the chain is built; and its neighbour's leaves are as good as before. */
import 'reflect-metadata'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { systemClock } from '../../base/clock.ts'
import { readSigner, type Signer } from '../../control/authorities/signer.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import { type Leaf, readLeaf, verifyPeer } from '../certificate.ts'
import { certificatesOf } from '../chain.ts'
import { Providers } from '../providers/in-force.ts'
import { Revocations } from '../revoked/revocations.ts'
import { parseSpiffeId } from '../spiffe.ts'
import { proofs } from './index.ts'

const trustDomain = 'demo.local'
const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/svc/orders`)
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const der = ({ rawData }: X509Certificate): Buffer => Buffer.from(rawData)

describe('a chain below a revoked authority', () => {
  let folder: string
  let ca: CertificateAuthority
  let stolen: Signer
  let stolenId: string
  let gateway: Leaf

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-below-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), trustDomain, systemClock)
    stolen = (await readSigner(join(folder, 'ca', 'issuing.pem'))) ?? assert.fail('no key')
    stolenId = ca.keys.shown().find(({ kind }) => kind === 'issuing')!.id
    await ca.keys.prepare('issuing')
    await ca.keys.activate('issuing')
    const path = parseSpiffeId(`spiffe://${trustDomain}/ringfence/gateway/g1`)
    const { certificatePem } = await ca.mint({ spiffeId: path, ttlMs: 3_600_000 })
    gateway = readLeaf(certificatesOf(certificatePem)[0]!.raw)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  interface Shape {
    readonly isAuthority?: boolean
    /** Who it says has signed it; nobody where that is null. */
    readonly named?: Signer | null
  }

  async function signedBy(signer: Signer, { isAuthority = false, named = signer }: Shape = {}): Promise<Signer> {
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const usage = isAuthority ? KeyUsageFlags.keyCertSign : KeyUsageFlags.digitalSignature
    const extensions: Extension[] = [
      new BasicConstraintsExtension(isAuthority, undefined, true),
      new KeyUsagesExtension(usage, true),
      new SubjectAlternativeNameExtension([{ type: 'url', value: isAuthority ? `spiffe://${trustDomain}` : spiffeId }]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(named === null ? [] : [await AuthorityKeyIdentifierExtension.create(named.certificate.publicKey)]),
    ]
    const certificate = await X509CertificateGenerator.create({
      serialNumber: '0123456789abcdef',
      subject: isAuthority ? 'O=Test, CN=below' : 'O=Test',
      issuer: signer.certificate.subject,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      signingAlgorithm: algorithm,
      extensions,
    })
    return { certificate, privateKey: keys.privateKey }
  }

  const verified = (chain: readonly Signer[], entries: Parameters<typeof Revocations.of>[0], through = true) =>
    proofs.verify(
      { kind: 'svid', chain: chain.map(({ certificate }) => der(certificate)) },
      {
        nowMs: Date.now(),
        trust: {
          trustDomain,
          bundlePem: ca.bundlePem,
          providers: Providers.none,
          revocations: Revocations.of(entries),
        },
        gateway: through ? gateway : undefined,
        named: undefined,
        address: '192.0.2.1',
      },
    )
  const revoked = (value: string) => [{ id: 7, kind: 'authority' as const, value }]

  it('is refused, be it by the key itself, without a word of who signed, or by another authority that the key made', async () => {
    const below = await signedBy(stolen, { isAuthority: true })
    const chains = {
      'a leaf of it': [await signedBy(stolen), stolen],
      'a leaf that does not say who signed it': [await signedBy(stolen, { named: null }), stolen],
      'a leaf of one below': [await signedBy(below), below, stolen],
      'a leaf of one below that does not say so': [await signedBy(below, { named: null }), below, stolen],
    }
    for (const [what, chain] of Object.entries(chains)) {
      assert.throws(() => verified(chain, revoked(stolenId)), /access was revoked \(revocation 7\)/, what)
      // Nothing is said of another authority's revocation but where nobody can tell.
      const other = revoked('ab'.repeat(20))
      if (what.includes('does not say')) assert.throws(() => verified(chain, other), /access was revoked/, what)
      else assert.ok(verified(chain, other), what)
      assert.ok(verified(chain, []), `${what}, before it is revoked`)
    }
    // What came by TLS itself, which does not let an issuing key make another.
    assert.throws(() => verified(chains['a leaf of it'], revoked(stolenId), false), /access was revoked/)
  })

  it('is no reason to refuse what another issuing key of the same root signed', async () => {
    const { certificatePem } = await ca.mint({ spiffeId, ttlMs: 3_600_000 })
    const [leaf, issuing] = certificatesOf(certificatePem).map(({ raw }) => raw)
    const { authority } = verifyPeer(leaf!, Date.now(), trustDomain).certificate
    assert.notEqual(authority, stolenId)
    for (const through of [true, false]) {
      const check = {
        nowMs: Date.now(),
        trust: {
          trustDomain,
          bundlePem: ca.bundlePem,
          providers: Providers.none,
          revocations: Revocations.of(revoked(stolenId)),
        },
        gateway: through ? gateway : undefined,
        named: undefined,
        address: '192.0.2.1',
      }
      assert.ok(proofs.verify({ kind: 'svid', chain: [leaf!, issuing!] }, check))
    }
  })
})
