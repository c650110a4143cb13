/** Of a workload with a person behind it: a way to prove oneself, and a claim, count for the one whose evidence it is. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { analyse } from '../cql/statement/analyse.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { claimsOfEither } from '../identity/verified.ts'
import type { PolicyEngine } from './engine.ts'
import { access, atNoon, cedar, decide, document, engineOf, schemaOf, verdict } from './policy.fixture.ts'
import { type Principal, principalKey, waysOf } from './principal.ts'
import type { Subject } from './subjects.ts'

const corp = document('IdentityProvider', 'corp', {
  type: 'oidc',
  issuer: 'https://corp.example.com',
  audiences: ['ringfence'],
  claims: { forPolicy: ['acr', 'team'] },
})
const webId = parseSpiffeId('spiffe://td/svc/web')
const both: Principal = { spiffeId: webId, person: 'corp/alice', groups: ['corp/analysts'] }
const subjects = {
  workload: { spiffeId: webId },
  person: { person: 'corp/alice' },
  pair: { spiffeId: webId, person: 'corp/alice' },
} as const
const principals = {
  workload: 'principal == Workload::"spiffe://td/svc/web" && !(principal has person)',
  person: 'principal in Person::"corp/alice" && principal.spiffeId like "*/user/*"',
  pair: 'principal.spiffeId like "*/svc/*" && principal in Person::"corp/alice"',
} as const
type Of = keyof typeof subjects
const all: readonly Of[] = ['workload', 'person', 'pair']

const read = 'SELECT a FROM ks.t WHERE id = 1'
const schema = schemaOf({ 'ks.t': { columns: ['id', 'a'] } })
const rule = (name: string, subject: Subject, more: object = {}): string =>
  access(name, { subjects: [subject], keyspaces: ['ks'], operations: ['READ'], ...more })
const inCedar = (name: string, effect: string, who: Of, condition: string): string =>
  cedar(name, `${effect} (principal, action, resource in Keyspace::"ks") when { ${principals[who]} } ${condition};`)
/** What lets the other of the two, so that the rule that is tried decides. */
const others: Readonly<Record<Of, readonly string[]>> = {
  workload: [rule('p', subjects.person)],
  person: [rule('w', subjects.workload)],
  pair: [],
}
const allowed = [rule('w', subjects.workload), rule('p', subjects.person)]

/** Of what a session shows: which ways proved the workload, and which the person. */
const sessions: Readonly<Record<string, { readonly workload: string; readonly person: string }>> = {
  // A certificate and a token about a person.
  'certificate+oidc': { workload: 'certificate', person: 'oidc' },
  // A workload by its token, that only says whom it asks for.
  'oidc+impersonation': { workload: 'oidc', person: 'impersonation' },
  'oidc+txn-token': { workload: 'oidc', person: 'txn-token' },
  'certificate+impersonation': { workload: 'certificate', person: 'impersonation' },
  // A certificate and a token about the same workload, and then a person.
  'certificate+aws+txn-token': { workload: 'certificate+aws', person: 'txn-token' },
  // One token that says both.
  oidc: { workload: 'oidc', person: 'oidc' },
}
const ways = ['certificate', 'oidc', 'aws', 'txn-token', 'impersonation']

/** `+` or `-`. */
const came = (engine: PolicyEngine, authentication: string, as = both): string =>
  verdict(engine, read, { as, schema, request: { authentication } })[0]!

