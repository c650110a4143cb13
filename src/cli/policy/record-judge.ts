/**
 * What a draft says of a request that was recorded.
 *
 * Rule: what the record does not hold (literals, bound values) is never guessed. Such a request is judged with and without it, and when the
 * two differ it could not be judged.
 */
import { type Cache, createCache } from '../../base/cache.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { parseSpiffeId, personOf } from '../../identity/spiffe.ts'
import type { Principal } from '../../policy/principal.ts'
import type { RequestContext } from '../../policy/request.ts'
import { type AuditLine, requestOf } from './audit-line.ts'
import { isCutOff, readRecorded } from './recorded.ts'
import type { Answer } from './trial.ts'
import { answerOf, type Trial } from './trial.ts'
import { asksOfProviders } from './who.ts'

/** The draft's word on one kind of request. */
export interface Judgement extends Answer {
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

export interface RecordJudgeLimits {
  /** Statements whose readings and verdicts are remembered. */
  readonly statementsMax: number
  readonly judgementsPerStatementMax: number
}

export class RecordJudge {
  readonly #trial: Trial
  readonly #limits: RecordJudgeLimits
  readonly #statements: Cache<Statement>
  readonly #principals: Cache<{ readonly principal: Principal | undefined }>
  readonly #asksOfProviders: boolean

  constructor(trial: Trial, limits: RecordJudgeLimits) {
    this.#trial = trial
    this.#limits = limits
    this.#statements = createCache(limits.statementsMax)
    this.#principals = createCache(limits.statementsMax)
    this.#asksOfProviders = trial.policy !== undefined && asksOfProviders(trial.policy)
  }

  judge(record: AuditLine, statement: string): Judgement {
    const as = this.#principal(record)
    if (as === undefined) return unjudged('the workload or person is cut off in the record')
    return this.#judge(as, record, statement)
  }

  /** Who asked and what, as far as the record says it; undefined where it does not. */
  whoAndWhat(record: AuditLine, statement: string): { principal: Principal; facts: StatementFacts } | undefined {
    const principal = this.#principal(record)
    const [facts] = this.#statement(statement, record.keyspace).readings
    return principal === undefined || facts === undefined ? undefined : { principal, facts }
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

/** What a connection shows by itself, which has no groups, role or claims. */
const plainMethods: ReadonlySet<string> = new Set(proofs.taken(undefined).map(({ method }) => method))

/** The person is another than the certificate's. */
function isBehind({ spiffeId, person }: Principal): boolean {
  return person !== undefined && person !== personOf(spiffeId)
}

function saysAll(authentication: string | undefined): boolean {
  return authentication === undefined || plainMethods.has(authentication)
}
