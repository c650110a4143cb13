/** A workload with a person behind it: both must be permitted, unless a rule names the pair. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { analyse } from '../cql/statement/analyse.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import type { Decision } from './engine.ts'
import { loadPolicy } from './load.ts'
import type { Mask } from './obligations.ts'
import { access, atNoon, cedar, decide, document, engineOf, schemaOf, verdict } from './policy.fixture.ts'
import type { Principal } from './principal.ts'
import { partiesOf, principalKey } from './principal.ts'
import type { Subject } from './subjects.ts'

const corp = document('IdentityProvider', 'corp', {
  type: 'oidc',
  issuer: 'https://corp.example.com',
  audiences: ['ringfence'],
  claims: { forPolicy: ['acr'] },
})
const webId = parseSpiffeId('spiffe://td/svc/web')
const web: Principal = { spiffeId: webId }
const alice: Principal = {
  spiffeId: parseSpiffeId('spiffe://td/user/corp/alice'),
  person: 'corp/alice',
  groups: ['corp/analysts'],
}
const both: Principal = { spiffeId: webId, person: 'corp/alice', groups: ['corp/analysts'] }
const ofWeb: Subject = { spiffeId: webId }
const ofAlice: Subject = { person: 'corp/alice' }
const ofPair: Subject = { spiffeId: webId, person: 'corp/alice' }

const rule = (name: string, subject: Subject, more: object = {}): string =>
  access(name, { subjects: [subject], keyspaces: ['ks'], operations: ['READ', 'SCAN'], ...more })
const read = 'SELECT a FROM ks.t WHERE id = 1'
const schema = schemaOf({ 'ks.t': { columns: ['id', 'a', 'card'] } })

/** The verdicts for the workload alone, the person alone, and both. */
function three(documents: readonly string[], text = read): string[] {
  const engine = engineOf(...documents, corp)
  return [web, alice, both].map((as) => verdict(engine, text, { as, schema }))
}

describe('a session', () => {
  it('is of a workload, of a person, or of both', () => {
    const parties = (principal: Principal) => partiesOf(principal).map(({ who }) => who.person ?? who.spiffeId)
    assert.deepEqual(parties(web), [webId])
    assert.deepEqual(parties(alice), ['corp/alice'])
    assert.deepEqual(parties({ spiffeId: alice.spiffeId }), ['corp/alice'])
    assert.deepEqual(parties(both), [webId, 'corp/alice'])
    const odd = { spiffeId: parseSpiffeId('spiffe://td/user/corp/a_x40b.c'), person: 'corp/a@b.c' }
    assert.deepEqual(parties(odd), ['corp/a@b.c'])
    // A certificate of one person and a token of another is two persons.
    assert.deepEqual(parties({ ...alice, person: 'corp/bob' }), ['corp/alice', 'corp/bob'])
  })

  it('leaves each party what is its own', () => {
    const claims = { acr: 'mfa' }
    const [workload, person] = partiesOf({ ...both, claims })
    assert.deepEqual(workload.who, { spiffeId: webId, person: undefined, claims, role: undefined })
    assert.equal(person?.who.spiffeId, alice.spiffeId)
    assert.deepEqual(person?.who.groups, ['corp/analysts'])
    const role = 'arn:aws:iam::123456789012:role/etl'
    const etl = { spiffeId: parseSpiffeId('spiffe://td/aws/123456789012/role/etl'), role, person: 'corp/alice' }
    assert.deepEqual(
      partiesOf(etl).map(({ who }) => who.role),
      [role, undefined],
    )
    assert.deepEqual(
      partiesOf({ ...both, role }).map(({ who }) => who.role),
      [undefined, role],
    )
  })

  it('has a name of its own for each that differs', () => {
    const all = [web, alice, both, { ...both, groups: [] }, { ...both, claims: { acr: 'mfa' } }, { ...both, role: 'r' }]
    assert.equal(new Set(all.map(principalKey)).size, all.length)
  })
})

