/**
 * A rule of YAML as Cedar policies. One rule gives one policy for each kind of thing it speaks of, so that each stays readable.
 *
 * Rule: a policy tests names by equality and by their beginnings only, each written in the rule. `answers.ts` relies on it: names that no
 * rule tells apart share a verdict.
 */
import type { Permission } from '../../cql/statement/facts.ts'
import { driverKeyspaces, driverMetadataRule, driverTables } from '../builtin.ts'
import type { CompiledRule, FunctionPattern } from '../policy.ts'
import { permissionsOf } from '../policy.ts'
import { isPair, type Subject, type SubjectKey, subjectKeys } from '../subjects.ts'
import { entityId } from './entities.ts'
import { clusterId } from './schema.ts'
import { cedarAnd, cedarBeginsWith, cedarEntity, cedarOr, cedarString } from './text.ts'

/** A deny of a part denies the whole too: else DROP KEYSPACE would drop a table that DROP TABLE may not. CREATE and USE touch no parts. */
export function deniedWithItsParts(permission: Permission): boolean {
  return permission !== 'CREATE' && permission !== 'USE'
}

/**
 * The Cedar policies of a rule, each a whole statement.
 * @param asPermit `permit` in place of `forbid`, so that Cedar says whether the rule matches without refusing anything
 */
export function compileRule(rule: CompiledRule, asPermit = false): readonly string[] {
  const { effect, permissions, keyspaces, functions, roles } = rule
  const word = effect === 'allow' || asPermit ? 'permit' : 'forbid'
  const texts: string[] = []
  const when = conditionTests(rule)
  const add = (suffix: string, wanted: Iterable<Permission>, { scope, tests }: Resource, held = when): void => {
    const actions = [...wanted]
    if (actions.length > 0) texts.push(statement(rule, word, suffix, actions, scope, [...tests, ...held]))
  }
  if (keyspaces.length > 0) add('', permissions, tablesResource(rule))
  if (functions.length > 0) add('functions', permissions, functionsResource(functions))
  if (roles.length > 0) add('roles', permissions, rolesResource(roles))
  if (rule.cluster) add('cluster', permissions, { scope: clusterScope, tests: [] })
  const ofFunctions = functions.map(({ keyspace }) => keyspace)
  const isPart = rule.tables !== undefined || rule.columns !== undefined
  if (effect === 'allow') {
    // Conditions on a statement do not apply to USE.
    const held = conditionTests({ ...rule, when: rule.when && { ...rule.when, ...ofNoStatement } })
    const within = new Set([...keyspaces, ...ofFunctions])
    if (within.size > 0) add('use', ['USE'], keyspacesThemselves([...within]), held)
  } else {
    const wide = [...permissions].filter(deniedWithItsParts)
    const within = new Set([...(isPart ? keyspaces : []), ...ofFunctions])
    if (within.size > 0) add('whole', wide, keyspacesThemselves([...within]))
    if (!rule.cluster) add('all', wide, { scope: clusterScope, tests: [] })
  }
  return texts
}

/** What drivers need to connect, given to every principal; see `builtin.ts`. */
export function builtinTexts(): readonly string[] {
  const keyspaces = [...driverKeyspaces].map((name) => cedarEntity('Keyspace', entityId(name)))
  const tables = driverTables.map((names) => cedarEntity('Table', entityId(...names)))
  const head = (id: string) => `@id(${cedarString(id)})\n@rule(${cedarString(driverMetadataRule)})`
  const reads = '[Action::"SELECT", Action::"SCAN", Action::"DESCRIBE"]'
  return [
    `${head(driverMetadataRule)}\npermit (principal, action in ${reads}, resource)\nwhen { resource has table && (resource in [${tables.join(', ')}] || resource in [${keyspaces.join(', ')}]) };`,
    `${head(`${driverMetadataRule}.describe`)}\npermit (principal, action == Action::"DESCRIBE", resource is Keyspace)\nwhen { resource in [${keyspaces.join(', ')}] };`,
    `${head(`${driverMetadataRule}.use`)}\npermit (principal, action == Action::"USE", resource is Keyspace)\nwhen { resource in [${[cedarEntity('Keyspace', 'system'), ...keyspaces].join(', ')}] };`,
  ]
}

// ---- inside ----

interface Resource {
  readonly scope: string
  readonly tests: readonly string[]
}

const clusterScope = `resource == ${cedarEntity('Cluster', clusterId)}`
const ofNoStatement = { consistency: undefined, conditional: undefined, rowsMax: undefined }
/** A rule of more tables tests their names and not their ids. */
const entitiesMax = 64

