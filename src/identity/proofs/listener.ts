/**
 * The identity of a plain listener: whoever may open it (loopback, or the owner of a Unix socket) is the one that its configuration names.
 * Through a gateway it holds for those only that the authority wrote into the gateway's certificate, because its join token named them.
 */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import type { Proof } from './proof.ts'

export const listener: Proof<undefined> = {
  method: 'listener',
  evidence: { name: 'listener', schema: z.undefined() },
  atConnection: ({ listenerIdentity }) => (listenerIdentity === undefined ? undefined : { chain: [] }),
  verify({ chain }, { gateway, named }) {
    if (named === undefined) throw new RingfenceError('IDENTITY', 'the listener has no identity')
    if (chain.length > 0) throw new RingfenceError('IDENTITY', 'a certificate is shown that is not claimed')
    if (gateway !== undefined && !gateway.listenerIdentities.includes(named)) {
      throw new RingfenceError('IDENTITY', `${gateway.spiffeId} may not speak for ${named}`)
    }
    return { subject: named, expiresAtMs: Number.POSITIVE_INFINITY, hashed: named }
  },
}
