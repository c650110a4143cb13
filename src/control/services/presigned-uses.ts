/** Who used a pre-signed request of AWS first, in the whole mesh. Sidecars ask, for none comes to a node but by one. */
import type { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { presignedMsMax } from '../../identity/aws/presigned.ts'
import type { presignedUse, presignedUseAnswer } from '../../mesh/presigned-uses.ts'
import type { ProxyCaller } from '../callers.ts'
import type { ControlParts } from './parts.ts'

/** Clocks may be so far apart. */
const leewayMs = 60_000

/** @throws RingfenceError IDENTITY */
export function firstUse(
  { presignedUses, clock }: ControlParts,
  { peer, agent }: ProxyCaller,
  use: z.infer<typeof presignedUse>,
): z.infer<typeof presignedUseAnswer> {
  if (agent.role !== 'sidecar')
    throw new RingfenceError('IDENTITY', `${peer.spiffeId} is no sidecar, and uses no pre-signed request`)
  const nowMs = clock.now()
  const endMs = Math.min(use.endMs, nowMs + presignedMsMax + leewayMs)
  return { isFirst: presignedUses.use({ ...use, endMs }, nowMs) }
}