function statement(
  rule: CompiledRule,
  word: string,
  suffix: string,
  actions: readonly Permission[],
  scope: string,
  tests: readonly string[],
): string {
  const id = suffix === '' ? rule.name : `${rule.name}.${suffix}`
  const subject = subjectsOf(rule.subjects)
  const action = actions.map((name) => cedarEntity('Action', name)).join(', ')
  const actionScope = actions.length === 1 ? `action == ${action}` : `action in [${action}]`
  const all = [...subject.tests, ...tests]
  const when = all.length === 0 ? '' : `\nwhen { ${cedarAnd(all)} }`
  const head = `@id(${cedarString(id)})\n@rule(${cedarString(rule.label)})`
  return `${head}\n${word} (${subject.scope}, ${actionScope}, ${scope})${when};`
}

/** Entity types by what a subject names; an id without a star is an entity of its own, whoever else is in it. */
function entityOfSubject(key: SubjectKey, pattern: string): string {
  const types = {
    spiffeId: pattern.includes('*') ? 'Group' : 'Workload',
    person: 'Person',
    group: 'ProviderGroup',
    role: 'CloudRole',
  }
  return cedarEntity(types[key], pattern)
}

function subjectsOf(subjects: readonly Subject[]): Resource {
  const byType = new Map<string, string[]>()
  const together: string[] = []
  for (const subject of subjects) {
    const named = subjectKeys.flatMap((key) => (subject[key] === undefined ? [] : entityOfSubject(key, subject[key])))
    const [only, ...others] = named
    if (others.length > 0) together.push(`(${cedarAnd(named.map((entity) => `principal in ${entity}`))})`)
    else if (only !== undefined) {
      const type = only.slice(0, only.indexOf(':'))
      byType.set(type, [...(byType.get(type) ?? []), only])
    }
  }
  const [only] = [...byType.values()].flat()
  if (subjects.length === 1 && only !== undefined) {
    return { scope: `principal ${only.startsWith('Workload:') ? '==' : 'in'} ${only}`, tests: [] }
  }
  // Entities of two types make no set.
  const tests = [...byType.values()].map((list) => `principal in [${list.join(', ')}]`)
  return { scope: 'principal', tests: [cedarOr([...tests, ...together])] }
}

function tablesResource(rule: CompiledRule): Resource {
  const { keyspaces, tables, columns, effect } = rule
  if (columns === undefined) {
    if (tables !== undefined) return someTables(keyspaces, tables, [])
    // Functions live in keyspaces too, and are given by name only.
    const { scope, tests } = keyspacesResource(keyspaces)
    const apart = [...rule.permissions].some((permission) => permissionsOf.functions.has(permission))
    return { scope, tests: apart ? [...tests, '!(resource is Function)'] : tests }
  }
  const named = columns.map((column) => nameTest('column', column))
  // A statement that does not say which columns means all of them, the denied ones too.
  const test =
    effect === 'allow'
      ? `resource has column && ${orOfNames('column', columns)}`
      : cedarOr(['!(resource has column)', ...named])
  if (tables !== undefined) return someTables(keyspaces, tables, [test])
  const { scope, tests } = keyspacesResource(keyspaces)
  return { scope, tests: [...tests, 'resource has table', test] }
}

/** A keyspace and what is in it. */
function keyspacesResource(patterns: readonly string[]): Resource {
  const exact = patterns
    .filter((pattern) => !pattern.endsWith('*'))
    .map((name) => cedarEntity('Keyspace', entityId(name)))
  const wild = patterns.filter((pattern) => pattern.endsWith('*'))
  if (wild.length === 0 && exact.length === 1) return { scope: `resource in ${exact[0]!}`, tests: [] }
  const tests: string[] = []
  if (exact.length > 0) tests.push(`resource in [${exact.join(', ')}]`)
  if (wild.length > 0) {
    // No wildcard includes a system keyspace.
    const begins = wild.includes('*') ? '' : ` && ${cedarOr(wild.map((pattern) => nameTest('keyspace', pattern)))}`
    tests.push(`(resource has system && !resource.system${begins})`)
  }
  return { scope: 'resource', tests: [cedarOr(tests)] }
}

function keyspacesThemselves(patterns: readonly string[]): Resource {
  const { scope, tests } = keyspacesResource(patterns)
  if (scope === 'resource') return { scope: 'resource is Keyspace', tests }
  return { scope: scope.replace('resource in', 'resource =='), tests }
}

