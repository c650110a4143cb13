import 'reflect-metadata'
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { describe, it } from 'node:test'
import { Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import { makeKey } from './credentials.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

describe('a key with its signing request', () => {
  it('is what a library reads, verifies, and would have made of the same key', async () => {
    // Signatures differ in length by a byte or two, so many are tried.
    for (let i = 0; i < 50; i++) {
      const { keyPem, csrPem } = await makeKey()
      const request = new Pkcs10CertificateRequest(csrPem)
      assert.equal(await request.verify(), true)
      assert.equal(request.subject, '')
      const publicKey = createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' })
      assert.deepEqual(Buffer.from(request.publicKey.rawData), publicKey)
      const pkcs8 = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
      const keys = {
        privateKey: await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign']),
        publicKey: await crypto.subtle.importKey('spki', publicKey, algorithm, true, ['verify']),
      }
      const theirs = await Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: algorithm })
      assert.deepEqual(signedPart(request), signedPart(theirs))
    }
  })

  it('does not verify with a byte changed', async () => {
    const { csrPem } = await makeKey()
    const bytes = Buffer.from(new Pkcs10CertificateRequest(csrPem).rawData)
    bytes[60]! ^= 1
    assert.equal(await verifies(bytes), false)
  })
})

/** Everything before the signature: two of the same key and text are never alike. */
function signedPart(request: Pkcs10CertificateRequest): Buffer {
  const bytes = Buffer.from(request.rawData)
  const outer = bytes[1] === 0x81 ? 3 : 2
  return bytes.subarray(outer, outer + 2 + bytes[outer + 1]! + 12)
}

async function verifies(bytes: Buffer): Promise<boolean> {
  try {
    return await new Pkcs10CertificateRequest(bytes).verify()
  } catch {
    // The changed byte made the key no point of the curve.
    return false
  }
}
