/**
 * A client behind NGINX sees only the virtual topology of its gateway, and no address of a node. One that reaches this sidecar only, and said so, is
 * told of no other host.
 */
import { RingfenceError } from '../../base/errors.ts'
import { Opcode } from '../../cql/protocol.ts'
import { answerHere } from '../ending.ts'
import { givenAnswer } from '../given.ts'
import type { Request } from '../request.ts'
import { asksOnlyTopology, readsPeers, rewritesAddresses, rewritingRefusal, topologyRefusal } from '../topology.ts'
import { passageOf } from './passage.ts'
import { unprepared } from './recall.ts'
import { type Session, Step } from './stage.ts'

export function hideTopology(request: Request, session: Session): Step {
  const { permit, judged, opcode, given } = request
  if (permit === undefined || judged === undefined) return Step.NEXT
  if (session.oneHost && readsPeers(judged.facts)) request.permit = permit.hidingRows()
  if (!session.topologyHidden) return Step.NEXT
  if (given !== undefined || opcode === Opcode.BATCH) return Step.NEXT
  if (judged.namesTopology) {
    if (opcode !== Opcode.EXECUTE) throw topologyRefusal()
    // Another worker of the gateway prepared it. This worker does not know it, so the driver prepares again.
    return unprepared(request, session, request.bytes.subarray(request.idStart, request.idEnd))
  }
  if (judged.showsAddresses) {
    if (rewritesAddresses(judged.facts)) throw rewritingRefusal()
    request.permit = permit.hidingAddresses()
  }
  return Step.NEXT
}

/** The answer came with the request from the gateway, and is given as the node's would be. */
export function answerGiven(request: Request, session: Session): Step {
  const { given } = request
  if (given === undefined) return Step.NEXT
  if (!asksOnlyTopology(request.judged!.facts)) throw topologyRefusal()
  const answer = givenAnswer(passageOf(request, session), session.shared.secrets, request.view(), given)
  if (answer === undefined) throw new RingfenceError('INVALID', 'the gateway gave what is no answer to this')
  // Its addresses are the gateway's, and the client's to see.
  const { client, version, transactions } = session
  answerHere(request, { client, version, transactions }, answer)
  return Step.DONE
}
