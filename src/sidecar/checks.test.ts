import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchEnvelope } from '../cql/encode.fixture.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { BatchView, readBatch } from '../cql/requests.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { Partitions } from './checks.ts'
import type { Judge, Judged } from './judged.ts'

const keys: Readonly<Record<string, readonly string[]>> = { one: ['k'], two: ['a', 'b'] }
const judge = { partitionKey: ({ table = '' }) => keys[table] } as unknown as Judge

/** A list of so many one-byte values, as it is bound. */
function list(count: number): Buffer {
  const bytes = Buffer.alloc(4 + count * 5)
  bytes.writeInt32BE(count, 0)
  for (let i = 0; i < count; i++) bytes.writeInt32BE(1, 4 + i * 5)
  return bytes
}

function count(...parts: readonly (readonly [string, ...(Buffer | null)[]])[]): number {
  const envelope = batchEnvelope(
    4,
    1,
    1,
    parts.map(([text, ...values]) => ({ text, values })),
  )
  const view = new BatchView()
  readBatch(view, wholeEnvelope(envelope), 4)
  const judged = parts.map(([text]) => ({ facts: resolveKeyspace(analyse(text), 'shop') }) as unknown as Judged)
  return new Partitions(judge, judged, view).count
}

describe('the partitions of a BATCH message', () => {
  const a = Buffer.from('a')

  it('are told apart by their keys, bound or written', () => {
    const one = 'UPDATE one SET v = 1 WHERE k = ?'
    assert.equal(count([one, a], [one, a], ["UPDATE one SET v = 1 WHERE k = 'a'"]), 1)
    assert.equal(count([one, a], [one, Buffer.from('b')]), 2)
    assert.equal(count(['DELETE FROM two WHERE a = ? AND b = ?', a, a], ['DELETE FROM two WHERE a = ?', a]), 2)
  })

  it('are all that IN names, written or bound', () => {
    assert.equal(count(['DELETE FROM one WHERE k IN (1, 2, 3, 4, 5)'], ['DELETE FROM one WHERE k IN (6, 7)']), 7)
    assert.equal(count(['DELETE FROM one WHERE k IN ?', list(5)], ['DELETE FROM one WHERE k IN ?', list(2)]), 7)
    assert.equal(count(['DELETE FROM two WHERE a IN ? AND b IN (1, 2)', list(5)]), 10)
    assert.equal(count(['DELETE FROM two WHERE a IN ? AND b IN ? AND c IN ?', list(5), list(3), list(9)]), 15)
    assert.equal(count(['DELETE FROM one WHERE k = 1 AND c IN ?', list(9)]), 1)
    assert.equal(count(['DELETE FROM unknown WHERE k IN ? AND c IN ?', list(2), list(2)]), 4)
    assert.equal(count(['DELETE FROM one WHERE k IN ?', null]), Number.POSITIVE_INFINITY)
  })
})
