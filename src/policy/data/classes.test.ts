import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import { admin, document, judge, noRules, rulesOf, sign } from './data.fixture.ts'
import type { DataRules } from './rules.ts'

const guard = (name: string, spec: string): string => document('Guardrail', name, `{${spec}}`)

const verdict = (text: string, rules: DataRules = noRules): string =>
  sign(judge(rules, analyse(text), { principal: admin, may: () => true }))

const own = [
  "CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
  "ALTER KEYSPACE shop WITH replication = {'class': 'org.apache.cassandra.locator.NetworkTopologyStrategy'}",
  ...['SizeTiered', 'Leveled', 'TimeWindow', 'Unified'].map(
    (name) => `ALTER TABLE shop.orders WITH compaction = {'class': '${name}CompactionStrategy'}`,
  ),
  ...['LZ4', 'Snappy', 'Deflate', 'Zstd', 'Noop'].map(
    (name) => `CREATE TABLE shop.orders (k int PRIMARY KEY) WITH compression = {'class': '${name}Compressor'}`,
  ),
  "CREATE CUSTOM INDEX ON shop.orders (a) USING 'StorageAttachedIndex'",
  "CREATE CUSTOM INDEX ON shop.orders (a) USING 'org.apache.cassandra.index.sasi.SASIIndex' WITH OPTIONS = {'analyzer_class': 'org.apache.cassandra.index.sasi.analyzer.StandardAnalyzer'}",
  'DROP TRIGGER tr ON shop.orders',
]

const foreign = [
  "CREATE KEYSPACE shop WITH replication = {'class': 'org.example.Evil'}",
  "ALTER KEYSPACE shop WITH replication = {'class': 'EverywhereStrategy'}",
  "ALTER KEYSPACE shop WITH replication = {'class': 'LocalStrategy'}",
  "ALTER TABLE shop.orders WITH compaction = {'class': 'org.example.Evil'}",
  "ALTER TABLE shop.orders WITH compaction = {'class': 'leveledCompactionStrategy'}",
  "ALTER TABLE shop.orders WITH compaction = {'class': 'LZ4Compressor'}",
  "CREATE TABLE shop.orders (k int PRIMARY KEY) WITH compression = {'class': 'org.example.Evil'}",
  "ALTER MATERIALIZED VIEW shop.orders WITH compression = {'class': 'org.example.Evil'}",
  "CREATE CUSTOM INDEX ON shop.orders (a) USING 'org.example.Evil'",
  "CREATE CUSTOM INDEX ON shop.orders (a) USING 'sai' WITH OPTIONS = {'analyzer_class': 'org.example.Evil'}",
  "CREATE TRIGGER tr ON shop.orders USING 'org.example.Evil'",
  "CREATE TRIGGER tr ON shop.orders USING 'org.apache.cassandra.triggers.AuditTrigger'",
]

describe('classes that statements name', () => {
  it('are Cassandra’s own without any Guardrail', () => {
    for (const text of own) assert.equal(verdict(text), '+', text)
  })

  it('are refused to everyone where they are others, and the refusal does not repeat them', () => {
    for (const text of foreign) assert.equal(verdict(text), '-unlisted-class', text)
    const { denial } = judge(noRules, analyse(foreign[3]!))
    assert.equal(denial?.text, 'a statement on shop.orders names a class that is not on the list of classes')
  })

  it('are refused for one of several', () => {
    const two =
      "ALTER TABLE shop.orders WITH compaction = {'class': 'LeveledCompactionStrategy'} AND compression = {'class': 'a.B'}"
    assert.equal(verdict(two), '-unlisted-class')
  })

  it('may be others where a Guardrail lists them by their exact names, and nowhere else', () => {
    const rules = rulesOf(guard('g', 'keyspaces: [shop], allowedClasses: [org.example.Fine, org.example.Fine$Inner]'))
    for (const use of [
      "CREATE TRIGGER tr ON shop.orders USING '@'",
      "CREATE CUSTOM INDEX ON shop.orders (a) USING '@'",
      "ALTER TABLE shop.orders WITH compaction = {'class': '@'}",
      "CREATE KEYSPACE shop WITH replication = {'class': '@'}",
    ]) {
      const of = (name: string): string => use.replace('@', name)
      assert.equal(verdict(of('org.example.Fine'), rules), '+', use)
      assert.equal(verdict(of('org.example.Fine$Inner'), rules), '+', use)
      assert.equal(verdict(of('org.example.Fin'), rules), '-unlisted-class', use)
      assert.equal(verdict(of('org.example.Fine2'), rules), '-unlisted-class', use)
      assert.equal(verdict(of('org.example.fine'), rules), '-unlisted-class', use)
      assert.equal(verdict(of('org.example.Fine').replace('shop', 'other'), rules), '-unlisted-class', use)
    }
    for (const text of own) assert.equal(verdict(text, rules), '+', text)
  })

  it('are listed for tables without being listed for their keyspace, and never for a system keyspace by a wildcard', () => {
    const tables = rulesOf(guard('g', 'keyspaces: [shop], tables: [orders], allowedClasses: [a.B]'))
    assert.equal(verdict("ALTER TABLE shop.orders WITH compaction = {'class': 'a.B'}", tables), '+')
    assert.equal(verdict("ALTER TABLE shop.others WITH compaction = {'class': 'a.B'}", tables), '-unlisted-class')
    assert.equal(verdict("ALTER KEYSPACE shop WITH replication = {'class': 'a.B'}", tables), '-unlisted-class')
    const everywhere = rulesOf(guard('g', 'allowedClasses: [a.B]'))
    assert.equal(verdict("ALTER KEYSPACE shop WITH replication = {'class': 'a.B'}", everywhere), '+')
    assert.equal(verdict("ALTER TABLE system_auth.t WITH compaction = {'class': 'a.B'}", everywhere), '-unlisted-class')
  })

  it('add up over Guardrails', () => {
    const rules = rulesOf(
      guard('one', 'allowedClasses: [a.B]'),
      guard('two', 'keyspaces: [shop], allowedClasses: [a.C]'),
    )
    const text = "ALTER TABLE shop.orders WITH compaction = {'class': 'a.B'} AND compression = {'class': 'a.C'}"
    assert.equal(verdict(text, rules), '+')
  })
})
