/** Rules that are asked in parts, and rules of which a part is asked, say what all of them say at once. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { compileRule } from './cedar/compile.ts'
import { contextOf, Members, questionOf, type Target } from './cedar/entities.ts'
import { CedarSet } from './cedar/sets.ts'
import { divide, namesWholeMax } from './divided.ts'
import { loadPolicy } from './load.ts'
import type { CompiledRule, Principal } from './policy.ts'
import { neutralRequest } from './request.ts'

const spiffeId = 'spiffe://parts.test/workload/orders' as Principal['spiffeId']
const principal = new Members([]).entityOf({ who: { spiffeId }, pair: undefined })
const many = Array.from({ length: namesWholeMax + 8 }, (_, at) => at)

/** A few names that questions ask about, alone or among so many others that a rule is cut down. */
function namesOf(words: readonly string[], other = 'other') {
  const few = fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength: 2 })
  return fc.tuple(few, fc.boolean()).map(([chosen, crowded]) => {
    return crowded ? [...many.map((at) => `${other}${at}`), ...chosen] : chosen
  })
}

const keyspaces = namesOf(['ks', 'k*', 'system_auth', '*', 'else'])
const tables = fc.option(namesOf(['t', 't*', 'u']), { nil: undefined })
const columns = fc.option(namesOf(['c', 'c*', 'd']), { nil: undefined })
const functions = namesOf(['ks.f', 'ks.*', 'k*.f', 'else.f'], 'ks.other')
const roles = namesOf(['r', 'r*', 's'])
const addresses = fc.option(
  fc.tuple(fc.constantFrom('10.0.0.0/8', '192.168.7.7'), fc.boolean()).map(([wanted, crowded]) => {
    return crowded ? [...many.map((at) => `172.16.${at}.0/24`), wanted] : [wanted]
  }),
  { nil: undefined },
)
const ofTables = fc
  .tuple(keyspaces, tables, columns, fc.subarray(['SELECT', 'MODIFY', 'ALTER', 'DESCRIBE', 'USE'], { minLength: 1 }))
  .map(([keyspaces, tables, columns, operations]) => ({
    keyspaces,
    tables,
    // A policy may have no more combinations than ten thousand.
    columns: keyspaces.length > 2 && (tables?.length ?? 0) > 2 ? columns?.slice(-1) : columns,
    operations: columns === undefined ? operations : ['SELECT'],
  }))
const others = fc.oneof(
  functions.map((of) => ({ functions: of, operations: ['EXECUTE', 'DESCRIBE'] })),
  roles.map((of) => ({ roles: of, operations: ['DESCRIBE', 'ALTER'] })),
  fc.constant({ cluster: true, operations: ['DESCRIBE'] }),
)
const spec = fc
  .tuple(fc.oneof(ofTables, others), fc.constantFrom('allow', 'deny'), addresses)
  .map(([about, effect, clientAddresses]) => ({
    ...about,
    effect,
    subjects: [{ spiffeId }],
    ...(clientAddresses === undefined ? {} : { when: { clientAddresses } }),
  }))

const targets: readonly Target[] = [
  { kind: 'cluster' },
  { kind: 'keyspace', keyspace: 'ks' },
  { kind: 'keyspace', keyspace: 'system_auth' },
  { kind: 'table', keyspace: 'ks', table: 't' },
  { kind: 'table', keyspace: 'system_auth', table: 'u' },
  { kind: 'column', keyspace: 'ks', table: 't', column: 'c' },
  { kind: 'column', keyspace: 'ks', table: 'u', column: 'd' },
  { kind: 'function', keyspace: 'ks', name: 'f' },
  { kind: 'role', role: 'r' },
]
const permissions = ['SELECT', 'MODIFY', 'ALTER', 'DESCRIBE', 'USE', 'EXECUTE'] as const

interface Said {
  readonly deny: ReadonlySet<number>
  readonly allow: ReadonlySet<number>
}

/** What Cedar says of some rules, asked of each by itself: which match. */
function matching(rules: readonly CompiledRule[], target: Target, permission: (typeof permissions)[number]): Said {
  const question = questionOf(principal, permission, target)
  const context = contextOf({ ...neutralRequest, clientAddress: '10.1.2.3' }, false, undefined)
  const texts = new Map<string, string>()
  for (const [at, rule] of rules.entries())
    for (const [arm, text] of compileRule(rule, true).entries()) texts.set(`${rule.index}.${at}.${arm}`, text)
  const { failed, reasons } = new CedarSet(texts).ask(question, context)
  assert.equal(failed, false)
  const indexes = new Set(reasons.map((reason) => Number(reason.split('.', 1)[0])))
  const of = (effect: string): Set<number> =>
    new Set(rules.filter((rule) => rule.effect === effect && indexes.has(rule.index)).map(({ index }) => index))
  return { deny: of('deny'), allow: of('allow') }
}

describe('rules in parts', () => {
  it('match where the rules match', () => {
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 24 }), (specs) => {
        const source = specs
          .map((one, at) =>
            JSON.stringify({
              apiVersion: 'ringfence.dev/v1alpha1',
              kind: 'AccessPolicy',
              metadata: { name: `a${at}` },
              spec: one,
            }),
          )
          .join('\n---\n')
        const { rules } = loadPolicy(source, 'parts.yaml')
        for (const target of targets) {
          const parts = divide(rules, target)
          for (const permission of permissions) {
            const whole = matching(rules, target, permission)
            const said = parts.map((part) =>
              matching(
                part.map(({ asked }) => asked),
                target,
                permission,
              ),
            )
            for (const effect of ['deny', 'allow'] as const) {
              const joined = new Set(said.flatMap((one) => [...one[effect]]))
              assert.deepEqual([...joined].sort(), [...whole[effect]].sort(), JSON.stringify([target, permission]))
            }
          }
        }
      }),
      { numRuns: 6 },
    )
  })

  it('are small', () => {
    const rule = (at: number, more: object) =>
      JSON.stringify({
        apiVersion: 'ringfence.dev/v1alpha1',
        kind: 'AccessPolicy',
        metadata: { name: `a${at}` },
        spec: { subjects: [{ spiffeId }], keyspaces: ['ks'], operations: ['READ'], ...more },
      })
    const names = (count: number) => Array.from({ length: count }, (_, at) => `t${at}`)
    const source = [
      ...Array.from({ length: 500 }, (_, at) => rule(at, { effect: at % 2 === 0 ? 'allow' : 'deny' })),
      rule(500, { tables: names(5_000) }),
      rule(501, { when: { clientAddresses: Array.from({ length: 500 }, (_, at) => `10.${at % 250}.0.0/16`) } }),
    ].join('\n---\n')
    const { rules } = loadPolicy(source, 'parts.yaml')
    for (const target of targets) {
      for (const part of divide(rules, target)) {
        const characters = part.flatMap(({ asked }) => compileRule(asked)).join('').length
        // Cedar takes up to a microsecond for each.
        assert.ok(characters < 7_000, `${characters} characters in one part`)
      }
    }
  })
})
