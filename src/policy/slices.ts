/**
 * The policy cut down to one principal, and what of it can concern one question.
 *
 * Rule: what is left out could not have matched. Cedar has the last word on what is left in.
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs'
import { createCache } from '../base/cache.ts'
import type { Permission } from '../cql/statement/facts.ts'
import { driverKeyspaces, driverTables } from './builtin.ts'
import type { Target } from './cedar/entities.ts'
import { CedarSet } from './cedar/sets.ts'
import { ContextUse } from './conditions.ts'
import { isSystemKeyspace, matchesAnyName, matchesKeyspace, matchesName, NameClasses } from './names.ts'
import type { CompiledRule } from './policy.ts'
import { permissionsOf } from './policy.ts'
import { bothSay, claimsHold, type Party, type Principal } from './principal.ts'
import { RulesByName } from './rule-index.ts'
import { namesPair, namesParty } from './subjects.ts'

/** The policy for the principals that the same rules concern. */
export class Slice {
  readonly id: number
  /** In the order of the policy. */
  readonly rules: readonly CompiledRule[]
  readonly byName = new RulesByName()
  readonly #rules: CompiledRule[] = []
  /** Those that tell columns apart. */
  readonly #columnRules: CompiledRule[] = []
  readonly contextUse = new ContextUse()
  readonly #sets = createCache<CedarSet>(setsMax)
  readonly #keyspaces = new NameClasses()
  readonly #tables = new NameClasses()
  readonly #columns = new NameClasses()
  readonly #functions = new NameClasses()
  readonly #roles = new NameClasses()
  /** No LRU: by the classes of names that the rules tell apart. */
  readonly #tellsColumns = new Map<string, boolean>()

  constructor(id: number) {
    this.id = id
    this.rules = this.#rules
    this.#keyspaces.add(['system', ...driverKeyspaces])
    this.#tables.add(driverTables.map(([, table]) => table))
  }

  /** Before it is first asked. */
  add(rule: CompiledRule): void {
    this.#rules.push(rule)
    if (rule.columns !== undefined) this.#columnRules.push(rule)
    this.byName.add(rule)
    this.#keyspaces.add(rule.keyspaces)
    this.#tables.add(rule.tables ?? [])
    this.#columns.add(rule.columns ?? [])
    for (const { keyspace, name } of rule.functions) {
      this.#keyspaces.add([keyspace])
      this.#functions.add([name])
    }
    this.#roles.add(rule.roles)
    if (rule.when !== undefined) this.contextUse.addConditions(rule.when)
  }

  /** Whether a rule tells columns apart in a keyspace, for this permission. */
  tellsColumns(permission: Permission, keyspace: string): boolean {
    if (this.#columnRules.length === 0) return false
    const key = `${permission} ${this.#keyspaceClass(keyspace)}`
    let tells = this.#tellsColumns.get(key)
    if (tells === undefined) {
      const speaks = (rule: CompiledRule): boolean =>
        rule.permissions.has(permission) && matchesKeyspace(rule.keyspaces, keyspace)
      tells = this.#columnRules.some(speaks)
      this.#tellsColumns.set(key, tells)
    }
    return tells
  }

  /** The rules that can speak of a target, in the order of the policy. */
  speakingOf(permission: Permission, target: Target): readonly CompiledRule[] {
    const about = this.#about(target)
    const speaking = new Set(about.filter((rule) => maySpeakOf(rule, permission, target)))
    return [...speaking].sort((a, b) => a.index - b.index)
  }

  #about(target: Target): readonly CompiledRule[] {
    switch (target.kind) {
      case 'cluster':
      case 'role':
        return this.rules
      case 'column':
        return this.byName.about({ kind: 'table', keyspace: target.keyspace, table: target.table })
      default:
        return this.byName.about(target)
    }
  }

  /** Equal for two column names that no rule distinguishes. */
  columnClass(column: string): string {
    return this.#columns.of(column)
  }

