/** What an event says in words: the verdict, the rule behind it, and the table that it is about. */
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Decision } from '../policy/engine.ts'

/** `observe`: let through although a rule in observe mode would have refused it. */
export function verdictOf(decision: Decision): 'allow' | 'deny' | 'observe' {
  if (decision.kind === 'denial') return 'deny'
  return decision.observed === undefined ? 'allow' : 'observe'
}

export function ruleOf(decision: Decision): string {
  return decision.kind === 'permit' && decision.observed !== undefined ? decision.observed : decision.rule
}

/** The keyspace, and the table, where the statements of a BATCH text agree on it; else the facts' own. */
export function targetOf(facts: StatementFacts): { keyspace: string | undefined; table: string | undefined } {
  const { keyspace, table, children } = facts
  const [first] = children
  if (first === undefined || keyspace !== undefined) return { keyspace, table }
  if (children.some((child) => child.keyspace !== first.keyspace)) return { keyspace, table }
  const agree = children.every((child) => child.table === first.table)
  return { keyspace: first.keyspace, table: agree ? first.table : undefined }
}
