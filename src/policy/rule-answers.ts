/** Rules in YAML, asked of Cedar: in force, and those that only observe. */
import type { Permission } from '../cql/statement/facts.ts'
import { type Answer, type AnyRule, broken } from './answer.ts'
import type { PartyAsking } from './asking.ts'
import { driverKeyspaces } from './builtin.ts'
import { builtinTexts, compileRule } from './cedar/compile.ts'
import { contextOf, questionOf, type Target } from './cedar/entities.ts'
import type { AskedRule } from './divided.ts'

/**
 * What a part of the rules says.
 * @param withBuiltin the built-in rule is asked too, where it could speak of the target
 */
export function askRules(
  { view, request, conditional }: PartyAsking,
  permission: Permission,
  target: Target,
  speaking: readonly AskedRule[],
  withBuiltin: boolean,
): Answer {
  const { slice, entity } = view
  const question = questionOf(entity, permission, target)
  const context = contextOf(request, conditional, view.party.side)
  const ask = (rules: readonly AskedRule[], word: string, asPermit: boolean, withDrivers: boolean) => {
    if (rules.length === 0 && !withDrivers) return undefined
    const key = `${word}${withDrivers ? '+' : ''} ${rules.map((one) => one.key).join(',')}`
    const set = slice.set(key, () => {
      const texts = new Map<string, string>()
      for (const [part, { rule, asked }] of rules.entries())
        for (const [arm, text] of compileRule(asked, asPermit).entries())
          texts.set(`${rule.index}.${part}.${arm}`, text)
      if (withDrivers) for (const [arm, text] of builtinTexts().entries()) texts.set(`builtin.${arm}`, text)
      return texts
    })
    return set.ask(question, context)
  }
  const named = (reasons: readonly string[]): AnyRule[] => {
    const indexes = new Set(reasons.map((reason) => Number(reason.split('.', 1)[0])))
    return [...new Set(speaking.map(({ rule }) => rule))].filter(({ index }) => indexes.has(index))
  }
  const observing = (effect: 'allow' | 'deny'): AskedRule[] =>
    speaking.filter(({ rule }) => rule.mode === 'observe' && rule.effect === effect)
  const inForce = speaking.filter(({ rule }) => rule.mode === 'enforce')
  const isDrivers = 'keyspace' in target && (target.keyspace === 'system' || driverKeyspaces.has(target.keyspace))
  const enforced = ask(inForce, 'enforced', false, isDrivers && withBuiltin)
  if (enforced?.failed === true) return broken
  const observedAllow = ask(observing('allow'), 'allow', false, false)
  const observedDeny = ask(observing('deny'), 'deny', true, false)
  const rules = named(enforced?.reasons ?? [])
  return {
    failed: false,
    deny: enforced?.allowed === true ? [] : rules,
    allow: enforced?.allowed === true ? rules : [],
    builtin: enforced?.allowed === true && enforced.reasons.some((reason) => reason.startsWith('builtin.')),
    observedAllow: named(observedAllow?.reasons ?? []),
    observedDeny: named(observedDeny?.reasons ?? []),
  }
}
