/**
 * Why a decision came out as it did: the policy rule by rule, written the long way and beside it the Cedar text that decided. This reading
 * decides nothing; a property test holds it and Cedar's to a third one.
 */
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { matchesSpiffePattern } from '../identity/spiffe.ts'
import { driverMetadataRule, grantsDriverMetadata } from './builtin.ts'
import { builtinTexts, compileRule, deniedWithItsParts } from './cedar/compile.ts'
import type { Target } from './cedar/entities.ts'
import { contextOf, principalEntity, questionOf } from './cedar/entities.ts'
import { CedarSet } from './cedar/sets.ts'
import { matchesAnyName, matchesKeyspace, matchesName } from './names.ts'
import type { CedarRule, CompiledPolicy, CompiledRule, Mode, Principal } from './policy.ts'
import { permissionsOf } from './policy.ts'
import type { RequestContext } from './request.ts'
import { concerns } from './slices.ts'

/**
 * `matched`: the rule speaks of this access. `some columns`: an allow that gives a part of what is asked. Else what kept it out, the
 * first that did; `not matched` is all that Cedar says of a policy of its own.
 */
export type Outcome =
  | 'matched'
  | 'some columns'
  | 'other subject'
  | 'other operation'
  | 'other resource'
  | 'other columns'
  | 'other request'
  | 'not matched'
  | 'failed'

export interface ConsideredRule {
  readonly rule: string
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly mode: Mode
  readonly outcome: Outcome
  /** The policies in Cedar that the rule is. */
  readonly cedar: string
}

export interface ExplainedAccess {
  readonly access: Access
  readonly considered: readonly ConsideredRule[]
}

/** @param facts refined */
export function explainAccesses(
  policy: CompiledPolicy,
  principal: Principal,
  facts: StatementFacts,
  request: RequestContext,
): ExplainedAccess[] {
  const own = facts.accesses.map((access) => {
    const considered = policy.rules.map((rule): ConsideredRule => {
      const { name, label, effect, mode } = rule
      const outcome = outcomeOf(rule, principal, access, request, facts.conditional)
      return { rule: name, label, effect, mode, outcome, cedar: compileRule(rule).join('\n') }
    })
    for (const rule of policy.cedar) {
      const { name, label, effect, mode, text } = rule
      const outcome = cedarOutcome(policy, rule, principal, access, request, facts.conditional)
      considered.push({ rule: name, label, effect, mode, outcome, cedar: text })
    }
    considered.push({
      rule: driverMetadataRule,
      label: 'built in',
      effect: 'allow',
      mode: 'enforce',
      outcome: grantsDriverMetadata(access) ? 'matched' : 'other resource',
      cedar: builtinTexts().join('\n'),
    })
    return { access, considered }
  })
  return [...own, ...facts.children.flatMap((child) => explainAccesses(policy, principal, child, request))]
}

function outcomeOf(
  rule: CompiledRule,
  principal: Principal,
  access: Access,
  request: RequestContext,
  conditional: boolean,
): Outcome {
  if (!concerns(rule, principal)) return 'other subject'
  const entersKeyspace = access.permission === 'USE' && access.resource.kind === 'keyspace' && rule.effect === 'allow'
  if (!entersKeyspace && !rule.permissions.has(access.permission)) return 'other operation'
  const { permission, resource } = access
  if (resource.kind === 'function' && !permissionsOf.functions.has(permission)) return 'other operation'
  if (!covers(rule, access)) return 'other resource'
  const outcome = access.resource.kind === 'table' ? columnsOutcome(rule, access) : 'matched'
  if (rule.when === undefined || outcome === 'other columns') return outcome
  return holds(rule, principal, request, conditional, entersKeyspace) ? outcome : 'other request'
}

/** Conditions are Cedar's to judge: the rule is asked about a request that is in all else as it wishes. */
function holds(
  rule: CompiledRule,
  principal: Principal,
  request: RequestContext,
  conditional: boolean,
  enters: boolean,
): boolean {
  const permission = enters ? 'USE' : [...rule.permissions][0]
  if (permission === undefined) return false
  const anything: CompiledRule = {
    ...rule,
    effect: 'allow',
    permissions: new Set([permission]),
    keyspaces: ['k'],
    tables: undefined,
    columns: undefined,
    functions: [],
    roles: [],
    cluster: false,
  }
  // A deny takes what is not known yet the other way round than an allow does.
  const texts = compileRule({ ...anything, effect: rule.effect }, true)
  const target: Target =
    permission === 'USE' ? { kind: 'keyspace', keyspace: 'k' } : { kind: 'table', keyspace: 'k', table: 't' }
  return answerOf({ texts, roles: [], principal, groups: rule.subjects, permission, target, request, conditional })
    .allowed
}

function cedarOutcome(
  policy: CompiledPolicy,
  rule: CedarRule,
  principal: Principal,
  { permission, resource, columns }: Access,
  request: RequestContext,
  conditional: boolean,
): Outcome {
  if ('keyspace' in resource && resource.keyspace === undefined) return 'not matched'
  const table = resource as Target
  const targets: Target[] =
    table.kind === 'table' && columns !== '*' && columns.length > 0 && rule.speaksOfColumns
      ? columns.map((column) => ({ ...table, kind: 'column', column }))
      : [table]
  const roles = policy.rules.filter((one) => concerns(one, principal)).flatMap(({ role }) => role ?? [])
  const { asPermit, groups } = rule
  const answers = targets.map((target) =>
    answerOf({ texts: [asPermit], roles, principal, groups, permission, target, request, conditional }),
  )
  if (answers.some(({ failed }) => failed)) return 'failed'
  const matched = answers.filter(({ allowed }) => allowed).length
  if (matched === 0) return 'not matched'
  return rule.effect === 'deny' || matched === answers.length ? 'matched' : 'some columns'
}

interface CedarQuestion {
  /** Of policies. */
  readonly texts: readonly string[]
  readonly roles: Iterable<string>
  readonly groups: Iterable<string>
  readonly principal: Principal
  readonly permission: Access['permission']
  readonly target: Target
  readonly request: RequestContext
  readonly conditional: boolean
}

function answerOf(asked: CedarQuestion) {
  const { texts, roles, groups, principal, permission, target, request, conditional } = asked
  const isIn = [...groups].filter((group) => matchesSpiffePattern(group, principal.spiffeId))
  const question = questionOf(principalEntity(principal, { groups: isIn, roles }), permission, target)
  const set = new CedarSet(new Map(texts.map((text, index) => [`${index}`, text])))
  return set.ask(question, contextOf(request, conditional))
}

function covers(rule: CompiledRule, { permission, resource }: Access): boolean {
  const wide = rule.effect === 'deny' && deniedWithItsParts(permission)
  switch (resource.kind) {
    case 'table':
      return matchesKeyspace(rule.keyspaces, resource.keyspace) && matchesAnyName(rule.tables, resource.table)
    case 'keyspace': {
      const parts = wide || (permission === 'USE' && rule.effect === 'allow')
      if (parts && rule.functions.some(({ keyspace }) => matchesKeyspace([keyspace], resource.keyspace))) return true
      if (!matchesKeyspace(rule.keyspaces, resource.keyspace)) return false
      return parts || (rule.tables === undefined && rule.columns === undefined)
    }
    case 'function':
      return rule.functions.some(
        ({ keyspace, name }) => matchesKeyspace([keyspace], resource.keyspace) && matchesName(name, resource.name),
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
  const given = columns.filter((column) => matchesAnyName(rule.columns, column)).length
  if (given === 0) return 'other columns'
  return rule.effect === 'deny' || given === columns.length ? 'matched' : 'some columns'
}
