/**
 * One question put to a policy that is not in force: may this identity run this statement now? The same analyser, engine and checks
 * answer as in a sidecar, without a node: the schema comes from a file, the request's circumstances from whoever asks.
 *
 * The rule one must not break: what is not known is never guessed in favour of an answer. A statement with markers and no values is judged
 * as its PREPARE would be, and says so.
 */
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { Amount, StatementFacts } from '../../cql/statement/facts.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { checkRequest } from '../../policy/data/check.ts'
import { nowInSecondsRule, timestampBoundRule } from '../../policy/data/rules.ts'
import type { Decision, Explanation } from '../../policy/engine.ts'
import { PolicyEngine } from '../../policy/engine.ts'
import type { ColumnMask, RequestCheck } from '../../policy/obligations.ts'
import type { CompiledPolicy } from '../../policy/policy.ts'
import type { Principal } from '../../policy/principal.ts'
import type { RequestContext, RequestValues, SchemaView } from '../../policy/request.ts'

export const verdicts = ['allow', 'deny', 'observe', 'masked'] as const
/** `observe`: it goes through and would be refused, were the policy enforced. `masked`: it goes through and columns are hidden. */
export type Verdict = (typeof verdicts)[number]

/** The mesh's own rule for what is no CQL, as the audit has it. */
export const notUnderstoodRule = 'not-understood'

/** Checks that bind under every policy, so that no draft changes what they do. */
export const builtinRules: ReadonlySet<string> = new Set([timestampBoundRule, nowInSecondsRule])

/** A bound value as people write it: a number, a text, null, or a list of these. */
export type BoundValue = string | number | boolean | null | readonly BoundValue[]

export interface Question {
  readonly as: Principal
  /** The keyspace in force; undefined for none. */
  readonly keyspace: string | undefined
  readonly statement: string
  /** By place or by name; undefined where they are not known. */
  readonly values: readonly BoundValue[] | ReadonlyMap<string, BoundValue> | undefined
  /** Rows of a page, as the driver asks for them. */
  readonly pageSize: number
  readonly clientAddress: string
  /** One of `proofs.methods`, or several with `+` between them. */
  readonly authentication: string
  readonly consistency: string
  readonly nowMs: number
}

/** What a driver sends that was told nothing else. */
export const questionDefaults = {
  pageSize: 5_000,
  clientAddress: '127.0.0.1',
  authentication: proofs.usual,
  consistency: 'LOCAL_ONE',
} as const

/** As a session has them: those of the workload first, those of a person behind it last. */
export function authenticationOf(methods: readonly string[]): string {
  return [...methods].sort((a, b) => proofs.methods.indexOf(a) - proofs.methods.indexOf(b)).join('+')
}

export interface Answer {
  readonly verdict: Verdict
  /** As the audit names it. */
  readonly rule: string
  /** Every rule that had a part in the verdict: those that allowed, observed, masked, or the one that refused. */
  readonly rules: readonly string[]
  /** Why it is refused, in the words of the client's error. */
  readonly reason: string | undefined
  readonly masks: readonly ColumnMask[]
  /** What each request must meet and is not known yet, because values are bound later. */
  readonly pending: readonly RequestCheck[]
}

export interface Understood {
  readonly facts: StatementFacts
  readonly request: RequestContext
  /** Undefined while values are not known. */
  readonly values: RequestValues | undefined
}

export class Trial {
  readonly engine = new PolicyEngine()
  /** Undefined where none was ever in force. */
  readonly policy: CompiledPolicy | undefined
  readonly schema: SchemaView | undefined

  /** `revision` is what verdicts name. */
  constructor(policy: CompiledPolicy | undefined, revision: number, schema: SchemaView | undefined) {
    this.policy = policy
    if (policy !== undefined) this.engine.install(policy, revision)
    this.schema = schema
  }

  ask(question: Question): Answer {
    try {
      const { facts, request, values } = understand(question)
      return answerOf(this.decide(question.as, facts, request), values)
    } catch (reason) {
      const fault = RingfenceError.from(reason, 'INVALID')
      if (fault.code !== 'SYNTAX' && fault.code !== 'INVALID') throw reason
      const rule = notUnderstoodRule
      return { verdict: 'deny', rule, rules: [rule], reason: fault.message, masks: [], pending: [] }
    }
  }

  decide(as: Principal, facts: StatementFacts, request: RequestContext): Decision {
    return this.engine.decide(as, facts, request, this.schema)
  }

  explain(as: Principal, facts: StatementFacts, request: RequestContext): Explanation {
    return this.engine.explain(as, facts, request, this.schema)
  }
}

