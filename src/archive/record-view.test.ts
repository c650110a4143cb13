/** What SQL of a stranger may do with the record: read it, and nothing else. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordDatabase } from './database.ts'
import { dayMs, RecordFolder } from './lines.fixture.ts'
import { pack } from './pack.ts'
import { archiveFiles } from './positions.ts'
import { viewRecord } from './record-view.ts'

const always = { fromMs: 0, toMs: 4_000_000_000_000 }

describe('SQL over the record', () => {
  let folder: string
  let archive: string
  let record: RecordFolder
  let outside: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-sql-'))
    archive = join(folder, 'archive')
    outside = join(folder, 'outside.csv')
    writeFileSync(outside, 'a,b\n1,secret\n')
    record = new RecordFolder(join(folder, 'audit'))
    record.add(record.file(), dayMs)
    using database = await RecordDatabase.open()
    await pack(database, { archive, files: files(), beforeMs: Number.POSITIVE_INFINITY })
    record.add(record.file(), dayMs + 1)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function files(): { path: string; bytes: number }[] {
    return [{ path: record.file(), bytes: statSync(record.file()).size }]
  }

  async function asked(sql: string): Promise<readonly unknown[]> {
    using database = await RecordDatabase.open()
    await viewRecord(database, { archives: [archive], files: files() }, always)
    await database.mustBeSelect(sql)
    return (await database.ask(sql)).rows
  }

  it('reads it, packed or not', async () => {
    assert.deepEqual(
      (await asked('SELECT count(*) AS n FROM record')).map((row) => ({ ...(row as object) })),
      [{ n: 2 }],
    )
    assert.equal((await asked('WITH r AS (SELECT seq FROM record) SELECT max(seq) FROM r')).length, 1)
    assert.ok((await asked('DESCRIBE record')).length > 40)
  })

  it('opens no other file, no network, and writes nothing', async () => {
    const parquet = archiveFiles(archive)[0]!.path
    const before = readFileSync(parquet)
    const target = join(folder, 'written')
    const attacks = [
      `SELECT * FROM read_text('${outside}')`,
      `SELECT * FROM read_blob('/etc/hostname')`,
      `SELECT * FROM read_csv('${outside}')`,
      `SELECT * FROM '${outside}'`,
      `SELECT * FROM read_json('${outside}')`,
      `SELECT * FROM glob('${folder}/*')`,
      `SELECT * FROM sniff_csv('${outside}')`,
      `SELECT * FROM parquet_metadata('${folder}/../x.parquet')`,
      `SELECT * FROM query('SELECT * FROM read_text(''${outside}'')')`,
      `SELECT * FROM query_table('${outside}')`,
      `SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')`,
      `SELECT * FROM read_parquet('s3://bucket/x.parquet')`,
      `SELECT * FROM read_text('${parquet}/../../../../outside.csv')`,
      `COPY (SELECT 1) TO '${target}'`,
      `COPY (SELECT 1) TO '${parquet}'`,
      `EXPLAIN ANALYZE COPY (SELECT 1) TO '${parquet}'`,
      `COPY record TO '${target}' (FORMAT parquet)`,
      `EXPORT DATABASE '${target}'`,
      `ATTACH '${target}' AS other`,
      `ATTACH '${parquet}' AS other`,
      `INSTALL httpfs`,
      `LOAD httpfs`,
      `LOAD '${outside}'`,
      `SET enable_external_access = true`,
      `SET allowed_directories = ['/']`,
      `RESET lock_configuration`,
      `SET memory_limit = '100GB'`,
      `PRAGMA enable_profiling`,
      `CALL force_checkpoint()`,
      `CREATE TABLE t AS SELECT 1`,
      `DROP VIEW record`,
      `CREATE OR REPLACE VIEW record AS SELECT 1`,
      `CREATE SECRET s (TYPE http)`,
      `PREPARE p AS SELECT 1`,
      `SELECT 1; COPY (SELECT 1) TO '${target}'`,
      `SELECT 1; SELECT 2`,
      `CHECKPOINT`,
      `VACUUM`,
      '',
      ';',
      '-- nothing',
    ]
    for (const sql of attacks) {
      await assert.rejects(asked(sql), { code: 'USAGE' }, sql)
    }
    assert.deepEqual(readFileSync(parquet), before)
    assert.equal(existsSync(target), false)
    assert.deepEqual(readdirSync(folder).sort(), ['archive', 'audit', 'outside.csv'])
  })

  it('settles nothing for the rest: it can’t be opened up again', async () => {
    using database = await RecordDatabase.open()
    await viewRecord(database, { archives: [archive], files: files() }, always)
    for (const sql of [
      `SET enable_external_access = true`,
      `SET allowed_paths = ['/etc/hostname']`,
      'SET threads = 64',
    ])
      await assert.rejects(database.run(sql), /locked|cannot|Cannot/i, sql)
  })

  it('a fault of the question is told from one of disk, memory or file', async () => {
    for (const sql of [
      'SELEC',
      'SELECT nothing FROM record',
      "SELECT 'a'::INTEGER",
      "SELECT error('x')",
      'SELECT none(1)',
    ])
      await assert.rejects(asked(sql), { code: 'USAGE' }, sql)
    using database = await RecordDatabase.open()
    await assert.rejects(database.ask(`SELECT * FROM read_parquet('${folder}/none.parquet')`), { code: 'UNAVAILABLE' })
    await assert.rejects(database.save('SELECT 1', [], join(folder, 'none', 'a.parquet')), { code: 'UNAVAILABLE' })
    await database.run(`SET memory_limit = '30MB'`)
    await database.run(`SET max_temp_directory_size = '0KB'`)
    const large = 'SELECT list(range) FROM range(100000000)'
    await assert.rejects(database.ask(large), { code: 'UNAVAILABLE', message: /Out of Memory/ })
  })

  it('ends at once where it is cancelled, and what was temporary goes', async () => {
    const database = await RecordDatabase.open()
    const { temporary } = database
    const long = database.ask('SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range * b.range = 7')
    setTimeout(() => database.cancel(), 50)
    await assert.rejects(long, { message: 'cancelled' })
    await assert.rejects(database.ask('SELECT 1'), { message: 'cancelled' })
    database[Symbol.dispose]()
    assert.equal(existsSync(temporary), false)
  })
})
