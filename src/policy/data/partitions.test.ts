/** `partitionsPerBatchMax` counts what is written, in whatever way a write says which partitions it means. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { checkRequest } from './check.ts'
import { document, judge, rulesOf, schemaOf, table, valuesOf } from './data.fixture.ts'

const rules = rulesOf(document('Guardrail', 'few', '{keyspaces: [shop], partitionsPerBatchMax: 3}'))
const schema = schemaOf({
  'shop.one': table({ partitionKey: ['k'], clusteringKey: ['c'], columns: ['k', 'c', 'v'] }),
  'shop.two': table({ partitionKey: ['a', 'b'], clusteringKey: ['c'], columns: ['a', 'b', 'c', 'v'] }),
})

/** @param lists sizes of what is bound, by marker; null for what cannot be counted */
function verdict(text: string, lists: readonly (number | null)[] = []): '+' | '-' {
  const said = judge(rules, resolveKeyspace(analyse(text), 'shop'), { schema })
  const denied = said.denial ?? checkRequest(said.obligations?.checks, valuesOf({ lists })).denial
  if (denied !== undefined) assert.equal(denied.rule, 'few')
  return denied === undefined ? '+' : '-'
}

const inBatch = (...writes: readonly string[]): string => `BEGIN UNLOGGED BATCH ${writes.join('; ')} APPLY BATCH`

/** A write, the partitions it means. */
const writes: readonly (readonly [string, number, (readonly (number | null)[])?])[] = [
  ['UPDATE one SET v = 1 WHERE k = 1 AND c = 1', 1],
  ['INSERT INTO one (k, c, v) VALUES (1, 1, 1)', 1],
  ["INSERT INTO one JSON '{}'", 1],
  ['DELETE FROM one WHERE k = ?', 1],
  ['UPDATE one SET v = 1 WHERE k IN (1, 2, 3) AND c = 1', 3],
  ['UPDATE one SET v = 1 WHERE c = 1 AND (k IN (1, 2, 3, 4))', 4],
  ['UPDATE one SET v = 1 WHERE k IN (1, 1, 1, 1) AND c = 1', 4],
  ['UPDATE one SET v = 1 WHERE k IN (?, ?, ?, ?) AND c = 1', 4],
  ["DELETE FROM one WHERE k IN ('a', 'b')", 2],
  ['DELETE v FROM one WHERE k IN (1, 2, 3, 4) AND c = 1', 4],
  ['DELETE FROM one WHERE k IN (1, 2, 3, 4) IF EXISTS', 4],
  ['DELETE FROM one WHERE k = 1 AND c IN (1, 2, 3, 4, 5)', 1],
  ['DELETE FROM one WHERE k = 1 AND (c) IN ((1), (2), (3), (4))', 1],
  ['DELETE FROM one WHERE (k) IN ((1), (2), (3), (4))', 4],
  ['DELETE FROM two WHERE a IN (1, 2) AND b IN (1, 2)', 4],
  ['DELETE FROM two WHERE a IN (1, 2, 3) AND b = 1', 3],
  ['DELETE FROM two WHERE a = 1 AND b IN (1, 2) AND c IN (1, 2)', 2],
  ['DELETE FROM one WHERE k IN ?', 3, [3]],
  ['DELETE FROM one WHERE k IN ?', 4, [4]],
  ['UPDATE one SET v = ? WHERE k IN ? AND c IN ?', 4, [null, 4, 9]],
  ['UPDATE one SET v = ? WHERE k IN :k AND c = 1', 2, [null, 2]],
  ['DELETE FROM two WHERE a IN ? AND b IN (1, 2)', 4, [2]],
  ['DELETE FROM two WHERE a IN ? AND b IN ?', 4, [2, 2]],
  ['DELETE FROM one WHERE k IN ?', Number.POSITIVE_INFINITY, [null]],
  ['DELETE FROM unknown WHERE k IN (1, 2) AND c IN (1, 2)', 4],
]

describe('partitionsPerBatchMax', () => {
  for (const [text, count, lists = []] of writes) {
    it(`finds ${count} in ${text} ${lists.join()}`, () => {
      assert.equal(verdict(text, lists), count <= 3 ? '+' : '-', 'alone')
      assert.equal(verdict(inBatch(text), lists), count <= 3 ? '+' : '-', 'in a BATCH')
      const two = inBatch('UPDATE one SET v = ? WHERE k = ? AND c = 1', text, "DELETE FROM one WHERE k = 'other'")
      assert.equal(verdict(two, [null, null, ...lists]), count <= 1 ? '+' : '-', 'beside others')
    })
  }

  it('adds the lists of all writes, and counts a partition that is named twice once where it is text', () => {
    const two = 'DELETE FROM one WHERE k IN (1, 2)'
    assert.equal(verdict(inBatch(two, two)), '-')
    assert.equal(verdict(inBatch('DELETE FROM one WHERE k IN ?', 'DELETE FROM one WHERE k IN ?'), [2, 1]), '+')
    assert.equal(verdict(inBatch('DELETE FROM one WHERE k IN ?', 'DELETE FROM one WHERE k IN ?'), [2, 2]), '-')
    const same = "DELETE FROM one WHERE k = 'a'"
    assert.equal(verdict(inBatch(same, same, same, same, two)), '+')
    assert.equal(
      verdict(inBatch(...Array.from({ length: 3 }, (_, i) => `DELETE FROM one WHERE k IN (${'1,'.repeat(4)}${i})`))),
      '-',
    )
  })
})