/** @throws RingfenceError SYNTAX, INVALID as the mesh answers them; CONFIG where the values do not fit the markers */
export function understand(question: Question): Understood {
  const { keyspace, pageSize, nowMs } = question
  const facts = resolveKeyspace(analyse(question.statement), keyspace)
  const { markers } = facts
  const given = question.values ?? (markers.length === 0 ? [] : undefined)
  const values = given === undefined ? undefined : new GivenValues(given, markers, pageSize, nowMs)
  const request: RequestContext = {
    clientAddress: question.clientAddress,
    authentication: question.authentication,
    protocol: 5,
    preparing: values === undefined && [facts, ...facts.children].some(hasBoundAmount),
    consistency: question.consistency,
    rows: numberOf(facts.limit, values),
    ttlSeconds: numberOf(facts.ttl, values),
    nowMs,
  }
  return { facts, request, values }
}

/** What becomes of a request: the decision, and then what it asks of the request's values. */
export function answerOf(decision: Decision, values: RequestValues | undefined): Answer {
  if (decision.kind === 'denial') {
    const { rule, revision } = decision
    // A draft has no revision that could be looked up, and the rule is told beside the reason.
    const reason = revision > 0 ? decision.reason : decision.reason.replace(/ \(rule [^()]*, policy revision 0\)$/, '')
    return { verdict: 'deny', rule, rules: [rule], reason, masks: [], pending: [] }
  }
  const { obligations } = decision
  const masks = obligations?.masks ?? []
  const pending = values === undefined ? (obligations?.checks ?? []) : []
  const allowedBy = decision.rule.split(',')
  const checked = values === undefined ? undefined : checkRequest(obligations?.checks, values)
  if (checked?.denial !== undefined) {
    const { rule, text } = checked.denial
    return { verdict: 'deny', rule, rules: [rule], reason: text, masks: [], pending: [] }
  }
  const observed = [decision.observed, checked?.observed].filter((rule) => rule !== undefined).join(',')
  const rules = [...new Set([...allowedBy, ...observed.split(','), ...masks.map(({ rule }) => rule)])].filter(
    (rule) => rule !== '',
  )
  const verdict = observed !== '' ? 'observe' : masks.length > 0 ? 'masked' : 'allow'
  return { verdict, rule: observed === '' ? decision.rule : observed, rules, reason: undefined, masks, pending }
}

/** What rules may look at and only an EXECUTE says. */
function hasBoundAmount({ limit, ttl }: StatementFacts): boolean {
  return [limit, ttl].some((amount) => amount !== undefined && 'marker' in amount)
}

function numberOf(amount: Amount | undefined, values: RequestValues | undefined): number | undefined {
  if (amount === undefined) return undefined
  if ('literal' in amount) return Number(amount.literal)
  const bound = values?.integer(amount.marker)
  return bound === null || bound === undefined ? undefined : Number(bound)
}

/** The values of a test's case, as a sidecar would find them in the request. */
class GivenValues implements RequestValues {
  readonly #values: readonly (BoundValue | undefined)[]
  readonly pageSize: number
  readonly nowMs: number
  readonly defaultTimestampMicros = undefined
  readonly nowInSeconds = undefined
  readonly partitions = 1

  constructor(
    given: readonly BoundValue[] | ReadonlyMap<string, BoundValue>,
    markers: readonly (string | undefined)[],
    pageSize: number,
    nowMs: number,
  ) {
    this.pageSize = pageSize
    this.nowMs = nowMs
    const byPlace = given instanceof Map ? undefined : (given as readonly BoundValue[])
    if (byPlace !== undefined && byPlace.length !== markers.length) {
      throw new RingfenceError('CONFIG', `the statement has ${markers.length} markers and ${byPlace.length} values`)
    }
    const byName = given as ReadonlyMap<string, BoundValue>
    this.#values = byPlace ?? markers.map((name) => (name === undefined ? undefined : byName.get(name)))
    if (byPlace === undefined && markers.includes(undefined)) {
      throw new RingfenceError('CONFIG', 'a marker is written "?", so the values must be a list')
    }
  }

  integer(marker: number): bigint | null {
    const value = this.#values[marker]
    return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : null
  }

  unset(marker: number): boolean {
    return this.#values[marker] === undefined
  }

  isNull(marker: number): boolean {
    return this.#values[marker] === null
  }

  listSize(marker: number): number | null {
    const value = this.#values[marker]
    return Array.isArray(value) ? value.length : null
  }

  text(marker: number): string | null {
    const value = this.#values[marker]
    return typeof value === 'string' ? value : null
  }
}
