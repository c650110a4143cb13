/** What the configuration files of gateways and sidecars have in common. */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import { adminSchema } from '../mesh/admin/address.ts'
import { kubernetesAccess } from '../mesh/call-out.ts'

export const proxyShape = {
  control: z.strictObject({ url: z.url({ protocol: /^https$/ }) }),
  /** The API server that is asked where a provider says `tokenReview`. In a Pod it is found without this. */
  kubernetes: kubernetesAccess.optional(),
  /** Probes, metrics and what is in force, for this machine only (docs/observe.md). Nothing is counted without it. */
  admin: adminSchema.optional(),
  /** Bytes that may wait in the process. Without this it goes by the process's memory (docs/limits.md). */
  waitingBytesMax: z
    .int()
    .min(limits.waitingBytesMin)
    .max(2 ** 36)
    .optional(),
} as const
