/**
 * The engine: decisions on statements, by the policy in force.
 *
 *   facts ─ refine ─▶ accesses ─ all permitted? (`in-force.ts`) ─ data rules ─▶ Permit with obligations
 *
 * Rule: nothing but this file makes a permit.
 */
import { limits as dataPathLimits } from '../base/limits.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { type Asking, ofParty } from './asking.ts'
import type { RequestNeeds } from './conditions.ts'
import { evaluateInSteps } from './data/evaluate.ts'
import { Deliberations, isLarge, type Subject } from './deliberation.ts'
import { type Denial, defaultDenyRule, denialBy } from './denial.ts'
import type { ExplainedAccess } from './explain.ts'
import { explainAccesses } from './explain.ts'
import { type InForceLimits, PolicyInForce } from './in-force.ts'
import { Judgement, joinRules } from './judgement.ts'
import type { Obligations } from './obligations.ts'
import { inOneGo, mustWait, type Pace, type Steps, unpaced } from './pace.ts'
import type { CompiledPolicy } from './policy.ts'
import type { Principal } from './principal.ts'
import { refine, refineInSteps } from './refine.ts'
import type { RequestContext, SchemaView } from './request.ts'
import { emptySchema, neutralRequest } from './request.ts'
import { noObligations, onlyVisible, withColumns } from './shown.ts'
import { matchesName, namesParty } from './subjects.ts'
import { Unmasking } from './unmasking.ts'
import type { Visibility } from './visibility.ts'

export type { RequestNeeds } from './conditions.ts'
export type { Denial } from './denial.ts'
export type { Visibility } from './visibility.ts'

/**
 * The class is not exported and has a private field, so a permit is made by `PolicyEngine.decide` or from permits by what stands here; an
 * object with the same fields, such as a spread of one, is none.
 */
class Granted {
  readonly kind = 'permit'
  /** Names of the rules that gave it, in the order of the policy, joined by `,`; at most 512 characters. */
  readonly rule: string
  readonly revision: number
  /** What must be done with the request and its answer; undefined leaves what binds every statement (`data/check.ts`). */
  readonly obligations: Obligations | undefined
  /** Names of the rules in observe mode without which this would have been a denial, joined by `,`; at most 512 characters. */
  readonly observed: string | undefined
  readonly #epoch: number
  /** Until then no rule that looks at the clock says otherwise. */
  readonly #untilMs: number

  constructor(epoch: number, untilMs: number, fields: Pick<Granted, 'rule' | 'revision' | 'obligations' | 'observed'>) {
    this.rule = fields.rule
    this.revision = fields.revision
    this.obligations = fields.obligations
    this.observed = fields.observed
    this.#epoch = epoch
    this.#untilMs = untilMs
  }

