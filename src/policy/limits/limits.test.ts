import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { compilePolicy } from '../compiler.ts'
import { loadPolicy } from '../load.ts'
import { document, principal, refusal } from '../policy.fixture.ts'
import { idOfPerson } from '../principal.ts'
import { concernsPrincipal, concernsStatement, type RateLimitRule, rateOf } from './rules.ts'
import { weightOf } from './weight.ts'

const limit = (spec: object, name = 'slow'): string => document('RateLimitPolicy', name, spec)
const rule = (spec: object): RateLimitRule => loadPolicy(limit(spec), 'p.yaml').rateLimits[0]!
const facts = (text: string) => resolveKeyspace(analyse(text), 'shop')
const noView = (): undefined => undefined

describe('kind RateLimitPolicy', () => {
  it('has what it says, and the defaults', () => {
    const { rates, unit, maxDelayMs, observe } = rule({ perIdentity: '100/s' })
    assert.deepEqual([unit, maxDelayMs, observe], ['requests', 250, false])
    assert.deepEqual(rates, { perIdentity: { text: '100/s', intervalMicros: 10_000, burstMicros: 1_000_000 } })
    const bytes = rule({ total: '10MiB/m', unit: 'bytes', burst: '500ms', maxDelay: '1s' })
    assert.deepEqual([bytes.rates.total?.burstMicros, bytes.maxDelayMs], [500_000, 1000])
    assert.equal(Math.round(bytes.rates.total!.intervalMicros * 10 * 1024 ** 2), 60_000_000)
  })

  it('comes the same out of the thread that compiles large policies', async () => {
    const source = `${limit({ perIdentity: '100/s', clientAddresses: ['10.0.0.0/8'] })}\n---\n# ${'x'.repeat(9000)}\n${limit({ total: '5/d' }, 'other')}`
    assert.deepEqual((await compilePolicy(source, 'p.yaml')).rateLimits, loadPolicy(source, 'p.yaml').rateLimits)
  })

  const faults: readonly (readonly [string, object, RegExp])[] = [
    ['limits nothing', {}, /the policy limits nothing; add one of total, perIdentity, perPerson, perAddress/],
    ['a rate that is none', { total: '100 per second' }, /a rate is written like 100\/s/],
    ['a rate of nothing', { total: '0/s' }, /a rate is written like 100\/s/],
    ['bytes in another unit', { total: '1MiB/s' }, /is a rate of bytes, and the unit is requests/],
    ['a key that is near another', { perIdentiy: '1/s' }, /unknown key "perIdentiy", did you mean "perIdentity"/],
    ['an operation that is near another', { total: '1/s', operations: ['SELCT'] }, /SELECT/],
    ['a burst of less than one', { total: '1/m', burst: '10s' }, /less than one unit, so nothing would ever go/],
    ['a burst of years', { total: '1/d', burst: '400d' }, /a burst is of at most 31d/],
    ['a delay that no driver waits for', { total: '1/s', maxDelay: '30s' }, /waits for at most 2000ms/],
    ['a delay of what is observed', { total: '1/s', maxDelay: '1s', mode: 'observe' }, /mode observe delays nothing/],
    ['tables of no keyspace', { total: '1/s', tables: ['orders'] }, /tables of which keyspaces/],
    ['a wildcard of system keyspaces', { total: '1/s', keyspaces: ['system_*'] }, /can never match/],
    [
      'statements beside names',
      { total: '1/s', statements: ['SELECT v FROM a.b'], keyspaces: ['a'] },
      /"keyspaces" can never do anything here/,
    ],
    ['a statement that is none', { total: '1/s', statements: ['SELCT 1'] }, /not a statement/],
    ['an address that is none', { total: '1/s', clientAddresses: ['10.0.0.1/8'] }, /has bits beyond the first 8/],
    [
      'everybody is excepted',
      {
        total: '1/s',
        subjects: [{ spiffeId: 'spiffe://td/svc/a' }],
        exceptSubjects: [{ spiffeId: 'spiffe://td/svc/*' }],
      },
      /every subject is excepted/,
    ],
    [
      'an override of nothing',
      { total: '1/s', overrides: [{ subjects: [{ spiffeId: 'spiffe://td/svc/a' }], perIdentity: '5/s' }] },
      /has no perIdentity, so there is nothing to override/,
    ],
    [
      'an override without a rate',
      { perIdentity: '1/s', overrides: [{ subjects: [{ spiffeId: 'spiffe://td/svc/a' }] }] },
      /the override changes nothing/,
    ],
  ]
  for (const [name, spec, says] of faults) {
    it(`is refused with its line and column: ${name}`, () => {
      const said = refusal(limit(spec))
      assert.match(said, says)
      assert.match(said, /^p\.yaml:1:\d+: /)
    })
  }

  it('has a name that no other policy has', () => {
    assert.match(
      refusal(limit({ total: '1/s' }), limit({ total: '2/s' })),
      /the name "slow" is taken by the RateLimitPolicy at line 1/,
    )
  })
})

