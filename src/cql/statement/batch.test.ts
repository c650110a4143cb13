/** Statements of a BATCH text that repeat an earlier one are one object; what differs in any fact is not. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from './analyse.ts'
import type { StatementFacts } from './facts.ts'
import { resolveKeyspace } from './resolve.ts'

const childrenOf = (...texts: string[]): readonly StatementFacts[] => {
  const facts = analyse(`BEGIN BATCH ${texts.join('; ')} APPLY BATCH`)
  assert.equal(facts.statementCount, texts.length)
  // Whatever is shared, each says what it would say alone.
  for (const [at, text] of texts.entries()) assert.deepEqual(facts.children[at], analyse(text))
  return facts.children
}

describe('one object', () => {
  it('is what literals alone tell apart', () => {
    const [one, other, third] = childrenOf(
      'INSERT INTO t (k, a) VALUES (1, ?)',
      'INSERT INTO t (k, a) VALUES (2, ?)',
      'INSERT /* x */ INTO t(k,a) VALUES (-3, ?)',
    )
    assert.equal(one, other)
    assert.equal(one, third)
  })

  it('is what repeats itself with others between', () => {
    const texts = ['UPDATE t SET a = 1 WHERE k = 1', 'DELETE FROM t WHERE k = 1', 'INSERT INTO t (k) VALUES (?)']
    const children = childrenOf(...texts, ...texts, ...texts)
    assert.equal(new Set(children).size, 3)
    assert.equal(children[1], children[7])
  })

  it('is it still after the keyspace in force was put in, and after a copy', () => {
    const facts = analyse(`BEGIN BATCH ${'DELETE FROM t WHERE k = 1 '.repeat(3)} APPLY BATCH`)
    const resolved = resolveKeyspace(facts, 'ks')
    assert.equal(new Set(resolved.children).size, 1)
    assert.equal(resolved.children[2]!.keyspace, 'ks')
    assert.equal(new Set(structuredClone(resolved).children).size, 1)
  })
})

describe('another object', () => {
  for (const [what, one, other] of [
    ['a table', 'DELETE FROM t WHERE k = 1', 'DELETE FROM u WHERE k = 1'],
    ['the case of a quoted name', 'DELETE FROM "T" WHERE k = 1', 'DELETE FROM "t" WHERE k = 1'],
    ['a column', 'DELETE a FROM t WHERE k = 1', 'DELETE b FROM t WHERE k = 1'],
    ['the case of a function', 'DELETE FROM t WHERE k = MAP(1)', 'DELETE FROM t WHERE k = map(1)'],
    ['a string that restricts', "DELETE FROM t WHERE k = 'a'", "DELETE FROM t WHERE k = 'b'"],
    ['the kind of a literal', "DELETE FROM t WHERE k = 'a'", 'DELETE FROM t WHERE k = 1'],
    ['a marker for a literal', 'DELETE FROM t WHERE k = ?', 'DELETE FROM t WHERE k = 1'],
    ['the name of a marker', 'DELETE FROM t WHERE k = :a', 'DELETE FROM t WHERE k = :b'],
    ['a condition', 'DELETE FROM t WHERE k = 1 IF EXISTS', 'DELETE FROM t WHERE k = 1'],
    ['a TTL', 'INSERT INTO t (k) VALUES (1) USING TTL 1', 'INSERT INTO t (k) VALUES (1) USING TTL 2'],
    ['a bound TTL', 'INSERT INTO t (k) VALUES (1) USING TTL 1', 'INSERT INTO t (k) VALUES (1) USING TTL ?'],
    ['a timestamp', 'DELETE FROM t USING TIMESTAMP 1 WHERE k = 1', 'DELETE FROM t USING TIMESTAMP 2 WHERE k = 1'],
  ] as const) {
    it(`is what ${what} tells apart`, () => {
      const [first, second, third] = childrenOf(one, other, one)
      assert.notEqual(first, second)
      assert.deepEqual(first, third)
    })
  }

  it('has its own amounts where they are given twice, the last of them', () => {
    const children = childrenOf(
      'INSERT INTO t (k) VALUES (1) USING TTL 1 AND TIMESTAMP 2 AND TTL 3',
      'INSERT INTO t (k) VALUES (1) USING TTL 4 AND TIMESTAMP 5 AND TTL 6',
      'INSERT INTO t (k) VALUES (1) USING TTL 1 AND TTL ?',
      'INSERT INTO t (k) VALUES (1) USING TTL 2 AND TTL ?',
      'INSERT INTO t (k) VALUES (1) USING TTL ? AND TTL 1',
      'INSERT INTO t (k) VALUES (1) USING TTL ? AND TTL 2',
    )
    assert.deepEqual(
      children.map(({ ttl }) => ttl),
      [{ literal: 3n }, { literal: 6n }, { marker: 0 }, { marker: 0 }, { literal: 1n }, { literal: 2n }],
    )
    assert.equal(children[0]!.restrictions, children[1]!.restrictions)
  })

  it('is read again where a literal decides whether it is valid', () => {
    const cast = (type: string): string => `UPDATE t SET a = ('${type}') 1 WHERE k = 1`
    childrenOf(cast('Int32Type'), cast('UTF8Type'))
    assert.throws(() => childrenOf(cast('Int32Type'), cast('nope')), { code: 'SYNTAX' })
    const vector = (size: string): string => `UPDATE t SET a = (vector<int, ${size}>) [1] WHERE k = 1`
    childrenOf(vector('3'), vector('4'))
    assert.throws(() => childrenOf(vector('3'), vector('9999999999')), { code: 'SYNTAX' })
  })
})
