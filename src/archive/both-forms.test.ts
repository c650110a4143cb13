/** The sealed record is read as the record in lines is: the same traffic gives the same rows, wherever it is packed, killed or cut. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { startMs } from '../audit/sealed/log.fixture.ts'
import { BothForms, filesOf, hourMs } from './both-forms.fixture.ts'
import { RecordDatabase, type Row } from './database.ts'
import { type PackReport, pack } from './pack.ts'
import type { RecordFile, TimeRange } from './record-file.ts'
import { viewRecord } from './record-view.ts'

const always = { fromMs: 0, toMs: 4_000_000_000_000 }
/** Numbers are those of a process in one form, and those of a log in the other. */
const rows = `SELECT * EXCLUDE (seq) FROM record WHERE coalesce(event, '') NOT IN ('started', 'log key') ORDER BY ALL`

let folder: string
let count = 0
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-both-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

const fresh = (): string => join(folder, String(count++))

async function asked(
  sql: string,
  files: readonly RecordFile[],
  archives: readonly string[] = [],
  range: TimeRange = always,
): Promise<readonly Row[]> {
  using database = await RecordDatabase.open()
  await viewRecord(database, { archives, files }, range)
  return (await database.ask(sql)).rows
}

async function packed(archive: string, directory: string, beforeMs = Number.POSITIVE_INFINITY): Promise<PackReport> {
  using database = await RecordDatabase.open()
  return await pack(database, { archive, files: filesOf(directory), beforeMs, batchBytesMax: 40_000 })
}

const numbers = async (directory: string, archives: readonly string[] = []): Promise<number[]> =>
  (await asked('SELECT seq FROM record ORDER BY seq', filesOf(directory), archives)).map(({ seq }) => Number(seq))

/** The first row that differs, and not all of them. */
function assertSame(actual: readonly Row[], expected: readonly Row[], message = ''): void {
  const at = expected.findIndex((row, i) => JSON.stringify(row) !== JSON.stringify(actual[i]))
  if (at >= 0) assert.deepEqual(actual[at], expected[at], `${message} row ${at}`)
  assert.equal(actual.length, expected.length, message)
}

const upTo = (max: number): number[] => Array.from({ length: max }, (_, i) => i + 1)

describe('both forms of the record', () => {
  it('give the same rows of the same traffic, over segments that follow each other and starts', async () => {
    const both = new BothForms(fresh(), { segmentBytesMax: 5_000 })
    both.run(60)
    both.restart(false)
    both.run(60, 5)
    both.close()
    const expected = await asked(rows, filesOf(both.linesPath))
    assert.ok(expected.length > 800, String(expected.length))
    assert.ok(filesOf(both.sealedPath).length > 5)
    assertSame(await asked(rows, filesOf(both.sealedPath)), expected)
    assert.doesNotMatch(JSON.stringify(expected), /CANARY/)
    assert.deepEqual(await numbers(both.sealedPath), upTo((await numbers(both.sealedPath)).length))
    // As Parquet.
    const archive = fresh()
    await packed(archive, both.sealedPath)
    assertSame(await asked(rows, [], [archive]), expected)
    assertSame(await asked(rows, filesOf(both.sealedPath), [archive]), expected)
    const part = { fromMs: startMs + 10_000, toMs: startMs + 20_000 }
    const ofPart = await asked(rows, filesOf(both.linesPath), [], part)
    assert.ok(ofPart.length > 20 && ofPart.length < expected.length)
    assertSame(await asked(rows, filesOf(both.sealedPath), [], part), ofPart)
    assertSame(await asked(rows, filesOf(both.sealedPath), [archive], part), ofPart)
  })

  it('are packed hour by hour while they are written, and no row is there twice or missing', async () => {
    const both = new BothForms(fresh(), { segmentBytesMax: 8_000 })
    const archive = fresh()
    for (let hour = 0; hour < 4; hour++) {
      both.nowMs = startMs + hour * hourMs
      both.run(25, hour)
      // An end that comes in the next hour.
      both.begin()
      await packed(archive, both.sealedPath, startMs + hour * hourMs)
      both.restart(hour % 2 === 0)
    }
    both.close()
    await packed(archive, both.sealedPath, startMs + 3 * hourMs)
    const ofLines = (await asked(rows, filesOf(both.linesPath))).length
    for (const archives of [[archive], []]) {
      const all = await asked(rows, filesOf(both.sealedPath), archives)
      assert.equal(all.length, ofLines + 4, `with ${archives.length} archives`)
      const found = await numbers(both.sealedPath, archives)
      assert.deepEqual(found, upTo(found.length))
    }
    await packed(archive, both.sealedPath)
    assert.equal((await packed(archive, both.sealedPath)).rows, 0)
    assert.equal((await asked(rows, [], [archive])).length, ofLines + 4)
  })

  it('what has no outcome is said to be unknown: by the next start, and before there is one', async () => {
    const both = new BothForms(fresh())
    both.run(5)
    both.begin()
    const lost = `SELECT outcome, error_message FROM record WHERE error_message LIKE '%ow it ended is not in what was read%'
      OR error_message LIKE 'what became of it is not known%'`
    const archive = fresh()
    await packed(archive, both.sealedPath)
    for (const archives of [[], [archive]]) {
      const [row, ...more] = await asked(lost, filesOf(both.sealedPath), archives)
      assert.deepEqual(more, [])
      assert.equal(row?.outcome, 'lost')
      assert.match(String(row?.error_message), /under way, or the sidecar was ended/)
    }
    assert.deepEqual(await asked(lost, [], [archive]), [], 'its end has not come')
    both.nowMs += 10 * hourMs
    both.restart(true)
    both.close()
    for (const archives of [[], [archive]]) {
      const [row, ...more] = await asked(lost, filesOf(both.sealedPath), archives)
      assert.deepEqual(more, [])
      assert.match(String(row?.error_message), /what became of it is not known/)
    }
    assert.equal((await packed(archive, both.sealedPath)).rows, 3)
    assert.equal((await asked(lost, [], [archive])).length, 1)
  })

  it('no two files of one log have the same place in it, whatever they are called', async () => {
    const both = new BothForms(fresh())
    both.run(2)
    both.close()
    const [file] = filesOf(both.sealedPath)
    const other = join(fresh(), 'other')
    cpSync(both.sealedPath, other, { recursive: true })
    const [copy] = filesOf(other)
    const renamed = copy!.path.replace('audit-', 'audit-copy-')
    renameSync(copy!.path, renamed)
    const files = [file!, { path: renamed, bytes: copy!.bytes }]
    await assert.rejects(asked(rows, files), { code: 'USAGE', message: /the same part of one log/ })
  })
})
