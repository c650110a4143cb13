/** Certificates as the Workload API writes them: DER, one behind the other. */
import { X509Certificate } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { DerReader, tag } from '../../identity/der.ts'

/** In one field. */
const certificatesMax = 64

/** @throws RingfenceError IDENTITY where it is anything else */
export function certificatesInDer(bytes: Uint8Array): X509Certificate[] {
  const reader = new DerReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const certificates: X509Certificate[] = []
  while (!reader.done) {
    if (certificates.length >= certificatesMax) throw refused(`there are more than ${certificatesMax}`)
    try {
      certificates.push(new X509Certificate(reader.expect(tag.sequence, 'a certificate').whole))
    } catch (cause) {
      throw refused('one can’t be read', cause)
    }
  }
  return certificates
}

function refused(why: string, cause?: unknown): RingfenceError {
  return new RingfenceError('IDENTITY', `certificates of a Workload API are not taken: ${why}`, { cause })
}

export function pemOf(certificates: readonly X509Certificate[]): string {
  return certificates.map((one) => one.toString()).join('')
}
