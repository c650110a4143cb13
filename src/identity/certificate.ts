/**
 * Reads an X.509-SVID out of its DER (spiffe/spiffe standards/X509-SVID.md §2–§5, RFC 5280 §4). Node's printed subjectAltName is never looked at (CVE-2021-44531, CVE-2021-44532).
 */
import { hash } from 'node:crypto'
import { RingfenceError } from '../base/errors.ts'
import { bitStringBits, booleanValue, type DerElement, DerReader, derFault, objectIdText, tag, timeMs } from './der.ts'
import { type Exchanged, exchangedOid, readExchanged } from './exchanged.ts'
import { parseSpiffeId, type SpiffeId, trustDomainOf } from './spiffe.ts'
import type { ShownCertificate } from './verified.ts'

declare const verified: unique symbol

/** The other end of a TLS connection: a part of the mesh, or a client by its certificate. Only this folder makes one. */
export interface VerifiedPeer {
  readonly spiffeId: SpiffeId
  /** When its certificate ends, milliseconds since 1970. */
  readonly notAfterMs: number
  /** Of its certificate, in hexadecimal, as X509Certificate.serialNumber gives it. */
  readonly serial: string
  readonly certificate: ShownCertificate
  /** Where it got the certificate for a token. */
  readonly exchanged: Exchanged | undefined
  readonly [verified]: true
}

export interface Leaf {
  readonly spiffeId: SpiffeId
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly serial: string
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer
  /** Bits of KeyUsage (RFC 5280 §4.2.1.3): 0 is digitalSignature. */
  readonly keyUsage: ReadonlySet<number>
  /** Object identifiers; empty where the extension is absent. */
  readonly extKeyUsage: readonly string[]
  /** Of a gateway: which identities its plain listeners may have. Its join token named them, and the authority wrote them in. */
  readonly listenerIdentities: readonly SpiffeId[]
  /** Of a certificate that was got for a token: what the token said. */
  readonly exchanged: Exchanged | undefined
  /** See `ShownCertificate`. */
  readonly authority: string | undefined
}

/** In a certificate, or named by a join token. */
export const listenerIdentitiesMax = 16

/**
 * Our own extension: GeneralNames of URIs. Not in the subject alternative name, where an X.509-SVID has exactly one URI. Below the arc of
 * UUIDs (2.25), under which nobody has to assign a number; this one was drawn at random, and is as short as libraries can write.
 */
export const listenerIdentitiesOid = '2.25.1684021577'

/** A leaf with our extensions has about 700 bytes. */
const certificateBytesMax = 16 * 1024
const extensionsMax = 32

const oid = {
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extKeyUsage: '2.5.29.37',
  authorityKeyIdentifier: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
  p521: '1.3.132.0.35',
  rsaEncryption: '1.2.840.113549.1.1.1',
  ed25519: '1.3.101.112',
} as const

const understood = new Set<string>([
  oid.subjectAltName,
  oid.basicConstraints,
  oid.keyUsage,
  oid.extKeyUsage,
  listenerIdentitiesOid,
  exchangedOid,
])
const curves = new Set<string>([oid.p256, oid.p384, oid.p521])
const rsaModulusBitsMin = 2048
const keyUsageBit = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const
/** GeneralName's uniformResourceIdentifier, [6] IMPLICIT IA5String. */
const uriName = 0x86
/** AuthorityKeyIdentifier's keyIdentifier, [0] IMPLICIT OCTET STRING. */
const keyIdentifierTag = 0x80

/**
 * The other end of a TLS connection whose chain TLS has verified already: reads the leaf, and checks its dates and that its id is
 * of the trust domain whose bundle was used.
 * @throws RingfenceError IDENTITY
 */
export function verifyPeer(certDer: Buffer, nowMs: number, trustDomain: string): VerifiedPeer {
  const leaf = readLeaf(certDer)
  const { spiffeId, notBeforeMs, notAfterMs, serial, exchanged } = leaf
  if (nowMs < notBeforeMs) throw new RingfenceError('IDENTITY', `certificate of ${spiffeId} is not valid yet`)
  if (nowMs > notAfterMs) throw new RingfenceError('IDENTITY', `certificate of ${spiffeId} has expired`)
  if (trustDomainOf(spiffeId) !== trustDomain) {
    throw new RingfenceError('IDENTITY', `${spiffeId} is not of the trust domain ${trustDomain}`)
  }
  return { spiffeId, notAfterMs, serial, exchanged, certificate: shownOf(leaf) } as VerifiedPeer
}