for (const [authentication, own] of Object.entries(sessions)) {
  const shown = authentication.split('+')
  const counts = (way: string, of: Of, effect: 'allow' | 'deny'): boolean =>
    (of === 'pair' || effect === 'deny' ? shown : own[of].split('+')).includes(way)

  describe(`a session that showed ${authentication}`, () => {
    it('knows whose each of them is', () => {
      assert.deepEqual(waysOf(authentication, 'workload'), own.workload.split('+'))
      assert.deepEqual(waysOf(authentication, 'person'), own.person.split('+'))
      assert.deepEqual(waysOf(authentication, undefined), shown)
    })

    for (const way of ways) {
      it(`is given by ${way} what is of whom it proved, and is denied by it whoever is meant`, () => {
        for (const of of all) {
          const when = { authentication: [way] }
          const given = engineOf(rule('x', subjects[of], { when }), ...others[of], corp)
          const denied = engineOf(rule('x', subjects[of], { when, effect: 'deny' }), ...allowed, corp)
          assert.equal(came(given, authentication), counts(way, of, 'allow') ? '+' : '-', `allow of ${of}`)
          assert.equal(came(denied, authentication), counts(way, of, 'deny') ? '-' : '+', `deny of ${of}`)
          // What is told of it is what is done.
          for (const [engine, effect] of [
            [given, 'allow'],
            [denied, 'deny'],
          ] as const) {
            const { accesses } = engine.explain(both, analyse(read), { ...atNoon, authentication }, schema)
            const matched = accesses.some(({ considered }) =>
              considered.some(({ rule: name, outcome }) => name === 'x' && outcome === 'matched'),
            )
            assert.equal(matched, counts(way, of, effect), `explained ${effect} of ${of}`)
          }
        }
      })

      it(`is judged so by policies in Cedar that look at ${way}`, () => {
        const has = (attribute: string) => `context.${attribute}.contains("${way}")`
        for (const of of all) {
          const given = (condition: string) =>
            came(engineOf(inCedar('x', 'permit', of, condition), ...others[of], corp), authentication)
          const forbidden = (condition: string) =>
            came(engineOf(inCedar('x', 'forbid', of, condition), ...allowed, corp), authentication)
          const [ofWhom, ofSession] = [counts(way, of, 'allow'), shown.includes(way)]
          assert.equal(given(`when { ${has('methods')} }`), ofWhom ? '+' : '-', `permit of ${of}`)
          assert.equal(given(`when { ${has('sessionMethods')} }`), ofSession ? '+' : '-', `permit of ${of}, session`)
          // A condition that is turned round gives no more than it did.
          assert.equal(given(`unless { ${has('methods')} }`), ofSession ? '-' : '+', `permit of ${of}, unless`)
          assert.equal(forbidden(`when { ${has('methods')} }`), ofSession ? '-' : '+', `forbid of ${of}`)
          assert.equal(forbidden(`unless { ${has('methods')} }`), ofWhom ? '+' : '-', `forbid of ${of}, unless`)
        }
      })
    }
  })
}

