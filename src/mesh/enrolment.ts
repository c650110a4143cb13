/** How a process asks for its certificate, the first and each later one. */
import { z } from 'zod'
import { agentRoles } from './roles.ts'

/** A PEM of one certificate signing request; only its key and its proof of possession are used. */
export const csrPem = z
  .string()
  .min(1)
  .max(8 * 1024)

export const enrolRequest = z.strictObject({
  token: z.string().min(1).max(256),
  csrPem,
  name: z.string().min(1).max(128),
  role: z.enum(agentRoles),
})

export type EnrolRequest = z.infer<typeof enrolRequest>

export const renewRequest = z.strictObject({ csrPem })

export const issuedCertificate = z.object({
  spiffeId: z.string(),
  certificatePem: z.string(),
  bundlePem: z.string(),
  /** See `Authorities`; an older control plane gives none. */
  bundleSequence: z.int().nonnegative().optional(),
  /** The control plane's clock, to see skew by. */
  nowMs: z.number(),
})

export type IssuedCertificate = z.infer<typeof issuedCertificate>
