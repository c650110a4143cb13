/**
 * What Cedar said to one question, and how several answers make one.
 *
 * Rule: a deny in one of them is a deny of all, and what could not be evaluated stays so.
 */
import type { CedarRule, CompiledRule } from './policy.ts'

export type AnyRule = CompiledRule | CedarRule

/** What Cedar said to one question. */
export interface Answer {
  readonly failed: boolean
  readonly deny: readonly AnyRule[]
  readonly allow: readonly AnyRule[]
  readonly builtin: boolean
  readonly observedDeny: readonly AnyRule[]
  readonly observedAllow: readonly AnyRule[]
}

export const silence: Answer = {
  failed: false,
  deny: [],
  allow: [],
  builtin: false,
  observedDeny: [],
  observedAllow: [],
}
export const broken: Answer = { ...silence, failed: true }

/** What several parts of the rules say. A deny of one counts before the allows of all. */
export function ofParts(answers: readonly Answer[]): Answer {
  const all = (of: Exclude<keyof Answer, 'failed' | 'builtin'>): AnyRule[] => {
    // One rule may be in two parts.
    return [...new Set(answers.flatMap((answer) => answer[of]))]
  }
  const deny = all('deny')
  const denied = deny.length > 0
  return {
    failed: false,
    deny,
    allow: denied ? [] : all('allow'),
    builtin: !denied && answers.some(({ builtin }) => builtin),
    observedDeny: all('observedDeny'),
    observedAllow: all('observedAllow'),
  }
}

export function union(a: Answer, b: Answer): Answer {
  if (a === silence) return b
  return {
    failed: a.failed || b.failed,
    deny: [...a.deny, ...b.deny],
    allow: [...a.allow, ...b.allow],
    builtin: a.builtin || b.builtin,
    observedDeny: [...a.observedDeny, ...b.observedDeny],
    observedAllow: [...a.observedAllow, ...b.observedAllow],
  }
}

/**
 * What policies in Cedar say of one of a pair: what they say of it alone, and what they say of the pair and of neither alone.
 * @param own of it alone, asked with its own evidence only: what it is permitted alone, both ways permit
 */
export function ofPair(alone: Answer, other: Answer, together: Answer, own: Answer): Answer {
  const permits = (of: 'allow' | 'observedAllow'): AnyRule[] => [
    ...alone[of].filter((rule) => own[of].includes(rule)),
    ...together[of].filter((rule) => !alone[of].includes(rule) && !other[of].includes(rule)),
  ]
  const forbids = (of: 'deny' | 'observedDeny'): AnyRule[] => [...new Set([...alone[of], ...together[of], ...own[of]])]
  return {
    failed: alone.failed || together.failed || own.failed,
    deny: forbids('deny'),
    allow: permits('allow'),
    builtin: false,
    observedDeny: forbids('observedDeny'),
    observedAllow: permits('observedAllow'),
  }
}

/** What policies in Cedar say of both together: a permit needs all of these answers, a forbid one. */
export function ofBoth(together: Answer, each: readonly Answer[]): Answer {
  if (each.length === 0) return together
  const permits = (of: 'allow' | 'observedAllow'): AnyRule[] =>
    together[of].filter((rule) => each.every((answer) => answer[of].includes(rule)))
  const forbids = (of: 'deny' | 'observedDeny'): AnyRule[] => [
    ...new Set([together, ...each].flatMap((answer) => answer[of])),
  ]
  return {
    failed: together.failed || each.some(({ failed }) => failed),
    deny: forbids('deny'),
    allow: permits('allow'),
    builtin: false,
    observedDeny: forbids('observedDeny'),
    observedAllow: permits('observedAllow'),
  }
}

export function byIndex(a: AnyRule, b: AnyRule): number {
  return a.index - b.index
}