describe('a claim', () => {
  const claims = { acr: 'mfa', team: 'data' }
  const said = { ...both, claims, claimsOf: { workload: { team: 'data' }, person: { acr: 'mfa' } } }
  const turned = { ...both, claims, claimsOf: { workload: { acr: 'mfa' }, person: { team: 'data' } } }
  const of = (engine: PolicyEngine, as: Principal): string => verdict(engine, read, { as, schema })[0]!

  it('gives what is of whom it is said, and denies whoever is meant', () => {
    const mfa = { claims: { acr: 'mfa' } }
    const test = 'when { principal.claims.acr.contains("mfa") }'
    for (const who of all) {
      const given = engineOf(rule('x', subjects[who], { when: mfa }), ...others[who], corp)
      const permitted = engineOf(inCedar('x', 'permit', who, test), ...others[who], corp)
      const denied = engineOf(rule('x', subjects[who], { when: mfa, effect: 'deny' }), ...allowed, corp)
      const forbidden = engineOf(inCedar('x', 'forbid', who, test), ...allowed, corp)
      for (const [as, owner] of [
        [said, 'person'],
        [turned, 'workload'],
      ] as const) {
        const expected = who === owner || who === 'pair' ? '+' : '-'
        assert.deepEqual([of(given, as), of(permitted, as)], [expected, expected], `${who}, said of the ${owner}`)
        assert.deepEqual([of(denied, as), of(forbidden, as)], ['-', '-'], `denied ${who}, said of the ${owner}`)
        const { accesses } = given.explain(as, analyse(read), atNoon, schema)
        const outcomes = accesses.flatMap(({ considered }) => considered.filter((one) => one.rule === 'x'))
        assert.equal(
          outcomes.some(({ outcome }) => outcome === 'matched'),
          expected === '+',
        )
      }
      // One piece of evidence says it of both.
      assert.equal(of(given, { ...both, claims }), '+')
    }
    assert.notEqual(principalKey(said), principalKey(turned))
  })

  it('that both say is each one’s own; what denies looks at either, and what is given to the pair at both', () => {
    const when = { claims: { acr: 'mfa' } }
    const test = 'principal.claims.acr.contains("mfa")'
    for (const [workload, person] of [
      ['mfa', 'mfa'],
      ['mfa', 'pwd'],
      ['pwd', 'mfa'],
      ['pwd', 'pwd'],
    ] as const) {
      const claimsOf = { workload: { acr: workload }, person: { acr: person, team: 'data' } }
      const as = { ...both, claims: claimsOfEither(claimsOf), claimsOf }
      const says = { workload: workload === 'mfa', person: person === 'mfa' }
      const either = says.workload || says.person
      for (const who of all) {
        const own = who === 'pair' ? says.workload && says.person : says[who]
        const inYaml = (effect: 'allow' | 'deny'): string => rule('x', subjects[who], { when, effect })
        const tried: readonly (readonly [what: string, PolicyEngine, matches: boolean, effect: 'allow' | 'deny'])[] = [
          ['allow', engineOf(inYaml('allow'), ...others[who], corp), own, 'allow'],
          ['deny', engineOf(inYaml('deny'), ...allowed, corp), either, 'deny'],
          ...(['when', 'unless'] as const).flatMap((word) => {
            const condition = `${word} { ${test} }`
            const permit = engineOf(inCedar('x', 'permit', who, condition), ...others[who], corp)
            const forbid = engineOf(inCedar('x', 'forbid', who, condition), ...allowed, corp)
            const [isGiven, isRefused] = word === 'when' ? [own, either] : [!either, !own]
            return [
              [`permit ${word}`, permit, isGiven, 'allow'],
              [`forbid ${word}`, forbid, isRefused, 'deny'],
            ] as const
          }),
        ]
        for (const [what, engine, matches, effect] of tried) {
          const told = `${what} of ${who}; the workload says ${workload}, the person ${person}`
          assert.equal(of(engine, as), matches === (effect === 'allow') ? '+' : '-', told)
          // What is told of it is what is done.
          const { accesses } = engine.explain(as, analyse(read), atNoon, schema)
          const isTold = accesses.some(({ considered }) =>
            considered.some((one) => one.rule === 'x' && one.outcome === 'matched'),
          )
          assert.equal(isTold, matches, `explained: ${told}`)
        }
      }
      // What one of them says alone is met as before.
      const team = engineOf(rule('x', subjects.pair, { when: { claims: { team: 'data' } } }), corp)
      assert.equal(of(team, as), '+')
    }
  })

  it('shows no name that only it would give', () => {
    const engine = engineOf(
      rule('x', subjects.person, { when: { claims: { acr: 'mfa' } } }),
      rule('w', subjects.workload),
      corp,
    )
    assert.equal(engine.visibility(said).table('ks', 't'), true)
    assert.equal(engine.visibility(turned).table('ks', 't'), false)
  })

  it('never gives more than where nobody asks of whom it is said', () => {
    const subject = fc.constantFrom(...Object.values(subjects), { spiffeId: 'spiffe://td/*' }, { group: 'corp/*' })
    const condition = fc.constantFrom({ acr: 'mfa' }, { team: 'data' }, { acr: 'mfa', team: 'data' }, { acr: 'pwd' })
    const any = fc.record({ subject, condition, effect: fc.constantFrom('allow', 'deny'), bare: fc.boolean() })
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 6 }), fc.constantFrom(said, turned), (specs, as) => {
        const rules = specs.map(({ subject: one, condition: wanted, effect, bare }, at) =>
          rule(`r${at}`, one, { effect, ...(bare ? {} : { when: { claims: wanted } }) }),
        )
        const engine = engineOf(...rules, corp)
        const one = decide(engine, read, { as, schema })
        if (one.kind === 'permit') assert.equal(of(engine, { ...as, claimsOf: undefined }), '+')
      }),
      { numRuns: 60 },
    )
  })
})

describe('a rule with several subjects', () => {
  it('is met for the pair by either, and for one of them by its own', () => {
    const when = { authentication: ['certificate'] }
    const some = [subjects.person, { ...subjects.pair, person: 'corp/bob' }]
    const mixed = access('x', { subjects: some, keyspaces: ['ks'], operations: ['READ'], when })
    // The rule names another pair as well, which makes nothing of alice's.
    assert.equal(came(engineOf(mixed, rule('w', subjects.workload), corp), 'certificate+oidc'), '-')
    assert.equal(came(engineOf(mixed, rule('w', subjects.workload), corp), 'oidc+txn-token'), '-')
    const withPair = access('x', { subjects: [...some, subjects.pair], keyspaces: ['ks'], operations: ['READ'], when })
    assert.equal(came(engineOf(withPair, corp), 'certificate+oidc'), '+')
  })
})
