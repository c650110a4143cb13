import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from './analyse.ts'
import { resolveKeyspace } from './resolve.ts'

const noKeyspace = {
  code: 'INVALID',
  message: 'No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename',
}

describe('the keyspace in force', () => {
  it('fills in where a name is unqualified', () => {
    const facts = resolveKeyspace(analyse('SELECT f(a) FROM t'), 'ks')
    assert.deepEqual(
      facts.accesses.map(({ resource }) => resource),
      [
        { kind: 'table', keyspace: 'ks', table: 't' },
        { kind: 'function', keyspace: 'ks', name: 'f' },
      ],
    )
    assert.equal(facts.keyspace, 'ks')
    assert.equal(facts.unqualified, false)
  })

  it('changes nothing where every name is qualified', () => {
    const facts = analyse('SELECT f(a) FROM other.t')
    assert.equal(resolveKeyspace(facts, 'ks'), facts)
    assert.equal(resolveKeyspace(facts, undefined), facts)
  })

  it('reaches into batches', () => {
    const facts = resolveKeyspace(
      analyse('BEGIN BATCH INSERT INTO t (a) VALUES (1) INSERT INTO other.t (a) VALUES (1) APPLY BATCH'),
      'ks',
    )
    assert.deepEqual(
      facts.accesses.map(({ resource }) => 'keyspace' in resource && resource.keyspace),
      ['ks', 'other'],
    )
    assert.deepEqual(
      facts.children.map(({ keyspace }) => keyspace),
      ['ks', 'other'],
    )
    assert.equal(facts.keyspace, undefined)
  })

  it("does not reach the base table of another keyspace's view", () => {
    const facts = resolveKeyspace(analyse('CREATE MATERIALIZED VIEW ks2.v AS SELECT * FROM t PRIMARY KEY (a)'), 'ks')
    assert.deepEqual(
      facts.accesses.map(({ resource }) => resource.kind === 'table' && resource.keyspace),
      ['ks2', 'ks2', 'ks2'],
    )
  })

  it('is needed, in the words that drivers know', () => {
    for (const text of [
      'SELECT * FROM t',
      'TRUNCATE t',
      'DROP INDEX i',
      'CREATE TYPE u (a int)',
      'DESCRIBE TABLE t',
      'GRANT SELECT ON t TO r',
    ]) {
      assert.throws(() => resolveKeyspace(analyse(text), undefined), noKeyspace)
      assert.doesNotThrow(() => resolveKeyspace(analyse(text), 'ks'))
    }
    assert.throws(
      () => resolveKeyspace(analyse('BEGIN BATCH INSERT INTO t (a) VALUES (1) APPLY BATCH'), undefined),
      noKeyspace,
    )
  })

  it('may be absent where Cassandra does without', () => {
    for (const text of ['LIST ROLES', 'USE ks', 'DROP ROLE r', 'DESCRIBE CLUSTER', 'SELECT now() FROM system.local']) {
      assert.doesNotThrow(() => resolveKeyspace(analyse(text), undefined))
    }
  })

  it('makes DESCRIBE TABLES a question about that keyspace, and without one about the cluster', () => {
    const facts = analyse('DESCRIBE TABLES')
    assert.deepEqual(resolveKeyspace(facts, 'ks').accesses[0]?.resource, { kind: 'keyspace', keyspace: 'ks' })
    assert.deepEqual(resolveKeyspace(facts, undefined).accesses[0]?.resource, { kind: 'cluster' })
  })

  it('lets DESCRIBE a mean the keyspace a and what is called a in the keyspace in force', () => {
    const facts = analyse('DESCRIBE a')
    const keyspaces = (inForce: string | undefined): unknown[] =>
      resolveKeyspace(facts, inForce).accesses.map(({ resource }) => 'keyspace' in resource && resource.keyspace)
    assert.deepEqual(keyspaces('ks'), ['a', 'ks'])
    assert.deepEqual(keyspaces(undefined), ['a'])
  })
})
