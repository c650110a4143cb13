/**
 * The engine: the policy in force, and verdicts on statements.
 */
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { matchesSpiffePattern } from '../identity/spiffe.ts'
import { driverMetadataRule, grantsDriverMetadata, isUndeniable } from './builtin.ts'
import type { Explanation } from './explain.ts'
import { explainAccesses } from './explain.ts'
import type { CompiledPolicy, CompiledRule, Principal } from './policy.ts'
import { PrincipalView } from './view.ts'

// Not exported, so that an object that looks like a permit is none.
const granted: unique symbol = Symbol('granted')

/** Leave to forward one statement. Made by `PolicyEngine.decide` only. */
export interface Permit {
  readonly kind: 'permit'
  /** Names of the rules that gave it, in the order of the policy, joined by `,`; at most 512 characters. */
  readonly rule: string
  readonly revision: number
  readonly [granted]: true
}

export interface Denial {
  readonly kind: 'denial'
  /** `default-deny`, or the name of the policy that denied. */
  readonly rule: string
  /** For the client: the same words whether or not the object exists. One line of printable text. */
  readonly reason: string
  readonly revision: number
}

export type Decision = Permit | Denial

export const defaultDenyRule = 'default-deny'
/** A statement that touches nothing: an empty BATCH. */
export const nothingTouchedRule = 'nothing-touched'

export interface PolicyEngineLimits {
  /** Principals whose view of the policy is kept; the least recently used go first. */
  readonly principalViewsMax: number
}

/**
 * Decides. Before the first `install` everything is denied. Verdicts are not remembered here: the caller does that by principal,
 * statement and `revision` (`decisionsMax`), and forgets them when `revision` changes.
 */
export class PolicyEngine {
  readonly #principalViewsMax: number
  /** Least recently used first. */
  readonly #views = new Map<string, PrincipalView>()
  #rules: readonly CompiledRule[] | undefined
  #revision = 0

  constructor(limits: Partial<PolicyEngineLimits> = {}) {
    this.#principalViewsMax = limits.principalViewsMax ?? 10_000
  }

  /** Revision of the policy in force; 0 before the first. */
  get revision(): number {
    return this.#revision
  }

  /** Puts a policy in force at once. That revisions never fall is the feed's business, which alone knows where they come from. */
  install(policy: CompiledPolicy, revision: number): void {
    this.#rules = policy.rules
    this.#revision = revision
    this.#views.clear()
  }

  /** `facts` must be resolved (`resolveKeyspace`): a name without keyspace is denied. Never throws. */
  decide(principal: Principal, facts: StatementFacts): Decision {
    if (this.#rules === undefined) return this.#denial(defaultDenyRule, `${principal.spiffeId}: no policy is in force`)
    const allowedBy = new Set<string>()
    const denied = this.#judgeAll(principal, this.#viewOf(principal, this.#rules), facts, allowedBy)
    if (denied !== undefined) return denied
    return { kind: 'permit', rule: joinRules(allowedBy), revision: this.#revision, [granted]: true }
  }

  /** The decision with every rule that was considered and why it did or did not match. For people; slow. */
  explain(principal: Principal, facts: StatementFacts): Explanation {
    const decision = this.decide(principal, facts)
    return { decision, accesses: explainAccesses(this.#rules ?? [], principal, facts) }
  }

  #judgeAll(
    principal: Principal,
    view: PrincipalView,
    facts: StatementFacts,
    allowedBy: Set<string>,
  ): Denial | undefined {
    for (const access of facts.accesses) {
      if (isUndeniable(access)) {
        allowedBy.add(driverMetadataRule)
        continue
      }
      const { deny, allow } = view.judge(access)
      if (deny !== undefined) return this.#denialOf(principal, access, deny.name)
      if (allow !== undefined) for (const rule of allow) allowedBy.add(rule.name)
      else if (grantsDriverMetadata(access)) allowedBy.add(driverMetadataRule)
      else return this.#denialOf(principal, access, defaultDenyRule)
    }
    for (const child of facts.children) {
      const denied = this.#judgeAll(principal, view, child, allowedBy)
      if (denied !== undefined) return denied
    }
    if (facts.accesses.length > 0 || facts.children.length > 0) return undefined
    // Only an empty BATCH may ask for nothing; any other statement without accesses is one that was not understood.
    if (facts.verb !== 'BATCH') {
      return this.#denial(defaultDenyRule, `${principal.spiffeId} may not run ${printable(facts.verb)}`)
    }
    allowedBy.add(nothingTouchedRule)
    return undefined
  }

  #viewOf(principal: Principal, rules: readonly CompiledRule[]): PrincipalView {
    const key = principal.spiffeId
    let view = this.#views.get(key)
    if (view !== undefined) {
      this.#views.delete(key)
    } else {
      view = new PrincipalView(rules.filter((rule) => concerns(rule, principal)))
      if (this.#views.size >= this.#principalViewsMax) {
        for (const oldest of this.#views.keys()) {
          this.#views.delete(oldest)
          break
        }
      }
    }
    this.#views.set(key, view)
    return view
  }

  #denialOf(principal: Principal, access: Access, rule: string): Denial {
    return this.#denial(
      rule,
      `${principal.spiffeId} has no ${access.permission} permission on ${resourceWords(access)}`,
    )
  }

  #denial(rule: string, text: string): Denial {
    const reason = `${text} (rule ${rule}, policy revision ${this.#revision})`
    return { kind: 'denial', rule, reason, revision: this.#revision }
  }
}

/** Whether a rule's subjects include the principal. */
export function concerns(rule: CompiledRule, principal: Principal): boolean {
  return rule.subjects.some((pattern) => matchesSpiffePattern(pattern, principal.spiffeId))
}

/** In Cassandra's notation, `<table orders.payments>`. */
function resourceWords({ resource }: Access): string {
  const keyspace = 'keyspace' in resource ? printable(resource.keyspace ?? '?') : ''
  switch (resource.kind) {
    case 'table':
      return `<table ${keyspace}.${printable(resource.table)}>`
    case 'keyspace':
      return `<keyspace ${keyspace}>`
    case 'function':
      return `<function ${keyspace}.${printable(resource.name)}>`
    case 'role':
      return `<role ${printable(resource.role)}>`
    case 'cluster':
      return '<the cluster>'
  }
}

/** Names come from the statement: kept short, and what could disturb a terminal or a log is shown as `?`. */
function printable(name: string): string {
  const plain = name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')
  return plain.length > 128 ? `${plain.slice(0, 127)}…` : plain
}

function joinRules(names: ReadonlySet<string>): string {
  const joined = [...names].join(',')
  return joined.length > 512 ? `${joined.slice(0, 511)}…` : joined
}
