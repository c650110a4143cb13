/** A certificate of one's own: the X.509-SVID of a TLS connection, or shown by a gateway out of its client's TLS connection. */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { verifyPeer } from '../certificate.ts'
import { verifyChain } from '../chain.ts'
import type { Proof } from './proof.ts'

export const certificate: Proof<undefined> = {
  method: 'certificate',
  evidence: { name: 'svid', schema: z.undefined() },
  bySubject: true,
  atConnection: ({ certificates }) => (certificates.length === 0 ? undefined : { chain: certificates }),
  verify({ chain: [leaf, ...intermediates] }, { nowMs, trust, gateway }) {
    if (leaf === undefined) throw new RingfenceError('IDENTITY', 'no certificate is shown')
    // TLS verified the chain of a connection to this process; that of a gateway's client is verified here.
    if (gateway !== undefined) verifyChain(leaf, intermediates, trust.bundlePem, nowMs)
    const { spiffeId, notAfterMs } = verifyPeer(leaf, nowMs, trust.trustDomain)
    return { subject: spiffeId, expiresAtMs: notAfterMs, hashed: leaf }
  },
}
