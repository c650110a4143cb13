import 'reflect-metadata'
import assert from 'node:assert/strict'
import { generateKeyPairSync, KeyObject, X509Certificate as NodeCertificate } from 'node:crypto'
import { before, describe, it } from 'node:test'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type GeneralNames,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import fc from 'fast-check'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf, verifyPeer } from './certificate.ts'
import { DerReader, tag } from './der.ts'

const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const nowMs = Date.UTC(2026, 0, 15, 12)
const serverAuth = '1.3.6.1.5.5.7.3.1'
const clientAuth = '1.3.6.1.5.5.7.3.2'
const id = 'spiffe://demo.local/svc/orders'

type Keys = { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }

interface Shape {
  names?: JsonGeneralNames | GeneralNames | Extension | undefined
  constraints?: Extension | undefined
  keyUsage?: Extension | undefined
  extKeyUsage?: Extension | undefined
  more?: Extension[]
  subject?: string
  notBeforeMs?: number
  notAfterMs?: number
  keys?: Keys
}

let keys: Keys

/** A right X.509-SVID, except for what `shape` says. */
async function make(shape: Shape = {}): Promise<Buffer> {
  const names = 'names' in shape ? shape.names : [{ type: 'url' as const, value: id }]
  const extensions = [
    'constraints' in shape ? shape.constraints : new BasicConstraintsExtension(false, undefined, true),
    'keyUsage' in shape ? shape.keyUsage : new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    'extKeyUsage' in shape ? shape.extKeyUsage : new ExtendedKeyUsageExtension([serverAuth, clientAuth]),
    names === undefined || names instanceof Extension ? names : new SubjectAlternativeNameExtension(names),
    ...(shape.more ?? []),
  ].filter((extension) => extension !== undefined)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: '0123456789abcdef',
    subject: shape.subject ?? 'O=Test',
    issuer: 'O=Test CA',
    notBefore: new Date(shape.notBeforeMs ?? nowMs - 60_000),
    notAfter: new Date(shape.notAfterMs ?? nowMs + 3_600_000),
    publicKey: (shape.keys ?? keys).publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: ecdsa,
    extensions,
  })
  return Buffer.from(certificate.rawData)
}

async function refuses(shape: Shape, wording: RegExp): Promise<void> {
  const der = await make(shape)
  assert.throws(
    () => verifyPeer(der, nowMs, 'demo.local'),
    (error: unknown) => error instanceof RingfenceError && error.code === 'IDENTITY' && wording.test(error.message),
  )
}

/** SubjectAltName out of raw GeneralName bytes. */
function rawNames(...names: Buffer[]): Extension {
  const content = Buffer.concat(names)
  const header = content.length < 128 ? [0x30, content.length] : [0x30, 0x81, content.length]
  return new Extension('2.5.29.17', false, Buffer.concat([Buffer.from(header), content]))
}

function rawName(tag: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([tag, Buffer.byteLength(text)]), Buffer.from(text)])
}

/** (r, n − s) in the place of (r, s), with nothing of what is signed changed. */
function withOtherSignature(der: Buffer): Buffer {
  const certificate = new DerReader(der).enter(tag.sequence, 'a certificate')
  const [signed, algorithm] = [certificate.next().whole, certificate.next().whole]
  const pair = new DerReader(certificate.expect(tag.bitString, 'the signature').content.subarray(1)).enter(
    tag.sequence,
    'r and s',
  )
  const [r, s] = [pair.expect(tag.integer, 'r').content, pair.expect(tag.integer, 's').content]
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const otherS = (order - BigInt(`0x${s.toString('hex')}`)).toString(16)
  const even = Buffer.from(otherS.padStart(otherS.length + (otherS.length % 2), '0'), 'hex')
  const positive = (even[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), even]) : even
  const signature = element(tag.sequence, element(tag.integer, r), element(tag.integer, positive))
  return element(tag.sequence, signed, algorithm, element(tag.bitString, Buffer.of(0), signature))
}

function element(type: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const lengthBytes = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([type, ...lengthBytes]), content])
}

