/**
 * Cedar's decision and its explanation against a third reading of the policy: a naive interpreter that walks the documents as they are
 * written and shares no code with either.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { factsWith } from '../cql/statement/facts.fixture.ts'
import type { Access, Permission, Resource } from '../cql/statement/facts.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { PolicyEngine } from './engine.ts'
import type { Outcome } from './explain.ts'
import { loadPolicy } from './load.ts'

interface RuleText {
  readonly keyspaces?: readonly string[]
  readonly tables?: readonly string[]
  readonly columns?: readonly string[]
  readonly functions?: readonly string[]
  readonly roles?: readonly string[]
  readonly cluster?: true
  readonly operations: readonly string[]
}

interface PolicyText extends RuleText {
  readonly effect: 'allow' | 'deny'
  readonly subjects: readonly string[]
}

const all: readonly Permission[] = [
  'SELECT',
  'MODIFY',
  'CREATE',
  'ALTER',
  'DROP',
  'AUTHORIZE',
  'DESCRIBE',
  'EXECUTE',
  'UNMASK',
  'TRUNCATE',
  'USE',
  'SCAN',
]

// ---- the reference ----

function operationGiven(words: readonly string[], permission: string): boolean {
  return words.some(
    (word) =>
      word === 'ALL' ||
      word === permission ||
      (word === 'READ' && ['SELECT', 'USE', 'DESCRIBE'].includes(permission)) ||
      (word === 'WRITE' && permission === 'MODIFY') ||
      (word === 'SCHEMA' && ['CREATE', 'ALTER', 'DROP'].includes(permission)),
  )
}

function nameFits(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => {
    if (pattern === '*') return true
    return pattern.at(-1) === '*' ? name.indexOf(pattern.slice(0, -1)) === 0 : name === pattern
  })
}

function keyspaceFits(patterns: readonly string[], keyspace: string | undefined): boolean {
  if (keyspace === undefined) return false
  if (keyspace.slice(0, 6).toLowerCase() === 'system') return patterns.includes(keyspace)
  return nameFits(patterns, keyspace)
}

function subjectFits(patterns: readonly string[], id: string): boolean {
  return patterns.some((pattern) => {
    if (!pattern.endsWith('/*')) return pattern === id
    return id.startsWith(pattern.slice(0, -1)) && id.length > pattern.length - 1
  })
}

const columnWords = ['SELECT', 'MODIFY', 'ALTER', 'UNMASK']
const functionWords = ['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE', 'EXECUTE']

function partsAreWhole(permission: Permission): boolean {
  return permission !== 'USE' && permission !== 'CREATE'
}

/** Keyspace patterns that a rule speaks of at all. */
function keyspacesOf(rule: RuleText): string[] {
  return [...(rule.keyspaces ?? []), ...(rule.functions ?? []).map((text) => text.split('.')[0]!)]
}

type Reading = 'no' | 'yes' | ReadonlySet<string>