  /** Whether this is a permit, of a decision taken in that epoch (see `PolicyEngine.decide`), which the clock has not ended since. */
  static isOf(permit: Granted, epoch: number, nowMs: () => number): boolean {
    if (!(#epoch in permit) || permit.#epoch !== epoch) return false
    return permit.#untilMs === Number.POSITIVE_INFINITY || nowMs() < permit.#untilMs
  }

  /** The same leave, with rules in observe mode that the request's values did not meet. */
  observing(rules: string): Granted {
    const observed = this.observed === undefined ? rules : `${this.observed},${rules}`
    return new Granted(this.#epoch, this.#untilMs, { ...this, observed })
  }

  /** The same leave, for a session that is shown a topology of its own, where the answer may have addresses of nodes. */
  hidingAddresses(): Granted {
    return this.#with({ addressesHidden: true })
  }

  /** The same leave, for a session that is told of one host, where the answer has the others. */
  hidingRows(): Granted {
    return this.#with({ rowsHidden: true })
  }

  #with(more: Partial<Obligations>): Granted {
    const obligations = { ...(this.obligations ?? noObligations), ...more }
    return new Granted(this.#epoch, this.#untilMs, { ...this, obligations })
  }

  /** Leave for a BATCH of which each statement has one: the first one's rule, and what any of them observed or wants hidden. */
  static ofAll(all: readonly Granted[]): Granted | undefined {
    // Equal statements have one: of 65,535 a few are left.
    const permits = [...new Set(all)]
    const [first] = permits
    if (first === undefined) return undefined
    const observed = permits.find((permit) => permit.observed !== undefined)?.observed
    const masks = permits.flatMap(({ obligations }) => obligations?.masks ?? [])
    let epoch = first.#epoch
    let untilMs = first.#untilMs
    for (const permit of permits) {
      if (!(#epoch in permit) || permit.#epoch !== first.#epoch) epoch = noEpoch
      else untilMs = Math.min(untilMs, permit.#untilMs)
    }
    const columns = permits.find(({ obligations }) => obligations?.columns !== undefined)?.obligations?.columns
    const isPlain = masks.length === 0 && columns === undefined
    const isFirst = observed === first.observed && epoch === first.#epoch && untilMs === first.#untilMs
    if (isFirst && isPlain) return first
    const shown = columns === undefined ? {} : { columns }
    return new Granted(epoch, untilMs, {
      ...first,
      observed,
      obligations: { checks: [], masks, visibleOnly: false, ...shown },
    })
  }
}

// Whoever has a permit has no way from it to what makes one.
Object.defineProperty(Granted.prototype, 'constructor', { value: undefined })

/** In which nothing is in force. */
const noEpoch = -1

/** Leave to forward one statement. */
export type Permit = Granted
export const isPermitOf = Granted.isOf
export const permitOfAll = Granted.ofAll

export type Decision = Permit | Denial

/** A decision, and for each access the rules that were considered. */
export interface Explanation {
  readonly decision: Decision
  /** In the order of the statement; those of a BATCH's statements follow its own. */
  readonly accesses: readonly ExplainedAccess[]
}

/**
 * Decides. Before the first `install` everything is denied. Verdicts on single accesses are remembered here, decisions on statements by
 * the caller: by principal, statement, `contextKey`, `revision` and schema.
 */
export class PolicyEngine {
  readonly #limits: InForceLimits
  #inForce: PolicyInForce | undefined
  readonly #deliberations = new Deliberations<Decision>()
  #revision = 0
  #installs = 0

  constructor(limits: Partial<InForceLimits> = {}) {
    this.#limits = {
      principalViewsMax: limits.principalViewsMax ?? 10_000,
      answersMax: limits.answersMax ?? dataPathLimits.decisionsMax,
      accessesPerStatementMax: limits.accessesPerStatementMax ?? dataPathLimits.accessesPerStatementMax,
    }
  }

  /** Revision of the policy in force; 0 before the first. */
  get revision(): number {
    return this.#revision
  }

  /** Grows with every policy that was put in force, also one of an equal revision: what was decided before is not good any more. */
  get installs(): number {
    return this.#installs
  }

  /** Puts a policy in force at once. That revisions never fall is the feed's business, which alone knows where they come from. */
  install(policy: CompiledPolicy, revision: number): void {
    this.#inForce = new PolicyInForce(policy, revision, this.#limits)
    this.#revision = revision
    this.#installs++
  }

  /**
   * @param facts resolved (`resolveKeyspace`): a name without keyspace is denied
   * @param schema undefined where none is at hand (see `refine`)
   * @param epoch the caller's number for the policy and the schema that are in force now; a permit is good in it only (`isPermitOf`)
   * Never throws.
   */
  decide(
    principal: Principal,
    facts: StatementFacts,
    request: RequestContext,
    schema: SchemaView | undefined,
    epoch = 0,
  ): Decision {
    return this.#decide(principal, facts, request, schema, epoch, unpaced)
  }

  /**
   * As `decide`, at a pace: undefined where it has to wait, and be asked for again with the same request. It comes to its end: what was found
   * is remembered, and of a large statement how far it was.
   */
  decideWithin(
    pace: Pace,
    principal: Principal,
    facts: StatementFacts,
    request: RequestContext,
    schema: SchemaView | undefined,
    epoch: number,
  ): Decision | undefined {
    try {
      return this.#decide(principal, facts, request, schema, epoch, pace)
    } catch (reason) {
      if (reason === mustWait) return undefined
      throw reason
    }
  }

  /** @throws `mustWait` where it has to wait */
  #decide(
    principal: Principal,
    facts: StatementFacts,
    request: RequestContext,
    schema: SchemaView | undefined,
    epoch: number,
    pace: Pace,
  ): Decision {
    const inForce = this.#inForce
    if (inForce === undefined) return this.denial(defaultDenyRule, `${principal.spiffeId}: no policy is in force`)
    const view = inForce.verdicts.viewOf(principal, pace)
    if (pace === unpaced || !isLarge(facts))
      return inOneGo(this.#steps(inForce, { view, facts, request, schema, epoch }, pace))
    const subject = { view, facts, request, circumstances: view.contextUse.key(request), schema, epoch }
    const decision = this.#deliberations.goOn(pace, subject, (asking) => this.#steps(inForce, subject, asking))
    if (decision === undefined) throw mustWait
    return decision
  }

  *#steps(
    inForce: PolicyInForce,
    { view, facts, request, schema, epoch }: Omit<Subject, 'circumstances'>,
    pace: Pace,
  ): Steps<Decision> {
    const { verdicts } = inForce
    const { principal } = view
    const refined = yield* refineInSteps(facts, schema)
    const judgement = new Judgement()
    const questions = inForce.questions()
    const asking: Asking = { view, request, schema, conditional: refined.conditional, questions, pace }
    const denied = yield* inForce.judge(asking, refined, judgement)
    if (denied !== undefined) return denied
    // Whoever may read many columns may also be asked about many masks.
    const asked: Asking = { ...asking, questions: inForce.questions() }
    const data = yield* evaluateInSteps(inForce.policy.data, {
      facts: refined,
      schema: schema ?? emptySchema,
      askers: view.parties.map(({ party }, at) => {
        const unmasking = new Unmasking(verdicts, ofParty(asked, at), (verdict) => judgement.observe(verdict))
        return { party, may: (access) => unmasking.may(access) }
      }),
    })
    if (data.denial !== undefined) return this.denial(data.denial.rule, `${principal.spiffeId}: ${data.denial.text}`)
    for (const name of data.observed) judgement.observed.add(name)
    return new Granted(epoch, view.contextUse.untilMs(request.nowMs), {
      rule: joinRules(judgement.allowedBy),
      revision: inForce.revision,
      obligations: judgement.visibleOnly
        ? onlyVisible(data.obligations)
        : withColumns(data.obligations, verdicts, refined, schema),
      observed: judgement.observed.size === 0 ? undefined : joinRules(judgement.observed),
    })
  }

  /** False where the rules for the principal are not gathered yet and that has to wait. What is asked before takes as long as it takes. */
  readyWithin(pace: Pace, principal: Principal): boolean {
    try {
      this.#inForce?.verdicts.viewOf(principal, pace)
      return true
    } catch (reason) {
      if (reason === mustWait) return false
      throw reason
    }
  }

  /** As `visibility`, at a pace: undefined where it has to wait. */
  visibilityWithin(pace: Pace, principal: Principal): Visibility | undefined {
    try {
      return this.#visibility(principal, pace)
    } catch (reason) {
      if (reason === mustWait) return undefined
      throw reason
    }
  }

  /**
   * What a decision for this principal depends on beside the statement: '' where no rule looks at the request. Two requests with the same
   * key come to the same decision.
   */
  contextKey(principal: Principal, request: RequestContext): string {
    return this.#inForce?.verdicts.viewOf(principal).contextUse.key(request) ?? ''
  }

  /** Whether `contextKey` is ever anything but ''. */
  isContextual(principal: Principal): boolean {
    return this.#inForce?.verdicts.viewOf(principal).contextUse.nothing === false
  }

  /** What the principal's rules look at of each request; what is not wanted need not be found out. */
  needs(principal: Principal): RequestNeeds {
    return this.#inForce?.verdicts.viewOf(principal).contextUse.needs ?? nothingNeeded
  }

  /** Good until the next `install`. Before the first, nothing is visible. */
  visibility(principal: Principal): Visibility {
    return this.#visibility(principal, unpaced)
  }

  #visibility(principal: Principal, pace: Pace): Visibility {
    return this.#inForce?.visibility(principal, pace) ?? nothingVisible
  }

  /** The decision with every rule that was considered, its Cedar text, and why it did or did not match. For people; slow. */
  explain(
    principal: Principal,
    facts: StatementFacts,
    request: RequestContext = neutralRequest,
    schema: SchemaView | undefined = undefined,
  ): Explanation {
    const decision = this.decide(principal, facts, request, schema)
    const policy = this.#inForce?.policy
    return {
      decision,
      accesses: policy === undefined ? [] : explainAccesses(policy, principal, refine(facts, schema), request),
    }
  }

  /** The rule by which the workload may say that this person is behind a request of it; undefined where there is none. */
  impersonationRule(workload: Principal, person: string): string | undefined {
    const impersonations = this.#inForce?.policy.impersonations ?? []
    return impersonations.find(
      ({ subjects, persons }) =>
        namesParty(subjects, { who: workload, pair: undefined }) && persons.some((one) => matchesName(one, person)),
    )?.name
  }

  /** A refusal under the revision in force; `text` is for the client, in one line. */
  denial(rule: string, text: string): Denial {
    return denialBy(rule, text, this.#revision)
  }
}

const nothingNeeded: RequestNeeds = { authentication: false, consistency: false, rows: false, ttlSeconds: false }

const nothingVisible: Visibility = {
  all: false,
  keyspace: () => false,
  table: () => false,
  function: () => false,
}
