/** Rate limits after validation: whom one concerns, and which statements. */
import type { Access, Permission, StatementFacts } from '../../cql/statement/facts.ts'
import type { Rule } from '../data/rules.ts'
import { matchesAnyName, matchesKeyspace } from '../names.ts'
import { type Party, type Principal, partiesOf } from '../principal.ts'
import { namesParty, type Subject } from '../subjects.ts'
import type { Scope, Unit } from './words.ts'

/** So much in a time. */
export interface Rate {
  /** As it is written, for people: `100/s`. */
  readonly text: string
  /** One unit's part of the time. */
  readonly intervalMicros: number
  /** What this time would give may be taken at once. */
  readonly burstMicros: number
}

export interface Override {
  readonly subjects: readonly Subject[]
  /** Undefined where it says nothing, `none` where it lifts the limit. */
  readonly perIdentity: Rate | 'none' | undefined
  readonly perPerson: Rate | 'none' | undefined
}

/** The first bits of an address's bytes. */
export interface AddressRange {
  readonly bytes: readonly number[]
  readonly bits: number
}

export interface RateLimitRule extends Rule {
  /** Undefined means everybody. */
  readonly subjects: readonly Subject[] | undefined
  readonly exceptSubjects: readonly Subject[]
  /** Undefined means from everywhere. */
  readonly addresses: readonly AddressRange[] | undefined
  readonly keyspaces: readonly string[]
  readonly tables: readonly string[] | undefined
  readonly permissions: ReadonlySet<Permission>
  /** Texts as the record has them; undefined means every statement. */
  readonly statements: readonly string[] | undefined
  readonly unit: Unit
  readonly rates: { readonly [S in Scope]?: Rate }
  readonly overrides: readonly Override[]
  readonly maxDelayMs: number
}

/** Of a view, the table that it shows. */
export type BaseOf = (keyspace: string, table: string) => string | undefined

/** One party is enough; an exception is for the party that it names, and takes no other out. */
export function concernsPrincipal({ subjects, exceptSubjects }: RateLimitRule, principal: Principal): boolean {
  return partiesOf(principal).some(
    (party) => !namesParty(exceptSubjects, party) && (subjects === undefined || namesParty(subjects, party)),
  )
}

/** What one of these may have; undefined where it is not bound. */
export function rateOf(rule: RateLimitRule, scope: Scope, principal: Principal): Rate | undefined {
  const rate = rule.rates[scope]
  if (rate === undefined || scope === 'total' || scope === 'perAddress') return rate
  const party = counted(scope, principal)
  if (namesParty(rule.exceptSubjects, party)) return undefined
  for (const override of rule.overrides) {
    const other = override[scope]
    if (other === undefined || !namesParty(override.subjects, party)) continue
    return other === 'none' ? undefined : other
  }
  return rate
}

/** Whose requests are counted. A workload that names a person has no more, and no less, than it has alone. */
function counted(scope: 'perIdentity' | 'perPerson', principal: Principal): Party {
  const parties = partiesOf(principal)
  return scope === 'perPerson' ? (parties[1] ?? parties[0]) : parties[0]
}

/** Whether one statement counts; of a BATCH its statements are asked about one by one. */
export function concernsStatement(rule: RateLimitRule, facts: StatementFacts, baseOf: BaseOf): boolean {
  if (rule.statements !== undefined) return rule.statements.includes(facts.redacted)
  return facts.accesses.some((access) => concernsAccess(rule, access, baseOf))
}

function concernsAccess(rule: RateLimitRule, { permission, resource }: Access, baseOf: BaseOf): boolean {
  if (!rule.permissions.has(permission)) return false
  if (resource.kind === 'cluster' || resource.kind === 'role') return false
  const { keyspace } = resource
  if (!matchesKeyspace(rule.keyspaces, keyspace)) return false
  if (rule.tables === undefined) return true
  if (resource.kind !== 'table' || keyspace === undefined) return false
  if (matchesAnyName(rule.tables, resource.table)) return true
  const base = baseOf(keyspace, resource.table)
  return base !== undefined && matchesAnyName(rule.tables, base)
}
