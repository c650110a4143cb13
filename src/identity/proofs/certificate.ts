/** A certificate of one's own: the X.509-SVID of a TLS connection, or shown by a gateway out of its client's TLS connection. */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { verifyPeer } from '../certificate.ts'
import { keyIdOf, verifyChain } from '../chain.ts'
import { LogInRefused } from '../refusal.ts'
import { revokedText } from '../revoked/revocation.ts'
import type { Proof } from './proof.ts'

export const certificate: Proof<undefined> = {
  method: 'certificate',
  evidence: { name: 'svid', schema: z.undefined() },
  bySubject: true,
  atConnection: ({ certificates }) => (certificates.length === 0 ? undefined : { chain: certificates }),
  verify({ chain: [leaf, ...intermediates] }, { nowMs, trust, gateway }) {
    if (leaf === undefined) throw new RingfenceError('IDENTITY', 'no certificate is shown')
    // TLS verified the chain of a connection to this process; that of a gateway's client is verified here.
    if (gateway !== undefined) {
      const issuers = verifyChain(leaf, intermediates, trust.bundlePem, nowMs)
      // Below one that is revoked there may be others, which whoever has its key made.
      for (const issuer of trust.revocations.haveAuthority ? issuers : []) {
        const revoked = trust.revocations.findAuthority(keyIdOf(issuer), nowMs)
        if (revoked !== undefined) throw new LogInRefused('revoked', revokedText(revoked.id))
      }
    }
    const { spiffeId, notAfterMs, exchanged, certificate: shown } = verifyPeer(leaf, nowMs, trust.trustDomain)
    if (exchanged !== undefined && trust.providers.certificateMsMax(exchanged.token.provider) === 0) {
      const { provider, issuer, id: tokenId, hash } = exchanged.token
      const words = 'policy has no certificates for tokens of its provider'
      throw new LogInRefused('issuer', words, {
        words,
        evidence: { provider, issuer, tokenId, hash, claimed: spiffeId },
      })
    }
    // Got for a token: it is who the token said, by the way that the token was. It is no more than the token, bound to a key.
    return { ...exchanged, subject: spiffeId, expiresAtMs: notAfterMs, hashed: leaf, certificate: shown }
  },
}
