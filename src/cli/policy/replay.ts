/**
 * What a draft of a policy would have done to the requests that sidecars audited.
 *
 *   audit files ─▶ lines ─▶ records ─▶ readings (recorded.ts) ─▶ the draft's verdict ─▶ groups of workload × statement that change
 *
 * The rule one must not break: nothing is left out in silence. Every line read is counted once: unchanged, changed, could not be judged
 * with the reason, or not a request. What the record does not hold (literals, bound values) is never guessed: such a request is judged
 * with and without it, and when the two differ it could not be judged.
 */
import { type Cache, createCache } from '../../base/cache.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { parseSpiffeId, personOf } from '../../identity/spiffe.ts'
import { visibleObjectsRule } from '../../policy/denial.ts'
import type { Principal } from '../../policy/principal.ts'
import type { RequestContext } from '../../policy/request.ts'
import { isCutOff, readRecorded } from './recorded.ts'
import type { Answer, Verdict } from './trial.ts'
import { answerOf, builtinRules, type Trial } from './trial.ts'
import { asksOfProviders } from './who.ts'

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
  /** Lines that are no requests: beginnings and ends of sessions, notes of the writer. */
  readonly notRequests: number
  /** Lines that are no records. */
  readonly unreadable: number
}

/** A client that makes up names must not fill the memory. */
export interface ReplayLimits {
  /** Groups that are kept apart. */
  readonly groupsMax: number
  /** Statements that are named for each reason. */
  readonly unjudgedStatementsMax: number
  /** Statements whose readings and verdicts are remembered. */
  readonly statementsMax: number
  readonly judgementsPerStatementMax: number
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

/** A line of the audit, as far as it is used here. */
interface AuditLine {
  readonly time: string
  readonly workload: string
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly request: string | undefined
  readonly keyspace: string | undefined
  readonly statement: string | undefined
  readonly consistency: string | undefined
  readonly protocol: number
  readonly address: string
  /** Undefined in records of before it was written. */
  readonly authentication: string | undefined
  readonly person: string | undefined
}

/** The draft's word on one kind of request. */
interface Judgement extends Answer {
  /** Set where the record leaves out what decides; the rest means nothing then. */
  readonly why: string | undefined
}

interface Statement {
  readonly readings: readonly StatementFacts[]
  readonly why: string | undefined
  /** LIMIT or TTL: bound, or literals that the record does not hold. */
  readonly amounts: boolean
  readonly judgements: Map<string, Judgement>
}

export class Replay {
  readonly #trial: Trial
  readonly #limits: ReplayLimits
  readonly #sinceIso: string
  readonly #statements: Cache<Statement>
  readonly #principals: Cache<{ readonly principal: Principal | undefined }>
  readonly #asksOfProviders: boolean
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
    this.#trial = trial
    this.#limits = { ...limitDefaults, ...limits }
    this.#statements = createCache(this.#limits.statementsMax)
    this.#principals = createCache(this.#limits.statementsMax)
    this.#asksOfProviders = trial.policy !== undefined && asksOfProviders(trial.policy)
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
    const as = this.#principal(record)
    const judgement =
      as === undefined
        ? unjudged('the workload or person is cut off in the record')
        : this.#judge(as, record, statement)
    if (judgement.why !== undefined) {
      this.#couldNot(record, judgement.why)
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

  #judge(principal: Principal, record: AuditLine, text: string): Judgement {
    const statement = this.#statement(text, record.keyspace)
    if (statement.why !== undefined) return unjudged(statement.why)
    // A certificate says no more than the record does.
    if (this.#asksOfProviders && (isBehind(principal) || !saysAll(record.authentication))) {
      return unjudged('it depends on the groups, the role or the claims of the caller, which the record does not hold')
    }
    const request = requestOf(record)
    const { engine } = this.#trial
    // The kind of request decides how much of it is known.
    const context = engine.isContextual(principal) ? engine.contextKey(principal, request) : ''
    const how = record.authentication ?? '?'
    const key = `${request.preparing ? 'p' : record.consistency === undefined ? 'u' : 'k'}${how}${JSON.stringify([principal.spiffeId, principal.person])}${context}`
    let judgement = statement.judgements.get(key)
    if (judgement === undefined) {
      judgement = this.#fresh(principal, request, record, statement)
      // No LRU: there is one of these for each statement, and it would weigh more than what it holds.
      if (statement.judgements.size >= this.#limits.judgementsPerStatementMax) statement.judgements.clear()
      statement.judgements.set(key, judgement)
    }
    return judgement
  }

  /** Every reading, with what is not known taken for the best and for the worst; one answer where all agree. */
  #fresh(as: Principal, request: RequestContext, record: AuditLine, statement: Statement): Judgement {
    const unknown: string[] = []
    const needs = this.#trial.engine.needs(as)
    if (!request.preparing) {
      if (needs.consistency && record.consistency === undefined) unknown.push('consistency level')
      if ((needs.rows || needs.ttlSeconds) && statement.amounts) unknown.push('LIMIT or TTL')
    }
    let requests = unknown.length > 0 ? [request, { ...request, preparing: true }] : [request]
    if (needs.authentication && record.authentication === undefined) {
      unknown.push('authentication')
      requests = requests.flatMap((one) => proofs.methods.map((authentication) => ({ ...one, authentication })))
    }
    let agreed: Answer | undefined
    for (const facts of statement.readings) {
      for (const one of requests) {
        const answer = this.#answer(as, facts, one)
        if (agreed !== undefined && agreed.verdict !== answer.verdict) {
          const what = [...unknown, ...differences(statement.readings)]
          return unjudged(`it depends on the ${what.join(' and the ')}, which the record does not hold`)
        }
        agreed ??= answer
      }
    }
    return agreed === undefined ? unjudged('the statement cannot be judged by itself') : { ...agreed, why: undefined }
  }