/** What one rule says of one access: no, yes, or yes for some columns. */
function read(rule: PolicyText, access: Access): Reading {
  const { permission, resource, columns } = access
  if (permission === 'USE' && rule.effect === 'allow' && resource.kind === 'keyspace') {
    return keyspaceFits(keyspacesOf(rule), resource.keyspace) ? 'yes' : 'no'
  }
  if (!operationGiven(rule.operations, permission)) return 'no'
  const limited = rule.columns !== undefined && !rule.columns.includes('*') ? rule.columns : undefined
  if (limited !== undefined && !columnWords.includes(permission)) return 'no'
  const wholeDeny = rule.effect === 'deny' && partsAreWhole(permission)
  if (resource.kind === 'cluster') return rule.cluster === true || wholeDeny ? 'yes' : 'no'
  if (resource.kind === 'role') return nameFits(rule.roles ?? [], resource.role) ? 'yes' : 'no'
  if (resource.kind === 'function') {
    const { keyspace, name } = resource
    if (!functionWords.includes(permission)) return 'no'
    const fits = (rule.functions ?? []).some((text) => {
      const [inKeyspace, named] = text.split('.')
      return keyspaceFits([inKeyspace!], keyspace) && nameFits([named!], name)
    })
    return fits ? 'yes' : 'no'
  }
  if (resource.kind === 'keyspace') {
    if (wholeDeny) return keyspaceFits(keyspacesOf(rule), resource.keyspace) ? 'yes' : 'no'
    const everyTable = rule.tables === undefined || rule.tables.includes('*')
    return everyTable && limited === undefined && keyspaceFits(rule.keyspaces ?? [], resource.keyspace) ? 'yes' : 'no'
  }
  if (!keyspaceFits(rule.keyspaces ?? [], resource.keyspace)) return 'no'
  if (rule.tables !== undefined && !nameFits(rule.tables, resource.table)) return 'no'
  if (limited === undefined) return 'yes'
  if (columns === '*' || columns.length === 0) return rule.effect === 'deny' ? 'yes' : 'no'
  const given = new Set(columns.filter((column) => nameFits(limited, column)))
  if (given.size === 0) return 'no'
  return rule.effect === 'deny' ? 'yes' : given
}

const driverKeyspaces = ['system_schema', 'system_virtual_schema']

function builtIn({ permission, resource }: Access): boolean {
  if (resource.kind === 'keyspace') {
    if (permission === 'USE') return ['system', ...driverKeyspaces].includes(resource.keyspace ?? '')
    return permission === 'DESCRIBE' && driverKeyspaces.includes(resource.keyspace ?? '')
  }
  if (resource.kind !== 'table' || !['SELECT', 'SCAN', 'DESCRIBE'].includes(permission)) return false
  if (driverKeyspaces.includes(resource.keyspace ?? '')) return true
  return resource.keyspace === 'system' && ['local', 'peers', 'peers_v2'].includes(resource.table)
}

/** `+rules` or `-rule`, by the names `p0`, `p1`, … of the policies. */
function reference(policies: readonly PolicyText[], id: string, access: Access): string {
  const { permission, resource, columns } = access
  if (['SELECT', 'SCAN'].includes(permission) && resource.kind === 'table' && resource.keyspace === 'system') {
    if (resource.table === 'local') return '+driver-metadata'
  }
  const readings = policies.map((one) => (subjectFits(one.subjects, id) ? read(one, access) : 'no'))
  const denied = policies.findIndex((one, i) => one.effect === 'deny' && readings[i] !== 'no')
  if (denied !== -1) return `-p${denied}`
  const allowed = policies.findIndex((one, i) => one.effect === 'allow' && readings[i] === 'yes')
  if (allowed !== -1) return `+p${allowed}`
  if (columns !== '*' && columns.length > 0) {
    const first = columns.map((column) => readings.findIndex((one) => typeof one !== 'string' && one.has(column)))
    if (first.every((index) => index !== -1)) {
      const named = [...new Set(first)].sort((a, b) => a - b)
      return `+${named.map((index) => `p${index}`).join(',')}`
    }
  }
  return builtIn(access) ? '+driver-metadata' : '-default-deny'
}

// ---- what is asked ----

const keyspaceNames = [
  'a',
  'ab',
  'b',
  '__proto__',
  'constructor',
  'system',
  'system_auth',
  'system_schema',
  'sys',
  'System',
]
const objectNames = ['t', 'tt', 'u', '__proto__', 'local', 'peers', 'toString']
const columnNames = ['c', 'cc', 'd', '__proto__']
const ids = ['spiffe://td/svc/a', 'spiffe://td/svc/b/c', 'spiffe://td/job/a', 'spiffe://other/svc/a']

