/** What one text may cost (attack A11): 50 ms. The bounds here are wider, for machines that do other things as well. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import { analyse } from './analyse.ts'
import { costOf, expensive } from './cost.fixture.ts'

const cpuMsMax = 4 * 50
const copyMsMax = 4 * 10

describe('statements made to be expensive are read or refused in bounded time', () => {
  for (const [what, text, expected] of expensive) {
    it(what, () => {
      const { outcome, cpuMs, copyMs } = costOf(text, 3)
      assert.equal(outcome, expected)
      assert.ok(cpuMs < cpuMsMax, `${cpuMs} ms of CPU`)
      assert.ok(copyMs < copyMsMax, `${copyMs} ms for a copy of the facts`)
    })
  }
})

describe('statementFactsMax', () => {
  const most = limits.statementFactsMax
  const refused = { code: 'INVALID', message: /statementFactsMax/ }
  const listOf = (count: number, item: (at: number) => string, separator: string): string =>
    Array.from({ length: count }, (_, at) => item(at)).join(separator)

  it('bounds relations', () => {
    const text = (count: number): string => `SELECT * FROM t WHERE ${listOf(count, () => 'a=?', ' AND ')}`
    assert.equal(analyse(text(most)).restrictions.length, most)
    assert.throws(() => analyse(text(most + 1)), refused)
  })

  it('bounds the columns of an INSERT', () => {
    const text = (count: number): string =>
      `INSERT INTO t (${listOf(count, (at) => `c${at}`, ',')}) VALUES (${listOf(count, () => '?', ',')})`
    assert.equal(analyse(text(most)).restrictions.length, most)
    assert.throws(() => analyse(text(most + 1)), refused)
  })

  it('bounds calls of user functions, not of native ones', () => {
    const text = (count: number, name: string): string => `SELECT ${listOf(count, () => `${name}()`, ',')} FROM ks.t`
    assert.equal(analyse(text(most, 'f')).accesses.length, 2)
    assert.throws(() => analyse(text(most + 1, 'f')), refused)
    assert.equal(analyse(text(most + 1, 'now')).accesses.length, 1)
  })

  it('bounds the statements of a BATCH that repeat no other: four for each, and their relations', () => {
    const text = (count: number, table: (at: number) => string): string =>
      `BEGIN BATCH ${listOf(count, (at) => `DELETE FROM ${table(at)} WHERE k=1`, ' ')} APPLY BATCH`
    const count = Math.floor(most / 5)
    assert.equal(analyse(text(count, (at) => `t${at}`)).statementCount, count)
    assert.throws(() => analyse(text(count + 1, (at) => `t${at}`)), refused)
    assert.equal(analyse(text(count + 1, () => 't')).statementCount, count + 1)
  })

  it('and two for each that repeats another with a TTL or timestamp of its own', () => {
    const text = (count: number): string =>
      `BEGIN BATCH ${listOf(count, (at) => `DELETE FROM t USING TIMESTAMP ${at} WHERE k=1`, ' ')} APPLY BATCH`
    const count = 1 + Math.floor((most - 5) / 2)
    assert.deepEqual(analyse(text(count)).children.at(-1)!.timestamp, { literal: BigInt(count - 1) })
    assert.throws(() => analyse(text(count + 1)), refused)
  })

  it('never refuses many rows for their strings: those are forgotten first', () => {
    const row = (at: number): string =>
      `INSERT INTO t (${listOf(10, (c) => `c${c}`, ',')}) VALUES ('${at}'${',1'.repeat(9)})`
    const { children } = analyse(`BEGIN BATCH ${listOf(2_000, row, ' ')} APPLY BATCH`)
    assert.deepEqual(children[0]!.restrictions[0]!.values, [{ text: '0' }])
    assert.deepEqual(children[1_999]!.restrictions[0]!.values, [undefined])
    assert.ok(new Set(children).size < 400)
  })
})
