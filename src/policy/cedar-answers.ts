/** Policies that are written in Cedar, asked all together: in force, and those that only observe. */
import type { Permission } from '../cql/statement/facts.ts'
import { type Answer, broken, byIndex } from './answer.ts'
import type { PartyAsking } from './asking.ts'
import { contextOf, questionOf, type Target } from './cedar/entities.ts'
import { mayReach } from './cedar/raw.ts'
import { CedarSet } from './cedar/sets.ts'
import { ContextUse } from './conditions.ts'
import type { CedarRule } from './policy.ts'
import type { RequestContext } from './request.ts'
import type { CedarPrincipal } from './slices.ts'

export class CedarAnswers {
  readonly #enforced: CedarSet
  readonly #observedAllow: CedarSet
  readonly #observedDeny: CedarSet
  readonly #rules: ReadonlyMap<string, CedarRule>
  readonly #contextUsed = new ContextUse()

  constructor(rules: readonly CedarRule[]) {
    const set = (chosen: readonly CedarRule[], text: 'text' | 'asPermit'): CedarSet =>
      new CedarSet(new Map(chosen.map((rule) => [`cedar.${rule.index}`, rule[text]])))
    const observing = (effect: 'allow' | 'deny'): CedarRule[] =>
      rules.filter((rule) => rule.mode === 'observe' && rule.effect === effect)
    this.#rules = new Map(rules.map((rule) => [`cedar.${rule.index}`, rule]))
    const inForce = rules.filter(({ mode }) => mode === 'enforce')
    this.#enforced = set(inForce, 'text')
    this.#observedAllow = set(observing('allow'), 'text')
    this.#observedDeny = set(observing('deny'), 'asPermit')
    for (const { contextUsed } of rules) for (const attribute of contextUsed) this.#contextUsed.add(attribute)
  }

  /** What answers depend on of a request; equal keys stand for equal answers. */
  contextKey(request: RequestContext): string {
    return this.#contextUsed.key(request)
  }

  /** @param side of a pair, where it is asked about with its own evidence only */
  ask(
    { request, conditional }: PartyAsking,
    { entity, side }: Pick<CedarPrincipal, 'entity' | 'side'>,
    permission: Permission,
    target: Target,
  ): Answer {
    const question = questionOf(entity, permission, target)
    const context = contextOf(request, conditional, side)
    const reach = (rules: readonly CedarRule[]): CedarRule[] => {
      return 'keyspace' in target ? rules.filter((rule) => mayReach(rule, target.keyspace)) : [...rules]
    }
    const enforced = this.#enforced.ask(question, context)
    const observedAllow = this.#observedAllow.ask(question, context)
    const observedDeny = this.#observedDeny.ask(question, context)
    if (enforced.failed) return broken
    const rules = this.#named(enforced.reasons)
    return {
      failed: false,
      deny: enforced.allowed ? [] : rules,
      allow: enforced.allowed ? reach(rules) : [],
      builtin: false,
      observedAllow: reach(this.#named(observedAllow.reasons)),
      observedDeny: this.#named(observedDeny.reasons),
    }
  }

  #named(reasons: readonly string[]): CedarRule[] {
    return reasons.flatMap((reason) => this.#rules.get(reason) ?? []).sort(byIndex)
  }
}
