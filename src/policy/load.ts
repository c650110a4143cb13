/**
 * From YAML to a `CompiledPolicy`: kinds `Role`, `RoleBinding` and `AccessPolicy`. A rule that could never do anything is refused with its
 * line and column, because its author believes that it does something.
 */
import { z } from 'zod'
import type { DocumentPath, ParsedDocument, Problem } from '../base/document.ts'
import { configError, parseDocuments, unknownWord } from '../base/document.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Permission } from '../cql/statement/facts.ts'
import { parseSpiffePattern } from '../identity/spiffe.ts'
import type { CompiledPolicy, CompiledRule, FunctionPattern } from './policy.ts'
import { isSystemKeyspace, operationGroups, permissions, permissionsOf } from './policy.ts'

/** Keyspace × table patterns of one rule, and of all rules that could meet in one identity; a cap on work and memory. */
const combinationsPerRuleMax = 10_000
const combinationsMax = 200_000

const operationWords = [...permissions, ...operationGroups.keys()]

const nonEmpty = <T extends z.ZodType>(element: T) =>
  z.array(element).min(1, 'the list is empty, so the rule can never do anything')

/** Cassandra's own shape of keyspace and table names (`SchemaConstants.PATTERN_WORD_CHARS`), with an optional `*` at the end. */
const objectPattern = z
  .string()
  .regex(/^(\*|\w{1,222}\*?)$/, 'a name has letters, digits and "_"; "*" may stand alone or at its end')
const anyNamePattern = z
  .string()
  .regex(/^[^*]{0,256}\*?$/, '"*" may stand alone or at the end of a name only')
  .min(1, 'a name is empty')
const functionPattern = z
  .string()
  .regex(
    /^(\*|(\*|\w{1,222}\*?)\.(\*|[^*.]{1,256}\*?))$/,
    'a function is written keyspace.name, where each part may end with "*"',
  )

const subjects = nonEmpty(z.strictObject({ spiffeId: z.string() }))

const ruleShape = {
  keyspaces: nonEmpty(objectPattern).optional(),
  tables: nonEmpty(objectPattern).optional(),
  columns: nonEmpty(anyNamePattern).optional(),
  functions: nonEmpty(functionPattern).optional(),
  roles: nonEmpty(anyNamePattern).optional(),
  cluster: z.literal(true, '"cluster" is true or absent').optional(),
  operations: nonEmpty(z.enum(operationWords as [string, ...string[]])),
}

const rule = z.strictObject(ruleShape)
const role = z.strictObject({ rules: nonEmpty(rule) })
const roleBinding = z.strictObject({ role: z.string(), subjects })
const accessPolicy = z.strictObject({
  effect: z.enum(['allow', 'deny']).default('allow'),
  mode: z.enum(['enforce']).default('enforce'),
  subjects,
  ...ruleShape,
})

type RuleSpec = z.infer<typeof rule>
type RoleSpec = z.infer<typeof role>
type RoleBindingSpec = z.infer<typeof roleBinding>
type AccessPolicySpec = z.infer<typeof accessPolicy>
type AnySpec = RoleSpec | RoleBindingSpec | AccessPolicySpec

const schemas = new Map<string, z.ZodType<AnySpec>>([
  ['Role', role],
  ['RoleBinding', roleBinding],
  ['AccessPolicy', accessPolicy],
])

/**
 * Reads a whole policy of at most `policyBytesMax`. A blank source is refused too: a policy that denies everything is one that was never
 * installed. @throws RingfenceError CONFIG, one line `file:line:column: message` for each problem
 */
export function loadPolicy(source: string, fileName: string): CompiledPolicy {
  const bytes = Buffer.byteLength(source)
  if (bytes > limits.policyBytesMax) {
    const problem = { line: 1, column: 1, message: `${bytes} bytes exceed policyBytesMax ${limits.policyBytesMax}` }
    throw configError(fileName, [problem])
  }
  const problems: Problem[] = []
  const documents = parseDocuments(source, fileName, schemas)
  refuseDuplicates(documents, problems)
  const compiler = new Compiler(documents, problems)
  const rules = compiler.compile()
  if (problems.length > 0) throw configError(fileName, problems)
  return { rules }
}

class Compiler {
  readonly #documents: readonly ParsedDocument<AnySpec>[]
  readonly #problems: Problem[]
  readonly #rules: CompiledRule[] = []
  #combinations = 0

  constructor(documents: readonly ParsedDocument<AnySpec>[], problems: Problem[]) {
    this.#documents = documents
    this.#problems = problems
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
    this.#add(document, `AccessPolicy ${document.name}`, spec.effect, spec.subjects, spec)
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
      this.#add(binding, label, 'allow', binding.spec.subjects, spec)
    }
  }

  #add(
    document: ParsedDocument<AnySpec>,
    label: string,
    effect: 'allow' | 'deny',
    subjectSpecs: readonly { readonly spiffeId: string }[],
    spec: RuleSpec,
  ): void {
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
    const wanted = spec.operations.flatMap(permissionsNamed)
    this.#rules.push({
      index: this.#rules.length,
      name: document.name,
      label,
      effect,
      subjects: subjectSpecs.map((subject) => subject.spiffeId),
      permissions: new Set(columns === undefined ? wanted : wanted.filter((one) => permissionsOf.columns.has(one))),
      keyspaces: spec.keyspaces ?? [],
      tables,
      columns,
      functions: (spec.functions ?? []).map(parseFunctionPattern),
      roles: spec.roles ?? [],
      cluster: spec.cluster ?? false,
    })
  }

  #checkSubjects(document: ParsedDocument<AnySpec>, specs: readonly { readonly spiffeId: string }[]): void {
    for (const [index, subject] of specs.entries()) {
      try {
        parseSpiffePattern(subject.spiffeId)
      } catch (reason) {
        const error = RingfenceError.from(reason, 'CONFIG')
        const hint = error.hint === undefined ? '' : `; write ${error.hint}`
        this.#fault(document, ['spec', 'subjects', index, 'spiffeId'], `${error.message}${hint}`)
      }
    }
  }

  #checkRule(document: ParsedDocument<AnySpec>, path: DocumentPath, spec: RuleSpec, effect: 'allow' | 'deny'): void {
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

  #fault(document: ParsedDocument<AnySpec>, path: DocumentPath, message: string): void {
    this.#problems.push({ ...document.position(path), message })
  }
}

function refuseDuplicates(documents: readonly ParsedDocument<AnySpec>[], problems: Problem[]): void {
  // Roles have names of their own; AccessPolicies and RoleBindings share one set, because verdicts name them.
  const seen = new Map<string, ParsedDocument<AnySpec>>()
  for (const document of documents) {
    const key = `${document.kind === 'Role' ? 'role' : 'rule'} ${document.name}`
    const first = seen.get(key)
    if (first === undefined) seen.set(key, document)
    else {
      const { line } = first.position(['metadata', 'name'])
      const message = `the name ${JSON.stringify(document.name)} is taken by the ${first.kind} at line ${line}`
      problems.push({ ...document.position(['metadata', 'name']), message })
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
