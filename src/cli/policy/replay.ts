/**
 * What a draft of a policy would have done to the requests that sidecars audited.
 *
 *   audit files ─▶ lines ─▶ records ─▶ the draft's word on each (record-judge.ts) ─▶ groups of workload × statement that change
 *
 * The rule one must not break: nothing is left out in silence. Every line read is counted once: unchanged, changed, could not be judged
 * with the reason, or not a request.
 */
import { visibleObjectsRule } from '../../policy/denial.ts'
import { type AuditLine, readLine } from './audit-line.ts'
import { LimitReplay, type OverLimit } from './limit-replay.ts'
import { RecordJudge, type RecordJudgeLimits } from './record-judge.ts'
import type { Verdict } from './trial.ts'
import { builtinRules, type Trial } from './trial.ts'

/** Requests of one workload with one statement that changed, or could not be judged, alike. */
export interface Group {
  readonly workload: string
  readonly keyspace: string | undefined
  readonly statement: string
  readonly verdictThen: Verdict
  readonly ruleThen: string
  readonly verdictNow: Verdict
  readonly ruleNow: string
  /** In the words that the client would get. */
  readonly reason: string | undefined
  count: number
}

export interface Unjudged {
  readonly why: string
  count: number
  /** Of at most `unjudgedStatementsMax` statements. */
  readonly statements: { readonly workload: string; readonly statement: string | undefined; count: number }[]
}

export interface Report {
  /** Requests: what follows adds up to it. */
  readonly requests: number
  readonly unchanged: number
  /** Changed verdicts, most frequent first. */
  readonly changed: readonly Group[]
  /** Same verdict by another rule, most frequent first. */
  readonly otherRule: readonly Group[]
  readonly unjudged: readonly Unjudged[]
  /** Requests of the groups that were left out for their number; they are changed ones. */
  readonly ungrouped: number
  /** Of the requests judged: those whose answer would have columns hidden. */
  readonly masked: number
  /** Of the requests judged: those permitted only if their bound values meet these rules. */
  readonly boundLater: readonly { readonly rule: string; readonly count: number }[]
  /** Whom limits of the draft would have refused, most first; and seconds of keys that were left out for their number. */
  readonly overLimits: readonly OverLimit[]
  readonly limitsLeftOut: number
  /** Lines that are no requests: beginnings and ends of sessions, notes of the writer. */
  readonly notRequests: number
  /** Lines that are no records. */
  readonly unreadable: number
}

/** A client that makes up names must not fill the memory. */
export interface ReplayLimits extends RecordJudgeLimits {
  /** Groups that are kept apart. */
  readonly groupsMax: number
  /** Statements that are named for each reason. */
  readonly unjudgedStatementsMax: number
}

const limitDefaults: ReplayLimits = {
  groupsMax: 100_000,
  unjudgedStatementsMax: 100,
  statementsMax: 50_000,
  judgementsPerStatementMax: 1_000,
}

/** Rules of the mesh itself, about which policy was not asked. */
const meshRules = new Set([
  'not-understood',
  'unknown-prepared-id',
  'node-away',
  'node-refused',
  'overloaded',
  'too-large',
  'nothing-there',
  'prepare-rate',
])
/** Refusals for what a request carries, which no record holds: they would come again under any policy, or not. */
const valueRules: ReadonlySet<string> = new Set([...builtinRules, 'unresolved-markers', visibleObjectsRule])

export class Replay {
  readonly #judge: RecordJudge
  readonly #rateLimits: LimitReplay
  readonly #limits: ReplayLimits
  readonly #sinceIso: string
  readonly #changed = new Map<string, Group>()
  readonly #otherRule = new Map<string, Group>()
  readonly #unjudged = new Map<string, Unjudged>()
  readonly #boundLater = new Map<string, number>()
  #requests = 0
  #unchanged = 0
  #ungrouped = 0
  #masked = 0
  #notRequests = 0
  #unreadable = 0

  constructor(trial: Trial, sinceMs: number, limits: Partial<ReplayLimits> = {}) {
    this.#limits = { ...limitDefaults, ...limits }
    this.#judge = new RecordJudge(trial, this.#limits)
    this.#rateLimits = new LimitReplay(trial.policy, trial.schema)
    this.#sinceIso = new Date(sinceMs).toISOString()
  }

