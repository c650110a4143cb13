/**
 * Rate limits. A request that is over one waits, if it may go soon: its client is not read meanwhile. Otherwise it is refused, and takes nothing.
 * What it answers with is charged when that is known, as a debt.
 *
 * Rule: a request is charged once, however often it is served.
 */
import { after } from '../../base/contained.ts'
import { withWarning } from '../../cql/answers/warning.ts'
import { longEnvelopeBytes } from '../../cql/own-bytes.ts'
import { Opcode } from '../../cql/protocol.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { deny } from '../ending.ts'
import { atOnceOf, codeFor, limitWords, overLimitEnvelope } from '../limits/answer.ts'
import { type Charge, chargesOf, learn, type StatementCharges, unitsOf } from '../limits/charges.ts'
import type { Meter } from '../limits/parts.ts'
import type { RateLimits, SessionLimits } from '../limits/rate-limits.ts'
import type { Request } from '../request.ts'
import { refusalMs } from './admit.ts'
import { putOff } from './delays.ts'
import { type Session, Step } from './stage.ts'

/** A timer is no more exact, and what it owes is charged all the same. */
const graceMicros = 1000
/** The control plane gives a part within this, where it is there. */
const partMs = 25
const partWaitMicrosMax = 100_000
/** Of what may be taken at once: from here on a client is told, each second once. */
const nearPart = 0.8
const tellEachMicros = 1_000_000
/** What is owed for longer than this is told in the log, one line in ten seconds. */
const debtMicros = 60_000_000
const debtEachMicros = 10_000_000

export function limit(request: Request, session: Session): Step {
  const { rateLimits, turn } = session.shared
  if (rateLimits.idle || request.opcode === Opcode.PREPARE) return Step.NEXT
  if (request.limited) return observed(request)
  const { identity, context } = session
  const of = rateLimits.of(identity, context, identity.principal, context.clientAddress)
  const found = find(request, session, of)
  const { charges } = found
  if (charges.length === 0) return Step.NEXT
  let waitMicros = graceMicros
  let maxDelayMs = Infinity
  let over: Meter | undefined
  for (const charge of charges) {
    const meter = of.meters[charge.at]
    if (meter === undefined) continue
    const units = unitsBefore(charge, request, found)
    if (rateLimits.isTooMuch(meter, unitsOf(charge, request, 0, 0))) {
      if (!meter.rule.observe) {
        request.wanted = true
        return refuseTooMuch(request, session, meter, charge)
      }
      request.limitObserved = meter.rule.name
      continue
    }
    if (!request.wanted) rateLimits.want(meter, units)
    const wait = rateLimits.waitMicros(meter, units)
    if (wait <= graceMicros) continue
    if (meter.rule.observe) {
      request.limitObserved = meter.rule.name
      continue
    }
    maxDelayMs = Math.min(maxDelayMs, meter.rule.maxDelayMs)
    if (!(wait > waitMicros)) continue
    waitMicros = wait
    over = meter
  }
  request.wanted = true
  if (over !== undefined) {
    const waited = request.heldMicros === 0 ? 0 : turn.nowMicros() - request.heldMicros
    if (rateLimits.parts.isComing(over) && waited < partWaitMicrosMax) return awaitPart(request, session)
    const isHasty = session.limitAnswers.throwOnOverload || session.isShared
    const mayWaitMicros = isHasty ? 0 : maxDelayMs * 1000 - waited
    if (waitMicros > mayWaitMicros) return refuseOver(request, session, over, waitMicros, charges[0]!)
  }
  take(request, session, of, found)
  return over === undefined ? observed(request) : delay(request, session, over, waitMicros)
}

function find(request: Request, session: Session, of: SessionLimits): StatementCharges {
  const known = request.judged!.charges
  const isGood = known?.of === of.rules && known.epoch === session.shared.judge.epoch
  return isGood ? known : findAnew(request, session, of, known)
}

function findAnew(
  request: Request,
  session: Session,
  { rules }: SessionLimits,
  known: StatementCharges | undefined,
): StatementCharges {
  const { judge, schema } = session.shared
  const judged = request.judged!
  const words = {
    partitionKey: (facts: StatementFacts) => judge.partitionKey(facts),
    baseOf: (keyspace: string, view: string) => schema.baseOf(keyspace, view),
  }
  const charges = chargesOf(rules, judged.facts, judge.epoch, words, request.batchVerdict?.kinds)
  if (known !== undefined) {
    charges.rows = known.rows
    charges.bytes = known.bytes
  }
  judged.charges = charges
  return charges
}

function take(request: Request, session: Session, of: SessionLimits, found: StatementCharges): void {
  const { rateLimits, turn } = session.shared
  request.limited = true
  request.charges = found
  request.limits = of
  request.expectedRows = found.rows
  request.expectedBytes = found.bytes
  for (const charge of found.charges) {
    const meter = of.meters[charge.at]
    if (meter === undefined) continue
    const units = unitsBefore(charge, request, found)
    if (meter.rule.observe && isOver(meter, charge, request, units, rateLimits)) continue
    rateLimits.charge(meter, units)
    tellDebt(meter, session)
    const now = turn.nowMicros()
    if (now - meter.toldMicros < tellEachMicros || rateLimits.usedPart(meter) < nearPart) continue
    meter.toldMicros = now
    const percent = Math.round(rateLimits.usedPart(meter) * 100)
    request.limitNote = `${percent}% of the limit ${meter.rule.name} is used (${limitWords(meter)})`
  }
}

