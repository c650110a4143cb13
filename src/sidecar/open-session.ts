/** The beginning of a session: who it is, its first line of the record, and whether it may begin in the keyspace that it names. */
import type { EventSession } from '../audit/event.ts'
import type { AuditSession } from '../audit/record.ts'
import { CqlErrorCode, Opcode, type ProtocolVersion } from '../cql/protocol.ts'
import { isByName } from '../identity/proofs/workload.ts'
import { type Client, type LimitAnswers, noLimitAnswers } from '../session/backend.ts'
import { refuseUnlessNamed } from './behalf/by-name.ts'
import { stateOf } from './behalf/state.ts'
import { SessionContext } from './context.ts'
import { refuseUnrecorded } from './ending.ts'
import { permitOf } from './judged.ts'
import { EnforcedSession } from './session.ts'
import { sessionEvent } from './session-event.ts'
import type { Shared } from './shared.ts'
import type { Ways } from './stages/in-order.ts'

export interface Opening {
  readonly client: Client
  /** The name in the record. */
  readonly name: string
  readonly version: ProtocolVersion
  /** Empty for none. */
  readonly keyspace: string
  readonly driver: string | undefined
  /** SPIFFE id of the gateway that it came by; undefined for a driver that came itself. */
  readonly gateway: string | undefined
  /** See `StartupInfo`; a gateway sees to it itself. */
  readonly oneHost?: boolean | undefined
  readonly limitAnswers?: LimitAnswers | undefined
}

/**
 * Throws LogInRefused where policy does not let the workload name its person, UNAUTHORIZED where the keyspace may not be used, INVALID where that is no
 * name, OVERLOADED while nothing can be recorded.
 */
export function openSession(shared: Shared, ways: Ways, nowMs: () => number, opening: Opening): EnforcedSession {
  refuseUnrecorded(shared)
  const { client, version, keyspace, gateway, oneHost = false, limitAnswers = noLimitAnswers } = opening
  const identity = stateOf(shared.judge, client.info.identity)
  if (isByName(client.info.identity)) refuseUnlessNamed(shared.judge, identity, client.info.identity)
  const context = new SessionContext(client.info, version, nowMs)
  const who = whoOf(opening, context)
  const session: EventSession = { who, notes: undefined }
  shared.transactions.ended(sessionEvent('log-in', session))
  if (keyspace !== '') {
    try {
      judgeKeyspace()
    } catch (reason) {
      shared.transactions.ended(sessionEvent('log-out', session))
      throw reason
    }
  }
  const topologyHidden = gateway !== undefined
  const told = { context, who, topologyHidden, oneHost, limitAnswers }
  return new EnforcedSession(shared, ways, { client, version, keyspace, identity, ...told })

  /** A session that begins in a keyspace asks for USE of it; where that is refused the session ends, and all of it is on record. */
  function judgeKeyspace(): void {
    const { judged, decision } = shared.judge.use(identity, keyspace, context)
    if (decision.kind === 'permit') return
    shared.transactions.ended({
      ...sessionEvent('log-in', session),
      kind: 'request',
      opcode: Opcode.QUERY,
      statement: judged,
      decision,
      outcome: 'error',
      code: CqlErrorCode.UNAUTHORIZED,
      message: decision.reason,
    })
    permitOf(decision)
  }
}

function whoOf({ client, name, version, driver, gateway }: Opening, { authentication }: SessionContext): AuditSession {
  const { identity, address, port } = client.info
  return {
    session: name,
    workload: identity.subject,
    person: identity.person,
    personGroup: identity.groups[0],
    evidence: { hash: identity.evidenceHash, token: identity.token },
    authentication,
    ...(identity.behind === undefined ? {} : { transaction: identity.behind.id, tokenHash: identity.behind.hash }),
    client: { address, port },
    ...(driver === undefined ? {} : { driver }),
    ...(gateway === undefined ? {} : { gateway }),
    protocolVersion: version,
  }
}