function shownOf({ serial, publicKeyDer, authority }: Leaf): ShownCertificate {
  return { serial, key: hash('sha256', publicKeyDer, 'hex'), authority }
}

/**
 * Reads an X.509-SVID and refuses whatever is not one: other than one URI name, an authority's certificate, wrong key usage,
 * an unknown critical extension, a weak key. Dates and signatures are the caller's to check.
 * @throws RingfenceError IDENTITY
 */
export function readLeaf(der: Buffer): Leaf {
  if (der.length > certificateBytesMax) throw derFault(`is longer than ${certificateBytesMax} bytes`)
  const file = new DerReader(der)
  const certificate = file.enter(tag.sequence, 'a certificate')
  file.end('the certificate')
  const tbs = certificate.enter(tag.sequence, 'the signed part')
  const outerAlgorithm = certificate.expect(tag.sequence, 'the signature algorithm')
  certificate.expect(tag.bitString, 'the signature')
  certificate.end('the signature')

  const version = tbs.enter(0xa0, 'the version').expect(tag.integer, 'the version').content
  if (version.length !== 1 || version[0] !== 2) throw derFault('is not of version 3')
  const serial = serialText(tbs.expect(tag.integer, 'the serial number').content)
  const innerAlgorithm = tbs.expect(tag.sequence, 'the signature algorithm')
  if (!innerAlgorithm.whole.equals(outerAlgorithm.whole)) throw derFault('names two signature algorithms')
  tbs.expect(tag.sequence, 'the issuer')
  const validity = tbs.enter(tag.sequence, 'the validity')
  const notBeforeMs = timeMs(validity.next())
  const notAfterMs = timeMs(validity.next())
  validity.end('the validity')
  const subject = tbs.expect(tag.sequence, 'the subject')
  const publicKey = tbs.expect(tag.sequence, 'the public key')
  checkPublicKey(new DerReader(publicKey.content))
  tbs.optional(0x81)
  tbs.optional(0x82)
  const extensions = readExtensions(tbs.enter(0xa3, 'the extensions'))
  tbs.end('the extensions')

  const constraints = extensions.get(oid.basicConstraints)
  if (constraints !== undefined && isAuthority(constraints.value))
    throw derFault('is an authority (CA:TRUE), not a leaf')
  const keyUsage = readKeyUsage(extensions.get(oid.keyUsage))
  const extKeyUsage = readExtKeyUsage(extensions.get(oid.extKeyUsage))
  const names = extensions.get(oid.subjectAltName)
  if (names === undefined) throw derFault('has no subject alternative name')
  if (subject.content.length === 0 && !names.critical)
    throw derFault('has neither a subject nor a critical subject alternative name')
  const listenerIdentities = readListenerIdentities(extensions.get(listenerIdentitiesOid))
  const exchanged = extensions.get(exchangedOid)
  return {
    spiffeId: readUri(names.value),
    notBeforeMs,
    notAfterMs,
    serial,
    publicKeyDer: publicKey.whole,
    keyUsage,
    extKeyUsage,
    listenerIdentities,
    exchanged: exchanged === undefined ? undefined : readExchanged(exchanged.value),
    authority: readAuthority(extensions.get(oid.authorityKeyIdentifier)),
  }
}

interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}

function readExtensions(outer: DerReader): Map<string, Extension> {
  const list = outer.enter(tag.sequence, 'the list of extensions')
  outer.end('the list of extensions')
  const extensions = new Map<string, Extension>()
  while (!list.done) {
    const extension = list.enter(tag.sequence, 'an extension')
    const id = objectIdText(extension.expect(tag.objectId, 'an extension id').content)
    const flag = extension.optional(tag.boolean)
    const critical = flag !== undefined && booleanValue(flag)
    const value = extension.expect(tag.octetString, 'an extension value').content
    extension.end('an extension')
    if (critical && !understood.has(id)) throw derFault(`has the critical extension ${id}, which is not known here`)
    if (extensions.has(id)) throw derFault(`has the extension ${id} twice`)
    extensions.set(id, { critical, value })
    if (extensions.size > extensionsMax) throw derFault(`has more than ${extensionsMax} extensions`)
  }
  return extensions
}

function isAuthority(value: Buffer): boolean {
  const outer = new DerReader(value)
  const constraints = outer.enter(tag.sequence, 'basic constraints')
  outer.end('basic constraints')
  const flag = constraints.optional(tag.boolean)
  const authority = flag !== undefined && booleanValue(flag)
  constraints.optional(tag.integer)
  constraints.end('basic constraints')
  return authority
}

