/** A request as the conditions of a policy see it: one object for a session, whose changing fields are set before each question. */
import { consistencyNames, Opcode, type ProtocolVersion } from '../cql/protocol.ts'
import type { Amount, StatementFacts } from '../cql/statement/facts.ts'
import type { RequestContext } from '../policy/request.ts'
import type { ClientInfo } from '../session/backend.ts'
import type { BoundValues } from './bound.ts'
import type { SessionLimits } from './limits/rate-limits.ts'

export class SessionContext implements RequestContext {
  readonly clientAddress: string
  readonly authentication: string
  readonly protocol: ProtocolVersion
  preparing = false
  consistency = ''
  rows: number | undefined
  ttlSeconds: number | undefined
  nowMs: number
  /** What may be done in a time from this address. */
  limits: SessionLimits | undefined
  readonly #clock: () => number

  /** @param clock the judge's */
  constructor(info: ClientInfo, protocol: ProtocolVersion, clock: () => number) {
    this.clientAddress = info.address
    this.authentication = info.identity.methods.join('+')
    this.protocol = protocol
    this.#clock = clock
    this.nowMs = clock()
  }

  /** The same connection, asking for another. */
  of(info: ClientInfo): SessionContext {
    return new SessionContext(info, this.protocol, this.#clock)
  }

  /** `consistency` is the protocol's code, `values` are those of the request where it has some. */
  set(opcode: number, consistency: number, facts: StatementFacts, values: BoundValues | undefined): this {
    this.preparing = opcode === Opcode.PREPARE
    this.consistency = this.preparing ? '' : (consistencyNames[consistency] ?? '')
    this.rows = numberOf(facts.limit, values)
    this.ttlSeconds = numberOf(facts.ttl, values)
    this.nowMs = this.#clock()
    return this
  }
}

function numberOf(amount: Amount | undefined, values: BoundValues | undefined): number | undefined {
  if (amount === undefined) return undefined
  if ('literal' in amount) return Number(amount.literal)
  const bound = values?.integer(amount.marker)
  return bound === null || bound === undefined ? undefined : Number(bound)
}
