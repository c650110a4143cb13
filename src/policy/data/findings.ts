/**
 * What is found while one statement is held against the data rules: the first refusal, what was only observed, and what the permit will
 * ask for.
 */
import type { ColumnMask, Mask, Obligations, RequestCheck } from '../obligations.ts'
import type { Rule } from './rules.ts'
import { builtinChecks } from './rules.ts'

/** `text` is one line for the client, without full stop and without values of the data. */
export interface DataDenial {
  readonly rule: string
  readonly text: string
}

export interface DataVerdict {
  readonly denial?: DataDenial
  /** Undefined where nothing is asked but the built-in check; see `checkRequest`. */
  readonly obligations?: Obligations
  /** Rules in observe mode that would have refused the statement, or hidden a column of its answer; each once. */
  readonly observed: readonly string[]
}

const nothingObserved: readonly string[] = []
/** A statement that asks for nothing. */
const unbound: DataVerdict = { observed: nothingObserved }

export class Findings {
  #denial: DataDenial | undefined
  readonly #observed = new Set<string>()
  readonly #checks = new Set<RequestCheck>()
  readonly #masks = new Map<string, ColumnMask>()
  readonly #shown = new Map<object, Set<object>>()

  refuse({ name, observe }: Rule, text: string): void {
    if (observe) this.#observed.add(name)
    else this.#denial ??= { rule: name, text }
  }

  refuseEach(rules: readonly Rule[], text: string): void {
    for (const rule of rules) this.refuse(rule, text)
  }

  ask(checks: readonly RequestCheck[]): void {
    for (const check of checks) this.#checks.add(check)
  }

  /** Where several masks meet on one column, the strictest stays. */
  hide(column: string, { name, observe }: Rule, mask: Mask): void {
    if (observe) {
      this.#observed.add(name)
      return
    }
    const held = this.#masks.get(column)
    this.#masks.set(
      column,
      held === undefined ? { column, mask, rule: name } : stricter(held, { column, mask, rule: name }),
    )
  }

  /** True once for each table and party: thousands of conditions of a BATCH may answer with the same row. */
  showsFirst(party: object, table: object): boolean {
    const tables = this.#shown.get(party) ?? new Set()
    this.#shown.set(party, tables)
    if (tables.has(table)) return false
    tables.add(table)
    return true
  }

  /** Of a statement that neither reads nor writes rows. */
  bareVerdict(): DataVerdict {
    if (this.#denial !== undefined) return { denial: this.#denial, observed: [...this.#observed] }
    return this.#observed.size === 0 ? unbound : { observed: [...this.#observed] }
  }

  /** @param plain obligations to share where these come out the same */
  verdict(plain: Obligations | undefined): DataVerdict {
    if (this.#denial !== undefined) return this.bareVerdict()
    const observed = this.#observed.size === 0 ? nothingObserved : [...this.#observed]
    if (this.#masks.size === 0 && this.#asksOnly(plain?.checks ?? builtinChecks)) {
      return plain === undefined ? this.bareVerdict() : { obligations: plain, observed }
    }
    const masks = [...this.#masks.values()]
    return { obligations: { checks: [...this.#checks], masks, visibleOnly: false }, observed }
  }

  #asksOnly(checks: readonly RequestCheck[]): boolean {
    return checks.length === this.#checks.size && checks.every((check) => this.#checks.has(check))
  }
}

const strictness = { partial: 0, hash: 1, full: 2, null: 3 } as const

function stricter(a: ColumnMask, b: ColumnMask): ColumnMask {
  if (a.mask.kind !== 'partial' || b.mask.kind !== 'partial') {
    return strictness[b.mask.kind] > strictness[a.mask.kind] ? b : a
  }
  // Neither may show what the other hides.
  const keepStart = Math.min(a.mask.keepStart, b.mask.keepStart)
  const keepEnd = Math.min(a.mask.keepEnd, b.mask.keepEnd)
  const shown = ({ mask }: ColumnMask): number => (mask.kind === 'partial' ? mask.keepStart + mask.keepEnd : 0)
  return { ...(shown(b) < shown(a) ? b : a), mask: { kind: 'partial', keepStart, keepEnd } }
}