  /**
   * A BATCH that is refused as a whole but in none of its statements is refused for its number of partitions, which the record does not
   * tell: equal statements stand there once, and keys not at all.
   */
  #answer(as: Principal, facts: StatementFacts, request: RequestContext): Answer {
    const whole = answerOf(this.#trial.decide(as, facts, request), undefined)
    if (facts.children.length === 0) {
      return { ...whole, pending: whole.pending.filter(({ test }) => test.kind !== 'partitions') }
    }
    if (whole.verdict !== 'deny') return whole
    const parts = facts.children.map((child) => answerOf(this.#trial.decide(as, child, request), undefined))
    return parts.some(({ verdict }) => verdict === 'deny') ? whole : together(parts)
  }

  #statement(text: string, keyspace: string | undefined): Statement {
    const key = keyspace === undefined ? `-${text}` : `${keyspace.length}:${keyspace}${text}`
    let known = this.#statements.get(key)
    if (known === undefined) {
      const recorded = readRecorded(text, keyspace)
      known =
        'why' in recorded
          ? { readings: [], why: recorded.why, amounts: false, judgements: new Map() }
          : { ...recorded, why: undefined, amounts: recorded.readings.some(hasAmounts), judgements: new Map() }
      this.#statements.set(key, known)
    }
    return known
  }

  #principal({ workload, person }: AuditLine): Principal | undefined {
    const key = JSON.stringify([workload, person])
    const known = this.#principals.get(key)
    if (known !== undefined) return known.principal
    let principal: Principal | undefined
    try {
      const isCut = isCutOff(workload) || (person !== undefined && isCutOff(person))
      principal = isCut ? undefined : { spiffeId: parseSpiffeId(workload), person }
    } catch {
      principal = undefined
    }
    this.#principals.set(key, { principal })
    return principal
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

function together(parts: readonly Answer[]): Answer {
  const observed = parts.filter(({ verdict }) => verdict === 'observe')
  const deciding = observed.length > 0 ? observed : parts
  return {
    verdict: observed.length > 0 ? 'observe' : 'allow',
    rule: [...new Set(deciding.flatMap(({ rule }) => rule.split(',')))].join(','),
    rules: [...new Set(parts.flatMap(({ rules }) => rules))],
    reason: undefined,
    masks: parts.flatMap(({ masks }) => masks),
    pending: parts.flatMap(({ pending }) => pending),
  }
}

function unjudged(why: string): Judgement {
  return { verdict: 'deny', rule: '', rules: [], reason: undefined, masks: [], pending: [], why }
}

/** What the readings of one text tell apart. */
function differences(readings: readonly StatementFacts[]): string[] {
  const differ = (of: (facts: StatementFacts) => unknown): boolean => new Set(readings.map(of)).size > 1
  return [
    ...(differ((facts) => facts.defaultTtlSeconds) ? ['default TTL'] : []),
    ...(differ((facts) => facts.classes.join()) ? ['class'] : []),
  ]
}

function hasAmounts(facts: StatementFacts): boolean {
  return facts.limit !== undefined || facts.ttl !== undefined || facts.children.some(hasAmounts)
}

function requestOf(record: AuditLine): RequestContext {
  return {
    clientAddress: record.address,
    authentication: record.authentication ?? proofs.usual,
    protocol: record.protocol,
    preparing: record.request === 'PREPARE',
    consistency: record.consistency ?? '',
    rows: undefined,
    ttlSeconds: undefined,
    nowMs: Date.parse(record.time),
  }
}

function readLine(text: string): AuditLine | 'no request' | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const line = value as { readonly [key: string]: unknown }
  const { time, workload, operation, verdict, rule } = line
  if (typeof time !== 'string' || Number.isNaN(Date.parse(time))) return undefined
  if (typeof line.event === 'string') return 'no request'
  if (typeof workload !== 'string' || typeof operation !== 'string' || typeof rule !== 'string') return undefined
  if (verdict !== 'allow' && verdict !== 'deny' && verdict !== 'observe') return undefined
  if (operation === 'CONNECT' || operation === 'DISCONNECT' || operation === 'REGISTER') return 'no request'
  const client = line.client as { readonly address?: unknown } | null | undefined
  return {
    time,
    workload,
    operation,
    verdict,
    rule,
    request: textOf(line.request),
    keyspace: textOf(line.keyspace),
    statement: textOf(line.statement),
    consistency: textOf(line.consistency),
    protocol: typeof line.protocol === 'number' ? line.protocol : 5,
    address: textOf(client?.address) ?? '',
    authentication: methodsOf(line.authentication),
    person: textOf(line.person),
  }
}

/** What a connection shows by itself, which has no groups, role or claims. */
const plainMethods: ReadonlySet<string> = new Set(proofs.taken(undefined).map(({ method }) => method))

/** The person is another than the certificate's. */
function isBehind({ spiffeId, person }: Principal): boolean {
  return person !== undefined && person !== personOf(spiffeId)
}

function saysAll(authentication: string | undefined): boolean {
  return authentication === undefined || plainMethods.has(authentication)
}

/** Undefined where it is absent or names what is not known here. */
function methodsOf(value: unknown): string | undefined {
  const text = textOf(value)
  return text?.split('+').every((method) => proofs.methods.includes(method)) === true ? text : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