  /** Equal for two targets that no rule distinguishes. */
  classOf(target: Target): string[] {
    switch (target.kind) {
      case 'cluster':
        return ['cluster']
      case 'role':
        return ['role', this.#roles.of(target.role)]
      case 'keyspace':
        return ['keyspace', this.#keyspaceClass(target.keyspace)]
      case 'table':
        return ['table', this.#keyspaceClass(target.keyspace), this.#tables.of(target.table)]
      case 'function':
        return ['function', this.#keyspaceClass(target.keyspace), this.#functions.of(target.name)]
      case 'column': {
        const table = this.#tables.of(target.table)
        return ['column', this.#keyspaceClass(target.keyspace), table, this.#columns.of(target.column)]
      }
    }
  }

  #keyspaceClass(name: string): string {
    return `${isSystemKeyspace(name) ? '!' : ''}${this.#keyspaces.of(name)}`
  }

  /** A set of policies by the rules that it is made of; made when it is first wanted. */
  set(key: string, make: () => ReadonlyMap<string, string>): CedarSet {
    let set = this.#sets.get(key)
    if (set === undefined) {
      set = new CedarSet(make())
      this.#sets.set(key, set)
    }
    return set
  }
}

/** Of one slice. Cedar itself keeps fewer parsed (`sets.ts`). */
const setsMax = 2_000

/** Whom policies in Cedar are asked about, and under what the answers are filed. */
export interface CedarPrincipal {
  readonly key: string
  readonly entity: EntityJson
  /** Of a pair, where it is asked about with its own evidence only. */
  readonly side: Party['side']
}

export interface CedarPair extends Readonly<Record<'other' | 'together' | 'own', CedarPrincipal>> {
  /** Both together, as each of them says what both say; none where they say no claim twice. */
  readonly each: readonly CedarPrincipal[]
}

/** The policy for one party of a session. */
export interface PartyPolicy {
  readonly party: Party
  readonly slice: Slice
  /** For rules in YAML: in all that the party is in, and where it is one of a pair also in what the pair is. The slice has the party's rules only. */
  readonly entity: EntityJson
  /** The party alone; of one of a pair with what the evidence of both says. */
  readonly alone: CedarPrincipal
  /** Where it is one of a pair: the other alone, both together, and the party with no more than its own evidence says, where that is less. */
  readonly pair: CedarPair | undefined
}

/** The policy for a session: each of its parties must be permitted. */
export class PrincipalPolicy {
  readonly principal: Principal
  readonly parties: readonly PartyPolicy[]
  /** What the rules and policies that concern it look at. */
  readonly contextUse: ContextUse

  constructor(principal: Principal, parties: readonly PartyPolicy[], contextUse: ContextUse) {
    this.principal = principal
    this.parties = parties
    this.contextUse = contextUse
  }

  /** What of a column's name the rules can tell apart. */
  columnClass(column: string): string {
    const [first, second] = this.parties
    const of = first!.slice.columnClass(column)
    return second === undefined ? of : JSON.stringify([of, second.slice.columnClass(column)])
  }
}

/** Whether a rule speaks of a party: of whom it is, and of what the evidence says of it. */
export function concerns(rule: CompiledRule, party: Party): boolean {
  return namesParty(rule.subjects, party) && saidOf(rule, party)
}

/**
 * Whether the evidence says the claims that a rule asks for. A rule for one of a pair looks at what is said of that one; a deny, and what is
 * given to the pair, at what is said of either. What is given to the pair by a claim that both say, both must say.
 */
export function saidOf({ effect, subjects, when }: CompiledRule, party: Party): boolean {
  const { who, pair } = party
  if (when?.claims === undefined) return true
  if (pair !== undefined && effect === 'deny') return claimsHold(when.claims, pair)
  if (pair === undefined || !namesPair(subjects, party)) return claimsHold(when.claims, who)
  return claimsHold(when.claims, pair) && bothSay(when.claims, pair)
}

/** False only where the rule cannot match; Cedar has the last word on the others. */
function maySpeakOf(rule: CompiledRule, permission: Permission, target: Target): boolean {
  const enters = permission === 'USE' && rule.effect === 'allow'
  if (!enters && !rule.permissions.has(permission)) return false
  switch (target.kind) {
    case 'table':
    case 'column':
      return matchesKeyspace(rule.keyspaces, target.keyspace) && matchesAnyName(rule.tables, target.table)
    case 'keyspace':
      return (
        matchesKeyspace(rule.keyspaces, target.keyspace) ||
        rule.functions.some(({ keyspace }) => matchesKeyspace([keyspace], target.keyspace))
      )
    case 'function':
      return (
        permissionsOf.functions.has(permission) &&
        rule.functions.some(
          (one) => matchesKeyspace([one.keyspace], target.keyspace) && matchesName(one.name, target.name),
        )
      )
    case 'role':
      return rule.roles.some((pattern) => matchesName(pattern, target.role))
    case 'cluster':
      return rule.cluster || rule.effect === 'deny'
  }
}
