/**
 * Why a request waits before it is sent. It is served from its first stage again, and what comes behind it waits until then.
 */
import { contained, containOwnFault, settle } from '../../base/contained.ts'
import { assert, RingfenceError } from '../../base/errors.ts'
import type { Request } from '../request.ts'
import type { Judged } from '../statement.ts'
import { valuesDigestInSteps } from '../values-digest.ts'
import { type Session, Step } from './stage.ts'

/** The client has had its share of this turn: the request is served in a later one. */
export function putOff(request: Request, session: Session): Step {
  const { waiting, identity } = session
  waiting.beginHalted(request)
  identity.share.later(contained(session, 'a request that was put off', () => waiting.letGo()))
  return Step.WAIT
}

/** Its values are long, and hashed in steps before its paging state is opened. */
export function hashValues(request: Request, session: Session): Step {
  const { waiting, identity } = session
  const { params, start } = request
  const [from, to] = [params!.valuesStart - start, params!.valuesEnd - start]
  // From here on its bytes are its own.
  waiting.beginHalted(request)
  const steps = valuesDigestInSteps(request.view(), from, to)
  const { share } = identity
  const goOn = contained(session, 'values that are hashed', () => {
    while (share.begin()) {
      try {
        const step = steps.next()
        if (step.done !== true) continue
        request.valuesDigest = step.value
      } finally {
        share.end()
      }
      waiting.letGo()
      return
    }
    share.later(goOn)
  })
  share.later(goOn)
  return Step.WAIT
}

/** The other thread reads the text. It is decided on in a turn of its own. */
export function readElsewhere(request: Request, session: Session, text: string): void {
  const { waiting, shared, identity } = session
  assert(request.known === undefined, 'a text is read elsewhere once')
  waiting.beginHalted(request)
  settle(
    session,
    'a text that was read elsewhere',
    shared.analyst.analyse([text], session.identity.share),
    ([analysed]) => {
      request.known = new Map([[text, analysed!]])
      identity.share.later(contained(session, 'a text that was read elsewhere', () => waiting.letGo()))
    },
    (reason) => waiting.failFirst(reason),
  )
}

/** An unknown table may be new: the schema is read again, at most once for each statement and schema. */
export function lookedUp(request: Request, session: Session, judged: Judged): boolean {
  const { waiting, shared } = session
  if (judged.lookedUp === judged.epoch) return false
  judged.lookedUp = judged.epoch
  waiting.begin(request)
  const goOn = (): void => waiting.letGo()
  settle(session, 'a schema that was read again', shared.schema.fresh(), goOn, goOn)
  return true
}

/** What the statement is about has changed, or is changing, since the schema was read (`schema/doubts.ts`). */
export function inDoubt(request: Request, session: Session, judged: Judged): boolean {
  const { judge, schema } = session.shared
  if (!schema.doubtful) return false
  judge.findTables(judged)
  if (!schema.doubts(judged.facts, judged.tables)) return false
  awaitSchema(request, session)
  return true
}

function awaitSchema(request: Request, session: Session): void {
  const { waiting, shared } = session
  const { schema } = shared
  waiting.begin(request)
  const goOn = (): void => waiting.letGo()
  settle(session, 'a schema that was in doubt', schema.settled(), goOn, (reason) => waiting.failFirst(reason))
}

/** No connection to the node is open: requests wait for one, a bounded number of them, for the time of a handshake. */
export function reopen(request: Request, session: Session): Step {
  const { waiting, shared } = session
  request.restart()
  waiting.begin(request)
  settle(
    session,
    'a connection that was opened again',
    session.dispatch.open(),
    () => waiting.letGo(),
    (reason) => {
      containOwnFault('a connection that was opened again', reason)
      const why = String(reason)
      const repeated = shared.nodeAway.due(why)
      if (repeated !== undefined) shared.log.warn({ reason: why, repeated }, 'no connection to the node')
      waiting.failAll(new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable'))
    },
  )
  return Step.WAIT
}
