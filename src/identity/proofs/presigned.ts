/** A pre-signed GetCallerIdentity of AWS STS, as the password of SASL PLAIN: STS is asked who signed it, here and again at the sidecar. */
import { z } from 'zod'
import { sha256Hex } from '../../base/digest.ts'
import { accessKeyOfPresigned, isPresigned, knownBy } from '../aws/presigned.ts'
import { LogInRefused } from '../refusal.ts'
import { plainClassName, readPassword } from './plain.ts'
import type { Proof } from './proof.ts'

const shown = z.strictObject({ password: z.string().max(64 * 1024) })

export const presigned: Proof<z.infer<typeof shown>> = {
  method: 'aws-sts',
  evidence: { name: 'aws-sts', schema: shown },
  asks: {
    className: plainClassName,
    unavailable: ({ trust }) =>
      trust.providers.takesPresigned ? undefined : 'no identity provider here takes pre-signed requests of AWS STS',
    begin: () => ({
      answer(answer) {
        const plain = readPassword(answer, isPresigned, 'the pre-signed request')
        if (plain === undefined) return undefined
        const { password } = plain
        return { chain: [], shown: { password }, claimed: accessKeyOfPresigned(password) }
      },
    }),
  },
  async verify({ chain, shown: { password } }, { nowMs, trust, address, from, spend }) {
    if (chain.length > 0) throw new LogInRefused('other', 'a certificate is shown that is not claimed')
    const name = knownBy(password)
    const hash = sha256Hex(name)
    const { provider, subject, principal, expiresAtMs } = await trust.providers
      .verifyPresigned(password, {
        nowMs,
        trustDomain: trust.trustDomain,
        address: address ?? '',
        spend,
        from,
      })
      .catch((reason: unknown) => {
        throw reason instanceof LogInRefused ? reason.with({ hash }) : reason
      })
    return {
      subject,
      role: principal.arn,
      expiresAtMs,
      hashed: name,
      token: { provider, issuer: undefined, id: undefined, hash, key: undefined },
    }
  },
}
