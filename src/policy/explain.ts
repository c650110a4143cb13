/**
 * Why a decision came out as it did: the law rule by rule, written the long way. `view.ts` is the same law, filed for speed; a property
 * test holds both to a third, independent reading.
 */
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { matchesSpiffePattern } from '../identity/spiffe.ts'
import { driverMetadataRule, grantsDriverMetadata } from './builtin.ts'
import type { Decision } from './engine.ts'
import { matchesName } from './names.ts'
import type { CompiledRule, Principal } from './policy.ts'
import { isSystemKeyspace } from './policy.ts'
import { deniedWithItsParts } from './view.ts'

/** `matched`: the rule speaks of this access. `some columns`: an allow that gives a part of what is asked. Else what kept it out, the first that did. */
export type Outcome =
  | 'matched'
  | 'some columns'
  | 'other subject'
  | 'other operation'
  | 'other resource'
  | 'other columns'

export interface ConsideredRule {
  readonly rule: string
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly outcome: Outcome
}

export interface ExplainedAccess {
  readonly access: Access
  readonly considered: readonly ConsideredRule[]
}

export interface Explanation {
  readonly decision: Decision
  /** In the order of the statement; those of a BATCH's statements follow its own. */
  readonly accesses: readonly ExplainedAccess[]
}

export function explainAccesses(
  rules: readonly CompiledRule[],
  principal: Principal,
  facts: StatementFacts,
): ExplainedAccess[] {
  const own = facts.accesses.map((access) => {
    const considered = rules.map((rule): ConsideredRule => {
      const { name, label, effect } = rule
      return { rule: name, label, effect, outcome: outcomeOf(rule, principal, access) }
    })
    const outcome = grantsDriverMetadata(access) ? 'matched' : 'other resource'
    considered.push({ rule: driverMetadataRule, label: 'built in', effect: 'allow', outcome })
    return { access, considered }
  })
  return [...own, ...facts.children.flatMap((child) => explainAccesses(rules, principal, child))]
}

function outcomeOf(rule: CompiledRule, principal: Principal, access: Access): Outcome {
  if (!rule.subjects.some((pattern) => matchesSpiffePattern(pattern, principal.spiffeId))) return 'other subject'
  const entersKeyspace = access.permission === 'USE' && access.resource.kind === 'keyspace' && rule.effect === 'allow'
  if (!entersKeyspace && !rule.permissions.has(access.permission)) return 'other operation'
  if (!covers(rule, access)) return 'other resource'
  return access.resource.kind === 'table' ? columnsOutcome(rule, access) : 'matched'
}

function covers(rule: CompiledRule, { permission, resource }: Access): boolean {
  const wide = rule.effect === 'deny' && deniedWithItsParts(permission)
  switch (resource.kind) {
    case 'table':
      return coversKeyspace(rule.keyspaces, resource.keyspace) && coversName(rule.tables, resource.table)
    case 'keyspace': {
      const parts = wide || (permission === 'USE' && rule.effect === 'allow')
      if (parts && coversKeyspace(functionKeyspaces(rule), resource.keyspace)) return true
      if (!coversKeyspace(rule.keyspaces, resource.keyspace)) return false
      return parts || (rule.tables === undefined && rule.columns === undefined)
    }
    case 'function':
      return rule.functions.some(
        ({ keyspace, name }) => coversKeyspace([keyspace], resource.keyspace) && matchesName(name, resource.name),
      )
    case 'role':
      return rule.roles.some((pattern) => matchesName(pattern, resource.role))
    case 'cluster':
      return rule.cluster || wide
  }
}

function columnsOutcome(rule: CompiledRule, { columns }: Access): Outcome {
  if (rule.columns === undefined) return 'matched'
  if (columns === '*' || columns.length === 0) return rule.effect === 'deny' ? 'matched' : 'other columns'
  const given = columns.filter((column) => coversName(rule.columns, column)).length
  if (given === 0) return 'other columns'
  return rule.effect === 'deny' || given === columns.length ? 'matched' : 'some columns'
}

function coversKeyspace(patterns: readonly string[], keyspace: string | undefined): boolean {
  if (keyspace === undefined) return false
  const wildcards = !isSystemKeyspace(keyspace)
  return patterns.some((pattern) => (wildcards || !pattern.endsWith('*')) && matchesName(pattern, keyspace))
}

function coversName(patterns: readonly string[] | undefined, name: string): boolean {
  return patterns?.some((pattern) => matchesName(pattern, name)) ?? true
}

function functionKeyspaces(rule: CompiledRule): string[] {
  return rule.functions.map(({ keyspace }) => keyspace)
}
