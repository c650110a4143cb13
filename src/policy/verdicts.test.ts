import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { factsWith } from '../cql/statement/facts.fixture.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { PolicyEngine } from './engine.ts'
import { loadPolicy } from './load.ts'
import { access, atNoon, cedar, decide, document, engineOf, orders, principal, verdict } from './policy.fixture.ts'

const insert = (table: string) => `INSERT INTO ks."${table}" (id) VALUES (1);`
const batch = (count: number) =>
  `BEGIN BATCH ${Array.from({ length: count }, (_, i) => insert(`t${i}`)).join(' ')} APPLY BATCH`

describe('verdicts', () => {
  it('are bounded for one statement, and names that no rule tells apart count once', () => {
    const wide = engineOf(access('all', { keyspaces: ['ks'], operations: ['WRITE'] }))
    assert.equal(verdict(wide, batch(1_000)), '+all')
    const many = Array.from({ length: 300 }, (_, i) => `t${i}`)
    const apart = engineOf(access('all', { keyspaces: ['ks'], tables: many, operations: ['WRITE'] }))
    assert.equal(verdict(apart, batch(256)), '+all')
    const refused = decide(apart, batch(257))
    assert.equal(
      refused.kind === 'denial' && refused.reason,
      'spiffe://td/svc/orders: the statement needs more than 256 different permissions; divide it (rule too-many-objects, policy revision 7)',
    )
    assert.equal(verdict(apart, batch(257)), '-too-many-objects', 'remembered verdicts count too')
    assert.equal(verdict(apart, batch(256)), '+all')
  })

  it('are bounded for the columns of one access', () => {
    const engine = engineOf(
      access('all', { keyspaces: ['ks'], operations: ['WRITE'] }),
      cedar('c', 'forbid (principal, action, resource == Column::"ks.t.ssn");'),
    )
    const columns = (count: number) => Array.from({ length: count }, (_, i) => `c${i}`)
    const write = (count: number) =>
      verdict(engine, `INSERT INTO ks.t (${columns(count)}) VALUES (${columns(count).map(() => '1')})`)
    assert.equal(write(256), '+all')
    assert.equal(write(257), '-too-many-objects')
  })

  it('stop at the first refusal', () => {
    const tables = Array.from({ length: 400 }, (_, i) => `t${i}`).filter((name) => name !== 't3')
    const engine = engineOf(access('all', { keyspaces: ['ks'], tables, operations: ['WRITE'] }))
    assert.equal(verdict(engine, batch(400)), '-default-deny')
  })

  it('are shared by principals that the same rules concern, and by no others', () => {
    const engine = engineOf(
      access('all', { keyspaces: ['ks'], operations: ['READ'] }),
      access('no-b', {
        effect: 'deny',
        subjects: [{ spiffeId: 'spiffe://td/svc/b' }],
        keyspaces: ['ks'],
        operations: ['SELECT'],
      }),
      cedar('no-c', 'forbid (principal == Workload::"spiffe://td/svc/c", action, resource);'),
    )
    for (let round = 0; round < 2; round++) {
      for (const [name, expected] of [
        ['a', '+all'],
        ['b', '-no-b'],
        ['c', '-no-c'],
        ['d', '+all'],
      ] as const) {
        assert.equal(verdict(engine, 'SELECT a FROM ks.t WHERE id = 1', { as: principal(`svc/${name}`) }), expected)
      }
    }
  })

  it('stay right when more are asked for than are remembered', () => {
    const engine = new PolicyEngine({ answersMax: 2, principalViewsMax: 1 })
    engine.install(loadPolicy(access('p', { keyspaces: ['ks'], tables: ['t1', 't3'], operations: ['WRITE'] }), 'p'), 1)
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 5; i++)
        assert.equal(verdict(engine, insert(`t${i}`).slice(0, -1)), i % 2 === 1 ? '+p' : '-default-deny')
    }
  })

  it('are forgotten at install', () => {
    const engine = engineOf(access('p', { keyspaces: ['ks'], operations: ['READ'] }))
    const read = 'SELECT a FROM ks.t WHERE id = 1'
    assert.equal(verdict(engine, read), '+p')
    engine.install(loadPolicy(access('q', { keyspaces: ['other'], operations: ['READ'] }), 'p'), 8)
    assert.equal(verdict(engine, read), '-default-deny')
  })

  it('never give a hostile name what another name has', () => {
    const engine = engineOf(
      access('t', { keyspaces: ['ks'], tables: ['orders', 'ev*'], operations: ['SELECT'] }),
      access('c', { keyspaces: ['ks'], tables: ['users'], columns: ['id', 'na*'], operations: ['SELECT'] }),
      document('AccessPolicy', 'r', {
        subjects: [{ spiffeId: 'spiffe://td/svc/*' }],
        roles: ['app'],
        functions: ['ks.f'],
        operations: ['DROP'],
      }),
      cedar(
        'raw',
        'permit (principal, action == Action::"SELECT", resource in Table::"ks.raw");\npermit (principal, action == Action::"SELECT", resource == Column::"ks.users.raw");',
      ),
    )
    const pieces = [
      'orders',
      'users',
      'ks',
      'id',
      'raw',
      'app',
      'f',
      'ev',
      'na',
      '"',
      '\\',
      '*',
      '.',
      '%2E',
      '::',
      '");',
      '\n',
      '\0',
      '__proto__',
      '\u{1F600}',
      '\ud800',
      '\ufffd',
      ' ',
      "'",
    ]
    const name = fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''))
    const ask = (
      resource: StatementFacts['accesses'][number]['resource'],
      permission: 'SELECT' | 'DROP',
      columns: readonly string[] | '*',
    ) => {
      const facts = factsWith({ verb: 'X', accesses: [{ permission, resource, columns }] })
      return engine.decide(orders, facts, atNoon, undefined).kind === 'permit'
    }
    fc.assert(
      fc.property(name, name, name, (keyspace, table, column) => {
        const wellFormed = (...names: string[]) => names.every((one) => one.isWellFormed())
        const tableGiven = keyspace === 'ks' && (table === 'orders' || table.startsWith('ev') || table === 'raw')
        const columnGiven =
          keyspace === 'ks' && table === 'users' && (column === 'id' || column.startsWith('na') || column === 'raw')
        assert.equal(ask({ kind: 'table', keyspace, table }, 'SELECT', '*'), tableGiven && wellFormed(table))
        assert.equal(
          ask({ kind: 'table', keyspace, table }, 'SELECT', [column]),
          (tableGiven || columnGiven) && wellFormed(table, column),
        )
        assert.equal(ask({ kind: 'role', role: table }, 'DROP', []), table === 'app')
        assert.equal(ask({ kind: 'function', keyspace, name: table }, 'DROP', []), keyspace === 'ks' && table === 'f')
      }),
      { numRuns: 400 },
    )
    const users = { kind: 'table', keyspace: 'ks', table: 'users' } as const
    for (const column of ['id', 'na', 'name', 'raw', 'na".x']) assert.ok(ask(users, 'SELECT', [column]), column)
    for (const column of ['id"', 'n', 'raw.', '*', 'ID']) assert.ok(!ask(users, 'SELECT', [column]), column)
  })
})

