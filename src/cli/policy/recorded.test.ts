import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { readRecorded } from './recorded.ts'

// Statements of every family in which CQL wants literals, and so the record's `?` would not be read.
const texts = [
  "SELECT a FROM s.t WHERE k = 1 AND c IN ('x', 'y') LIMIT 5",
  "INSERT INTO t (k, m) VALUES (1, {'a': 0x01, 'b': -2}) USING TTL 60 AND TIMESTAMP -5",
  "INSERT INTO s.t JSON '{}'",
  "BEGIN BATCH UPDATE s.t SET v = 'x' WHERE k = 1; DELETE FROM s.u WHERE k = 2 APPLY BATCH",
  "CREATE KEYSPACE s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1} AND durable_writes = true",
  "CREATE TABLE s.t (k int PRIMARY KEY, v vector<float, 3>) WITH comment = 'x' AND gc_grace_seconds = 5",
  'ALTER TABLE s.t DROP a USING TIMESTAMP 5',
  "CREATE CUSTOM INDEX i ON s.t (v) USING 'sai' WITH OPTIONS = {'a': 'b', 'c': 'd'}",
  "CREATE ROLE r WITH PASSWORD = 'secret' AND LOGIN = true AND SUPERUSER = false AND ACCESS TO DATACENTERS {'a', 'b'}",
  "CREATE USER u WITH PASSWORD 'secret' NOSUPERUSER",
  "CREATE FUNCTION s.f(i int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return i;'",
  "CREATE TRIGGER t ON s.t USING 'org.example.T'",
  "ADD IDENTITY 'x' TO ROLE r",
]

describe('an audited text', () => {
  for (const text of texts) {
    it(`touches what the statement touched: ${text}`, () => {
      const facts = resolveKeyspace(analyse(text), 's')
      const recorded = readRecorded(facts.redacted, 's')
      assert.ok('readings' in recorded, JSON.stringify(recorded))
      for (const reading of recorded.readings) {
        assert.equal(reading.verb, facts.verb)
        assert.deepEqual(reading.accesses, facts.accesses)
        assert.deepEqual(
          reading.children.map(({ accesses }) => accesses),
          facts.children.map(({ accesses }) => accesses),
        )
      }
    })
  }

  it('has a reading for each default TTL that a rule could tell apart', () => {
    const { redacted } = analyse('CREATE TABLE s.t (k int PRIMARY KEY) WITH default_time_to_live = 86400')
    const recorded = readRecorded(redacted, undefined)
    assert.ok('readings' in recorded)
    assert.deepEqual(
      recorded.readings.map(({ defaultTtlSeconds }) => defaultTtlSeconds),
      [0, 1, 630_720_000],
    )
  })

  it('has a reading with a listed class and one with another, wherever one could have been named', () => {
    const classesOf = (text: string): string[] => {
      const recorded = readRecorded(analyse(text).redacted, 's')
      assert.ok('readings' in recorded, text)
      return recorded.readings.map(({ classes }) => classes.join(' '))
    }
    const both = ['org.apache.cassandra.locator.SimpleStrategy', 'lost.with.the.literals']
    for (const text of [
      "CREATE KEYSPACE s WITH replication = {'dc1': 1, 'class': 'NetworkTopologyStrategy'}",
      "ALTER TABLE t WITH comment = $$x$$ AND \"compaction\" = {'class': 'a.B', 'enabled': true}",
      "CREATE TABLE t (k int PRIMARY KEY) WITH COMPRESSION = {'class': 'a.B'}",
      "CREATE TRIGGER tr ON t USING 'a.B'",
      "CREATE CUSTOM INDEX i ON t (v) USING 'a.B'",
    ]) {
      assert.deepEqual(classesOf(text), both, text)
    }
    assert.deepEqual(classesOf("ALTER TABLE t WITH caching = {'keys': 'ALL'}"), [''])
    const ttl = "ALTER TABLE t WITH compaction = {'class': 'a.B'} AND default_time_to_live = 5"
    assert.equal(classesOf(ttl).length, 6)
  })

  it('of a BATCH message is read with the remark that equal statements were written once', () => {
    const recorded = readRecorded('BEGIN UNLOGGED BATCH INSERT INTO s.t (k) VALUES (?); /* 3 times */ APPLY BATCH', 's')
    assert.ok('readings' in recorded)
    assert.equal(recorded.readings[0]?.children.length, 1)
  })

  it('says why it cannot be read', () => {
    const whyOf = (text: string, keyspace?: string): string => {
      const recorded = readRecorded(text, keyspace)
      return 'why' in recorded ? recorded.why : 'it can'
    }
    assert.match(whyOf('SELECT a FROM s.t WHERE k IN (?, ?,…'), /cut off/)
    assert.match(whyOf('SELECT a FROM t', 'name…'), /cut off/)
    assert.match(whyOf('SELECT a FROM t'), /keyspace in force is not in the record/)
    assert.match(whyOf('SELECT a FROM t WHERE'), /without its literals/)
    assert.equal(whyOf('SELECT a FROM t', 's'), 'it can')
  })
})
