/** A JSON Web Token of one of the mesh's identity providers, as the password of SASL PLAIN. */
import { z } from 'zod'
import { limits } from '../../base/limits.ts'
import { looksLikeToken, shortText, unverifiedClaims } from '../jwt/verify.ts'
import type { TokenIdentity } from '../providers/in-force.ts'
import { providerTypes } from '../providers/index.ts'
import { LogInRefused } from '../refusal.ts'
import { plainClassName, readPassword } from './plain.ts'
import type { Proof, Proved } from './proof.ts'

const shown = z.strictObject({
  token: z.string().max(limits.authMessageBytesMax),
  /** As the client gave it. */
  user: z.string().max(1024),
})

/** Whatever the provider, these say no more than that a token follows. */
const anybody: ReadonlySet<string> = new Set(['', 'token'])

export const token: Proof<z.infer<typeof shown>> = {
  method: 'token',
  proves: providerTypes.filter(({ presigned }) => presigned === undefined).map(({ name }) => name),
  evidence: { name: 'jwt', schema: shown },
  asks: {
    className: plainClassName,
    unavailable: ({ nowMs, trust }) =>
      trust.providers.canVerify(nowMs)
        ? undefined
        : 'no identity provider has keys here yet, so nobody can log in; try again',
    begin: () => ({
      answer(answer) {
        const plain = readPassword(answer, looksLikeToken, 'the token')
        if (plain === undefined) return undefined
        return { chain: [], shown: { token: plain.password, user: plain.user }, claimed: claimedBy(plain.password) }
      },
    }),
  },
  verify({ chain, shown: given }, { nowMs, trust, address, from = address }) {
    if (chain.length > 0) throw new LogInRefused('other', 'a certificate is shown that is not claimed')
    const found = trust.providers.verify(given.token, trust.trustDomain, nowMs, from)
    return found instanceof Promise ? found.then((late) => proved(late, given)) : proved(found, given)
  },
}

/** Undefined where it says nothing; then it is refused as well. */
function claimedBy(text: string): string | undefined {
  const { iss, sub } = unverifiedClaims(text) ?? {}
  return shortText(sub) === undefined ? undefined : JSON.stringify([shortText(iss), sub])
}

function proved(found: TokenIdentity, { token: text, user }: z.infer<typeof shown>): Proved {
  const { subject, trustDomain, person, groups, role, claims, userNames, expiresAtMs } = found
  const { method, provider, issuer, tokenSubject, tokenId, hash, keyId } = found
  if (userNames !== undefined && !anybody.has(user) && !userNames.includes(user)) {
    throw new LogInRefused('user-name', 'the user name is not the one that the token is about', {
      evidence: { provider, issuer, tokenId, hash, claimed: `${provider}/${tokenSubject}` },
    })
  }
  return {
    subject,
    trustDomain,
    person,
    groups,
    role,
    claims,
    expiresAtMs,
    methods: [method],
    hashed: text,
    token: { provider, issuer, id: tokenId, hash, key: keyId },
  }
}
