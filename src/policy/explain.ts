/**
 * Why a decision came out as it did: the policy rule by rule, written the long way and beside it the Cedar text that decided. This reading
 * decides nothing; a property test holds it and Cedar's to a third one.
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs'
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { driverMetadataRule, grantsDriverMetadata } from './builtin.ts'
import { builtinTexts, compileRule, deniedWithItsParts } from './cedar/compile.ts'
import type { Target } from './cedar/entities.ts'
import { contextOf, Members, questionOf } from './cedar/entities.ts'
import { type CedarAnswer, CedarSet } from './cedar/sets.ts'
import { matchesAnyName, matchesKeyspace, matchesName } from './names.ts'
import type { CedarRule, CompiledPolicy, CompiledRule, Mode } from './policy.ts'
import { permissionsOf } from './policy.ts'
import { asEachSays, type Party, type Principal, partiesOf, partyName } from './principal.ts'
import { claimsOf } from './providers.ts'
import type { RequestContext } from './request.ts'
import { concerns } from './slices.ts'
import { namesParty, subjectsOf } from './subjects.ts'

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
  | 'other claims'
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

/** One access, as it is for one party: of a workload with a person behind it, each access is here twice. */
export interface ExplainedAccess {
  /** See `partyName`. */
  readonly who: string
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
  const parties = partiesOf(principal)
  const explain = (access: Access, party: Party): ExplainedAccess => {
    const considered = policy.rules.map((rule): ConsideredRule => {
      const { name, label, effect, mode } = rule
      const outcome = outcomeOf(rule, party, access, request, facts.conditional)
      return { rule: name, label, effect, mode, outcome, cedar: compileRule(rule).join('\n') }
    })
    for (const rule of policy.cedar) {
      const { name, label, effect, mode, text } = rule
      const outcome = cedarOutcome(policy, rule, party, access, request, facts.conditional)
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
    return { who: partyName(party.who, principal), access, considered }
  }
  const own = facts.accesses.flatMap((access) => parties.map((party) => explain(access, party)))
  return [...own, ...facts.children.flatMap((child) => explainAccesses(policy, principal, child, request))]
}

function outcomeOf(
  rule: CompiledRule,
  party: Party,
  access: Access,
  request: RequestContext,
  conditional: boolean,
): Outcome {
  if (!namesParty(rule.subjects, party)) return 'other subject'
  if (!concerns(rule, party)) return 'other claims'
  const entersKeyspace = access.permission === 'USE' && access.resource.kind === 'keyspace' && rule.effect === 'allow'
  if (!entersKeyspace && !rule.permissions.has(access.permission)) return 'other operation'
  const { permission, resource } = access
  if (resource.kind === 'function' && !permissionsOf.functions.has(permission)) return 'other operation'
  if (!covers(rule, access)) return 'other resource'
  const outcome = access.resource.kind === 'table' ? columnsOutcome(rule, access) : 'matched'
  if (rule.when === undefined || outcome === 'other columns') return outcome
  return holds(rule, party, request, conditional, entersKeyspace) ? outcome : 'other request'
}

/** Conditions are Cedar's to judge: the rule is asked about a request that is in all else as it wishes. */
function holds(
  rule: CompiledRule,
  party: Party,
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
  const texts = compileRule({ ...anything, effect: rule.effect, subjects: subjectsOf(rule.subjects, party) }, true)
  const target: Target =
    permission === 'USE' ? { kind: 'keyspace', keyspace: 'k' } : { kind: 'table', keyspace: 'k', table: 't' }
  const entity = new Members(rule.subjects, { claims: [...(rule.when?.claims?.keys() ?? [])] }).entityOf(party)
  return answerOf(texts, entity, permission, target, contextOf(request, conditional, party.side)).allowed
}

function cedarOutcome(
  policy: CompiledPolicy,
  rule: CedarRule,
  { who, pair, side }: Party,
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
  const parties = pair === undefined ? [{ who, pair }] : partiesOf(pair)
  /** @param own of the party alone, with its own evidence only */
  const answersFor = (
    asked: Principal,
    claims = pair?.claims ?? asked.claims,
    own: Party['side'] = undefined,
  ): CedarAnswer[] => {
    const bound = policy.rules.filter((one) => parties.some((party) => isOf(party, asked) && concerns(one, party)))
    const more = {
      roles: new Set(bound.flatMap(({ role }) => role ?? [])),
      claims: claimsOf(policy.providers),
      isWhole: true,
    }
    const entity = new Members(rule.subjects, more).entityOf({ who: { ...asked, claims }, pair: undefined })
    const context = contextOf(request, conditional, own)
    return targets.map((target) => answerOf([rule.asPermit], entity, permission, target, context))
  }
  const alone = answersFor(who)
  const own = side === undefined ? alone : answersFor(who, who.claims ?? {}, side)
  const others = parties.filter((party) => party.who.spiffeId !== who.spiffeId).map((party) => answersFor(party.who))
  const together = pair === undefined ? [] : answersFor(pair)
  const each = pair === undefined ? [] : asEachSays(pair).map(({ claims }) => answersFor(pair, claims))
  if ([...alone, ...together, ...own, ...each.flat()].some(({ failed }) => failed)) return 'failed'
  const matched = targets.filter((_, at) => {
    const [isMet, isMetByOwn] = [alone[at]?.allowed === true, own[at]?.allowed === true]
    const ofEach = each.map((answers) => answers[at]?.allowed === true)
    if (rule.effect === 'deny' && (isMet || isMetByOwn || ofEach.includes(true))) return true
    if (isMet) return isMetByOwn
    // A permit for the other alone is none for this one; a forbid of the pair is one for both.
    const isOfOther = rule.effect === 'allow' && others.some((answers) => answers[at]?.allowed === true)
    return together[at]?.allowed === true && !ofEach.includes(false) && !isOfOther
  }).length
  if (matched === 0) return 'not matched'
  return rule.effect === 'deny' || matched === targets.length ? 'matched' : 'some columns'
}

/** The party is asked about, or the pair that it is of. */
function isOf({ who, pair }: Party, asked: Principal): boolean {
  return pair === asked || who.spiffeId === asked.spiffeId
}

function answerOf(
  texts: readonly string[],
  entity: EntityJson,
  permission: Access['permission'],
  target: Target,
  context: ReturnType<typeof contextOf>,
): CedarAnswer {
  const question = questionOf(entity, permission, target)
  const set = new CedarSet(new Map(texts.map((text, index) => [`${index}`, text])))
  return set.ask(question, context)
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
