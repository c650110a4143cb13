import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { RecordDatabase, type Row } from './database.ts'
import { dayMs, hourMs, RecordFolder } from './lines.fixture.ts'
import { type PackReport, pack } from './pack.ts'
import { archiveFiles } from './positions.ts'
import type { RecordFile } from './record-file.ts'
import { viewRecord } from './record-view.ts'

const always = { fromMs: 0, toMs: 4_000_000_000_000 }

let folder: string
let count = 0

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-archive-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function fresh(): { record: RecordFolder; archive: string } {
  const path = join(folder, String(count++))
  return { record: new RecordFolder(join(path, 'audit')), archive: join(path, 'archive') }
}

function filesOf(record: RecordFolder): RecordFile[] {
  return readdirSync(record.path)
    .sort()
    .map((name) => ({ path: join(record.path, name), bytes: statSync(join(record.path, name)).size }))
}

async function packed(record: RecordFolder, archive: string, beforeMs = Number.POSITIVE_INFINITY): Promise<PackReport> {
  using database = await RecordDatabase.open()
  return await pack(database, { archive, files: filesOf(record), beforeMs, batchBytesMax: 20_000 })
}

/** What a question sees: of the archive, and of the lines beside it. */
async function seen(sql: string, archives: readonly string[], record?: RecordFolder): Promise<readonly Row[]> {
  using database = await RecordDatabase.open()
  await viewRecord(database, { archives, files: record === undefined ? [] : filesOf(record) }, always)
  return (await database.ask(sql)).rows
}

/** Each number once: nothing is missing, nothing there twice. */
async function numbers(archives: readonly string[], record?: RecordFolder): Promise<number[]> {
  return (await seen('SELECT seq FROM record ORDER BY seq', archives, record)).map(({ seq }) => Number(seq))
}

const upTo = (max: number): number[] => Array.from({ length: max }, (_, i) => i + 1)

