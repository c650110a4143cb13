/**
 * `npm run record`: what the record takes as Parquet, and how long a question to much of it takes. Lines are made as a sidecar writes them and
 * packed; then these rows are put into the archive again and again, each time with other times and numbers, until there are as many as asked for.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { RecordDatabase } from '../../src/archive/database.ts'
import { pack, putInPlace, writeParquet } from '../../src/archive/pack.ts'
import { archiveFiles, keepPositions } from '../../src/archive/positions.ts'

import { writeLines } from './traffic.ts'

const usage = `npm run record -- [--million 10] [--days 10] [--dir folder] [--times 5]

Makes so many million transactions, evenly over these days, in a folder that is removed at the end (--dir keeps it), and asks "who shop.orders"
for one of the days. 100 million take about 2 GB and some minutes.`

const { values: flags } = parseArgs({
  options: {
    million: { type: 'string', default: '10' },
    days: { type: 'string', default: '10' },
    times: { type: 'string', default: '5' },
    dir: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const hourMs = 3_600_000
const startMs = Date.UTC(2026, 0, 1)
const [wantedRows, days, times] = [Number(flags.million) * 1e6, Number(flags.days), Number(flags.times)]
if (flags.help || !(wantedRows > 0 && days >= 1 && days <= 365 && times >= 1)) {
  process.stdout.write(`${usage}\n`)
  process.exit(flags.help ? 0 : 64)
}
const hours = Math.round(days * 24)
const rowsPerHour = Math.round(wantedRows / hours)

const folder = flags.dir ?? mkdtempSync(join(tmpdir(), 'rf-record-'))
const archive = join(folder, 'archive')
try {
  mkdirSync(join(folder, 'audit'), { recursive: true })
  await packLines()
  await fill()
  ask()
} finally {
  if (flags.dir === undefined) rmSync(folder, { recursive: true, force: true })
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** The first hour, by way of lines: how dense it becomes, and how fast. */
async function packLines(): Promise<void> {
  const path = join(folder, 'audit')
  const bytes = writeLines(path, 'sidecar-1', rowsPerHour, startMs, startMs + hourMs)
  const name = `audit-sidecar-1-${new Date(startMs).toISOString().replace(/[-:]/g, '')}-000000.jsonl`
  using database = await RecordDatabase.open()
  const began = performance.now()
  const report = await pack(database, { archive, files: [{ path: join(path, name), bytes }], beforeMs: Infinity })
  const seconds = (performance.now() - began) / 1000
  const [json, parquet] = [bytes / report.rows, report.bytesWritten / report.rows]
  say(
    `${report.rows} lines: ${json.toFixed(0)} bytes each as JSON, ${parquet.toFixed(1)} as Parquet (${((100 * parquet) / json).toFixed(1)} %)`,
  )
  say(`packed in ${seconds.toFixed(1)} s: ${Math.round(report.rows / seconds)} lines/s`)
}

/** The other hours: the same rows with times, numbers and sizes of their own. */
async function fill(): Promise<void> {
  const began = performance.now()
  using database = await RecordDatabase.open()
  const [first] = archiveFiles(archive)
  await database.run(
    `CREATE TEMP TABLE pool AS SELECT * FROM read_parquet('${first!.path}', hive_partitioning = false)`,
  )
  for (let hour = 1; hour < hours; hour++) {
    const fromMs = startMs + hour * hourMs
    const time = `make_timestamptz(${fromMs * 1000}::BIGINT + (random() * ${hourMs * 1000})::BIGINT)`
    const rows = `SELECT * EXCLUDE (beside) REPLACE (${time} AS time, seq + ${hour * rowsPerHour} AS seq,
      'g' || (random() * 4)::INTEGER || '-' || (random() * 2000)::INTEGER AS session, (random() * 5000)::BIGINT AS latency_micros,
      (random() * 4000)::BIGINT AS bytes_out, (32768 + random() * 28000)::INTEGER AS client_port) FROM pool`
    const name = `${new Date(fromMs).toISOString().slice(0, 13)}-made.parquet`
    await writeParquet(database, rows, join(folder, name), [])
    putInPlace(archive, name.slice(0, 13), join(folder, name), name)
  }
  const files = archiveFiles(archive)
  keepPositions(archive, new Map(files.map(({ name }) => [name, []])))
  const bytes = files.reduce((sum, { path }) => sum + statSync(path).size, 0)
  const rows = rowsPerHour * hours
  const seconds = ((performance.now() - began) / 1000).toFixed(0)
  say(
    `${rows} rows in ${files.length} files, ${(bytes / 1e9).toFixed(2)} GB, ${(bytes / rows).toFixed(1)} bytes each, made in ${seconds} s`,
  )
}

/** As a person asks, from the start of the program to its end. */
function ask(): void {
  const bin = join(import.meta.dirname, '../../bin/ringfence.mjs')
  const day = (at: number): string => new Date(startMs + at * 24 * hourMs).toISOString().slice(0, 10)
  const questions: readonly [string, string[]][] = [
    [
      'one table, one day',
      ['who', 'shop.orders', '--since', day(Math.floor(days / 2)), '--until', day(Math.floor(days / 2) + 1)],
    ],
    ['one table, all days', ['who', 'shop.orders', '--since', day(0), '--until', day(days)]],
    [
      'a person, one day',
      ['who', '--person', 'person-42*', '--since', day(Math.floor(days / 2)), '--until', day(Math.floor(days / 2) + 1)],
    ],
  ]
  for (const [words, args] of questions) {
    const took: number[] = []
    for (let i = 0; i < times; i++) {
      const began = performance.now()
      const ran = spawnSync(process.execPath, [bin, ...args, '--zone', 'UTC', '-o', 'json', '--from', archive], {
        encoding: 'utf8',
      })
      took.push((performance.now() - began) / 1000)
      if (ran.status !== 0) throw new Error(ran.stderr)
      if (i === 0) say(`${words}: ${JSON.parse(ran.stdout).length} lines`)
    }
    took.sort((a, b) => a - b)
    say(
      `  ${took[Math.floor(times / 2)]!.toFixed(2)} s (median of ${times}, ${took[0]!.toFixed(2)} to ${took.at(-1)!.toFixed(2)})`,
    )
  }
}
