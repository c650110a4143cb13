import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as wasm from '@cedar-policy/cedar-wasm/nodejs'
import fc from 'fast-check'
import { loadPolicy } from '../load.ts'
import { access, document } from '../policy.fixture.ts'
import { builtinTexts, compileRule } from './compile.ts'
import { entityId, namesOfId } from './entities.ts'
import { cedarSchema } from './schema.ts'
import { cedarBeginsWith, cedarString } from './text.ts'

const texts = (...documents: string[]) =>
  loadPolicy(documents.join('\n---\n'), 'p.yaml').rules.map((rule) => compileRule(rule))
const one = [{ spiffeId: 'spiffe://td/svc/orders' }]

function assertValid(policies: readonly string[]): void {
  const answer = wasm.validate({
    schema: cedarSchema,
    policies: { staticPolicies: policies.join('\n') },
    validationSettings: { mode: 'strict' },
  })
  assert.equal(answer.type, 'success', JSON.stringify(answer))
  if (answer.type === 'success') assert.deepEqual(answer.validationErrors, [], policies.join('\n'))
}

describe('a rule in Cedar', () => {
  it('reads as what it means', () => {
    assert.deepEqual(texts(access('shop-reader', { keyspaces: ['shop'], operations: ['SELECT'] })), [
      [
        `@id("shop-reader")
@rule("AccessPolicy shop-reader")
permit (principal in Group::"spiffe://td/svc/*", action == Action::"SELECT", resource in Keyspace::"shop");`,
        `@id("shop-reader.use")
@rule("AccessPolicy shop-reader")
permit (principal in Group::"spiffe://td/svc/*", action == Action::"USE", resource == Keyspace::"shop");`,
      ],
    ])
    const [deny] = texts(
      access('no-ssn', {
        effect: 'deny',
        subjects: one,
        keyspaces: ['shop'],
        tables: ['users'],
        columns: ['ssn', 'tax_*'],
        operations: ['READ'],
      }),
    )
    assert.deepEqual(deny, [
      `@id("no-ssn")
@rule("AccessPolicy no-ssn")
forbid (principal == Workload::"spiffe://td/svc/orders", action == Action::"SELECT", resource in Table::"shop.users")
when { (!(resource has column) || resource.column == "ssn" || resource.column like "tax_*") };`,
      `@id("no-ssn.whole")
@rule("AccessPolicy no-ssn")
forbid (principal == Workload::"spiffe://td/svc/orders", action == Action::"SELECT", resource == Keyspace::"shop");`,
      `@id("no-ssn.all")
@rule("AccessPolicy no-ssn")
forbid (principal == Workload::"spiffe://td/svc/orders", action == Action::"SELECT", resource == Cluster::"cluster");`,
    ])
  })

  it('says its conditions', () => {
    const when = { clientAddresses: ['10.0.0.0/8'], hours: '22:00-06:00', days: ['mon'], rowsMax: 100 }
    const [[text] = []] = texts(access('p', { keyspaces: ['*'], operations: ['SELECT'], when }))
    assert.equal(
      text,
      `@id("p")
@rule("AccessPolicy p")
permit (principal in Group::"spiffe://td/svc/*", action == Action::"SELECT", resource)
when { (resource has system && !resource.system) && context has clientAddress && context.clientAddress.isInRange(ip("10.0.0.0/8")) && ["mon"].contains(context.dayOfWeek) && (context.minuteOfDay >= 1320 || context.minuteOfDay < 360) && (context.preparing || (context has rows && context.rows <= 100)) };`,
    )
  })

  it('is valid under our schema, whatever the rule', () => {
    const shapes = [
      { keyspaces: ['a', 'b*'], tables: ['t', 'u*'], operations: ['ALL'] },
      { keyspaces: ['*'], columns: ['c', 'd*'], operations: ['ALL'] },
      { keyspaces: ['a'], tables: ['t', 'u'], columns: ['c'], operations: ['READ'] },
      { functions: ['*', 'a.f', 'a*.g*'], keyspaces: ['a'], operations: ['ALL'] },
      { roles: ['r', 's*'], cluster: true, operations: ['ALL'] },
      { roles: ['r'], operations: ['DROP'] },
      { subjects: [...one, { spiffeId: 'spiffe://td/job/*' }], keyspaces: ['a'], operations: ['READ'] },
      { subjects: [...one, { spiffeId: 'spiffe://td/job/a' }], keyspaces: ['a'], operations: ['READ'] },
      { keyspaces: ['a'], operations: ['SELECT', 'MODIFY'], when: { consistency: ['ONE'], conditional: false } },
    ]
    for (const effect of ['allow', 'deny']) {
      const policies = texts(...shapes.map((shape, index) => access(`p${index}`, { ...shape, effect })))
      for (const rule of policies) assertValid(rule)
    }
    assertValid(builtinTexts())
  })

  it('may have as many names as a rule may have', () => {
    const many = (count: number, letter: string, star: string) =>
      Array.from({ length: count }, (_, i) => `${letter}${i}x${star}`)
    for (const star of ['', '*']) {
      const spec = { keyspaces: many(100, 'k', star), tables: many(100, 't', star), operations: ['SELECT'] }
      for (const [text] of texts(access('p', spec))) assertValid([text!])
    }
    for (const [text] of texts(
      access('p', { keyspaces: ['k'], columns: many(10_000, 'c', '*'), operations: ['SELECT'] }),
    ))
      assertValid([text!])
  })
})

