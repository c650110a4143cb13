/** A BATCH of many statements is judged piece by piece, while what comes behind it waits. */

import { contained, settle } from '../../base/contained.ts'
import { Opcode } from '../../cql/protocol.ts'
import type { LoopShare } from '../../session/loop-share.ts'
import { type BatchSteps, judgeLargeBatch } from '../large-batch.ts'
import type { Request } from '../request.ts'
import { decideWithin } from './authorise.ts'
import { type Session, Step } from './stage.ts'

export function judgeInPieces(request: Request, session: Session): Step {
  const { judge, analyst, schema, rateLimits } = session.shared
  request.batchVerdict = undefined
  session.waiting.beginHalted(request)
  const steps = judgeLargeBatch(
    {
      judge,
      identity: session.identity,
      version: session.version,
      keyspaceInForce: session.dispatch.keyspace,
      analyse: (texts) => analyst.analyse(texts, session.identity.share),
      decide: (part, consistency, bound) => decideWithin(session, part, Opcode.BATCH, consistency, bound),
      limited: !rateLimits.idle,
      freshSchema: () => schema.fresh().catch(() => {}),
    },
    request.bytes,
  )
  goOn(request, session, steps)
  return Step.WAIT
}

/** Further steps, as far as the client's share of this turn goes. */
function goOn(request: Request, session: Session, steps: BatchSteps): void {
  const { share } = session.identity
  try {
    while (!session.closed) {
      if (!share.begin()) {
        share.later(contained(session, 'a large BATCH', () => goOn(request, session, steps)))
        return
      }
      const step = nextStep(steps, share)
      if (step.done === true) {
        request.batchVerdict = step.value
        session.waiting.letGo()
        return
      }
      if (step.value !== undefined) {
        const failed = (reason: unknown): void => session.waiting.failFirst(reason)
        settle(session, 'a large BATCH', step.value, () => goOn(request, session, steps), failed)
        return
      }
    }
  } catch (reason) {
    session.waiting.failFirst(reason)
  }
}

function nextStep(steps: BatchSteps, share: LoopShare): ReturnType<BatchSteps['next']> {
  try {
    return steps.next()
  } finally {
    share.end()
  }
}
