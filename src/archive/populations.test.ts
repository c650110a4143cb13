/** Whether numbers are missing: by the start of a process, whatever the order of their lines. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordDatabase } from './database.ts'
import { dayMs, RecordFolder } from './lines.fixture.ts'
import { controls } from './populations.ts'
import { viewRecord } from './record-view.ts'

const sql = controls.flatMap(({ populations }) => populations).find(({ name }) => name === 'completeness')!.sql

/** Numbers in the order of time; what is told of starts, missing, twice and dropped. */
const cases: readonly (readonly [string, readonly (number | string)[], string])[] = [
  ['all', [1, 2, 3, 4], '1 0 0 –'],
  ['a gap', [1, 2, 5], '1 2 0 –'],
  ['two gaps', [1, 3, 4, 8], '1 4 0 –'],
  ['of a process that began before', [100, 101, 102], '0 0 0 –'],
  ['requests that overtook each other', [1, 4, 2, 3, 6, 5], '1 0 0 –'],
  ['one is missing of those that overtook each other', [1, 4, 2, 6, 5], '1 1 0 –'],
  ['two starts', [1, 2, 3, 1, 2], '2 0 0 –'],
  ['two starts with gaps', [1, 2, 4, 1, 3], '2 2 0 –'],
  ['it ended before it was seen to begin, and began', [7, 8, 1, 2], '1 0 0 –'],
  ['a start whose first line is not there', [1, 2, 3, 4, 2, 3], '1 0 2 –'],
  ['what was dropped of two starts', [1, 2, 'dropped 2', 1, 'dropped 3'], '2 0 0 5'],
]

describe('completeness', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-complete-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const [i, [words, numbers, told]] of cases.entries()) {
    it(words, async () => {
      const record = new RecordFolder(join(folder, String(i)))
      let last = 0
      for (const [at, number] of numbers.entries()) {
        const dropped = typeof number === 'string' ? Number(number.split(' ')[1]) : undefined
        last = typeof number === 'string' ? last + 1 : number
        record.add(record.file(), dayMs + at, {}, { seq: last, ...(dropped === undefined ? {} : { dropped }) })
      }
      using database = await RecordDatabase.open()
      const files = [{ path: record.file(), bytes: statSync(record.file()).size }]
      await viewRecord(database, { archives: [], files }, { fromMs: 0, toMs: dayMs + 1_000 })
      const [row] = (await database.ask(sql)).rows
      assert.equal(row?.lines, numbers.length)
      assert.equal(`${row?.starts} ${row?.missing} ${row?.twice} ${row?.dropped ?? '–'}`, told)
    })
  }
})
