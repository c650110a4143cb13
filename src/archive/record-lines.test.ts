/** Whoever reads files of the record by pieces ends at the next one where it is told to. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordDatabase } from './database.ts'
import { copyLines, isReadableAsIs, runsOf } from './record-lines.ts'
import { viewRecord } from './record-view.ts'

const line = `{"time":"2026-01-02T00:00:00.000Z","note":"${'x'.repeat(974)}"}\n`
const lines = 12 * 1024

describe('a reader of lines', () => {
  let folder: string
  let path: string
  const span = { from: 0, to: lines * line.length }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-lines-'))
    path = join(folder, 'audit-sidecar-1-20260102T000000.000Z-000000.jsonl')
    writeFileSync(path, line.repeat(lines))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const readers: readonly [string, (goOn: () => void) => Promise<unknown>][] = [
    [
      'runs',
      async (goOn) => {
        for await (const run of runsOf(path, span, goOn)) assert.equal(run.lines, lines)
      },
    ],
    [
      'a copy',
      async (goOn) => {
        await using target = await open(join(folder, 'copy'), 'w')
        await copyLines(path, span, target, goOn)
      },
    ],
    ['whether it can be read', (goOn) => isReadableAsIs(path, goOn)],
  ]
  for (const [words, read] of readers) {
    it(`${words}: goes on to the end, or ends at the next piece`, async () => {
      let pieces = 0
      await read(() => pieces++)
      assert.ok(pieces >= 3, `${pieces} pieces`)
      let asked = 0
      const stop = (): void => {
        if (++asked === 2) throw new Error('stop')
      }
      await assert.rejects(read(stop), { message: 'stop' })
      assert.equal(asked, 2)
    })
  }

  it('a question that is cancelled before its database works has no view', async () => {
    using database = await RecordDatabase.open()
    const seen = viewRecord(database, { archives: [], files: [{ path, bytes: span.to }] }, { fromMs: 0, toMs: 1 })
    database.cancel()
    await assert.rejects(seen, { message: 'cancelled' })
  })
})
