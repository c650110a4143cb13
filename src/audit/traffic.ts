/** Who is talking to Cassandra, counted: the consumer that fills the traffic table. */
import { Opcode } from '../cql/protocol.ts'
import type { Decision } from '../policy/engine.ts'
import type { TrafficTable } from '../telemetry/traffic.ts'
import { type Consumer, Note, type TransactionEvent } from './event.ts'
import { ruleOf, verdictOf } from './verdict.ts'

/** The row of a statement, for one decision. */
interface Row {
  readonly decision: Decision
  readonly handle: number
}

const rowNote = new Note<Row>()

export class TrafficCount implements Consumer {
  readonly #table: TrafficTable

  constructor(table: TrafficTable) {
    this.#table = table
  }

  ended({ statement, decision, opcode, session, outcome, latencyMicros }: TransactionEvent): void {
    // A PREPARE that was let through is no traffic yet.
    if (statement === undefined || decision === undefined) return
    if (opcode === Opcode.PREPARE && decision.kind === 'permit') return
    const failed = outcome !== 'ok'
    const known = rowNote.of(statement)
    if (known?.decision === decision && this.#table.record(known.handle, latencyMicros, failed)) return
    const { workload, person } = session.who
    const { keyspace, table, verb } = statement.facts
    const [verdict, rule] = [verdictOf(decision), ruleOf(decision)]
    const handle = this.#table.row({ workload, person, keyspace, table, operation: verb, verdict, rule })
    rowNote.set(statement, { decision, handle })
    this.#table.record(handle, latencyMicros, failed)
  }
}