/** Names with everything that could end a literal or be taken for something else. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
  fc
    .array(
      fc.constantFrom(
        '"',
        '\\',
        '*',
        '\n',
        '\r',
        '\0',
        '::',
        '");',
        '//',
        '.',
        '%',
        '%2E',
        "'",
        '{',
        '}',
        '\\"',
        '\\*',
        '\\u{41}',
        '\u202e',
        '😀',
        '__proto__',
        'permit(principal, action, resource);',
      ),
      { minLength: 1, maxLength: 8 },
    )
    .map((parts) => parts.join('')),
)

describe('names', () => {
  it('are literals and nothing else', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        const text = `permit (principal == Workload::${cedarString(name)}, action, resource) when { resource.table == ${cedarString(name)} && resource.table like ${cedarBeginsWith(name)} };`
        const answer = wasm.policyToJson(text)
        assert.equal(answer.type, 'success', text)
        if (answer.type !== 'success') return
        assert.deepEqual(answer.json.principal, { op: '==', entity: { type: 'Workload', id: name } })
        const body = (
          answer.json.conditions[0] as { body: { '&&': { left: object; right: { like: { pattern: unknown[] } } } } }
        ).body['&&']
        assert.deepEqual(body.left, {
          '==': { left: { '.': { left: { Var: 'resource' }, attr: 'table' } }, right: { Value: name } },
        })
        const { pattern } = body.right.like
        assert.equal(pattern.at(-1), 'Wildcard')
        const literal = pattern.slice(0, -1).map((part) => (part as { Literal: string }).Literal)
        assert.equal(literal.join(''), name)
      }),
      { numRuns: 2_000 },
    )
  })

  it('of columns, roles and functions stay in their place in a rule', () => {
    const inPolicy = hostile.filter((name) => !name.includes('*') && !name.includes('.') && [...name].length <= 100)
    fc.assert(
      fc.property(inPolicy, fc.boolean(), (name, star) => {
        const pattern = star ? `${name}*` : name
        const source = [
          document('AccessPolicy', 'a', {
            subjects: one,
            keyspaces: ['k'],
            columns: [pattern],
            operations: ['SELECT'],
          }),
          document('AccessPolicy', 'b', {
            subjects: one,
            effect: 'deny',
            roles: [pattern],
            functions: [`k.${pattern}`],
            operations: ['DROP'],
          }),
        ].join('\n---\n')
        const { rules } = loadPolicy(source, 'p.yaml')
        for (const text of rules.flatMap((rule) => compileRule(rule))) {
          const parts = wasm.policySetTextToParts(text)
          assert.equal(parts.type, 'success', text)
          if (parts.type === 'success') assert.equal(parts.policies.length, 1)
          assert.match(text, /^[\p{L}\p{N} !-~\n]*$/u)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('give each object an id of its own', () => {
    fc.assert(
      fc.property(
        fc.array(hostile, { minLength: 1, maxLength: 3 }),
        fc.array(hostile, { minLength: 1, maxLength: 3 }),
        (a, b) => {
          assert.equal(entityId(...a) === entityId(...b), JSON.stringify(a) === JSON.stringify(b))
          assert.deepEqual(namesOfId(entityId(...a)), a)
        },
      ),
    )
    assert.notEqual(entityId('a.b', 'c'), entityId('a', 'b.c'))
    assert.notEqual(entityId('a%2Eb'), entityId('a.b'))
  })
})
