/** Parts of rate limits, for sidecars: no limit is counted anywhere else. */
import { RingfenceError } from '../../base/errors.ts'
import type { LimitShares, LimitSharesAnswer } from '../../mesh/limit-shares.ts'
import { pushedKinds } from '../../mesh/pushed.ts'
import type { ProxyCaller } from '../callers.ts'
import type { ControlParts } from './parts.ts'

/** @throws RingfenceError IDENTITY */
export function shareLimits(
  { sharedLimits, publisher, clock }: ControlParts,
  { peer, agent }: ProxyCaller,
  asked: LimitShares,
): LimitSharesAnswer {
  if (agent.role !== 'sidecar')
    throw new RingfenceError('IDENTITY', `${peer.spiffeId} is no sidecar, and gives no part of a limit`)
  const sidecars = new Set(publisher.value(pushedKinds.sidecars).current.map(({ spiffeId }) => spiffeId as string))
  return sharedLimits.ask(peer.spiffeId, asked, sidecars.add(peer.spiffeId), clock.now())
}