describe('explain', () => {
  it('shows facts as refined, rules with their Cedar text, and why each did not speak', () => {
    const engine = engineOf(
      access('day', { keyspaces: ['ks'], operations: ['READ'], when: { hours: '08:00-11:00' } }),
      access('trial', { effect: 'deny', mode: 'observe', keyspaces: ['ks'], tables: ['t'], operations: ['SELECT'] }),
      access('read', { keyspaces: ['ks'], operations: ['READ'] }),
      cedar(
        'raw',
        'permit (principal, action, resource in Table::"ks.u");\n@id("raw-t") permit (principal, action, resource in Table::"ks.t");',
      ),
    )
    const facts = factsWith({
      accesses: [{ permission: 'SELECT', resource: { kind: 'table', keyspace: 'ks', table: 't' }, columns: '*' }],
      keyspace: 'ks',
      table: 't',
    })
    const { decision, accesses } = engine.explain(orders, facts, atNoon)
    assert.equal(decision.kind, 'permit')
    assert.deepEqual(
      accesses.map(({ access: one }) => one.permission),
      ['SELECT', 'SCAN'],
    )
    assert.deepEqual(
      accesses[0]?.considered.map(({ rule, mode, outcome }) => [rule, mode, outcome]),
      [
        ['day', 'enforce', 'other request'],
        ['trial', 'observe', 'matched'],
        ['read', 'enforce', 'matched'],
        ['raw', 'enforce', 'not matched'],
        ['raw-t', 'enforce', 'matched'],
        ['driver-metadata', 'enforce', 'other resource'],
      ],
    )
    assert.match(
      accesses[0]?.considered[2]?.cedar ?? '',
      /^@id\("read"\)\n.*\npermit \(principal in Group::"spiffe:\/\/td\/svc\/\*", action in \[/,
    )
  })
})