function isOver(meter: Meter, charge: Charge, request: Request, units: number, rateLimits: RateLimits): boolean {
  return (
    rateLimits.waitMicros(meter, units) > graceMicros || rateLimits.isTooMuch(meter, unitsOf(charge, request, 0, 0))
  )
}

/** A debt of minutes is for an operator to hear of: nothing goes by this limit meanwhile. */
function tellDebt(meter: Meter, { shared }: Session): void {
  const { rateLimits, turn, log } = shared
  const owed = rateLimits.debtMicros(meter)
  const now = turn.nowMicros()
  if (owed < debtMicros || now - rateLimits.debtToldMicros < debtEachMicros) return
  rateLimits.debtToldMicros = now
  const { rule, scope, who } = meter
  const about = { limit: rule.name, scope, who, seconds: Math.round(owed / 1_000_000) }
  log.warn(about, 'nothing goes by this limit until its debt is paid')
}

/** What it takes, as far as its answer can be expected. */
function unitsBefore(charge: Charge, request: Request, { rows, bytes }: StatementCharges): number {
  request.listFactor = charge.lists.length === 0 ? 1 : sizesOf(request, charge.lists)
  return unitsOf(charge, request, rows, bytes)
}

function sizesOf({ bound }: Request, lists: readonly number[]): number {
  let product = 1
  for (const marker of lists) product *= Math.max(1, bound?.listSize(marker) ?? 1)
  return product
}

/** What it would have been refused for, were it enforced. */
function observed(request: Request): Step {
  const { limitObserved } = request
  if (limitObserved !== undefined) request.permit = request.permit!.observing(limitObserved)
  return Step.NEXT
}

function delay(request: Request, session: Session, over: Meter, waitMicros: number): Step {
  const { waiting, shared } = session
  const ms = Math.ceil(waitMicros / 1000)
  request.limitNote = `delayed by ${ms} ms by the limit ${over.rule.name} (${limitWords(over)})`
  request.heldMicros ||= shared.turn.nowMicros()
  waiting.beginHalted(request)
  after(session, 'a request over its limit', ms, () => waiting.letGo())
  return Step.WAIT
}

/** This sidecar's part of the limit is asked for. The request takes nothing yet, and is looked at anew. */
function awaitPart(request: Request, session: Session): Step {
  const { waiting, shared } = session
  request.heldMicros ||= shared.turn.nowMicros()
  waiting.beginHalted(request)
  after(session, 'a request whose limit is shared out', partMs, () => waiting.letGo())
  return Step.WAIT
}

function refuseOver(request: Request, session: Session, over: Meter, waitMicros: number, { reads }: Charge): Step {
  const retryAfterMs = Math.ceil(waitMicros / 1000)
  return refuse(request, session, over, reads, `; come back in ${retryAfterMs} ms`, retryAfterMs)
}

function refuseTooMuch(request: Request, session: Session, meter: Meter, charge: Charge): Step {
  const units = Math.ceil(unitsOf(charge, request, 0, 0))
  const why = `: it takes ${units}, of which ${atOnceOf(meter)} go at once; it does not help to wait`
  return refuse(request, session, meter, charge.reads, why, undefined)
}

function refuse(
  request: Request,
  session: Session,
  over: Meter,
  reads: boolean,
  why: string,
  retryAfterMs: number | undefined,
): Step {
  const { identity, shared, version, limitAnswers } = session
  if (identity.share.exhausted) return putOff(request, session)
  identity.share.charge(refusalMs)
  const { name } = over.rule
  const denial = shared.judge.refusal(identity, name, `over the limit ${name} (${limitWords(over)})${why}`)
  const code = codeFor(limitAnswers)
  const about = { limit: name, retryAfterMs, writes: !reads }
  deny(request, session, denial, code, overLimitEnvelope(version, request.stream, code, denial.reason, about))
  return Step.DONE
}

/** The debt: what the answer has beside what was expected of it. */
export function chargeAnswer(request: Request, session: Session): Step {
  const { rateLimits } = session.shared
  const { charges, limits, expectedRows, expectedBytes } = request
  if (charges === undefined || limits === undefined) return Step.NEXT
  request.charges = undefined
  const rows = Math.max(0, request.rows)
  const { bytesOut } = request
  for (const charge of charges.charges) {
    const meter = limits.meters[charge.at]
    if (meter === undefined || charge.rule.unit === 'requests') continue
    const more = unitsOf(charge, request, rows, bytesOut) - unitsOf(charge, request, expectedRows, expectedBytes)
    if (more === 0) continue
    rateLimits.charge(meter, more)
    if (more > 0) tellDebt(meter, session)
  }
  learn(charges, rows, bytesOut)
  return Step.NEXT
}

/** An answer that is not handed on cost the node as much as any other. How many rows it has is not known. */
export function chargeUngiven(request: Request, session: Session, bytesOut: number): void {
  request.bytesOut = bytesOut
  if (request.rows < 0) request.rows = request.expectedRows
  chargeAnswer(request, session)
}

/** A client that is near a limit, or waited for one, is told. Long answers are not copied for that: there is another one soon. */
export function tellLimit(request: Request, { version }: Session): Step {
  const { limitNote, answer, bytesOut } = request
  if (limitNote === undefined || bytesOut > longEnvelopeBytes) return Step.NEXT
  const changed = withWarning(answer, version, limitNote)
  request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}