describe('verifyPeer', () => {
  before(async () => {
    keys = await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify'])
  })

  it('reads id, end and serial of a right X.509-SVID as Node does', async () => {
    const der = await make()
    const identity = verifyPeer(der, nowMs, 'demo.local')
    const node = new NodeCertificate(der)
    assert.equal(identity.spiffeId, id)
    assert.equal(identity.notAfterMs, node.validToDate.getTime())
    assert.equal(identity.serial, node.serialNumber)
  })

  it('knows a certificate by the same marks where its signature is written in the other way that ECDSA has', async () => {
    const der = await make()
    const other = withOtherSignature(der)
    assert.ok(new NodeCertificate(other).verify(KeyObject.from(keys.publicKey)), 'as good')
    assert.notEqual(new NodeCertificate(other).fingerprint256, new NodeCertificate(der).fingerprint256)
    const marks = verifyPeer(der, nowMs, 'demo.local').certificate
    assert.deepEqual(verifyPeer(other, nowMs, 'demo.local').certificate, marks)
    const { certificate: neighbour } = verifyPeer(
      await make({ keys: await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify']) }),
      nowMs,
      'demo.local',
    )
    assert.notEqual(neighbour.key, marks.key)
  })

  it('reads which key signed it, where it says so', async () => {
    const authority = async (more: Extension[]): Promise<string | undefined> =>
      verifyPeer(await make({ more }), nowMs, 'demo.local').certificate.authority
    const named = (...bytes: number[]): Extension => new Extension('2.5.29.35', false, Buffer.from(bytes))
    const own = await AuthorityKeyIdentifierExtension.create(keys.publicKey)
    assert.equal(await authority([own]), own.keyId?.toLowerCase())
    assert.equal(await authority([named(0x30, 0x04, 0x80, 0x02, 0xab, 0xcd)]), 'abcd')
    assert.equal(await authority([]), undefined)
    // Only a name and a number of who signed it.
    assert.equal(await authority([named(0x30, 0x03, 0x82, 0x01, 0x05)]), undefined)
    await refuses({ more: [named(0x04, 0x00)] }, /authority key identifier/)
    await refuses({ more: [named(0x30, 0x02, 0x80, 0x05)] }, /ends inside/)
    await refuses({ more: [named(0x30, 0x00, 0x00)] }, /left over|ends inside/)
  })

  it('allows DNS and IP names beside the one URI, and an absent extended key usage', async () => {
    const names: JsonGeneralNames = [
      { type: 'dns', value: 'node1' },
      { type: 'url', value: id },
      { type: 'ip', value: '127.0.1.1' },
    ]
    assert.equal(verifyPeer(await make({ names, extKeyUsage: undefined }), nowMs, 'demo.local').spiffeId, id)
  })

  it('D1: refuses no URI name and two of them', async () => {
    await refuses({ names: undefined }, /no subject alternative name/)
    await refuses({ names: [{ type: 'dns', value: 'demo.local' }] }, /0 URI names/)
    const two: JsonGeneralNames = [
      { type: 'url', value: id },
      { type: 'url', value: 'spiffe://demo.local/svc/admin' },
    ]
    await refuses({ names: two }, /2 URI names/)
    await refuses({ names: [...two.slice(0, 1), ...two.slice(0, 1)] }, /2 URI names/)
  })

  it('D1: takes no id from a common name, a DNS name or an other-name that contains one (CVE-2021-44532)', async () => {
    await refuses({ names: undefined, subject: `CN=${id}` }, /no subject alternative name/)
    await refuses({ names: rawNames(rawName(0x82, `x, URI:${id}`)) }, /0 URI names/)
    // otherName [0] { type-id 1.2.3, [0] UTF8String }
    const value = Buffer.concat([
      Buffer.from([0x06, 2, 0x2a, 0x03, 0xa0, id.length + 2, 0x0c, id.length]),
      Buffer.from(id),
    ])
    await refuses({ names: rawNames(Buffer.concat([Buffer.from([0xa0, value.length]), value])) }, /0 URI names/)
  })

  it('D1: refuses every id that is not strictly one', async () => {
    for (const uri of [
      'spiffe://demo.local/svc%2forders',
      'spiffe://demo.local/svc/../admin',
      'spiffe://Demo.local/svc/orders',
      'spiffe://demo.local/svc/',
      'spiffe://demo.local/svc?x',
      'spiffe://demo.local:1/svc',
      'spiffe://u@demo.local/svc',
      'spiffe://xn--dmo-bma.local',
      'https://demo.local/svc/orders',
      `${id}\u0000.evil`,
      `${id}, URI:spiffe://demo.local/svc/admin`,
      'spiffe://démo.local/svc',
    ]) {
      await refuses({ names: rawNames(rawName(0x86, uri)) }, /SPIFFE|trust domain|path/)
    }
  })

  it('D2: refuses authorities and wrong key usages', async () => {
    await refuses({ constraints: new BasicConstraintsExtension(true, 0, true) }, /CA:TRUE/)
    await refuses({ keyUsage: undefined }, /no critical key usage/)
    await refuses({ keyUsage: new KeyUsagesExtension(KeyUsageFlags.digitalSignature, false) }, /no critical key usage/)
    await refuses({ keyUsage: new KeyUsagesExtension(KeyUsageFlags.keyAgreement, true) }, /digital signatures/)
    for (const flag of [KeyUsageFlags.keyCertSign, KeyUsageFlags.cRLSign]) {
      await refuses({ keyUsage: new KeyUsagesExtension(KeyUsageFlags.digitalSignature | flag, true) }, /no leaf/)
    }
    await refuses({ extKeyUsage: new ExtendedKeyUsageExtension([serverAuth]) }, /serverAuth and clientAuth/)
    await refuses({ extKeyUsage: new ExtendedKeyUsageExtension(['2.5.29.37.0']) }, /serverAuth and clientAuth/)
  })

  it('D2: refuses an unknown critical extension and a repeated one, ignores an unknown one', async () => {
    const unknown = (critical: boolean): Extension => new Extension('1.2.3.4', critical, Buffer.from([5, 0]))
    await refuses({ more: [unknown(true)] }, /critical extension 1\.2\.3\.4/)
    await refuses({ more: [rawNames(rawName(0x86, id))] }, /twice/)
    assert.equal(verifyPeer(await make({ more: [unknown(false)] }), nowMs, 'demo.local').spiffeId, id)
  })

  it('D2: refuses a second too late and too early, to the second', async () => {
    await refuses({ notAfterMs: nowMs - 1_000 }, /expired/)
    await refuses({ notBeforeMs: nowMs + 1_000 }, /not valid yet/)
    assert.ok(verifyPeer(await make({ notBeforeMs: nowMs, notAfterMs: nowMs }), nowMs, 'demo.local'))
  })

  it('D2: refuses weak and strange keys', async () => {
    const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]) }
    const weak = await crypto.subtle.generateKey({ ...rsa, modulusLength: 1024 }, true, ['sign', 'verify'])
    await refuses({ keys: weak }, /fewer than 2048 bits/)
    const strong = await crypto.subtle.generateKey({ ...rsa, modulusLength: 2048 }, true, ['sign', 'verify'])
    assert.equal(verifyPeer(await make({ keys: strong }), nowMs, 'demo.local').spiffeId, id)
  })

  it('D3: refuses an id of another trust domain, also one that begins alike', async () => {
    await refuses({ names: [{ type: 'url', value: 'spiffe://demo.local.evil/svc/orders' }] }, /not of the trust domain/)
    await refuses({ names: [{ type: 'url', value: 'spiffe://demo/svc/orders' }] }, /not of the trust domain/)
  })

  it('throws nothing but IDENTITY for a certificate that is cut or changed anywhere', async () => {
    const der = await make()
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(der)
        changed[at]! ^= change
        for (const bytes of [changed, der.subarray(0, at), Buffer.concat([der, changed.subarray(at)])]) {
          try {
            readLeaf(bytes)
          } catch (error) {
            // Anything but our own fault would be a crash that a peer can cause.
            assert.ok(error instanceof RingfenceError && error.code === 'IDENTITY', String(error))
          }
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('refuses bytes that are no certificate', () => {
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('garbage'),
      Buffer.from([0x30, 0x80, 0, 0]),
      Buffer.alloc(20_000, 0x30),
    ]) {
      assert.throws(() => readLeaf(bytes), RingfenceError)
    }
    assert.throws(
      () =>
        readLeaf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'der', type: 'spki' })),
      RingfenceError,
    )
  })
})
