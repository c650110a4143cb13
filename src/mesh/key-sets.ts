/** The public keys of identity providers on their way from the control plane, which fetches them, to the proxies, which verify by them. */
import { z } from 'zod'
import { keysPerSetMax, publicJwk } from '../identity/jwt/keys.ts'
import type { KeySet } from '../identity/providers/in-force.ts'
import { fittingEntries } from './entries.ts'

export type { KeySet }

/** As many as a policy may have identity providers. */
export const keySetsMax = 64
const textCharsMax = 2048

/** A key that is not understood costs itself only. */
export const wireKeySet: z.ZodType<KeySet> = z.object({
  provider: z.string().min(1).max(253),
  issuer: z.string().max(textCharsMax),
  keys: fittingEntries(publicJwk, keysPerSetMax).transform(({ entries }) => entries),
  /** Milliseconds since 1970, by the clock of the control plane. */
  fetchedAtMs: z.number(),
})
