/** A BATCH, all or nothing: one statement refused, and nothing is forwarded. Many statements are judged piece by piece (`large-batch.ts`). */
import { Opcode } from '../../cql/protocol.ts'
import { BatchView, batchPartCount, readBatch } from '../../cql/requests.ts'
import type { Decision, Permit } from '../../policy/engine.ts'
import { permitOfAll } from '../../policy/engine.ts'
import { inlineTextMax } from '../analyst.ts'
import { batchFacts } from '../batch.ts'
import { BoundValues } from '../bound.ts'
import { checked, Partitions } from '../checks.ts'
import { partsInlineMax } from '../large-batch.ts'
import type { Request } from '../request.ts'
import type { Judged } from '../statement.ts'
import { decided, decideWithin } from './authorise.ts'
import { inDoubt, lookedUp, putOff } from './delays.ts'
import { judgeInPieces } from './large-batch.ts'
import { setPayload } from './read.ts'
import { statementOf, unprepared } from './recall.ts'
import { type Session, Step } from './stage.ts'

// Filled anew for each envelope.
const batch = new BatchView()
const values = new BoundValues()

export function judgeBatch(request: Request, session: Session): Step {
  if (request.opcode !== Opcode.BATCH) return Step.NEXT
  if (request.batchVerdict !== undefined) return obeyVerdict(request, session)
  const { bytes } = request
  if (batchPartCount(batch, request, session.version) > partsInlineMax) return judgeInPieces(request, session)
  readBatch(batch, request, session.version)
  let characters = 0
  for (const { text } of batch.parts) characters += text?.length ?? 0
  if (characters > inlineTextMax) return judgeInPieces(request, session)
  const keyspace = batch.keyspace ?? session.dispatch.keyspace
  const parts: Judged[] = []
  for (const { text, idStart, idEnd } of batch.parts) {
    const part =
      text === undefined
        ? session.identity.prepared.find(bytes, idStart, idEnd)?.judged
        : statementOf(request, session, text, keyspace)
    if (part === undefined && text !== undefined) return Step.WAIT
    if (part === undefined) return unprepared(request, session, bytes.subarray(idStart, idEnd))
    // How far the decisions on its parts are is kept there from one turn to the next.
    if (part.large) return judgeInPieces(request, session)
    parts.push(part)
  }
  const whole = session.shared.judge.whole(batchFacts(parts, batch.type), keyspace, parts)
  // It is made anew whenever the request is served, and a decision in steps would begin anew with it. There it is kept.
  if (whole.large) return judgeInPieces(request, session)
  if (inDoubt(request, session, whole)) return Step.WAIT
  return judgeParts(request, session, parts, whole)
}

function judgeParts(request: Request, session: Session, parts: readonly Judged[], whole: Judged): Step {
  const { judge } = session.shared
  const partitions = new Partitions(judge, parts, batch)
  const permits: Permit[] = []
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!
    const bound = values.ofPart(batch, batch.parts[i]!, part.facts.markers, partitions)
    let decision = decideWithin(session, part, Opcode.BATCH, batch.consistency, bound)
    if (decision === undefined) return putOff(request, session)
    if (decision.kind === 'permit') {
      if (part.unknownTable && lookedUp(request, session, part)) return Step.WAIT
      decision = checked(judge, session.identity, decision, bound)
    }
    if (decision.kind === 'denial') {
      decision = judge.nothingThere(whole) ?? decision
      if (decision.invalid === true && lookedUp(request, session, part)) return Step.WAIT
      return settle(request, batch, whole, decision)
    }
    permits.push(decision)
  }
  // The answer of a BATCH with conditions shows more columns than each of its statements alone would.
  if (whole.facts.conditional) {
    const answered = decideWithin(session, whole, Opcode.BATCH, batch.consistency, undefined)
    if (answered === undefined) return putOff(request, session)
    if (answered.kind === 'denial') return settle(request, batch, whole, answered)
    permits.push(answered)
  }
  if (!session.shared.rateLimits.idle) request.partitions = partitions.count
  return finish(request, session, batch, whole, permitOfAll(permits))
}

/** @param ofParts undefined for a BATCH of nothing */
function finish(
  request: Request,
  session: Session,
  view: BatchView,
  whole: Judged,
  ofParts: Decision | undefined,
): Step {
  const untold = ofParts?.kind === 'denial' ? undefined : session.shared.judge.untold(session.identity, whole)
  const decision = untold ?? ofParts ?? decideWithin(session, whole, Opcode.BATCH, view.consistency, undefined)
  return decision === undefined ? putOff(request, session) : settle(request, view, whole, decision)
}

function settle(request: Request, view: BatchView, whole: Judged, decision: Decision): Step {
  request.judged = whole
  request.params = undefined
  request.consistency = view.consistency
  setPayload(request, view)
  decided(request, decision)
  return Step.NEXT
}

function obeyVerdict(request: Request, session: Session): Step {
  const { view, epoch, whole, unknownId, decision, partitions } = request.batchVerdict!
  const { judge } = session.shared
  // A policy may have come in this turn, or the hours of `when:` may have ended.
  const isOver = decision?.kind === 'permit' && !judge.inForce(decision)
  if (epoch !== judge.epoch || isOver) return judgeInPieces(request, session)
  if (whole === undefined) return unprepared(request, session, unknownId ?? Buffer.alloc(0))
  if (inDoubt(request, session, whole)) return Step.WAIT
  request.partitions = partitions
  return finish(request, session, view, whole, decision)
}