const some = (...words: readonly string[]) => fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength: 3 })
const keyspaces = some(...keyspaceNames, '*', 'a*', 's*', '__*')
const objects = some(...objectNames, '*', 't*')
const subjects = some(
  'spiffe://td/svc/*',
  'spiffe://td/*',
  'spiffe://td/svc/a',
  'spiffe://td/job/a',
  'spiffe://other/*',
)
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const rule: fc.Arbitrary<RuleText> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      keyspaces,
      tables: maybe(objects),
      operations: some(...all.filter((one) => one !== 'EXECUTE'), 'READ', 'WRITE', 'SCHEMA', 'ALL'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      keyspaces,
      tables: maybe(objects),
      columns: some(...columnNames, 'c*'),
      operations: some(...columnWords, 'READ', 'ALL'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      functions: some('a.t', 'a.*', '*.t', '*.*', 'system.t', 'b.t*'),
      keyspaces: maybe(keyspaces),
      operations: some('ALL', 'SCHEMA'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      roles: objects,
      cluster: fc.constantFrom(undefined, true as const),
      operations: some('ALL', 'DROP', 'AUTHORIZE'),
    }),
  },
) as fc.Arbitrary<RuleText>

const policies: fc.Arbitrary<PolicyText[]> = fc.array(
  fc.tuple(rule, fc.constantFrom('allow', 'allow', 'deny'), subjects).map(([spec, effect, who]) => {
    return { ...spec, effect, subjects: who } as PolicyText
  }),
  { minLength: 1, maxLength: 8 },
)

const keyspace = fc.constantFrom(...keyspaceNames, undefined)
const object = fc.constantFrom(...objectNames)
const resource: fc.Arbitrary<Resource> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('table' as const), keyspace, table: object }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('keyspace' as const), keyspace }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('function' as const), keyspace, name: object }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('role' as const), role: object }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'cluster' as const }) },
)
const access: fc.Arbitrary<Access> = fc
  .record({
    permission: fc.constantFrom(...all),
    resource,
    columns: fc.oneof(fc.constant('*' as const), fc.array(fc.constantFrom(...columnNames), { maxLength: 3 })),
  })
  .map((one) => (one.resource.kind === 'table' ? one : { ...one, columns: [] }))

const asked = fc.record({ id: fc.constantFrom(...ids), access })

it('decides and explains as a naive interpreter does', () => {
  let permits = 0
  let denials = 0
  let refused = 0
  fc.assert(
    fc.property(policies, fc.array(asked, { minLength: 1, maxLength: 12 }), (documents, questions) => {
      const source = documents.map((one, index) =>
        JSON.stringify({
          apiVersion: 'ringfence.dev/v1alpha1',
          kind: 'AccessPolicy',
          metadata: { name: `p${index}` },
          spec: { ...one, subjects: one.subjects.map((spiffeId) => ({ spiffeId })) },
        }),
      )
      const engine = new PolicyEngine({ principalViewsMax: 2 })
      try {
        engine.install(loadPolicy(source.join('\n---\n'), 'policy.yaml'), 1)
      } catch {
        refused++
        return
      }
      for (const { id, access } of questions) {
        const facts = factsWith({ accesses: [access] })
        const expected = reference(documents, id, access)
        const { decision, accesses } = engine.explain({ spiffeId: parseSpiffeId(id) }, facts)
        assert.equal((decision.kind === 'permit' ? '+' : '-') + decision.rule, expected)
        if (decision.kind === 'permit') permits++
        else denials++

        const outcomes = accesses[0]!.considered
        const speaks = (effect: string, ...wanted: Outcome[]) =>
          outcomes.filter((one) => one.effect === effect && wanted.includes(one.outcome)).map((one) => one.rule)
        const denies = speaks('deny', 'matched')
        if (expected === '-default-deny') {
          assert.deepEqual([denies, speaks('allow', 'matched')], [[], []])
        } else if (expected.startsWith('-')) {
          assert.equal(denies[0], expected.slice(1))
        } else {
          const gave = speaks('allow', 'matched', 'some columns')
          for (const name of expected.slice(1).split(',')) assert.ok(gave.includes(name), `${name} among ${gave}`)
        }
      }
    }),
    { numRuns: 800 },
  )
  // The property would be hollow if it met one side only.
  assert.ok(permits > 300 && denials > 300, `${permits} permits, ${denials} denials`)
  assert.ok(refused < 500, `${refused} policies were refused`)
})
