/** The control plane as witness of the sidecars' records: what one has shown, nobody takes back. */
import { z } from 'zod'
import { originOf } from '../../audit/sealed/log-key.ts'
import { RingfenceError } from '../../base/errors.ts'
import { trustDomainOf } from '../../identity/spiffe.ts'
import type { WitnessAnswer, WitnessedLog, WitnessRequest } from '../../mesh/witness.ts'
import { witnessedLogs } from '../../mesh/witness.ts'
import type { ProxyCaller } from '../callers.ts'
import type { ControlParts } from './parts.ts'

export const witnessedAnswer = z.object({ logs: witnessedLogs })

/** @throws RingfenceError IDENTITY for who has no record */
export function witnessLog(
  { witness, store, clock, log }: ControlParts,
  { peer, agent }: ProxyCaller,
  request: WitnessRequest,
): WitnessAnswer {
  if (agent.role !== 'sidecar')
    throw new RingfenceError('IDENTITY', `${peer.spiffeId} is no sidecar, and has no record`)
  const origin = originOf(trustDomainOf(peer.spiffeId), agent.name)
  const answer = witness.add(store, origin, request, clock.now())
  if (answer.refused !== undefined && answer.refused !== 'other size')
    log.error(
      { origin, refused: answer.refused, size: answer.size },
      'the record of a sidecar is not what it showed before',
    )
  return answer
}

export function witnessed({ store }: ControlParts): { logs: WitnessedLog[] } {
  return { logs: store.witnessedLogs() }
}