describe('whom a limit concerns', () => {
  const [orders, billing] = [principal('svc/orders'), principal('svc/billing')]
  const alice = { ...orders, person: 'corp/alice' }

  it('is everybody, or the subjects, less those that are excepted', () => {
    assert.equal(concernsPrincipal(rule({ total: '1/s' }), orders), true)
    const some = rule({
      total: '1/s',
      subjects: [{ spiffeId: 'spiffe://td/svc/*' }],
      exceptSubjects: [{ spiffeId: 'spiffe://td/svc/billing' }],
    })
    assert.deepEqual(
      [orders, billing, principal('job/x')].map((one) => concernsPrincipal(some, one)),
      [true, false, false],
    )
    const person = rule({ total: '1/s', subjects: [{ person: 'corp/alice' }] })
    assert.deepEqual(
      [alice, orders].map((one) => concernsPrincipal(person, one)),
      [true, false],
    )
  })

  it('has another rate by an override, or none', () => {
    const some = rule({
      perIdentity: '1/s',
      overrides: [
        { subjects: [{ spiffeId: 'spiffe://td/svc/orders' }], perIdentity: '5/s' },
        { subjects: [{ spiffeId: 'spiffe://td/svc/billing' }], perIdentity: 'none' },
      ],
    })
    assert.equal(rateOf(some, 'perIdentity', orders)?.text, '5/s')
    assert.equal(rateOf(some, 'perIdentity', billing), undefined)
    assert.equal(rateOf(some, 'perIdentity', principal('job/x'))?.text, '1/s')
  })
})

describe('a limit, where a person stands behind a workload', () => {
  const [web, alone] = [principal('svc/web'), principal('svc/other')]
  const pair = { ...web, person: 'corp/alice' }
  const workload = { spiffeId: 'spiffe://td/svc/web' }
  const person = { person: 'corp/alice' }
  const both = { ...workload, ...person }

  const excepted: readonly (readonly [object, [total: boolean, perIdentity: boolean, perPerson: boolean]])[] = [
    [person, [true, true, false]],
    [workload, [true, false, true]],
    [both, [false, false, false]],
    [{ person: 'corp/bob' }, [true, true, true]],
  ]
  const rates = { total: '1/s', perIdentity: '2/s', perPerson: '3/s' }
  for (const [subject, counts] of excepted) {
    it(`counts as ${counts} where ${JSON.stringify(subject)} is excepted`, () => {
      const some = rule({ ...rates, exceptSubjects: [subject] })
      const found = (['total', 'perIdentity', 'perPerson'] as const).map(
        (scope) => concernsPrincipal(some, pair) && rateOf(some, scope, pair) !== undefined,
      )
      assert.deepEqual(found, counts)
      assert.equal(concernsPrincipal(some, alone) && rateOf(some, 'perIdentity', alone)?.text, '2/s')
    })
  }

  it('concerns no pair of which each is excepted', () => {
    assert.equal(concernsPrincipal(rule({ ...rates, exceptSubjects: [workload, person] }), pair), false)
  })

  it('concerns one by one of its two, unless that one is excepted', () => {
    const subjects = [{ spiffeId: 'spiffe://td/svc/*' }]
    assert.equal(concernsPrincipal(rule({ total: '1/s', subjects }), pair), true)
    assert.equal(concernsPrincipal(rule({ total: '1/s', subjects, exceptSubjects: [person] }), pair), true)
    assert.equal(concernsPrincipal(rule({ total: '1/s', subjects, exceptSubjects: [workload] }), pair), false)
    assert.equal(concernsPrincipal(rule({ total: '1/s', subjects: [person], exceptSubjects: [workload] }), pair), true)
  })

  const overridden: readonly (readonly [object, string, string])[] = [
    [person, '2/s', 'none'],
    [workload, 'none', '3/s'],
    [both, 'none', 'none'],
  ]
  for (const [subject, identity, ofPerson] of overridden) {
    it(`has ${identity} of its own and ${ofPerson} for its person by an override for ${JSON.stringify(subject)}`, () => {
      const some = rule({
        ...rates,
        overrides: [{ subjects: [subject], perIdentity: 'none', perPerson: 'none' }],
      })
      assert.equal(rateOf(some, 'perIdentity', pair)?.text ?? 'none', identity)
      assert.equal(rateOf(some, 'perPerson', pair)?.text ?? 'none', ofPerson)
    })
  }

  it('has what the person has alone, and the workload alone', () => {
    const some = rule({ ...rates, overrides: [{ subjects: [person], perPerson: '9/s' }] })
    const alice = { spiffeId: idOfPerson('corp/alice', 'td'), person: 'corp/alice' }
    assert.deepEqual(
      [pair, alice].map((one) => rateOf(some, 'perPerson', one)?.text),
      ['9/s', '9/s'],
    )
    assert.deepEqual(
      [pair, web].map((one) => rateOf(some, 'perIdentity', one)?.text),
      ['2/s', '2/s'],
    )
  })
})

