/** Who asks for what, counted for Prometheus: the consumer that fills the rows of `telemetry/metrics/requests.ts`, and counts log-ins. */

import { Opcode } from '../cql/protocol.ts'
import { methodRefused } from '../identity/proofs/secured.ts'
import type { Decision } from '../policy/engine.ts'
import { byWord, counter, type Family, type Sample } from '../telemetry/metrics/family.ts'
import type { RequestLabels, RequestSeries } from '../telemetry/metrics/requests.ts'
import { Tally } from '../telemetry/metrics/tally.ts'
import { type Consumer, Note, type TransactionEvent } from './event.ts'
import type { AuditSession, RefusedLogIn } from './record.ts'
import { ruleOf, targetOf, verdictOf } from './verdict.ts'

/** The row of a statement, for one decision and one group. */
interface Row {
  readonly decision: Decision
  readonly group: string | undefined
  readonly number: number
}

const rowNote = new Note<Row>()

export class Counted implements Consumer {
  readonly #series: RequestSeries
  /** By the ways to prove who one is, of which the code has a list. */
  readonly #logIns = new Tally<string>()
  readonly #refused = new Map<string, { readonly labels: Sample['labels']; value: number }>()

  constructor(series: RequestSeries) {
    this.#series = series
  }

  ended(event: TransactionEvent): void {
    const { kind, statement, decision, opcode, session } = event
    if (kind === 'log-in') this.#logIns.count(session.who.authentication)
    if (kind !== 'request') return
    // A PREPARE that was let through is no request yet.
    if (opcode === Opcode.PREPARE && decision?.kind === 'permit') return
    const group = session.who.personGroup
    const known = statement && rowNote.of(statement)
    if (known !== undefined && known.decision === decision && known.group === group) {
      if (this.#series.record(known.number, event)) return
    }
    const number = this.#series.numberOf(labelsOf(session.who, event))
    if (statement !== undefined && decision !== undefined) rowNote.set(statement, { decision, group, number })
    this.#series.record(number, event)
  }

  refused({ cause, evidence }: RefusedLogIn): void {
    const method = methodRefused(cause, evidence.provider !== undefined || evidence.hash !== undefined)
    const key = `${cause} ${method}`
    const count = this.#refused.get(key)
    if (count === undefined) this.#refused.set(key, { labels: { cause, method }, value: 1 })
    else count.value++
  }

  families(): Family[] {
    return [
      ...this.#series.families(),
      counter('ringfence_log_ins', 'Sessions that began, by how who it is was proved.', byWord('method', this.#logIns)),
      counter('ringfence_log_ins_refused', 'Log-ins that were refused, by cause.', [...this.#refused.values()]),
    ]
  }
}

function labelsOf(
  { workload, person, personGroup }: AuditSession,
  { statement, decision, rule, outcome }: TransactionEvent,
): RequestLabels {
  const { keyspace = '', table = '' } = statement === undefined ? {} : targetOf(statement.facts)
  return {
    workload,
    personGroup: person === undefined ? '' : (personGroup ?? 'none'),
    keyspace,
    table,
    // What was not understood has no name of its own.
    operation: statement === undefined ? 'other' : statement.facts.verb,
    verdict: decision !== undefined ? verdictOf(decision) : outcome === 'ok' ? ('allow' as const) : ('deny' as const),
    rule: decision === undefined ? rule : ruleOf(decision),
  }
}
