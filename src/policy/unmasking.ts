/**
 * Whether a workload or person may see columns as they are, asked by the data rules of each column of each statement of a BATCH: tens of thousands of
 * times, mostly the same.
 *
 * Rule: an answer is reused only for columns that no rule distinguishes: those of one class of one table (`Slice.columnClass`). A policy in
 * Cedar may distinguish any two names.
 */
import type { Access } from '../cql/statement/facts.ts'
import type { PartyAsking } from './asking.ts'
import type { Verdict } from './verdict.ts'
import type { Verdicts } from './verdicts.ts'

export class Unmasking {
  readonly #verdicts: Pick<Verdicts, 'policy' | 'judgeParty'>
  readonly #asking: PartyAsking
  readonly #observe: (verdict: Verdict) => void
  readonly #byColumn = new Map<string, boolean>()
  #keyspace: string | undefined
  #table: string | undefined

  constructor(
    verdicts: Pick<Verdicts, 'policy' | 'judgeParty'>,
    asking: PartyAsking,
    observe: (verdict: Verdict) => void,
  ) {
    this.#verdicts = verdicts
    this.#asking = asking
    this.#observe = observe
  }

  may(access: Access): boolean {
    const { resource, columns } = access
    const [column] = columns
    if (resource.kind !== 'table' || columns === '*' || column === undefined || columns.length > 1) {
      return this.#judge(access)
    }
    if (resource.keyspace !== this.#keyspace || resource.table !== this.#table) {
      this.#byColumn.clear()
      this.#keyspace = resource.keyspace
      this.#table = resource.table
    }
    const byName = this.#verdicts.policy.cedar.length > 0
    const of = byName || !column.isWellFormed() ? column : this.#asking.view.slice.columnClass(column)
    let may = this.#byColumn.get(of)
    if (may === undefined) {
      may = this.#judge(access)
      this.#byColumn.set(of, may)
    }
    return may
  }

  #judge(access: Access): boolean {
    const verdict = this.#verdicts.judgeParty(this.#asking, access)
    if (verdict.outcome !== 'allowed') return false
    this.#observe(verdict)
    return true
  }
}
