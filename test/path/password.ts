/**
 * A way to prove who one is that the mesh does not have: the password of SASL PLAIN. What it takes to add one is all here: this file, and
 * `proofs.register(password)`.
 */
import { z } from 'zod'
import { RingfenceError } from '../../src/base/errors.ts'
import type { Proof } from '../../src/identity/proofs/proof.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import type { Claims } from '../../src/identity/verified.ts'

/** Password by user: `<person>/<groups>`, and the life of a session. A user of the same name is the same workload. */
export const users: Record<string, { password: string; person?: string; claims?: Claims; expiresAtMs?: () => number }> =
  {}
/** How often a password was verified, here and across mesh links. */
export const verifications = { count: 0 }

/** User, or `user+anything`; then the password. */
const shown = z.strictObject({ user: z.string(), password: z.string() })

export const password: Proof<z.infer<typeof shown>> = {
  method: 'password',
  evidence: { name: 'password', schema: shown },
  asks: {
    className: 'org.apache.cassandra.auth.PasswordAuthenticator',
    begin: () => ({
      answer(token) {
        const [, user, pass, ...more] = token.toString().split('\0')
        if (user === 'later' && pass === '') return Buffer.from('the rest')
        return pass === undefined || more.length > 0 ? undefined : { chain: [], shown: { user: user!, password: pass } }
      },
    }),
  },
  async verify({ shown: given }, { nowMs, trust }) {
    verifications.count++
    // `stuck` is verified by somebody who never answers.
    if (given.user === 'stuck') await new Promise(() => {})
    await new Promise((resolve) => setTimeout(resolve, 5))
    const user = users[given.user]
    if (user?.password !== given.password) throw new RingfenceError('IDENTITY', `wrong password of ${given.user}`)
    const { person, claims = {}, expiresAtMs = () => nowMs + 60_000 } = user
    const subject = parseSpiffeId(`spiffe://${trust.trustDomain}/svc/${given.user.split('+')[0]}`)
    return { subject, person, claims, expiresAtMs: expiresAtMs(), hashed: `${given.user} ${given.password}` }
  },
}