describe('both must be permitted', () => {
  const w = rule('w', ofWeb)
  const p = rule('p', ofAlice)
  const table: readonly (readonly [what: string, documents: readonly string[], verdicts: readonly string[]])[] = [
    ['neither', [], ['-default-deny', '-default-deny', '-default-deny']],
    ['the workload', [w], ['+w', '-default-deny', '-default-deny']],
    ['the person', [p], ['-default-deny', '+p', '-default-deny']],
    ['both, and both rules are named', [w, p], ['+w', '+p', '+w,p']],
    ['a group for the person', [w, rule('g', { group: 'corp/analysts' })], ['+w', '+g', '+w,g']],
    ['the person by SPIFFE id', [w, rule('u', { spiffeId: alice.spiffeId })], ['+w', '+u', '+w,u']],
    ['one rule for all', [rule('all', { spiffeId: 'spiffe://td/*' })], ['+all', '+all', '+all']],
    ['a deny of the workload', [w, p, rule('d', ofWeb, { effect: 'deny' })], ['-d', '+p', '-d']],
    ['a deny of the person', [w, p, rule('d', ofAlice, { effect: 'deny' })], ['+w', '-d', '-d']],
    ['a rule that names the pair', [rule('x', ofPair)], ['-default-deny', '-default-deny', '+x']],
    [
      'the pair by patterns and groups',
      [rule('x', { spiffeId: 'spiffe://td/svc/*', group: 'corp/*' })],
      ['-default-deny', '-default-deny', '+x'],
    ],
    ['a pair beside one of them', [w, rule('x', ofPair)], ['+w', '-default-deny', '+w,x']],
    ['a deny of the pair', [w, p, rule('d', ofPair, { effect: 'deny' })], ['+w', '+p', '-d']],
    [
      'a deny wins over a rule for the pair',
      [rule('x', ofPair), rule('d', ofAlice, { effect: 'deny' })],
      ['-default-deny', '-d', '-d'],
    ],
    [
      'another pair',
      [rule('x', { ...ofPair, person: 'corp/bob' })],
      ['-default-deny', '-default-deny', '-default-deny'],
    ],
    [
      'a role for the pair',
      [
        document('Role', 'reader', { rules: [{ keyspaces: ['ks'], operations: ['READ'] }] }),
        document('RoleBinding', 'b', { role: 'reader', subjects: [ofPair] }),
      ],
      ['-default-deny', '-default-deny', '+b'],
    ],
    ['a trial for the person', [w, rule('p', ofAlice, { mode: 'observe' })], ['+w', '+p~p', '+w,p~p']],
    [
      'a trial deny of the person',
      [w, p, rule('d', ofAlice, { mode: 'observe', effect: 'deny' })],
      ['+w', '+p~d', '+w,p~d'],
    ],
    ['Cedar for each', [cedar('c', cedarOf('principal == Workload::"spiffe://td/svc/web"')), p], ['+c', '+p', '+p,c']],
    ['Cedar for the person', [w, cedar('c', cedarOf('principal in Person::"corp/alice"'))], ['+w', '+c', '+w,c']],
    [
      'Cedar for the person only',
      [cedar('c', cedarOf('principal in Person::"corp/alice"'))],
      ['-default-deny', '+c', '-default-deny'],
    ],
    ['Cedar for whoever', [cedar('c', cedarOf('principal.trustDomain == "td"'))], ['+c', '+c', '+c']],
    [
      'Cedar for either, which is no pair',
      [cedar('c', cedarOf('principal in Person::"corp/alice" || principal in Person::"corp/bob"'))],
      ['-default-deny', '+c', '-default-deny'],
    ],
    [
      'Cedar for the pair',
      [cedar('c', cedarOf('principal == Workload::"spiffe://td/svc/web" && principal in Person::"corp/alice"'))],
      ['-default-deny', '-default-deny', '+c'],
    ],
    [
      'Cedar for the pair by attributes',
      [cedar('c', cedarOf('principal.spiffeId like "*/svc/*" && principal.groups.contains("corp/analysts")'))],
      ['-default-deny', '-default-deny', '+c'],
    ],
    [
      'a forbid of the pair in Cedar',
      [w, p, cedar('c', cedarOf('principal in Group::"spiffe://td/svc/*" && principal has person', 'forbid'))],
      ['+w', '+p', '-c'],
    ],
    [
      'a forbid of the person in Cedar',
      [w, p, cedar('c', cedarOf('principal has person', 'forbid'))],
      ['+w', '-c', '-c'],
    ],
    [
      'a forbid of whoever is no person in Cedar',
      [w, p, cedar('c', cedarOf('!(principal has person)', 'forbid'))],
      ['-c', '+p', '-c'],
    ],
  ]
  for (const [what, documents, verdicts] of table) {
    it(what, () => assert.deepEqual(three(documents), verdicts))
  }

  it('column by column', () => {
    const documents = [
      rule('w', ofWeb, { columns: ['id', 'a', 'card'], operations: ['SELECT'] }),
      rule('p', ofAlice, { columns: ['id', 'a'], operations: ['SELECT'] }),
    ]
    const cards = 'SELECT card FROM ks.t WHERE id = 1'
    assert.deepEqual(three(documents), ['+w', '+p', '+w,p'])
    assert.deepEqual(three(documents, cards), ['+w', '-default-deny', '-default-deny'])
    const pair = rule('x', ofPair, { columns: ['card', 'id'], operations: ['SELECT'] })
    assert.deepEqual(three([...documents, pair], cards), ['+w', '-default-deny', '+w,p,x'])
    assert.deepEqual(three([...documents, pair], 'SELECT a, card FROM ks.t WHERE id = 1')[2], '+w,p,x')
  })

  it('says who is refused', () => {
    const reason = (documents: readonly string[]): string => {
      const decision = decide(engineOf(...documents, corp), read, { as: both, schema })
      return decision.kind === 'denial' ? decision.reason : ''
    }
    assert.match(
      reason([w]),
      /^corp\/alice \(through spiffe:\/\/td\/svc\/web\) has no SELECT permission on <table ks\.t>/,
    )
    assert.match(reason([p]), /^spiffe:\/\/td\/svc\/web has no SELECT permission/)
    assert.match(reason([w, p, rule('d', ofAlice, { effect: 'deny' })]), /^corp\/alice \(through/)
  })

  it('says it in letters that are seen, whatever the provider calls the person', () => {
    const engine = engineOf(w, corp)
    for (const letter of ['\u115f', '\u3164', '\u2800', '\u202e', '\u00ad', '\n', '\u{e0041}']) {
      const decision = decide(engine, read, { as: { ...both, person: `corp/al${letter}ice` }, schema })
      assert.ok(decision.kind === 'denial')
      assert.ok(!decision.reason.includes(letter), JSON.stringify(letter))
      assert.match(decision.reason, /^corp\/al(?:\\u[0-9a-f]{4})+ice \(through/)
    }
    for (const person of ['corp/Zoë', 'corp/मीरा', 'corp/a b'])
      assert.ok(
        JSON.stringify(decide(engine, read, { as: { ...both, person }, schema })).includes(`"${person} (through`),
      )
  })

  it('explains each of both', () => {
    const engine = engineOf(w, p, rule('x', { ...ofPair, person: 'corp/bob' }), corp)
    const { accesses } = engine.explain(both, analyse(read), atNoon, schema)
    const told = accesses.map(({ who, considered }) => [
      who,
      ...considered.filter(({ outcome }) => outcome === 'matched').map((one) => one.rule),
    ])
    assert.deepEqual(told, [
      [webId, 'w'],
      [`corp/alice (through ${webId})`, 'p'],
    ])
  })

  it('sees what both may see', () => {
    const engine = engineOf(
      rule('w', ofWeb, { tables: ['t', 'u'] }),
      rule('p', ofAlice, { tables: ['t', 'v'] }),
      rule('x', ofPair, { tables: ['pair'] }),
      corp,
    )
    const seen = (as: Principal) => ['t', 'u', 'v', 'pair'].filter((name) => engine.visibility(as).table('ks', name))
    assert.deepEqual([web, alice, both].map(seen), [
      ['t', 'u'],
      ['t', 'v'],
      ['t', 'pair'],
    ])
    assert.deepEqual(
      [web, alice, both].map((as) => engine.visibility(as).keyspace('ks')),
      [true, true, true],
    )
    const cluster = { keyspaces: undefined, cluster: true, operations: ['DESCRIBE'] }
    const all = engineOf(rule('w', ofWeb, cluster), corp)
    assert.deepEqual(
      [web, alice, both].map((as) => all.visibility(as).all),
      [true, false, false],
    )
    assert.equal(engineOf(rule('w', ofWeb, cluster), rule('p', ofAlice, cluster), corp).visibility(both).all, true)
  })

  it('lets a condition hold of the session', () => {
    const mfa = rule('w', ofWeb, { when: { claims: { acr: 'mfa' } } })
    const engine = engineOf(mfa, p, corp)
    assert.equal(verdict(engine, read, { as: { ...both, claims: { acr: 'mfa' } } }), '+w,p')
    assert.equal(verdict(engine, read, { as: { ...both, claims: { acr: 'pwd' } } }), '-default-deny')
    const hours = engineOf(w, rule('p', ofAlice, { when: { hours: '08:00-18:00' } }), corp)
    assert.equal(hours.isContextual(both), true)
    assert.equal(hours.isContextual(web), false)
    assert.equal(verdict(hours, read, { as: both }), '+w,p')
    assert.equal(verdict(hours, read, { as: both, request: { nowMs: 0 } }), '-default-deny')
  })

  it('has as many questions for each as either has alone', () => {
    const columns = Array.from({ length: 200 }, (_, at) => `c${at}`)
    const engine = engineOf(
      rule('w', ofWeb, { columns, operations: ['SELECT'] }),
      rule('p', ofAlice, { columns, operations: ['SELECT'] }),
      corp,
    )
    const text = `SELECT ${columns.join(', ')} FROM ks.t`
    const scan = { 'ks.t': { partitionKey: [], columns } }
    for (const as of [web, alice, both]) {
      const decision = decide(engine, text, { as, schema: schemaOf(scan) })
      assert.equal(decision.kind, 'permit', JSON.stringify(decision))
    }
  })
})

function cedarOf(test: string, effect = 'permit'): string {
  return `${effect} (principal, action, resource in Keyspace::"ks") when { ${test} };`
}

describe('the stricter mask holds', () => {
  const masks: readonly (readonly [name: string, spec: object | undefined])[] = [
    ['none', undefined],
    ['partial 4', { mask: 'partial', keepEnd: 4 }],
    ['partial 2', { mask: 'partial', keepEnd: 2 }],
    ['start 3', { mask: 'partial', keepStart: 3 }],
    ['hash', { mask: 'hash' }],
    ['full', { mask: 'full' }],
    ['null', { mask: 'null' }],
  ]
  const rank = ['none', 'partial 4', 'partial 2', 'hash', 'full', 'null']
  const allows = [rule('w', ofWeb), rule('p', ofAlice)]
  const masking = (name: string, subject: Subject, spec: object | undefined): string[] =>
    spec === undefined
      ? []
      : [document('MaskingPolicy', name, { subjects: [subject], keyspaces: ['ks'], columns: ['card'], ...spec })]
  const cards = 'SELECT card FROM ks.t WHERE id = 1'
  const maskOf = (documents: readonly string[], as: Principal): Mask | undefined => {
    const decision = decide(engineOf(...documents, corp), cards, { as, schema })
    assert.ok(decision.kind === 'permit', JSON.stringify(decision))
    return decision.obligations?.masks[0]?.mask
  }
  const words = (mask: Mask | undefined): string => {
    if (mask === undefined) return 'none'
    if (mask.kind !== 'partial') return mask.kind
    return mask.keepStart > 0 ? `start ${mask.keepStart}` : `partial ${mask.keepEnd}`
  }
  for (const [ofOne, one] of masks) {
    for (const [ofOther, other] of masks) {
      it(`${ofOne} of the workload and ${ofOther} of the person`, () => {
        const documents = [...allows, ...masking('mw', ofWeb, one), ...masking('mp', ofAlice, other)]
        assert.equal(words(maskOf(documents, web)), ofOne)
        assert.equal(words(maskOf(documents, alice)), ofOther)
        const came = words(maskOf(documents, both))
        // What one shows at its beginning and the other at its end is shown by neither.
        const partials = [ofOne, ofOther].filter((name) => name.startsWith('partial') || name.startsWith('start'))
        if (partials.length === 2 && ofOne !== ofOther && partials.includes('start 3'))
          return assert.equal(came, 'partial 0')
        const ranked = [ofOne, ofOther].map((name) => (name === 'start 3' ? 1.5 : rank.indexOf(name)))
        assert.equal(came, ranked[0]! >= ranked[1]! ? ofOne : ofOther)
      })
    }
  }

  it('and an exception or UNMASK of one does not bare it for both', () => {
    const mask = document('MaskingPolicy', 'm', {
      exceptSubjects: [ofAlice],
      keyspaces: ['ks'],
      columns: ['card'],
      mask: 'full',
    })
    const given = (documents: readonly string[]) => [web, alice, both].map((as) => words(maskOf(documents, as)))
    assert.deepEqual(given([...allows, mask]), ['full', 'none', 'full'])
    const unmask = (name: string, subject: Subject) => rule(name, subject, { operations: ['UNMASK'] })
    assert.deepEqual(given([...allows, mask, unmask('uw', ofWeb)]), ['none', 'none', 'none'])
    assert.deepEqual(given([...allows, mask, unmask('up', ofAlice)]), ['full', 'none', 'full'])
    assert.deepEqual(given([...allows, mask, unmask('ux', ofPair)]), ['full', 'none', 'none'])
    const all = document('MaskingPolicy', 'm', { keyspaces: ['ks'], columns: ['card'], mask: 'full' })
    assert.deepEqual(given([...allows, all, unmask('uw', ofWeb)]), ['none', 'full', 'full'])
    assert.deepEqual(given([...allows, all, unmask('uw', ofWeb), unmask('up', ofAlice)]), ['none', 'none', 'none'])
  })

  it('and one may be asked for a pair, or bared for it', () => {
    const masked = (more: object): string[] => [
      ...allows,
      document('MaskingPolicy', 'm', { keyspaces: ['ks'], columns: ['card'], mask: 'hash', ...more }),
    ]
    const given = (documents: readonly string[]) => [web, alice, both].map((as) => words(maskOf(documents, as)))
    assert.deepEqual(given(masked({ subjects: [ofPair] })), ['none', 'none', 'hash'])
    assert.deepEqual(given(masked({ exceptSubjects: [ofPair] })), ['hash', 'hash', 'none'])
    assert.deepEqual(given(masked({ subjects: [{ group: 'corp/analysts' }] })), ['none', 'hash', 'hash'])
  })
})

describe('over random policies', () => {
  const some = <T>(...words: readonly T[]) => fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength: 3 })
  const single = fc.constantFrom<Subject>(
    ofWeb,
    ofAlice,
    { spiffeId: 'spiffe://td/svc/*' },
    { spiffeId: 'spiffe://td/user/corp/*' },
    { spiffeId: 'spiffe://td/*' },
    { group: 'corp/analysts' },
    { person: 'corp/*' },
    { person: 'corp/bob' },
    { person: 'corp/alice', group: 'corp/analysts' },
  )
  const pairs = fc.constantFrom<Subject>(ofPair, { spiffeId: 'spiffe://td/*', group: 'corp/analysts' })
  const ruleOf = (subject: fc.Arbitrary<Subject>) =>
    fc.record({
      kind: fc.constant('AccessPolicy'),
      subjects: fc.uniqueArray(subject, { minLength: 1, maxLength: 2, selector: (one) => JSON.stringify(one) }),
      effect: fc.constantFrom('allow', 'allow', 'allow', 'deny'),
      mode: fc.constantFrom('enforce', 'enforce', 'observe'),
      keyspaces: some('ks', 'other', '*'),
      tables: fc.option(some('t', 'u', 't*'), { nil: undefined }),
      columns: fc.option(some('id', 'a', 'card', 'c*'), { nil: undefined }),
      operations: some('SELECT', 'MODIFY', 'UNMASK', 'ALTER'),
    })
  /** Gives much, so that something goes through. */
  const wideOf = (subject: fc.Arbitrary<Subject>) =>
    fc.record({
      kind: fc.constant('AccessPolicy'),
      subjects: fc.tuple(subject),
      keyspaces: fc.constant(['ks']),
      operations: some('SELECT', 'MODIFY', 'UNMASK'),
    })
  const maskRule = fc.record({
    kind: fc.constant('MaskingPolicy'),
    subjects: fc.option(fc.tuple(single), { nil: undefined }),
    exceptSubjects: fc.option(fc.tuple(single), { nil: undefined }),
    keyspaces: fc.constant(['ks']),
    columns: some('a', 'card'),
    mask: fc.constantFrom('full', 'hash', 'null'),
  })
  const cedarRule = fc
    .record({
      effect: fc.constantFrom('permit', 'permit', 'forbid'),
      test: fc.constantFrom(
        'principal in Group::"spiffe://td/svc/*"',
        'principal in Person::"corp/alice"',
        'principal in ProviderGroup::"corp/analysts"',
        'principal has person',
        '!(principal has person)',
        'principal.groups.contains("corp/analysts")',
      ),
      resource: fc.constantFrom(
        'resource in Keyspace::"ks"',
        'resource in Table::"ks.t"',
        'resource == Column::"ks.t.card"',
      ),
    })
    .map(({ effect, test, resource }) => ({
      kind: 'CedarPolicy',
      cedar: `${effect} (principal, action, ${resource}) when { ${test} };`,
    }))
  const texts = [
    read,
    'SELECT card FROM ks.t WHERE id = 1',
    'SELECT a, card FROM ks.t WHERE id = 1',
    'SELECT * FROM ks.t WHERE id = 1',
    'INSERT INTO ks.t (id, a) VALUES (1, 2)',
    'SELECT id FROM ks.u WHERE id = 1',
    "UPDATE ks.t SET a = 1 WHERE id = 1 IF card = 'x'",
    'ALTER TABLE ks.t DROP a',
    'SELECT a FROM other.t WHERE id = 1',
  ]
  const columnsOf = schemaOf({
    'ks.t': { columns: ['id', 'a', 'card'] },
    'ks.u': { columns: ['id'] },
    'other.t': { columns: ['id', 'a'] },
  })

  const installed = (specs: readonly object[]) => {
    const documents = specs.map((one, at) => {
      const { kind, ...spec } = one as { readonly kind: string }
      return document(kind, `r${at}`, spec)
    })
    try {
      loadPolicy([...documents, corp].join('\n---\n'), 'random.yaml')
    } catch {
      return undefined
    }
    return engineOf(...documents, corp)
  }
  const masksOf = (decision: Decision): Map<string, string> =>
    new Map(decision.kind === 'permit' ? decision.obligations?.masks.map((one) => [one.column, one.mask.kind]) : [])
  const strictness = [undefined, 'hash', 'full', 'null']

  it('the pair may do what both may do, and sees what both see', () => {
    const seen = { permits: 0, refusals: 0, halves: 0, masked: 0 }
    // By chance alone there are rounds in which nothing is masked.
    const ks = ['ks'] as const
    const masking = {
      kind: 'MaskingPolicy' as const,
      subjects: undefined,
      exceptSubjects: undefined,
      keyspaces: ks,
      columns: ['a'],
      mask: 'full' as const,
    }
    const reading = {
      kind: 'AccessPolicy' as const,
      subjects: [{ spiffeId: 'spiffe://td/*' }] satisfies [Subject],
      keyspaces: ks,
      operations: ['SELECT'],
    }
    fc.assert(
      fc.property(
        fc.tuple(
          maskRule,
          wideOf(fc.constantFrom({ spiffeId: 'spiffe://td/*' }, ofWeb, ofAlice)),
          fc.array(fc.oneof(wideOf(single), ruleOf(single), maskRule, cedarRule), { minLength: 1, maxLength: 5 }),
        ),
        ([mask, allow, others]) => {
          const engine = installed([mask, allow, ...others])
          if (engine === undefined) return
          for (const text of texts) {
            const [w, p, pair] = [web, alice, both].map(
              (as): Decision => decide(engine, text, { as, schema: columnsOf }),
            )
            const permitted = w!.kind === 'permit' && p!.kind === 'permit'
            // A mask of one refuses what uses the column, however the other sees it.
            assert.equal(
              pair!.kind === 'permit',
              permitted,
              `${text}: ${[w, p, pair].map((one) => one?.rule).join(' ')}`,
            )
            if (w!.kind !== p!.kind) seen.halves++
            if (!permitted || pair!.kind !== 'permit') {
              seen.refusals++
              continue
            }
            seen.permits++
            const names = (decision: Decision) => decision.rule.split(',')
            assert.deepEqual(new Set(names(pair!)), new Set([...names(w!), ...names(p!)]), text)
            const [ofW, ofP, ofBoth] = [w!, p!, pair!].map(masksOf)
            for (const column of ['id', 'a', 'card']) {
              const ranks = [ofW, ofP, ofBoth].map((masks) => strictness.indexOf(masks?.get(column)))
              assert.equal(ranks[2], Math.max(ranks[0]!, ranks[1]!), `${text}: ${column}`)
              if (ranks[2]! > 0) seen.masked++
            }
          }
          const [w, p, pair] = [web, alice, both].map((as) => engine.visibility(as))
          // What one sees by a column of its own, a policy in Cedar may forbid to the two of them: then they see less.
          const mayBeLess = others.some(({ kind }) => kind === 'CedarPolicy')
          const isOfBoth = (ofPair: boolean, ofEach: boolean): void =>
            mayBeLess ? assert.ok(ofEach || !ofPair) : assert.equal(ofPair, ofEach)
          for (const name of ['t', 'u', 'x']) {
            isOfBoth(pair!.table('ks', name), w!.table('ks', name) && p!.table('ks', name))
            isOfBoth(pair!.keyspace(name), w!.keyspace(name) && p!.keyspace(name))
          }
        },
      ),
      { numRuns: 60, examples: [[[masking, reading, []]]] },
    )
    for (const [what, count] of Object.entries(seen)) assert.ok(count > 0, `${what}: ${JSON.stringify(seen)}`)
  })

  it('and with rules for pairs never more than it is given', () => {
    let given = 0
    fc.assert(
      fc.property(
        fc.array(ruleOf(single), { maxLength: 3 }),
        fc.array(fc.oneof(wideOf(pairs), ruleOf(pairs)), { minLength: 1, maxLength: 3 }),
        (singles, ofPairs) => {
          const engine = installed([...singles, ...ofPairs])
          // The same rules, were they about each of both.
          const each = ofPairs.map((one) => ({ ...one, subjects: [ofWeb, ofAlice] }))
          const asEach = installed([...singles, ...each])
          if (engine === undefined || asEach === undefined) return
          for (const text of texts) {
            const pair = decide(engine, text, { as: both, schema: columnsOf })
            const [w, p] = [web, alice].map((as): Decision => decide(asEach, text, { as, schema: columnsOf }))
            assert.equal(pair.kind === 'permit', w!.kind === 'permit' && p!.kind === 'permit', text)
            if (pair.kind === 'permit' && decide(engine, text, { as: alice, schema: columnsOf }).kind === 'denial')
              given++
          }
        },
      ),
      { numRuns: 40 },
    )
    assert.ok(given > 2, `${given}`)
  })
})
