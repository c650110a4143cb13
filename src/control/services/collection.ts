/** The control plane keeps a copy of the sidecars' sealed records, from each its own. */
import { originOf } from '../../audit/sealed/log-key.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { CollectAnswer, CollectRequest } from '../../mesh/collection.ts'
import type { ProxyCaller } from '../callers.ts'
import type { ControlParts } from './parts.ts'

/** @throws RingfenceError IDENTITY for who has no record */
export function collectRecord(
  { collection }: ControlParts,
  { peer, agent }: ProxyCaller,
  request: CollectRequest,
): Promise<CollectAnswer> {
  if (agent.role !== 'sidecar')
    throw new RingfenceError('IDENTITY', `${peer.spiffeId} is no sidecar, and has no record`)
  return collection.take({ origin: originOf(peer.spiffeId), proxy: agent.name }, request)
}
