/** REGISTER is answered here: a session hears of the node's events as far as it may see what they are about. One that is told of one host hears of no other. */
import { readyEnvelope } from '../../cql/encode.ts'
import { Opcode } from '../../cql/protocol.ts'
import { readRegister } from '../../cql/requests.ts'
import type { Request } from '../request.ts'
import { sessionEvent } from '../session-event.ts'
import { refusalMs } from './admit.ts'
import { type Session, Step } from './stage.ts'

const ofHosts: ReadonlySet<string> = new Set(['TOPOLOGY_CHANGE', 'STATUS_CHANGE'])

export function register(request: Request, session: Session): Step {
  if (request.opcode !== Opcode.REGISTER) return Step.NEXT
  const { version, client, shared, transactions, identity } = session
  identity.share.charge(refusalMs)
  const asked = readRegister(request, version)
  const types = session.oneHost ? asked.filter((type) => !ofHosts.has(type)) : asked
  shared.events.add(session, types)
  transactions.ended(sessionEvent('register', session))
  const { stream } = request
  const ready = readyEnvelope(version, stream)
  client.answer(ready, 0, ready.length, stream)
  return Step.DONE
}
