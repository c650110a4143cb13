/**
 * The verdict on one access: out of the answers to its questions, and of a pair out of one verdict for each party.
 *
 * Rule: an access is allowed where each of its questions is, and for a pair where it is allowed for both.
 */
import { assert } from '../base/errors.ts'
import { type Answer, type AnyRule, byIndex } from './answer.ts'
import type { Principal } from './principal.ts'
import type { PartyPolicy } from './slices.ts'

/** What the rules say of one access. */
export interface Verdict {
  /** `unknown`: a rule could not be evaluated, and so the answer is no. */
  readonly outcome: 'allowed' | 'denied' | 'unspoken' | 'unknown'
  /** Of a denial: the rule that stands first in the policy. Of an allow: every rule that gave some of the columns; empty for the built-in rule. */
  readonly rules: readonly AnyRule[]
  /** Rules in observe mode that matter: denies that would refuse, and allows without which it would be refused. */
  readonly observed: readonly AnyRule[]
  /** Of a pair: whom it refuses, where that is one of the two; or that the built-in rule allows one of them. */
  readonly refused?: Principal | undefined
  readonly builtin?: boolean
}

/** What two parties may, each of whom must be allowed. What could not be evaluated comes first, for it says nothing of denies. */
export function both(a: Verdict, b: Verdict, [first, second]: readonly PartyPolicy[]): Verdict {
  const all = (of: 'rules' | 'observed'): AnyRule[] => [...new Set([...a[of], ...b[of]])].sort(byIndex)
  if (a.outcome === 'allowed' && b.outcome === 'allowed') {
    const builtin = a.rules.length === 0 || b.rules.length === 0
    return { outcome: 'allowed', rules: all('rules'), observed: all('observed'), builtin }
  }
  const outcome = refusing.find((one) => a.outcome === one || b.outcome === one) ?? 'unknown'
  const [isFirst, isSecond] = [a.outcome === outcome, b.outcome === outcome]
  const isOfSecond = !isFirst || (isSecond && (b.rules[0]?.index ?? Infinity) < (a.rules[0]?.index ?? Infinity))
  const rules = isFirst && isSecond ? all('rules') : (isFirst ? a : b).rules
  return { outcome, rules, observed: [], refused: (isOfSecond ? second : first)?.party.who }
}

const refusing = ['unknown', 'denied', 'unspoken'] as const

/**
 * One access out of the answers to its questions, each of which must be allowed.
 * @param alsoDenied denies of parts, beside the answers
 * @param byColumn each question is about a column
 */
export function verdictOf(answers: readonly Answer[], alsoDenied: readonly AnyRule[] = [], byColumn = false): Verdict {
  const denies = [...answers.flatMap(({ deny }) => deny), ...alsoDenied].sort(byIndex)
  if (denies.length > 0) return { outcome: 'denied', rules: denies.slice(0, 1), observed: [] }
  if (answers.some(({ failed }) => failed)) return { outcome: 'unknown', rules: [], observed: [] }
  const observed = new Set(answers.flatMap(({ observedDeny }) => observedDeny))
  const first = answers[0]
  assert(first !== undefined, 'an access comes to one question at least')
  // A rule that allows the whole access is named alone. Otherwise the rules that allow parts are named.
  const wholly = allowedByAll(first, answers, byColumn)
  const chosen = new Set<AnyRule>()
  let given = true
  let givenInTrial = true
  if (wholly !== undefined) chosen.add(wholly)
  else {
    for (const { allow, observedAllow } of answers) {
      const allowing = lowest(allow)
      const trial = lowest(observedAllow)
      if (allowing !== undefined) chosen.add(allowing)
      else {
        given = false
        if (trial === undefined) givenInTrial = false
      }
    }
  }
  if (given) return { outcome: 'allowed', rules: [...chosen].sort(byIndex), observed: [...observed].sort(byIndex) }
  if (answers.every(({ builtin }) => builtin))
    return { outcome: 'allowed', rules: [], observed: [...observed].sort(byIndex) }
  if (!givenInTrial) return { outcome: 'unspoken', rules: [], observed: [] }
  for (const { allow, observedAllow } of answers) {
    const trial = lowest(observedAllow)
    if (allow.length === 0 && trial !== undefined) {
      observed.add(trial)
      chosen.add(trial)
    }
  }
  return { outcome: 'allowed', rules: [...chosen].sort(byIndex), observed: [...observed].sort(byIndex) }
}

/** The first in the policy that allows what each answer is about. */
function allowedByAll(first: Answer, answers: readonly Answer[], byColumn: boolean): AnyRule | undefined {
  let found: AnyRule | undefined
  for (const rule of first.allow) {
    if ((found !== undefined && rule.index >= found.index) || (byColumn && isOfColumns(rule))) continue
    if (answers.every((answer) => answer === first || allows(answer, rule))) found = rule
  }
  return found
}

/** Of an answer that many rules allow. */
const allowSets = new WeakMap<Answer, ReadonlySet<AnyRule>>()
const listMax = 16

function allows(answer: Answer, rule: AnyRule): boolean {
  if (answer.allow.length <= listMax) return answer.allow.includes(rule)
  let set = allowSets.get(answer)
  if (set === undefined) {
    set = new Set(answer.allow)
    allowSets.set(answer, set)
  }
  return set.has(rule)
}

function lowest(rules: readonly AnyRule[]): AnyRule | undefined {
  let found: AnyRule | undefined
  for (const rule of rules) if (found === undefined || rule.index < found.index) found = rule
  return found
}

function isOfColumns(rule: AnyRule): boolean {
  return 'permissions' in rule && rule.columns !== undefined
}
