/**
 * Kinds `Role`, `RoleBinding` and `AccessPolicy` as compiled rules, each checked for what could never do anything.
 */
import type { DocumentPath, ParsedDocument } from '../../base/document.ts'
import { unknownWord } from '../../base/words.ts'
import type { Permission } from '../../cql/statement/facts.ts'
import { isSystemKeyspace } from '../names.ts'
import type { CompiledRule, FunctionPattern, Mode } from '../policy.ts'
import { operationGroups, permissions, permissionsOf } from '../policy.ts'
import { claimsOf } from '../providers.ts'
import type { Subject } from '../subjects.ts'
import type { AccessPolicySpec, RoleBindingSpec, RoleSpec, RuleSpec } from './kinds.ts'
import { checkSubjects, type Providers } from './subjects.ts'
import { compileWhen, narrowing } from './when.ts'

/** Keyspace × table patterns of one rule, and of all rules that could meet in one identity; a cap on work and memory. */
const combinationsPerRuleMax = 10_000
const combinationsMax = 200_000

type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

export class RuleCompiler {
  readonly #documents: readonly ParsedDocument[]
  readonly #providers: Providers
  readonly #fault: Fault
  readonly #rules: CompiledRule[] = []
  #combinations = 0

  constructor(documents: readonly ParsedDocument[], providers: Providers, fault: Fault) {
    this.#documents = documents
    this.#providers = providers
    this.#fault = fault
  }

  compile(): readonly CompiledRule[] {
    const roles = new Map<string, ParsedDocument<RoleSpec>>()
    for (const document of this.#documents) {
      if (document.kind !== 'Role') continue
      const found = document as ParsedDocument<RoleSpec>
      roles.set(found.name, found)
      for (const [index, spec] of found.spec.rules.entries()) {
        this.#checkRule(found, ['spec', 'rules', index], spec, 'allow')
      }
    }
    const bound = new Set<string>()
    for (const document of this.#documents) {
      if (document.kind === 'AccessPolicy') this.#addAccessPolicy(document as ParsedDocument<AccessPolicySpec>)
      if (document.kind === 'RoleBinding') {
        const binding = document as ParsedDocument<RoleBindingSpec>
        bound.add(binding.spec.role)
        this.#addBinding(binding, roles)
      }
    }
    for (const found of roles.values()) {
      if (!bound.has(found.name)) {
        this.#fault(found, ['metadata', 'name'], `no RoleBinding names this role, so it can never do anything`)
      }
    }
    return this.#rules
  }