describe('which statements a limit concerns', () => {
  const examples: readonly (readonly [object, string, boolean])[] = [
    [{}, 'SELECT v FROM items WHERE k = 1', true],
    [{}, 'DROP TABLE items', true],
    [{}, 'USE shop', false],
    [{}, 'SELECT * FROM system.local', false],
    [{ keyspaces: ['system'] }, 'SELECT * FROM system.local', true],
    [{ keyspaces: ['play'] }, 'SELECT v FROM items WHERE k = 1', false],
    [{ keyspaces: ['sh*'], tables: ['items'] }, 'SELECT v FROM items WHERE k = 1', true],
    [{ keyspaces: ['shop'], tables: ['orders'] }, 'SELECT v FROM items WHERE k = 1', false],
    [{ operations: ['WRITE'] }, 'SELECT v FROM items WHERE k = 1', false],
    [{ operations: ['WRITE'] }, 'INSERT INTO items (k) VALUES (1)', true],
    [{ operations: ['TRUNCATE'] }, 'TRUNCATE items', true],
    [{ statements: ['select v from items where k = 7'] }, 'select v from items where k = 1', true],
    [{ statements: ['SELECT v FROM items WHERE k = ?'] }, 'SELECT v FROM items WHERE k = ?', true],
    [{ statements: ['SELECT v FROM items WHERE k = ?'] }, 'SELECT w FROM items WHERE k = ?', false],
  ]
  for (const [spec, text, concerns] of examples) {
    it(`${JSON.stringify(spec)} ${concerns ? 'has' : 'has not'} ${text}`, () => {
      assert.equal(concernsStatement(rule({ total: '1/s', ...spec }), facts(text), noView), concerns)
    })
  }

  it('a view counts for the table that it shows', () => {
    const some = rule({ total: '1/s', keyspaces: ['shop'], tables: ['items'] })
    assert.equal(
      concernsStatement(some, facts('SELECT v FROM by_v WHERE v = 1'), () => 'items'),
      true,
    )
    assert.equal(concernsStatement(some, facts('SELECT v FROM by_v WHERE v = 1'), noView), false)
  })
})

describe('what a statement weighs', () => {
  const examples: readonly (readonly [string, number, readonly number[]])[] = [
    ['SELECT v FROM items WHERE k = 1', 1, []],
    ['SELECT v FROM items WHERE k IN (1, 2, 3)', 3, []],
    ['SELECT v FROM items WHERE k IN ?', 1, [0]],
    ['SELECT v FROM items', 10, []],
    ['SELECT v FROM items WHERE token(k) > 1', 10, []],
    ['SELECT v FROM items WHERE v = 1 ALLOW FILTERING', 50, []],
    ['SELECT v FROM items WHERE k = 1 AND v = 1 ALLOW FILTERING', 5, []],
    ['INSERT INTO items (k) VALUES (1)', 1, []],
    ['INSERT INTO items (k) VALUES (1) IF NOT EXISTS', 4, []],
    ['UPDATE items SET v = ? WHERE k IN ?', 1, [1]],
  ]
  for (const [text, requests, lists] of examples) {
    it(`${requests} ${lists.length > 0 ? 'times its list ' : ''}for ${text}`, () => {
      assert.deepEqual(weightOf(facts(text), ['k']), { requests, lists })
    })
  }

  it('as a scan where its table is not known and nothing is given', () => {
    assert.equal(weightOf(facts('SELECT v FROM items'), undefined).requests, 10)
    assert.equal(weightOf(facts('SELECT v FROM items WHERE k = 1'), undefined).requests, 1)
  })
})