describe('the archive', () => {
  it('has each line once, by day and hour and in the order of keyspace and table', async () => {
    const { record, archive } = fresh()
    for (let i = 0; i < 200; i++) {
      const text = `INSERT INTO ${i % 3 === 0 ? 'stock' : 'shop'}.t${i % 7} (a) VALUES ('CANARY-value')`
      record.add(record.file(`sidecar-${1 + (i % 2)}`), dayMs + 23 * hourMs + i * 30_000, { text })
    }
    const report = await packed(record, archive)
    assert.equal(report.rows, 200)
    assert.equal(report.unreadable, 0)
    assert.ok(report.parquetFiles > 2, 'a batch is bounded')
    assert.deepEqual(await numbers([archive]), upTo(200))
    const hours = [...new Set(archiveFiles(archive).map(({ hour }) => hour))]
    assert.deepEqual(hours, ['2026-01-02T23', '2026-01-03T00'])
    assert.deepEqual(readdirSync(archive).sort(), ['day=2026-01-02', 'day=2026-01-03', 'positions.json'])
    using database = await RecordDatabase.open()
    for (const { path, hour } of archiveFiles(archive)) {
      const { rows } = await database.ask(`SELECT keyspace, table_name, time FROM read_parquet('${path}')`)
      const keys = rows.map(({ keyspace, table_name: table }) => `${keyspace}.${table}`)
      assert.deepEqual(keys, keys.toSorted())
      assert.ok(rows.every(({ time }) => String(time).startsWith(hour)))
      assert.equal(statSync(path).mode & 0o077, 0, 'readable by its owner only')
    }
  })

  it('holds every value of a line, whatever a name has in it, and no literal', async () => {
    const { record, archive } = fresh()
    const names = ['a\u0000b', 'line\nfeed', 'tab\tquote"\\', '\u202eevil', '=1+1', 'Ünï"x', '🙂', '\ud83d', '\\ud83d']
    for (const [i, name] of names.entries()) {
      record.add(record.file(), dayMs + i, { person: 'corp/alice' }, { table: name, tables: [`shop.${name}`] })
    }
    record.text(
      record.file(),
      '{"time":"2026-01-02T01:00:00.001Z","seq":10,"proxy":"sidecar-1","event":"log-in refused","client":{"address":"192.0.2.7","port":40123},"cause":"expired","provider":"corp","tokenHash":"9f86"}\n',
    )
    await packed(record, archive)
    const rows = await seen('SELECT * FROM record ORDER BY seq', [archive])
    assert.deepEqual(
      rows.slice(0, names.length).map(({ table_name: name, tables }) => [name, tables]),
      names.map((name) => [name.toWellFormed(), [`shop.${name.toWellFormed()}`]]),
    )
    const [first] = rows
    assert.equal(first?.person, 'corp/alice')
    assert.equal(first?.time, '2026-01-02T00:00:00Z')
    assert.equal(first?.statement, 'SELECT * FROM shop.orders WHERE id = ?')
    assert.equal(first?.client_address, '192.0.2.7')
    assert.equal(first?.policy_revision, 7)
    const refused = rows.at(-1)
    assert.deepEqual(
      [refused?.event, refused?.cause, refused?.provider, refused?.token_hash, refused?.client_port, refused?.workload],
      ['log-in refused', 'expired', 'corp', '9f86', 40_123, null],
    )
    assert.doesNotMatch(JSON.stringify(rows), /CANARY/)
  })

  it('leaves what is no line of the record, and counts it', async () => {
    const { record, archive } = fresh()
    const file = record.file()
    record.text(file, 'not json\n')
    record.add(file, dayMs)
    record.text(file, '[]\n{"time":"2026-13-45T99:00:00Z","seq":7}\n{"time":5}\n{"time":"2026-01-02T00:00:0\n')
    record.add(file, dayMs + 1)
    record.text(file, '{"time":"2026-01-02T00:00:01.000Z","seq":3,"proxy":"torn')
    const report = await packed(record, archive)
    assert.deepEqual(await numbers([archive]), [1, 2])
    assert.equal(report.rows, 2)
    assert.equal(report.unreadable, 5)
    // The line that was being written is whole now.
    record.text(file, '"}\n')
    assert.deepEqual(await numbers([archive], record), [1, 2, 3])
    assert.equal((await packed(record, archive)).rows, 1)
    assert.deepEqual(await numbers([archive], record), [1, 2, 3])
  })

  it('takes hours that are over, and what was added since, and nothing twice', async () => {
    const { record, archive } = fresh()
    const file = record.file()
    const add = (from: number, to: number): void => {
      for (let i = from; i < to; i++) record.add(file, dayMs + i * 600_000)
    }
    add(0, 10)
    assert.equal((await packed(record, archive, dayMs + hourMs)).rows, 6)
    assert.deepEqual(await numbers([archive]), upTo(6))
    assert.deepEqual(await numbers([archive], record), upTo(10), 'with the lines that are not packed')
    assert.equal((await packed(record, archive, dayMs + hourMs)).rows, 0)
    add(10, 20)
    // A clock that was put back.
    for (let i = 0; i < 5; i++) record.add(file, dayMs + i)
    assert.deepEqual(await numbers([archive], record), upTo(25))
    assert.equal((await packed(record, archive)).rows, 19)
    assert.deepEqual(await numbers([archive]), upTo(25))
    assert.equal((await packed(record, archive)).rows, 0)
  })

  it('forgets nothing where its list of positions is lost, and packs nothing again that was deleted', async () => {
    const { record, archive } = fresh()
    for (let i = 0; i < 10; i++) record.add(record.file(), dayMs + i * 600_000)
    await packed(record, archive)
    // As after a kill between the rename and the list.
    rmSync(join(archive, 'positions.json'))
    assert.deepEqual(await numbers([archive], record), upTo(10))
    assert.equal((await packed(record, archive)).rows, 0)
    rmSync(archiveFiles(archive)[0]!.path)
    assert.equal((await packed(record, archive)).rows, 0)
    assert.deepEqual(await numbers([archive], record), [7, 8, 9, 10])
  })

  it('is whole after kills, wherever they come', async () => {
    const { record, archive } = fresh()
    for (let i = 0; i < 600; i++) record.add(record.file(`sidecar-${i % 3}`), dayMs + i * 60_000)
    const program = join(folder, 'packs.ts')
    const here = import.meta.dirname
    writeFileSync(
      program,
      `import { RecordDatabase } from '${here}/database.ts'
      import { pack } from '${here}/pack.ts'
      using database = await RecordDatabase.open()
      const [archive, files] = process.argv.slice(2)
      await pack(database, { archive, files: JSON.parse(files), beforeMs: Infinity, batchBytesMax: 8_000, onPacked: () => console.log('one') })`,
    )
    for (const stopAfter of [1, 2, 4, 7]) {
      const child = spawn(process.execPath, [program, archive, JSON.stringify(filesOf(record))], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let told = 0
      child.stdout.on('data', (text: Buffer) => {
        told += text.toString().split('one').length - 1
        if (told >= stopAfter) child.kill('SIGKILL')
      })
      await once(child, 'exit')
      assert.deepEqual(await numbers([archive], record), upTo(600), `killed after ${stopAfter}`)
    }
    assert.ok((await packed(record, archive)).rows > 0, 'the kills came before the end')
    assert.deepEqual(await numbers([archive]), upTo(600))
  })

  it('is packed by one process at a time, and a lock that was left is none', async () => {
    const { record, archive } = fresh()
    record.add(record.file(), dayMs)
    await packed(record, archive)
    record.add(record.file(), dayMs + 1)
    const lock = join(archive, '.lock')
    const host = hostname()
    // The test's own number; another host, of whose processes nothing is known; one that is about to write its words.
    const living = [{ pid: process.pid, host }, { pid: 1, started: '1', host: `${host}-2` }, undefined]
    for (const holder of living) {
      writeFileSync(lock, holder === undefined ? '' : JSON.stringify(holder))
      await assert.rejects(packed(record, archive), (reason) => {
        assert.ok(reason instanceof RingfenceError)
        assert.match(reason.message, /another process.* packs into/)
        assert.ok(reason.hint?.includes(lock))
        return reason.code === 'UNAVAILABLE'
      })
      assert.equal(readFileSync(lock, 'utf8'), holder === undefined ? '' : JSON.stringify(holder), 'it stays')
    }
    const gone = spawn(process.execPath, ['-e', ''])
    await once(gone, 'exit')
    const old = new Date(Date.now() - 60_000)
    const left = [
      JSON.stringify({ pid: gone.pid, host }),
      // Another process has its number.
      ...(existsSync('/proc/self/stat') ? [JSON.stringify({ pid: process.pid, started: '1', host })] : []),
      '',
      'x',
    ]
    for (const [i, text] of left.entries()) {
      writeFileSync(lock, text)
      utimesSync(lock, old, old)
      assert.equal((await packed(record, archive)).rows, 1, text)
      assert.deepEqual(readdirSync(archive).sort(), ['day=2026-01-02', 'positions.json'])
      record.add(record.file(), dayMs + 2 + i)
    }
  })

  it('refuses two files of one name, which it could not tell apart', async () => {
    const { record } = fresh()
    const other = new RecordFolder(join(record.path, 'copy'))
    record.add(record.file(), dayMs)
    other.add(other.file(), dayMs)
    using database = await RecordDatabase.open()
    const files = [record.file(), other.file()].map((path) => ({ path, bytes: statSync(path).size }))
    await assert.rejects(viewRecord(database, { archives: [], files }, always), { message: /have the same name/ })
  })
})
