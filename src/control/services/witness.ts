/** The control plane as witness of the sidecars' records: what one has shown, nobody takes back. */
import { z } from 'zod'
import { originOf } from '../../audit/sealed/log-key.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { WitnessAnswer, WitnessRequest } from '../../mesh/witness.ts'
import { witnessedLogs } from '../../mesh/witness.ts'
import { type Administrator, nameOf, type ProxyCaller } from '../callers.ts'
import { by as orderedBy } from './authorities.ts'
import type { ControlParts } from './parts.ts'

export const witnessedAnswer = z.object({
  /** The key that its lines are checked by. */
  witness: z.string(),
  logs: witnessedLogs,
})
export type WitnessedAnswer = z.infer<typeof witnessedAnswer>

export const forgetWitnessedOrder = z.strictObject({ origin: z.string().min(1).max(4096), by: orderedBy })
export const forgottenAnswer = z.object({ size: z.int() })

/** @throws RingfenceError IDENTITY for who has no record */
export function witnessLog(
  { witness, store, clock, log }: ControlParts,
  { peer, agent }: ProxyCaller,
  request: WitnessRequest,
): WitnessAnswer {
  if (agent.role !== 'sidecar')
    throw new RingfenceError('IDENTITY', `${peer.spiffeId} is no sidecar, and has no record`)
  const origin = originOf(peer.spiffeId)
  const answer = witness.add(store, origin, request, clock.now())
  if (witness.isNews(origin, answer))
    log.error(
      { origin, refused: answer.refused, size: answer.size },
      'the record of a sidecar is not what it showed before',
    )
  return answer
}

export function witnessed({ store, witness }: ControlParts): WitnessedAnswer {
  return { witness: witness.verifierKey, logs: store.witnessedLogs() }
}

/**
 * A log that its sidecar had to begin anew is taken again; of the one before, the witness knows nothing any more.
 * @throws RingfenceError USAGE where none is known
 */
export function forgetWitnessed(
  { store, log }: ControlParts,
  caller: Administrator,
  { origin, by }: z.infer<typeof forgetWitnessedOrder>,
): z.infer<typeof forgottenAnswer> {
  const known = store.witnessed(origin)
  if (known === undefined) throw new RingfenceError('USAGE', `no log of ${JSON.stringify(origin)} was witnessed`)
  store.forgetWitnessed(origin)
  const { key, size, checkpoint } = known
  log.warn(
    { origin, key, size, checkpoint, by: by ?? nameOf(caller) },
    'what the witness knew of a record is forgotten',
  )
  return { size }
}
