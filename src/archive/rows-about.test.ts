/** A question about one table reads the row groups that have it, and no others. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordDatabase, sqlText } from './database.ts'
import { dayMs, hourMs, RecordFolder } from './lines.fixture.ts'
import { putInPlace, writeParquet } from './pack.ts'
import { archiveFiles, keepPositions } from './positions.ts'
import { viewRecord } from './record-view.ts'
import { rowsOfLines } from './rows-of-lines.ts'
import { type Question, rowsAbout, type Wanted, whoAsked } from './who.ts'

/** The least that DuckDB takes. */
const groupRows = 2_048
const tables = 10
const name = '2026-01-02T00-made.parquet'
const range = { fromMs: dayMs, toMs: dayMs + hourMs }

describe('rows about a table', () => {
  let folder: string
  let archive: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-rows-about-'))
    archive = join(folder, 'archive')
    const record = new RecordFolder(join(folder, 'audit'))
    record.add(record.file(), dayMs)
    using database = await RecordDatabase.open()
    // Two row groups of each table, and one of BATCHes over two tables, which have none of their own.
    const own = `i < ${tables * 2 * groupRows}`
    const table = `'t' || (i // ${2 * groupRows})`
    const rows = `SELECT * EXCLUDE (i) REPLACE (i AS seq, CASE WHEN ${own} THEN ${table} END AS table_name,
      CASE WHEN ${own} THEN ['shop.' || ${table}] ELSE ['shop.t0', 'shop.t1'] END AS tables)
      FROM ${rowsOfLines([record.file()])}, range(${(tables * 2 + 1) * groupRows}) AS numbers(i)`
    await writeParquet(database, rows, join(folder, name), [], groupRows)
    putInPlace(archive, '2026-01-02T00', join(folder, name), name)
    keepPositions(archive, new Map([[name, []]]))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  async function asked({ sql, values }: Question, archives = [archive]): Promise<readonly Record<string, unknown>[]> {
    using database = await RecordDatabase.open()
    await viewRecord(database, { archives, files: [] }, range)
    return (await database.ask(sql, values)).rows
  }

  async function requests(wanted: Wanted, archives?: string[]): Promise<number> {
    const rows = await asked(whoAsked(wanted), archives)
    return rows.reduce((sum, row) => sum + Number(row.requests), 0)
  }

  it('names are told to the reader of Parquet', async () => {
    const rows = rowsAbout({ keyspace: 'shop', table: 't5' })
    const plan = JSON.stringify(await asked({ sql: `EXPLAIN ANALYZE SELECT count(*) FROM ${rows}`, values: [] }))
    const filters = plan.slice(plan.indexOf('Filters:'))
    assert.match(filters, /keyspace='shop'/)
    assert.match(filters, /table_name='t5'/)
  })

  it('an archive that was packed before there was a column for it says the same, by itself and beside another', async () => {
    const before = join(folder, 'before')
    const other = '2026-01-02T00-before.parquet'
    using database = await RecordDatabase.open()
    const rows = `SELECT * EXCLUDE (beside) FROM read_parquet(${sqlText(archiveFiles(archive)[0]!.path)}, hive_partitioning = false)`
    await database.run(`COPY (${rows}) TO ${sqlText(join(folder, other))} (FORMAT parquet)`)
    putInPlace(before, '2026-01-02T00', join(folder, other), other)
    keepPositions(before, new Map([[other, []]]))
    for (const wanted of [
      { keyspace: 'shop' },
      { keyspace: 'shop', table: 't0' },
      { keyspace: 'shop', table: 't5' },
      {},
    ]) {
      const count = await requests(wanted)
      assert.ok(count > 0)
      assert.equal(await requests(wanted, [before]), count)
      assert.equal(await requests(wanted, [archive, before]), 2 * count)
    }
  })

  it('row groups of other tables are not read', async () => {
    assert.equal(await requests({ keyspace: 'shop' }), (tables * 2 + 1) * groupRows)
    assert.equal(await requests({ keyspace: 'shop', table: 't5' }), 2 * groupRows)
    assert.equal(await requests({ keyspace: 'shop', table: 't9' }), 2 * groupRows)
    // With the BATCHes.
    assert.equal(await requests({ keyspace: 'shop', table: 't0' }), 3 * groupRows)
    const [damaged, all] = await damageBehind('t5')
    assert.ok(damaged >= 6 && damaged < all, `${damaged} of ${all} row groups are damaged`)
    assert.equal(await requests({ keyspace: 'shop', table: 't5' }), 2 * groupRows)
    assert.equal(await requests({ keyspace: 'shop', table: 't0' }), 3 * groupRows)
    assert.equal(await requests({ keyspace: 'stock' }), 0)
    assert.equal(await requests({ keyspace: 'shop', table: 'none' }), 0)
    await assert.rejects(requests({ keyspace: 'shop', table: 't9' }))
  })

  /** Row groups of tables whose names are greater are no Parquet any more; how many of how many. */
  async function damageBehind(table: string): Promise<[number, number]> {
    const { path } = archiveFiles(archive)[0]!
    using database = await RecordDatabase.open()
    const { rows } = await database.ask(`SELECT row_group_id,
        min(least(data_page_offset, coalesce(dictionary_page_offset, data_page_offset)))::INTEGER AS from_byte,
        sum(total_compressed_size)::INTEGER AS bytes, min(stats_min_value) FILTER (path_in_schema = 'table_name') AS least
      FROM parquet_metadata(${sqlText(path)}) GROUP BY row_group_id`)
    const bytes = readFileSync(path)
    const damaged = rows.filter(({ least }) => least !== null && String(least) > table)
    for (const row of damaged) bytes.fill(0x5a, Number(row.from_byte), Number(row.from_byte) + Number(row.bytes))
    writeFileSync(path, bytes)
    return [damaged.length, rows.length]
  }
})
