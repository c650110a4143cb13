/**
 * `policy` answers one question: may this principal do what this statement would do?
 *
 * The rule one must not break: nothing is permitted by accident. What no rule allows is denied, a deny always wins, and a wildcard never
 * reaches a `system…` keyspace. A `Permit` is made in `engine.ts` only, so nothing that takes one can be called without a decision. This
 * folder knows no CQL bytes, opens nothing and reads no clock.
 *
 *   YAML ─ load.ts ─▶ CompiledPolicy ─ cedar/compile.ts ─▶ Cedar text ─ verdicts.ts ─▶ verdict on one access ─ engine.ts ─▶ Decision
 *
 * This file: the words of a policy, and a policy as it stands after validation (`load.ts` makes one, `engine.ts` runs it).
 */
import type { Permission } from '../cql/statement/facts.ts'
import type { ProviderDocument } from '../identity/providers/provider.ts'
import type { Conditions, ContextAttribute } from './conditions.ts'
import type { DataRules } from './data/rules.ts'
import type { RateLimitRule } from './limits/rules.ts'
import type { Subject } from './subjects.ts'

export type { Principal } from './principal.ts'

/** Every permission, in the order in which policies and refusals list them. */
export const permissions = [
  'SELECT',
  'MODIFY',
  'CREATE',
  'ALTER',
  'DROP',
  'TRUNCATE',
  'AUTHORIZE',
  'DESCRIBE',
  'EXECUTE',
  'UNMASK',
  'USE',
  'SCAN',
] as const satisfies readonly Permission[]

/** Short words for several permissions. TRUNCATE, DROP and AUTHORIZE are never part of writing, nor SCAN of reading. */
export const operationGroups: ReadonlyMap<string, readonly Permission[]> = new Map<string, readonly Permission[]>([
  ['READ', ['SELECT', 'USE', 'DESCRIBE']],
  ['WRITE', ['MODIFY']],
  ['SCHEMA', ['CREATE', 'ALTER', 'DROP']],
  ['ALL', permissions],
])

/** Which permissions can concern which kind of resource; an operation that concerns none of a rule's resources is refused. */
export const permissionsOf = {
  keyspaces: new Set<Permission>(permissions.filter((permission) => permission !== 'EXECUTE')),
  columns: new Set<Permission>(['SELECT', 'MODIFY', 'ALTER', 'UNMASK']),
  functions: new Set<Permission>(['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE', 'EXECUTE']),
  roles: new Set<Permission>(['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE']),
  cluster: new Set<Permission>(['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE']),
} as const

/** `observe`: a deny refuses nothing and an allow gives only on trial; what it would have changed is told by `Permit.observed`. */
export type Mode = 'enforce' | 'observe'

/** A function pattern `keyspace.name`, each part a name pattern. */
export interface FunctionPattern {
  readonly keyspace: string
  readonly name: string
}

/**
 * One rule of the policy. Name patterns are exact canonical names, `*`, or a beginning followed by `*`; a wildcard in a keyspace's place
 * never includes a `system…` keyspace.
 */
export interface CompiledRule {
  /** Place in the policy; where several rules could be named in a verdict, the lowest is. */
  readonly index: number
  /** `metadata.name` of the AccessPolicy or RoleBinding that gives it; unique in a policy. */
  readonly name: string
  /** For people: `AccessPolicy orders`, `RoleBinding analysts, Role read-only, rule 2`. */
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly mode: Mode
  /** The Role that a RoleBinding gives. */
  readonly role: string | undefined
  /** What must hold of the request besides; undefined for most. */
  readonly when: Conditions | undefined
  readonly subjects: readonly Subject[]
  readonly permissions: ReadonlySet<Permission>
  readonly keyspaces: readonly string[]
  /** Undefined means every table, and with it the keyspace itself. */
  readonly tables: readonly string[] | undefined
  /** Undefined means every column, and with it what is about no column (DROP, TRUNCATE). Never with functions, roles or cluster. */
  readonly columns: readonly string[] | undefined
  readonly functions: readonly FunctionPattern[]
  readonly roles: readonly string[]
  readonly cluster: boolean
}

/** One policy in Cedar's words, as it stands after validation. */
export interface CedarRule {
  /** Counts on from the rules in YAML. */
  readonly index: number
  /** Its `@id`, else the name of its document. */
  readonly name: string
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly mode: Mode
  readonly text: string
  /** The same with `permit` in place of `forbid`, so that Cedar says of each whether it matches. */
  readonly asPermit: string
  readonly contextUsed: ReadonlySet<ContextAttribute>
  /** Whom its text names, each by one thing. */
  readonly subjects: readonly Subject[]
  /** It can tell one column from another. */
  readonly speaksOfColumns: boolean
  /** Keyspaces that its text names, in whatever role. */
  readonly keyspaces: ReadonlySet<string>
  /** Tables and functions that its text names, as `[keyspace, name]`. */
  readonly tables: readonly (readonly [string, string])[]
  readonly functions: readonly (readonly [string, string])[]
  /** Columns that its text names, as `[keyspace, table, column]`. */
  readonly columns: readonly (readonly [string, string, string])[]
}

/** Which workloads may name whom as the person behind a request, without a token that says so. */
export interface ImpersonationRule {
  readonly name: string
  readonly subjects: readonly Subject[]
  /** Patterns. */
  readonly persons: readonly string[]
}

export interface CompiledPolicy {
  readonly rules: readonly CompiledRule[]
  /** Policies written in Cedar itself, in the order of the file. */
  readonly cedar: readonly CedarRule[]
  /** Masks, retention and guardrails. */
  readonly data: DataRules
  /** Whose tokens say who somebody is; they permit nothing. */
  readonly providers: readonly ProviderDocument[]
  readonly impersonations: readonly ImpersonationRule[]
  /** How much may be done in a time. */
  readonly rateLimits: readonly RateLimitRule[]
}
