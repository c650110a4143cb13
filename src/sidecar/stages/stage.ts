/**
 * One stage in the life of a request. `request-stages.ts` and `answer-stages.ts` list what may happen to a request, in order. Each stage is
 * a function in this folder.
 *
 * Rule: a stage does not block. One that needs to wait arranges that the request is served again later, and returns `WAIT`. Then the request
 * goes through all stages from the first, since policy or schema may have changed.
 */
import type { EventSession } from '../../audit/event.ts'
import type { Owner as FaultOwner } from '../../base/contained.ts'
import type { LimitAnswers } from '../../session/backend.ts'
import type { SessionContext } from '../context.ts'
import type { Dispatch } from '../dispatch.ts'
import type { Ending } from '../ending.ts'
import type { EventListener } from '../events.ts'
import type { IdentityState } from '../judged.ts'
import type { LargeAnswers } from '../large-answers.ts'
import type { Repreparer } from '../reprepare.ts'
import type { Request } from '../request.ts'
import type { Shared } from '../shared.ts'
import type { Waiting } from '../waiting.ts'

export const Step = {
  /** On to the next stage. */
  NEXT: 0,
  /** It is answered, and over. */
  DONE: 1,
  /** Somebody has it now: the node, another thread, a queue. */
  WAIT: 2,
} as const
export type Step = (typeof Step)[keyof typeof Step]

export type RequestStage = (request: Request, session: Session) => Step
export type AnswerStage = (request: Request, session: Session) => Step

/** The session that a request came in, as its stages see it. */
export interface Session extends EventSession, EventListener, Ending, FaultOwner {
  readonly shared: Shared
  readonly identity: IdentityState
  readonly context: SessionContext
  /** The client came by a gateway, which shows it a topology of its own. */
  readonly topologyHidden: boolean
  /** The client came to this sidecar itself, and reaches no other host. */
  readonly oneHost: boolean
  readonly limitAnswers: LimitAnswers
  /** Of one person among several whose requests come in one session, and wait for each other's. */
  readonly isShared: boolean
  /** Empty where connections to the node are shared. */
  readonly poolOwner: string
  readonly dispatch: Dispatch
  readonly waiting: Waiting
  readonly repreparer: Repreparer
  readonly largeAnswers: LargeAnswers
  /** Questions about the schema that wait. */
  questionsWaiting: number
  /** The client is gone. */
  readonly closed: boolean
}
