/** What the repeating of a PREPARE needs of its session (`reprepare.ts`). */
import { prepareEnvelope } from '../../cql/encode.ts'
import { Opcode } from '../../cql/protocol.ts'
import type { RepreparerOptions } from '../reprepare.ts'
import { takeRequest } from '../request.ts'
import { asItCame } from '../rewrites.ts'
import { decideNow, decideWithin } from './authorise.ts'
import { sentBytes } from './change-rows.ts'
import { passageOf } from './passage.ts'
import type { Session } from './stage.ts'

export function repreparing(
  session: Session,
): Pick<
  RepreparerOptions,
  'session' | 'pool' | 'identity' | 'version' | 'poolOwner' | 'ready' | 'mayPrepare' | 'send' | 'asItCame'
> {
  const { shared, identity, version, poolOwner } = session
  return {
    session,
    pool: shared.pool,
    identity,
    version,
    poolOwner,
    ready: (judged) => shared.judge.ready(identity, () => decideWithin(session, judged, Opcode.PREPARE, 0, undefined)),
    mayPrepare: (judged) => {
      const decision = decideNow(session, judged, Opcode.PREPARE)
      return decision.kind === 'permit' && !session.transactions.blocked ? decision : undefined
    },
    send: (upstream, permit, judged, owner) => {
      const prepare = takeRequest().prepare(session, owner, prepareEnvelope(version, 0, judged.text), judged, permit)
      session.dispatch.sendOn(upstream, prepare)
    },
    asItCame: (request) => {
      const envelope = asItCame(passageOf(request, session), sentBytes(request), shared.secrets)
      envelope.writeInt16BE(request.stream, 2)
      return envelope
    },
  }
}