  #addAccessPolicy(document: ParsedDocument<AccessPolicySpec>): void {
    const { spec } = document
    this.#checkSubjects(document, spec.subjects)
    this.#checkRule(document, ['spec'], spec, spec.effect)
    this.#add(document, { ...spec, label: `AccessPolicy ${document.name}`, role: undefined })
  }

  #addBinding(binding: ParsedDocument<RoleBindingSpec>, roles: ReadonlyMap<string, ParsedDocument<RoleSpec>>): void {
    this.#checkSubjects(binding, binding.spec.subjects)
    const found = roles.get(binding.spec.role)
    if (found === undefined) {
      this.#fault(binding, ['spec', 'role'], unknownWord('role', binding.spec.role, roles.keys()))
      return
    }
    for (const [index, spec] of found.spec.rules.entries()) {
      const label = `RoleBinding ${binding.name}, Role ${found.name}, rule ${index + 1}`
      const { subjects } = binding.spec
      this.#add(binding, { ...spec, label, effect: 'allow', mode: 'enforce', subjects, role: found.name })
    }
  }

  #add(document: ParsedDocument, spec: GivenRule): void {
    this.#combinations += (spec.keyspaces?.length ?? 0) * (spec.tables?.length ?? 1) * (spec.columns?.length ?? 1)
    if (this.#combinations > combinationsMax) {
      this.#fault(
        document,
        [],
        `the policy has more than ${combinationsMax} combinations of keyspaces, tables and columns`,
      )
      this.#combinations = Number.NEGATIVE_INFINITY
    }
    // A lone star among the tables or columns is the same as no list: it means the thing as a whole.
    const tables = spec.tables?.includes('*') ? undefined : spec.tables
    const columns = spec.columns?.includes('*') ? undefined : spec.columns
    const narrow = narrowing(spec.when).map(([, some]) => some)
    if (columns !== undefined) narrow.push(permissionsOf.columns)
    const wanted = spec.operations.flatMap(permissionsNamed).filter((one) => narrow.every((some) => some.has(one)))
    this.#rules.push({
      index: this.#rules.length,
      name: document.name,
      label: spec.label,
      effect: spec.effect,
      mode: spec.mode,
      role: spec.role,
      // Its faults were told where the rule stands.
      when: spec.when === undefined ? undefined : compileWhen(spec.when, spec.effect, undefined, () => undefined),
      subjects: spec.subjects,
      permissions: new Set(wanted),
      keyspaces: spec.keyspaces ?? [],
      tables,
      columns,
      functions: (spec.functions ?? []).map(parseFunctionPattern),
      roles: spec.roles ?? [],
      cluster: spec.cluster ?? false,
    })
  }

  #checkSubjects(document: ParsedDocument, list: readonly Subject[]): void {
    checkSubjects(list, this.#providers, (at, message) => this.#fault(document, ['spec', 'subjects', ...at], message))
  }

  #checkRule(document: ParsedDocument, path: DocumentPath, spec: RuleSpec, effect: 'allow' | 'deny'): void {
    const { keyspaces, tables, columns, functions, roles, cluster } = spec
    const fault = (at: DocumentPath, message: string): void => this.#fault(document, [...path, ...at], message)
    if (keyspaces === undefined) {
      if (tables !== undefined) fault(['tables'], '"tables" without "keyspaces" can never match')
      if (columns !== undefined) fault(['columns'], '"columns" without "keyspaces" can never match')
      if (functions === undefined && roles === undefined && cluster === undefined) {
        fault([], 'the rule names nothing; add keyspaces, functions, roles or cluster')
      }
    }
    if (columns !== undefined && (functions ?? roles ?? cluster) !== undefined) {
      fault(['columns'], '"columns" concerns tables only; give functions, roles and cluster a rule of their own')
    }
    const product = (keyspaces?.length ?? 0) * (tables?.length ?? 1) * (columns?.length ?? 1)
    if (product > combinationsPerRuleMax) {
      fault(['keyspaces'], `${product} combinations of keyspaces, tables and columns exceed ${combinationsPerRuleMax}`)
    }
    for (const [index, pattern] of keyspaces?.entries() ?? []) {
      if (isDeadKeyspacePattern(pattern)) fault(['keyspaces', index], deadWildcard(pattern))
    }
    for (const [index, text] of functions?.entries() ?? []) {
      const { keyspace } = parseFunctionPattern(text)
      if (isDeadKeyspacePattern(keyspace)) fault(['functions', index], deadWildcard(keyspace))
    }
    this.#checkOperations(spec, fault)
    if (spec.when !== undefined) {
      compileWhen(spec.when, effect, this.#providers && claimsOf(this.#providers), (at, message) =>
        fault(['when', ...at], message),
      )
      checkWhenOperations(spec, fault)
    }
    if (effect === 'deny' && deniesOnlySystemLocal(spec)) {
      fault(
        ['tables'],
        'system.local stays readable for every authenticated identity, so this deny can never do anything',
      )
    }
  }

  /** Each operation must concern a resource of the rule, and each resource an operation. */
  #checkOperations(spec: RuleSpec, fault: (at: DocumentPath, message: string) => void): void {
    const dimensions = (['keyspaces', 'functions', 'roles', 'cluster'] as const).filter(
      (key) => spec[key] !== undefined,
    )
    const possible = (key: (typeof dimensions)[number]): ReadonlySet<Permission> =>
      key === 'keyspaces' && spec.columns !== undefined ? permissionsOf.columns : permissionsOf[key]
    const reachable = new Set(dimensions.flatMap((key) => [...possible(key)]))
    const wanted = new Set(spec.operations.flatMap(permissionsNamed))
    if (dimensions.length === 0) return
    for (const [index, word] of spec.operations.entries()) {
      if (permissionsNamed(word).some((permission) => reachable.has(permission))) continue
      const about = spec.columns === undefined ? dimensions.join(', ') : 'columns'
      const valid = permissions.filter((permission) => reachable.has(permission)).join(', ')
      fault(['operations', index], `${word} never concerns ${about}, so it can never do anything here; valid: ${valid}`)
    }
    for (const key of dimensions) {
      if ([...possible(key)].some((permission) => wanted.has(permission))) continue
      fault([key], `none of the operations concerns ${key}, so "${key}" can never do anything here`)
    }
  }
}

interface GivenRule extends RuleSpec {
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly mode: Mode
  readonly role: string | undefined
  readonly subjects: readonly Subject[]
}

/** A condition on the statement says nothing of operations whose statements have no such thing. */
function checkWhenOperations(spec: RuleSpec, fault: (at: DocumentPath, message: string) => void): void {
  for (const [key, some] of narrowing(spec.when)) {
    if (spec.keyspaces === undefined) {
      fault(['when', key], `"${key}" concerns tables only, and the rule names no keyspaces`)
      continue
    }
    for (const other of ['functions', 'roles', 'cluster'] as const) {
      if (spec[other] !== undefined)
        fault([other], `"when.${key}" concerns tables only; give ${other} a rule of their own`)
    }
    for (const [index, word] of spec.operations.entries()) {
      if (permissionsNamed(word).some((permission) => some.has(permission))) continue
      const valid = permissions.filter((permission) => some.has(permission)).join(', ')
      fault(
        ['operations', index],
        `${word} never concerns "when.${key}", so it can never do anything here; valid: ${valid}`,
      )
    }
  }
}

function permissionsNamed(word: string): readonly Permission[] {
  return operationGroups.get(word) ?? permissions.filter((permission) => permission === word)
}

function parseFunctionPattern(text: string): FunctionPattern {
  const dot = text.indexOf('.')
  return dot === -1 ? { keyspace: '*', name: '*' } : { keyspace: text.slice(0, dot), name: text.slice(dot + 1) }
}

/** `system*`, `system_*`: everything that it could match is out of a wildcard's reach. */
function isDeadKeyspacePattern(pattern: string): boolean {
  return pattern.endsWith('*') && isSystemKeyspace(pattern.slice(0, -1))
}

function deadWildcard(pattern: string): string {
  return `${JSON.stringify(pattern)} can never match: a wildcard never includes system keyspaces; name each, such as "system_auth"`
}

function deniesOnlySystemLocal(spec: RuleSpec): boolean {
  const only = (list: readonly string[] | undefined, name: string): boolean =>
    list?.every((one) => one === name) ?? false
  const other = spec.functions !== undefined || spec.roles !== undefined || spec.cluster !== undefined
  return !other && only(spec.keyspaces, 'system') && only(spec.tables, 'local') && only(spec.operations, 'SELECT')
}