  /** Lines of before the beginning are passed over without a count: a file may begin earlier. */
  line(text: string): void {
    // The time stands first and has one width, so that most old lines need not be read.
    if (text.startsWith('{"time":"') && text.slice(9, 9 + this.#sinceIso.length) < this.#sinceIso) return
    const record = readLine(text)
    if (record === undefined) this.#unreadable++
    else if (record === 'no request') this.#notRequests++
    else this.#request(record)
  }

  report(): Report {
    const byCount = <T extends { count: number }>(groups: Iterable<T>): T[] =>
      [...groups].sort((a, b) => b.count - a.count)
    const boundLater = byCount([...this.#boundLater].map(([rule, count]) => ({ rule, count })))
    return {
      requests: this.#requests,
      unchanged: this.#unchanged,
      changed: byCount(this.#changed.values()),
      otherRule: byCount(this.#otherRule.values()),
      unjudged: byCount(this.#unjudged.values()),
      ungrouped: this.#ungrouped,
      masked: this.#masked,
      boundLater,
      overLimits: this.#rateLimits.report(),
      limitsLeftOut: this.#rateLimits.leftOut,
      notRequests: this.#notRequests,
      unreadable: this.#unreadable,
    }
  }

  #request(record: AuditLine): void {
    this.#requests++
    const { workload, statement } = record
    if (meshRules.has(record.rule)) {
      this.#couldNot(record, `refused by the mesh itself (${record.rule})`)
      return
    }
    if (statement === undefined) {
      this.#couldNot(record, 'the record has no statement')
      return
    }
    const judgement = this.#judge.judge(record, statement)
    if (judgement.why !== undefined) {
      this.#couldNot(record, judgement.why)
      return
    }
    if (judgement.verdict !== 'deny') {
      const known = this.#judge.whoAndWhat(record, statement)
      if (known !== undefined) this.#rateLimits.take(record, known.principal, known.facts)
    }
    if (record.isOverLimit) {
      this.#couldNot(
        record,
        `it was over the rate limit ${record.rule}, and the record does not say by which rule it was allowed`,
      )
      return
    }
    const { verdict: then, rule: ruleThen } = record
    // A refusal for bound values cannot be told from one that would not come again.
    const forValues = valueRules.has(ruleThen) || judgement.pending.some(({ rule }) => rule === ruleThen)
    if (then === 'deny' && forValues) {
      this.#couldNot(record, `the values that ${ruleThen} refused are not in the record`)
      return
    }
    const { verdict, rule, pending, masks, reason } = judgement
    if (masks.length > 0) this.#masked++
    for (const pendingRule of new Set(pending.map((check) => check.rule))) {
      if (builtinRules.has(pendingRule)) continue
      this.#boundLater.set(pendingRule, (this.#boundLater.get(pendingRule) ?? 0) + 1)
    }
    const verdictNow = verdict === 'masked' ? 'allow' : verdict
    if (verdictNow === then && rule === ruleThen) {
      this.#unchanged++
      return
    }
    const groups = verdictNow === then ? this.#otherRule : this.#changed
    if (verdictNow === then) this.#unchanged++
    const { keyspace } = record
    const key = JSON.stringify([workload, keyspace, statement, then, ruleThen, verdict, rule])
    const group = groups.get(key)
    if (group !== undefined) group.count++
    else if (groups.size < this.#limits.groupsMax) {
      const verdicts = { verdictThen: then, ruleThen, verdictNow: verdict, ruleNow: rule }
      groups.set(key, { workload, keyspace, statement, ...verdicts, reason, count: 1 })
    } else if (verdictNow !== then) this.#ungrouped++
  }

  #couldNot({ workload, statement }: AuditLine, why: string): void {
    let unjudged = this.#unjudged.get(why)
    if (unjudged === undefined) {
      unjudged = { why, count: 0, statements: [] }
      this.#unjudged.set(why, unjudged)
    }
    unjudged.count++
    const same = unjudged.statements.find((one) => one.workload === workload && one.statement === statement)
    if (same !== undefined) same.count++
    else if (unjudged.statements.length < this.#limits.unjudgedStatementsMax) {
      unjudged.statements.push({ workload, statement, count: 1 })
    }
  }
}
