/** From a leaf to a root of the bundle (RFC 5280 §6, as far as a chain of our own shape needs), for certificates that TLS did not check. */
import { hash, X509Certificate } from 'node:crypto'
import { RingfenceError } from '../base/errors.ts'
import { DerReader, tag } from './der.ts'

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
/** Above the leaf and below the root. Ours has one. */
const intermediatesMax = 4

/** The certificates of a PEM text in their order. @throws RingfenceError IDENTITY */
export function certificatesOf(pem: string): X509Certificate[] {
  return (pem.match(pemCertificate) ?? []).map((block) => parse(block))
}

/**
 * Checks every signature, issuer name, date and CA flag from the leaf up to one of the roots.
 * @returns who signed, from the leaf's issuer up to the root
 * @throws RingfenceError IDENTITY
 */
export function verifyChain(
  leafDer: Buffer,
  intermediatesDer: readonly Buffer[],
  bundlePem: string,
  nowMs: number,
): readonly X509Certificate[] {
  if (intermediatesDer.length > intermediatesMax)
    throw fault(`has more than ${intermediatesMax} intermediate certificates`)
  const roots = certificatesOf(bundlePem)
  const intermediates = intermediatesDer.map((der) => parse(der))
  const issuers: X509Certificate[] = []
  let current = parse(leafDer)
  checkDates(current, nowMs)
  // Each intermediate is used at most once, so the walk ends.
  for (;;) {
    const below = current
    const root = roots.find((one) => signs(one, below) && isCurrent(one, nowMs))
    if (root !== undefined) return [...issuers, root]
    const index = intermediates.findIndex((candidate) => signs(candidate, below))
    const [issuer] = index < 0 ? [] : intermediates.splice(index, 1)
    if (issuer === undefined) throw fault('does not lead to a trusted root')
    checkDates(issuer, nowMs)
    issuers.push(issuer)
    current = issuer
  }
}

/** The identifier of its key: SHA-1 of its bits (RFC 5280 §4.2.1.2), as what it signed names it. */
export function keyIdOf(authority: X509Certificate): string {
  const spki = new DerReader(authority.publicKey.export({ type: 'spki', format: 'der' })).enter(tag.sequence, 'a key')
  spki.expect(tag.sequence, 'the key algorithm')
  return hash('sha1', spki.expect(tag.bitString, 'the key').content.subarray(1), 'hex')
}

function signs(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey)
}

function isCurrent(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime()
}

function checkDates(certificate: X509Certificate, nowMs: number): void {
  if (!isCurrent(certificate, nowMs)) throw fault('has a certificate that is expired or not valid yet')
}

function parse(certificate: Buffer | string): X509Certificate {
  try {
    return new X509Certificate(certificate)
  } catch (cause) {
    throw new RingfenceError('IDENTITY', 'not a certificate', { cause })
  }
}

function fault(what: string): RingfenceError {
  return new RingfenceError('IDENTITY', `certificate chain ${what}`)
}
