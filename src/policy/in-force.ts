/**
 * One policy while it is in force: whether each access of a statement is permitted, and what may be seen of the schema.
 *
 *   facts ─▶ each access, and those of a BATCH's statements ─▶ verdict ─▶ the first refusal, or the rules that allow all
 *
 * Rule: what is remembered here goes with the policy.
 */
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { type Asking, Questions } from './asking.ts'
import { driverMetadataRule, isUndeniable } from './builtin.ts'
import { printable } from './data/words.ts'
import {
  type Denial,
  defaultDenyRule,
  denialBy,
  nothingTouchedRule,
  policyErrorRule,
  tooManyObjectsRule,
  visibleObjectsRule,
} from './denial.ts'
import { mayDescribe, tellsNames } from './describe.ts'
import type { Judgement } from './judgement.ts'
import { type Pace, type Steps, whenAnswered } from './pace.ts'
import type { CompiledPolicy } from './policy.ts'
import { type Principal, partyName } from './principal.ts'
import { refusedColumns } from './refused-columns.ts'
import { neutralRequest } from './request.ts'
import { resourceWords } from './resource-words.ts'
import type { Verdict } from './verdict.ts'
import { Verdicts, type VerdictsLimits } from './verdicts.ts'
import { type Visibility, visibilityOf } from './visibility.ts'

/** Statements of a BATCH between two looks at the clock. */
const childrenAStep = 16

export interface InForceLimits extends VerdictsLimits {
  /** Different verdicts that one statement may need. */
  readonly accessesPerStatementMax: number
}

export class PolicyInForce {
  readonly policy: CompiledPolicy
  readonly revision: number
  readonly verdicts: Verdicts
  readonly #visibilities = new WeakMap<object, Visibility>()
  readonly #accessesMax: number

  constructor(policy: CompiledPolicy, revision: number, limits: InForceLimits) {
    this.policy = policy
    this.revision = revision
    this.verdicts = new Verdicts(policy, limits)
    this.#accessesMax = limits.accessesPerStatementMax
  }

  /** For one statement. */
  questions(): Questions {
    return new Questions(this.#accessesMax)
  }

  /** @throws `mustWait` where it has to wait */
  visibility(principal: Principal, pace: Pace): Visibility {
    const view = this.verdicts.viewOf(principal, pace)
    let visibility = this.#visibilities.get(view)
    if (visibility === undefined) {
      visibility = visibilityOf(view, this.verdicts, neutralRequest, pace)
      this.#visibilities.set(view, visibility)
    }
    return visibility
  }

  /** Stops at the first access that is refused. */
  *judge(asking: Asking, facts: StatementFacts, judgement: Judgement): Steps<Denial | undefined> {
    for (const access of facts.accesses) {
      const denied = yield* whenAnswered(() => this.#judgeAccess(asking, facts, access, judgement))
      if (denied !== undefined) return denied
    }
    // Statements that need the same share one list; a BATCH text may have thousands that differ in their TTL.
    const judged = new Set<readonly Access[]>()
    for (const child of new Set(facts.children)) {
      if (child.accesses.length > 0 && judged.has(child.accesses)) continue
      judged.add(child.accesses)
      if (judged.size % childrenAStep === 0) yield false
      const denied = yield* this.judge({ ...asking, conditional: child.conditional }, child, judgement)
      if (denied !== undefined) return denied
    }
    if (facts.accesses.length > 0 || facts.children.length > 0) return undefined
    // Only an empty BATCH may ask for nothing; any other statement without accesses is one that was not understood.
    if (facts.verb !== 'BATCH') {
      return this.#denial(defaultDenyRule, `${asking.view.principal.spiffeId} may not run ${printable(facts.verb)}`)
    }
    judgement.allowedBy.add(nothingTouchedRule)
    return undefined
  }

  /** @throws `mustWait` where it has to wait */
  #judgeAccess(asking: Asking, facts: StatementFacts, access: Access, judgement: Judgement): Denial | undefined {
    const { verdicts } = this
    const { principal } = asking.view
    if (isUndeniable(access)) {
      judgement.allowedBy.add(driverMetadataRule)
      return undefined
    }
    const verdict = verdicts.judge(asking, access)
    if (asking.questions.exceeded) {
      const text = `${principal.spiffeId}: the statement needs more than ${this.#accessesMax} different permissions; divide it`
      return this.#denial(tooManyObjectsRule, text)
    }
    if (verdict.outcome === 'allowed') {
      judgement.take(verdict)
      if (tellsNames(facts, access) && !this.visibility(principal, asking.pace).all) judgement.visibleOnly = true
      return undefined
    }
    if (mayDescribe(facts, access, verdict, this.visibility(principal, asking.pace))) {
      judgement.allowedBy.add(visibleObjectsRule)
      judgement.visibleOnly = true
      return undefined
    }
    const seen = access.resource.kind === 'table' && this.#isSeen(asking, access.resource)
    const columns = seen ? refusedColumns(verdicts, asking, access) : ''
    return this.#denialOf(verdict.refused ?? principal, principal, facts, access, ruleOf(verdict), columns)
  }

  #isSeen(
    { view, pace }: Asking,
    { keyspace, table }: { keyspace?: string | undefined; table?: string | undefined },
  ): boolean {
    return keyspace !== undefined && table !== undefined && this.visibility(view.principal, pace).table(keyspace, table)
  }

  #denialOf(
    who: Principal,
    principal: Principal,
    { verb, keyspace }: StatementFacts,
    access: Access,
    rule: string,
    columns: string,
  ): Denial {
    // The table of an index is known only where there is one: its name would tell that there is (attack C19).
    const words = verb === 'DROP INDEX' ? `<keyspace ${printable(keyspace ?? '?')}>` : resourceWords(access)
    return this.#denial(
      rule,
      `${partyName(who, principal)} has no ${access.permission} permission on ${words}${columns}`,
    )
  }

  #denial(rule: string, text: string): Denial {
    return denialBy(rule, text, this.revision)
  }
}

function ruleOf({ outcome, rules }: Verdict): string {
  if (outcome === 'unknown') return policyErrorRule
  return rules[0]?.name ?? defaultDenyRule
}
