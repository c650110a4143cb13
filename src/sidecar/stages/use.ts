/**
 * USE: the session moves to a connection whose keyspace that is. The keyspace in force changes with the node's own SET_KEYSPACE only, for
 * a USE that failed changes nothing; what comes meanwhile waits.
 */

import { settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { withoutAddresses } from '../../cql/answers/addresses.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { Opcode } from '../../cql/protocol.ts'
import { readError } from '../../cql/responses.ts'
import { deny, failed, nodeRefused, refused, refuseUnrecorded, unrecorded } from '../ending.ts'
import { NodeError } from '../node-error.ts'
import type { Request } from '../request.ts'
import { withTrace } from '../traced.ts'
import type { Upstream } from '../upstream.ts'
import { decideNow, decideWithin } from './authorise.ts'
import { rewrite } from './rewrite.ts'
import { type Session, Step } from './stage.ts'

export function use(request: Request, session: Session): Step {
  if (request.judged!.facts.use === undefined || request.opcode === Opcode.PREPARE) return Step.NEXT
  if (rewrite(request, session) === Step.WAIT) return Step.WAIT
  request.hold()
  session.waiting.begin()
  moveTo(request, session)
  return Step.WAIT
}

/** What comes waits already. */
function moveTo(request: Request, session: Session): void {
  settle(
    session,
    'the connection of a USE',
    connectionFor(request, session),
    (upstream) => {
      if (!session.closed) moved(request, session, upstream)
    },
    (reason) => {
      if (!session.closed) notMoved(request, session, reason)
    },
  )
}

/** There may be another policy when it is there. */
async function connectionFor(request: Request, session: Session): Promise<Upstream> {
  const { opcode } = request
  const judged = request.judged!
  const upstream = await session.dispatch.connectionFor(judged.facts.use ?? '')
  await session.shared.judge.ready(session.identity, () => decideWithin(session, judged, opcode, 0, undefined))
  return upstream
}

function moved(request: Request, session: Session, upstream: Upstream): void {
  // A new certificate replaced this connection before it was used. A request on it would get no answer.
  if (!upstream.usable) {
    moveTo(request, session)
    return
  }
  try {
    refuseUnrecorded(session)
    const decision = decideNow(session, request.judged!, request.opcode)
    if (decision.kind === 'permit') {
      request.permit = decision
      session.dispatch.sendOn(upstream, request)
      return
    }
    deny(request, session, decision)
  } catch (reason) {
    failed(request, session, reason)
    session.client.fault(reason, request.stream)
  }
  session.waiting.letGo()
}

function notMoved(request: Request, session: Session, reason: unknown): void {
  const { client, waiting, version, topologyHidden, transactions } = session
  // What the node said meanwhile would be on record in memory only.
  if (transactions.blocked) client.fault(unrecorded(), request.stream)
  else if (reason instanceof NodeError) {
    const { envelope } = reason
    const { code } = readError(wholeEnvelope(envelope))
    const shown = topologyHidden ? (withoutAddresses(wholeEnvelope(envelope), version) ?? envelope) : envelope
    refused(request, session, nodeRefused, code, reason.message)
    const told = withTrace(request, shown)
    client.answer(told, 0, told.length, request.stream)
  } else {
    const away = new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable')
    failed(request, session, away)
    client.fault(away, request.stream)
  }
  waiting.letGo()
}
