import 'reflect-metadata'
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { ManualClock } from '../../base/clock.fixture.ts'
import { certificatesOf, verifyChain } from '../../identity/chain.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { CertificateAuthority } from '../ca.ts'
import { signRequest } from './offline.ts'
import { algorithm, idOf, readSigner, type Signer } from './signer.ts'

const hour = 3_600_000
const day = 24 * hour
const spiffeId = parseSpiffeId('spiffe://demo.local/svc/orders')

interface Made {
  readonly folder: string
  readonly clock: ManualClock
  readonly ca: CertificateAuthority
  /** As it was before its key went elsewhere. */
  readonly root: Signer
  again(): Promise<CertificateAuthority>
}

describe('a root whose key is kept elsewhere', () => {
  let base: string
  before(() => {
    base = mkdtempSync(join(tmpdir(), 'rf-offline-'))
  })
  after(() => rmSync(base, { recursive: true, force: true }))

  async function detached(): Promise<Made> {
    const folder = mkdtempSync(join(base, 'ca-'))
    const clock = new ManualClock()
    const again = () => CertificateAuthority.open(folder, 'demo.local', clock)
    const ca = await again()
    const root = (await readSigner(join(folder, 'root.pem'))) ?? assert.fail('no root')
    await ca.keys.forgetRootKey(idOf(root.certificate))
    return { folder, clock, ca, root, again }
  }

  const states = (ca: CertificateAuthority, kind: string): string[] =>
    ca.keys
      .shown()
      .filter((one) => one.kind === kind)
      .map(({ state }) => state)

  async function issuesGood(ca: CertificateAuthority, clock: ManualClock): Promise<void> {
    const { certificatePem } = await ca.mint({ spiffeId, ttlMs: hour })
    const [leaf, ...issuers] = certificatesOf(certificatePem)
    const ders = issuers.map(({ raw }) => raw)
    verifyChain(leaf!.raw, ders, ca.bundlePem, clock.now())
  }

  it('leaves certificate and everything else as it was, also after a restart', async () => {
    const { folder, ca, clock, root, again } = await detached()
    assert.doesNotMatch(readFileSync(join(folder, 'root.pem'), 'utf8'), /PRIVATE KEY/)
    assert.equal(ca.rootFingerprint, (await again()).rootFingerprint)
    for (const one of [ca, await again()]) {
      assert.equal(one.keys.hasRootKey, false)
      await issuesGood(one, clock)
      await assert.rejects(one.keys.forgetRootKey(idOf(root.certificate)), {
        code: 'USAGE',
        message: /elsewhere already/,
      })
      await assert.rejects(one.keys.prepare('issuing'), { code: 'USAGE', message: /key of the root is kept elsewhere/ })
    }
    const { issuing } = ca.keys
    await assert.rejects(ca.keys.forgetRootKey(idOf(issuing.certificate)), { message: /is not the active root/ })
  })

  it('signs the next issuing certificate there, which takes its turn as ever', async () => {
    const { folder, ca, clock, root, again } = await detached()
    const first = idOf(ca.keys.issuing.certificate)
    clock.advance(14 * day)
    await ca.keys.rotateIfDue()
    assert.equal(ca.keys.awaitsSigned, false)
    clock.advance(2 * day)
    await ca.keys.rotateIfDue()
    assert.equal(ca.keys.awaitsSigned, true, 'by itself nothing is made')
    assert.deepEqual(states(ca, 'issuing'), ['active'])
    const request = await ca.keys.request()
    assert.equal(statSync(join(folder, 'issuing-request.pem')).mode & 0o777, 0o600)
    assert.equal(keyIn(await ca.keys.request()), keyIn(request), 'the same key, asked for again')
    const signed = await signRequest(request, root, 30 * day, clock.now())
    const later = await again()
    const prepared = await later.keys.takeSigned(signed)
    assert.deepEqual([prepared.state, prepared.signerId], ['prepared', idOf(root.certificate)])
    assert.equal(later.keys.awaitsSigned, false)
    assert.ok(!readdirSync(folder).includes('issuing-request.pem'))
    await assert.rejects(later.keys.request(), { message: /is prepared already/ })
    clock.advance(10 * day)
    await later.keys.rotateIfDue()
    assert.equal(idOf(later.keys.issuing.certificate), prepared.id)
    assert.notEqual(prepared.id, first)
    await issuesGood(later, clock)
    await issuesGood(await again(), clock)
  })

  it('takes nothing but what was asked for, and says what is wrong with the rest', async () => {
    const { ca, clock, root } = await detached()
    await assert.rejects(ca.keys.takeSigned('x'), { code: 'USAGE', message: /no request that this would answer/ })
    const request = await ca.keys.request()
    const good = await signRequest(request, root, 30 * day, clock.now())
    const otherRequest = await (await detached()).ca.keys.request()
    const stranger = (await detached()).root
    const made = (change: Change) => shaped(request, root, clock.now(), change)
    const faults: readonly (readonly [pem: string, message: RegExp])[] = [
      ['nothing', /not one certificate/],
      [good + good, /not one certificate/],
      [request, /not one certificate/],
      [await signRequest(otherRequest, root, 30 * day, clock.now()), /another key than was asked for/],
      [await signRequest(request, stranger, 30 * day, clock.now()), /has not signed it/],
      [await made({ signer: { ...root, privateKey: stranger.privateKey } }), /has not signed it/],
      [await made({ without: AuthorityKeyIdentifierExtension }), /authority key identifier/],
      [await made({ without: SubjectKeyIdentifierExtension }), /subject key identifier/],
      [await made({ constraints: new BasicConstraintsExtension(false) }), /not of an authority/],
      [await made({ constraints: new BasicConstraintsExtension(true, 1, true) }), /path length 0/],
      [await made({ constraints: new BasicConstraintsExtension(true, undefined, true) }), /path length 0/],
      [await made({ usage: KeyUsageFlags.digitalSignature }), /may not sign certificates/],
      [await made({ names: ['spiffe://other.example'] }), /its one name is not/],
      [await made({ names: ['spiffe://demo.local', 'spiffe://demo.local/x'] }), /its one name is not/],
      [await made({ more: new ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1']) }), /extension 2\.5\.29\.37/],
      [await made({ fromMs: clock.now() + hour }), /is not good before/],
      [await made({ untilMs: clock.now() + day }), /before a certificate of now would/],
      [await made({ untilMs: root.certificate.notAfter.getTime() + day }), /outlives the root/],
    ]
    for (const [pem, message] of faults) {
      await assert.rejects(ca.keys.takeSigned(pem), { code: 'USAGE', message }, String(message))
      assert.deepEqual(states(ca, 'issuing'), ['active'])
    }
    assert.equal((await ca.keys.takeSigned(good)).state, 'prepared')
  })

  it('signs no request of another trust domain, nor what is none', async () => {
    const { ca, clock, root } = await detached()
    const folder = mkdtempSync(join(base, 'other-'))
    const other = await CertificateAuthority.open(folder, 'other.example', clock)
    await assert.rejects(signRequest(await other.keys.request(), root, day, clock.now()), {
      code: 'CONFIG',
      message: /of spiffe:\/\/other\.example, the root of spiffe:\/\/demo\.local/,
    })
    await assert.rejects(signRequest(ca.bundlePem, root, day, clock.now()), { code: 'CONFIG' })
  })

  it('whose next certificate nobody signs issues nothing that has ended', async () => {
    const { ca, clock } = await detached()
    clock.advance(30 * day + hour)
    await assert.rejects(ca.mint({ spiffeId, ttlMs: hour }), { code: 'UNAVAILABLE', message: /not signed yet/ })
  })

  it('is followed by a root with its key here, and is told of a request that is damaged', async () => {
    const { folder, ca, clock, again } = await detached()
    await ca.keys.request()
    await ca.keys.prepare('root')
    await ca.keys.activate('root')
    assert.equal(ca.keys.hasRootKey, true)
    await issuesGood(ca, clock)
    writeFileSync(join(folder, 'issuing-request.pem'), 'damaged')
    const damaged = await again()
    await issuesGood(damaged, clock)
    await assert.rejects(damaged.keys.request(), { code: 'CONFIG', message: /issuing-request\.pem is damaged/ })
  })
})

const keyIn = (requestPem: string): string =>
  Buffer.from(new Pkcs10CertificateRequest(requestPem).publicKey.rawData).toString('base64')

interface Change {
  readonly signer?: Signer
  readonly without?: abstract new (...args: never[]) => Extension
  readonly constraints?: Extension
  readonly usage?: KeyUsageFlags
  readonly names?: readonly string[]
  readonly more?: Extension
  readonly fromMs?: number
  readonly untilMs?: number
}

/** A certificate for the key of a request, otherwise as it is to be. */
async function shaped(requestPem: string, root: Signer, nowMs: number, change: Change): Promise<string> {
  const { signer = root, names = ['spiffe://demo.local'], usage = KeyUsageFlags.keyCertSign } = change
  const request = new Pkcs10CertificateRequest(requestPem)
  const publicKey = await request.publicKey.export(algorithm, ['verify'])
  const extensions = [
    change.constraints ?? new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(usage, true),
    new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'url', value }) as const)),
    await SubjectKeyIdentifierExtension.create(publicKey),
    await AuthorityKeyIdentifierExtension.create(root.certificate.publicKey),
    ...(change.more === undefined ? [] : [change.more]),
  ]
  const { without } = change
  const certificate = await X509CertificateGenerator.create({
    serialNumber: '4a',
    subject: 'CN=issuing',
    issuer: root.certificate.subject,
    notBefore: new Date(change.fromMs ?? nowMs - 60_000),
    notAfter: new Date(change.untilMs ?? nowMs + 30 * day),
    publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: algorithm,
    extensions: extensions.filter((one) => without === undefined || !(one instanceof without)),
  })
  return certificate.toString('pem')
}
