/**
 * The authorities of the mesh on their way from the control plane: which roots are trusted, and which authorities are tainted, so that whoever has a
 * certificate of theirs gets another one now. Proxies are pushed them, all other agents ask (`authoritiesPath`).
 */
import { z } from 'zod'
import { type PushedKind, pushedValue, type Succession } from './pushed-kind.ts'

export const authoritiesPath = '/v1/authorities'

/** Roots and issuing keys that are not over yet. */
export const authoritiesMax = 64
/** A root has about 800 bytes as PEM. */
const bundleCharsMax = authoritiesMax * 2_048

interface Tainted {
  /** The identifier of its key, as the certificates that it signed name it. */
  readonly authority: string
  /** By the control plane's clock. */
  readonly sinceMs: number
}

export interface Authorities {
  /** It grows with each change; 0 while nothing was received. */
  readonly bundleSequence: number
  /** Roots, PEM. */
  readonly bundlePem: string
  /** Issuing keys whose leaves count, by the same identifiers; absent while nothing was received. */
  readonly issuing?: readonly string[] | undefined
  /** Those that signed leaves. */
  readonly tainted: readonly Tainted[]
}

const keyId = z.string().regex(/^[0-9a-f]{40}$/)
export const wireAuthorities: z.ZodType<Authorities> = z.object({
  bundleSequence: z.int().nonnegative(),
  bundlePem: z.string().max(bundleCharsMax),
  issuing: z.array(keyId).max(authoritiesMax).readonly().optional(),
  tainted: z
    .array(z.object({ authority: keyId, sinceMs: z.number() }))
    .max(authoritiesMax)
    .readonly(),
})

export const noAuthorities: Authorities = { bundleSequence: 0, bundlePem: '', tainted: [] }

export const pushedAuthorities: PushedKind<Authorities> = pushedValue<Authorities>({
  name: 'authorities',
  roles: ['gateway', 'sidecar'],
  // The roots stand beside the certificate on disk; and what was open has ended with the process.
  kept: 'no',
  schema: wireAuthorities,
  empty: noAuthorities,
  succeed: succeedAuthorities,
})

/** What is older is not taken: two answers may overtake one another. */
function succeedAuthorities(offered: Authorities, inForce: Authorities): Succession | undefined {
  if (offered.bundleSequence >= inForce.bundleSequence) return undefined
  const fields = { offered: offered.bundleSequence, inForce: inForce.bundleSequence }
  return { taken: false, message: 'older authorities refused; was the control plane restored', fields }
}