function readKeyUsage(extension: Extension | undefined): Set<number> {
  if (extension === undefined || !extension.critical) throw derFault('has no critical key usage')
  const outer = new DerReader(extension.value)
  const bits = bitStringBits(outer.expect(tag.bitString, 'key usage').content)
  outer.end('key usage')
  if (!bits.has(keyUsageBit.digitalSignature)) throw derFault('may not be used for digital signatures')
  if (bits.has(keyUsageBit.keyCertSign) || bits.has(keyUsageBit.cRLSign))
    throw derFault('may sign certificates, so it is no leaf')
  return bits
}

function readExtKeyUsage(extension: Extension | undefined): string[] {
  if (extension === undefined) return []
  const outer = new DerReader(extension.value)
  const list = outer.enter(tag.sequence, 'extended key usage')
  outer.end('extended key usage')
  const usages: string[] = []
  while (!list.done) usages.push(objectIdText(list.expect(tag.objectId, 'a key purpose').content))
  if (!usages.includes(oid.serverAuth) || !usages.includes(oid.clientAuth)) {
    throw derFault('has an extended key usage without both serverAuth and clientAuth')
  }
  return usages
}

function readUri(value: Buffer): SpiffeId {
  const outer = new DerReader(value)
  const names = outer.enter(tag.sequence, 'the subject alternative name')
  outer.end('the subject alternative name')
  const uris: DerElement[] = []
  while (!names.done) {
    const name = names.next()
    if ((name.tag & 0xc0) !== 0x80) throw derFault('has a subject alternative name of an unknown kind')
    if (name.tag === uriName) uris.push(name)
  }
  const [uri] = uris
  if (uri === undefined || uris.length !== 1)
    throw derFault(`has ${uris.length} URI names; an X.509-SVID has exactly one`)
  // Bytes beyond ASCII become characters that parseSpiffeId refuses.
  return parseSpiffeId(uri.content.toString('latin1'))
}

/** The identifier of the key that signed it. TLS compares it with that of the certificate above, so whoever signs cannot name another. */
function readAuthority(extension: Extension | undefined): string | undefined {
  if (extension === undefined) return undefined
  const outer = new DerReader(extension.value)
  const names = outer.enter(tag.sequence, 'the authority key identifier')
  outer.end('the authority key identifier')
  const id = names.optional(keyIdentifierTag)?.content.toString('hex')
  return id === '' ? undefined : id
}

function readListenerIdentities(extension: Extension | undefined): SpiffeId[] {
  if (extension === undefined) return []
  const outer = new DerReader(extension.value)
  const names = outer.enter(tag.sequence, 'listener identities')
  outer.end('listener identities')
  const ids: SpiffeId[] = []
  while (!names.done) {
    ids.push(parseSpiffeId(names.expect(uriName, 'a listener identity').content.toString('latin1')))
    if (ids.length > listenerIdentitiesMax) throw derFault(`has more than ${listenerIdentitiesMax} listener identities`)
  }
  return ids
}

function serialText(content: Buffer): string {
  const [first] = content
  if (first === undefined || first >= 0x80 || content.length > 21)
    throw derFault('has a serial number that is not allowed')
  const hex = content.toString('hex').toUpperCase()
  return hex.length > 2 && hex.startsWith('00') ? hex.slice(2) : hex
}

function checkPublicKey(spki: DerReader): void {
  const algorithm = spki.enter(tag.sequence, 'the key algorithm')
  const id = objectIdText(algorithm.expect(tag.objectId, 'the key algorithm').content)
  const key = spki.expect(tag.bitString, 'the key').content
  spki.end('the key')
  if (id === oid.ed25519) return
  if (id === oid.ecPublicKey) {
    const curve = objectIdText(algorithm.expect(tag.objectId, 'the curve').content)
    if (!curves.has(curve)) throw derFault(`has a key on the curve ${curve}, which is not allowed`)
    return
  }
  if (id === oid.rsaEncryption) {
    const modulus = new DerReader(key.subarray(1))
      .enter(tag.sequence, 'an RSA key')
      .expect(tag.integer, 'a modulus').content
    if (modulusBits(modulus) < rsaModulusBitsMin)
      throw derFault(`has an RSA key of fewer than ${rsaModulusBitsMin} bits`)
    return
  }
  throw derFault(`has a key of the algorithm ${id}, which is not allowed`)
}

function modulusBits(content: Buffer): number {
  let at = 0
  while (content[at] === 0) at++
  const first = content[at]
  return first === undefined ? 0 : (content.length - at) * 8 - Math.clz32(first) + 24
}
