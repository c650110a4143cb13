import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../../policy/load.ts'
import type { Sent } from './audit-lines.fixture.ts'
import { auditLine, sentMs } from './audit-lines.fixture.ts'
import type { ReplayLimits, Report } from './replay.ts'
import { Replay } from './replay.ts'
import { readSchema } from './schema-file.ts'
import { Trial } from './trial.ts'

const orders = 'spiffe://demo.local/svc/orders'
const schema = readSchema('CREATE TABLE shop.orders (id int PRIMARY KEY, card text);', 'shop.cql')

const policy = (name: string, spec: string, kind = 'AccessPolicy'): string =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n---\n`
const allowOrders = (more: string): string =>
  policy('orders', `{ subjects: [{ spiffeId: ${orders} }], keyspaces: [shop], ${more} }`)

function replay(draft: string, lines: readonly (Sent | string)[], limits: Partial<ReplayLimits> = {}): Report {
  const one = new Replay(new Trial(loadPolicy(draft, 'draft.yaml'), 0, schema), sentMs - 3_600_000, limits)
  for (const line of lines) one.line(typeof line === 'string' ? line : auditLine(line))
  return one.report()
}

const read: Sent = { as: orders, text: "SELECT card FROM shop.orders WHERE id = 'secret'", rule: 'orders' }

describe('a replay of the audit against a draft', () => {
  it('finds nothing where the draft says the same', () => {
    const denied: Sent = {
      as: orders,
      text: 'TRUNCATE shop.orders',
      rule: 'default-deny',
      verdict: 'deny',
      consistency: false,
    }
    const report = replay(allowOrders('operations: [READ]'), [read, read, denied])
    assert.deepEqual([report.requests, report.unchanged, report.changed, report.unjudged], [3, 3, [], []])
  })

  it('reads lines of before there was a list of tables, and lines whose texts were cut, as it reads those of now', () => {
    const line = auditLine(read)
    const old = line.replace(/"tables":\[[^\]]*\],/, '')
    assert.notEqual(old, line)
    const cut = line
      .replace(/"driver":"[^"]*"/, '')
      .replace('"operation"', '"keyspaceBytes":900,"tablesMissing":3,"operation"')
    const report = replay(allowOrders('operations: [READ]'), [line, old, cut])
    assert.deepEqual([report.requests, report.unchanged, report.unreadable], [3, 3, 0])
  })

  it('groups what would change by workload and statement, literals apart, most frequent first', () => {
    const other: Sent = { ...read, text: "SELECT card FROM shop.orders WHERE id = 'other'" }
    const write: Sent = {
      as: orders,
      text: 'DELETE FROM orders WHERE id = 1',
      keyspace: 'shop',
      rule: 'default-deny',
      verdict: 'deny',
    }
    const report = replay(allowOrders('operations: [WRITE]'), [write, read, other])
    assert.deepEqual(
      report.changed.map(({ reason, ...group }) => group),
      [
        {
          workload: orders,
          keyspace: 'shop',
          statement: 'SELECT card FROM shop.orders WHERE id = ?',
          verdictThen: 'allow',
          ruleThen: 'orders',
          verdictNow: 'deny',
          ruleNow: 'default-deny',
          count: 2,
        },
        {
          workload: orders,
          keyspace: 'shop',
          statement: 'DELETE FROM orders WHERE id = ?',
          verdictThen: 'deny',
          ruleThen: 'default-deny',
          verdictNow: 'allow',
          ruleNow: 'orders',
          count: 1,
        },
      ],
    )
    assert.match(report.changed[0]?.reason ?? '', /has no SELECT permission on <table shop\.orders>/)
  })

  it('tells another rule from another verdict, and observation from both', () => {
    const renamed = replay(allowOrders('operations: [READ]'), [{ ...read, rule: 'earlier' }])
    assert.deepEqual([renamed.unchanged, renamed.changed.length, renamed.otherRule[0]?.ruleThen], [1, 0, 'earlier'])
    const observing =
      allowOrders('operations: [READ]') +
      policy(
        'no-cards',
        `{ effect: deny, mode: observe, subjects: [{ spiffeId: ${orders} }], keyspaces: [shop], operations: [SELECT] }`,
      )
    const observed = replay(observing, [read, { ...read, verdict: 'observe', rule: 'no-cards' }])
    assert.deepEqual(
      [observed.unchanged, observed.changed.map(({ verdictNow, ruleNow }) => [verdictNow, ruleNow])],
      [1, [['observe', 'no-cards']]],
    )
  })

  it('judges each request by how its caller proved who it is, and guesses nothing where an old record does not say', () => {
    const draft = allowOrders('operations: [READ], when: { authentication: [certificate] }')
    const old = auditLine(read).replace('"authentication":"certificate",', '')
    const report = replay(draft, [read, { ...read, authentication: 'listener' }, old])
    assert.deepEqual([report.requests, report.unchanged, report.changed.length], [3, 1, 1])
    assert.deepEqual(
      report.unjudged.map(({ why }) => why),
      ['it depends on the authentication, which the record does not hold'],
    )
    const indifferent = replay(allowOrders('operations: [READ]'), [old])
    assert.deepEqual([indifferent.unchanged, indifferent.unjudged], [1, []])
  })

  it('judges a person behind a workload as both, and guesses no groups, role or claims', () => {
    const both = { ...read, person: 'corp/alice' }
    const workloadOnly = replay(allowOrders('operations: [READ]'), [both])
    assert.deepEqual(
      workloadOnly.changed.map(({ verdictNow, reason }) => [verdictNow, /^corp\/alice \(through /.test(reason ?? '')]),
      [['deny', true]],
    )
    const people = policy('people', '{ subjects: [{ person: corp/* }], keyspaces: [shop], operations: [READ] }')
    const permitted = replay(allowOrders('operations: [READ]') + people, [both, { ...read, person: 'corp/alice' }])
    assert.deepEqual([permitted.requests, permitted.changed.length, permitted.unjudged.length], [2, 0, 0])
    const provider =
      'apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: corp }\nspec: { type: oidc, issuer: https://login.example.com, audiences: [ringfence], claims: { groups: groups } }\n---\n'
    const groups = policy('groups', '{ subjects: [{ group: corp/analysts }], keyspaces: [shop], operations: [READ] }')
    const asked = replay(allowOrders('operations: [READ]') + groups + provider, [both, read])
    assert.deepEqual(
      asked.unjudged.map(({ why, count }) => [why, count]),
      [['it depends on the groups, the role or the claims of the caller, which the record does not hold', 1]],
    )
    assert.equal(asked.unchanged, 1)
  })

  it('judges a request by its own circumstances', () => {
    const draft = allowOrders('operations: [READ], when: { consistency: [LOCAL_QUORUM] }')
    const report = replay(draft, [read, { ...read, consistency: 'ALL' }])
    assert.deepEqual(
      [report.unchanged, report.changed.map(({ count, verdictNow }) => [count, verdictNow])],
      [1, [[1, 'deny']]],
    )
  })

  it('counts what it cannot judge, with the reason, and never as unchanged', () => {
    const long = `SELECT card FROM shop.orders WHERE id IN (${'1, '.repeat(3_000)}1)`
    const draft = allowOrders('operations: [READ], when: { consistency: [LOCAL_QUORUM] }')
    const report = replay(draft, [
      { ...read, text: long },
      { as: orders, rule: 'not-understood', verdict: 'deny' },
      { as: orders, rule: 'orders' },
      auditLine(read).replace(',"keyspace":"shop"', '').replace('FROM shop.orders', 'FROM orders'),
      { ...read, consistency: false },
      auditLine(read).replaceAll(orders, `${orders}…`),
    ])
    assert.deepEqual([report.requests, report.unchanged, report.changed], [6, 0, []])
    const reasons = report.unjudged.map(({ why, count }) => `${count} ${why}`).sort()
    assert.deepEqual(reasons, [
      '1 it depends on the consistency level, which the record does not hold',
      '1 refused by the mesh itself (not-understood)',
      '1 the keyspace in force is not in the record',
      '1 the record has no statement',
      '1 the statement is cut off in the record',
      '1 the workload or person is cut off in the record',
    ])
    assert.equal(report.unjudged.find(({ why }) => why.includes('cut off in'))?.statements[0]?.workload, orders)
  })

  it('takes literals for bound values, and says which rules they still have to meet', () => {
    const retention = policy(
      'thirty-days',
      '{ keyspaces: [shop], tables: [orders], maxTtl: 30d, requireTtl: true }',
      'RetentionPolicy',
    )
    const draft = allowOrders('operations: [WRITE]') + retention
    const insert: Sent = { as: orders, text: 'INSERT INTO shop.orders (id) VALUES (1) USING TTL 60', rule: 'orders' }
    const report = replay(draft, [
      insert,
      { ...insert, text: 'INSERT INTO shop.orders (id) VALUES (1)' },
      { ...insert, verdict: 'deny', rule: 'thirty-days' },
    ])
    assert.deepEqual(report.boundLater, [{ rule: 'thirty-days', count: 1 }])
    assert.deepEqual([report.unchanged, report.changed.map(({ ruleNow }) => ruleNow)], [1, ['thirty-days']])
    assert.deepEqual(
      report.unjudged.map(({ why }) => why),
      ['the values that thirty-days refused are not in the record'],
    )
  })

  it('does not take a refusal for what a request carried for one that the draft lifts', () => {
    const refusals = ['timestamp-bound', 'now-in-seconds', 'unresolved-markers', 'visible-objects']
    const lines = refusals.map((rule): Sent => ({ ...read, verdict: 'deny', rule }))
    const report = replay(allowOrders('operations: [READ]'), lines)
    assert.deepEqual([report.changed, report.unjudged.length], [[], 4])
  })

  it('lets a BATCH through whose number of partitions alone is against it, if its values meet the rule', () => {
    const guard = policy('few', '{ keyspaces: [shop], partitionsPerBatchMax: 1 }', 'Guardrail')
    const text = 'BEGIN BATCH DELETE FROM shop.orders WHERE id = 1; DELETE FROM shop.orders WHERE id = 1 APPLY BATCH'
    const report = replay(allowOrders('operations: [WRITE]') + guard, [{ as: orders, text, rule: 'orders' }])
    assert.deepEqual([report.unchanged, report.boundLater], [1, [{ rule: 'few', count: 1 }]])
    const other = replay(allowOrders('operations: [READ]') + guard, [{ as: orders, text, rule: 'orders' }])
    assert.deepEqual(
      other.changed.map(({ ruleNow }) => ruleNow),
      ['default-deny'],
    )
  })

  it('does not guess a default TTL', () => {
    const retention = policy('thirty-days', '{ keyspaces: [shop], maxTtl: 30d }', 'RetentionPolicy')
    const create: Sent = {
      as: orders,
      text: 'CREATE TABLE shop.new (id int PRIMARY KEY) WITH default_time_to_live = 60',
      rule: 'orders',
    }
    const report = replay(allowOrders('operations: [SCHEMA]') + retention, [create])
    assert.deepEqual(
      report.unjudged.map(({ why }) => why),
      ['it depends on the default TTL, which the record does not hold'],
    )
  })

  it('does not guess a class', () => {
    const create = (text: string): Sent => ({ as: orders, text, rule: 'orders' })
    const lines = [
      create("CREATE TABLE shop.new (id int PRIMARY KEY) WITH compaction = {'class': 'LeveledCompactionStrategy'}"),
      create("CREATE TABLE shop.new (id int PRIMARY KEY) WITH caching = {'keys': 'ALL'}"),
    ]
    const report = replay(allowOrders('operations: [SCHEMA]'), lines)
    assert.deepEqual(
      [report.unchanged, report.unjudged.map(({ why }) => why)],
      [1, ['it depends on the class, which the record does not hold']],
    )
    const refused = replay(allowOrders('operations: [READ]'), lines)
    assert.deepEqual(
      refused.changed.map(({ ruleNow }) => ruleNow),
      ['default-deny', 'default-deny'],
    )
  })

  it('counts on when there are more statements than it keeps apart', () => {
    const lines = ['a', 'b', 'c', 'a'].map((name): Sent => ({ ...read, text: `SELECT ${name} FROM shop.orders` }))
    const few = { statementsMax: 1, judgementsPerStatementMax: 1 }
    const report = replay(allowOrders('operations: [WRITE]'), lines, { ...few, groupsMax: 2 })
    assert.deepEqual([report.changed.map(({ count }) => count), report.ungrouped], [[2, 1], 1])
    const mute = lines.map((line): Sent => ({ ...line, rule: 'node-away', verdict: 'deny' }))
    const [unjudged] = replay(allowOrders('operations: [WRITE]'), mute, { unjudgedStatementsMax: 2 }).unjudged
    assert.deepEqual([unjudged?.count, unjudged?.statements.map(({ count }) => count)], [4, [2, 1]])
  })

  it('passes over what is earlier, and counts what is no request and what is no record', () => {
    const report = replay(allowOrders('operations: [READ]'), [
      { ...read, timeMs: sentMs - 3_600_001 },
      { ...read, timeMs: sentMs - 3_600_000 },
      { as: orders, operation: 'CONNECT', rule: 'session' },
      '{"time":"2026-01-02T12:00:09.001Z","seq":57,"proxy":"sidecar-1","event":"resumed","dropped":0}',
      auditLine(read).slice(0, 100),
      'null',
    ])
    assert.deepEqual([report.requests, report.unchanged, report.notRequests, report.unreadable], [1, 1, 2, 2])
  })
})