function someTables(keyspaces: readonly string[], tables: readonly string[], more: readonly string[]): Resource {
  const exact = [...keyspaces, ...tables].every((pattern) => !pattern.endsWith('*'))
  if (exact && keyspaces.length * tables.length <= entitiesMax) {
    const ids = keyspaces.flatMap((keyspace) => tables.map((table) => cedarEntity('Table', entityId(keyspace, table))))
    if (ids.length === 1) return { scope: `resource in ${ids[0]!}`, tests: more }
    return { scope: 'resource', tests: [`resource in [${ids.join(', ')}]`, ...more] }
  }
  const { scope, tests } = keyspacesResource(keyspaces)
  return { scope, tests: [...tests, 'resource has table', orOfNames('table', tables), ...more] }
}

function functionsResource(patterns: readonly FunctionPattern[]): Resource {
  const tests = patterns.map(({ keyspace, name }) => {
    const { scope, tests: inKeyspace } = keyspacesResource([keyspace])
    const named = name === '*' ? [] : [nameTest('function', name)]
    const all = [...(scope === 'resource' ? [] : [scope]), ...inKeyspace, ...named]
    return all.length === 1 ? all[0]! : `(${cedarAnd(all)})`
  })
  return { scope: 'resource is Function', tests: [cedarOr(tests)] }
}

function rolesResource(patterns: readonly string[]): Resource {
  const [only] = patterns
  if (patterns.length === 1 && !only!.endsWith('*'))
    return { scope: `resource == ${cedarEntity('DbRole', only!)}`, tests: [] }
  return { scope: 'resource is DbRole', tests: patterns.includes('*') ? [] : [orOfNames('role', patterns)] }
}

/** `resource` has the attribute, and it is one of the names or begins as one of the patterns does. */
function orOfNames(attribute: string, patterns: readonly string[]): string {
  const exact = patterns.filter((pattern) => !pattern.endsWith('*'))
  const tests = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => nameTest(attribute, pattern))
  if (exact.length === 1) tests.unshift(nameTest(attribute, exact[0]!))
  else if (exact.length > 1) tests.unshift(`[${exact.map(cedarString).join(', ')}].contains(resource.${attribute})`)
  return cedarOr(tests)
}

function nameTest(attribute: string, pattern: string): string {
  if (!pattern.endsWith('*')) return `resource.${attribute} == ${cedarString(pattern)}`
  return `resource.${attribute} like ${cedarBeginsWith(pattern.slice(0, -1))}`
}

/** At PREPARE what only the EXECUTE will say counts as met for an allow and as not met for a deny; each EXECUTE is judged again. */
function conditionTests({ when, effect, subjects }: CompiledRule): string[] {
  if (when === undefined) return []
  const tests: string[] = []
  const later = (test: string): string =>
    effect === 'allow' ? `(context.preparing || (${test}))` : `(!context.preparing && ${test})`
  const oneOf = (attribute: string, values: readonly string[]): string =>
    `[${values.map(cedarString).join(', ')}].contains(context.${attribute})`
  if (when.clientAddresses !== undefined) {
    const ranges = when.clientAddresses.map((range) => `context.clientAddress.isInRange(ip(${cedarString(range)}))`)
    tests.push('context has clientAddress', cedarOr(ranges))
  }
  // What is given to one of a pair asks how that one was proved; a deny, and what is given to the pair, how either was.
  const ways = effect === 'deny' || subjects.some(isPair) ? 'sessionMethods' : 'methods'
  if (when.authentication !== undefined)
    tests.push(`context.${ways}.containsAny([${when.authentication.map(cedarString).join(', ')}])`)
  for (const [name, values] of when.claims ?? []) {
    tests.push(`principal.claims[${cedarString(name)}].containsAny([${values.map(cedarString).join(', ')}])`)
  }
  if (when.days !== undefined) tests.push(oneOf('dayOfWeek', when.days))
  if (when.hours !== undefined) {
    const { from, to } = when.hours
    tests.push(`(context.minuteOfDay >= ${from} ${from < to ? '&&' : '||'} context.minuteOfDay < ${to})`)
  }
  if (when.consistency !== undefined) {
    tests.push(later(`context has consistency && ${oneOf('consistency', when.consistency)}`))
  }
  if (when.conditional !== undefined) tests.push(when.conditional ? 'context.conditional' : '!context.conditional')
  if (when.rowsMax !== undefined) tests.push(later(`context has rows && context.rows <= ${when.rowsMax}`))
  return tests
}
