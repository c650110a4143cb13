/**
 * `audit pack`: files of the record become Parquet, by day and hour, sorted by keyspace and table.
 *
 * Rule: each line of the record is in the archive once, whenever this is killed. A Parquet file carries its positions and comes to its place by
 * one rename; what is not at its place is not there.
 */
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { flushFolder } from '../mesh/files.ts'
import { type RecordDatabase, sqlText } from './database.ts'
import { lockArchive } from './lock.ts'
import {
  archiveFiles,
  Covered,
  keepPositions,
  keptPositions,
  type Position,
  type PositionsByFile,
  parquetName,
  positionsKey,
  withFooters,
} from './positions.ts'
import { isSegment, type RecordFile } from './record-file.ts'
import { copyLines, type Run, runsOf } from './record-lines.ts'
import { beside, rowsOfLines } from './rows-of-lines.ts'
import { batchesOfLog } from './sealed-batches.ts'
import { logsOf } from './segments.ts'

export interface PackOptions {
  /** Made where it is not there. */
  readonly archive: string
  readonly files: readonly RecordFile[]
  /** Hours that began before this are packed. */
  readonly beforeMs: number
  /** So many bytes of lines become one Parquet file. */
  readonly batchBytesMax?: number
  readonly onPacked?: (bytes: number) => void
}

export interface PackReport {
  readonly rows: number
  /** Lines that are none of the record. */
  readonly unreadable: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly parquetFiles: number
}

/** About 30 MB of Parquet. */
const batchBytesMaxDefault = 512 * 1024 * 1024
/** DuckDB's own: what is sorted together is found by the bounds of so many rows. */
const groupRows = 122_880
const linesName = 'lines.jsonl'
const sortedBy = 'beside > 0, keyspace, table_name, time, proxy, seq'

/** A run, and the file that it stands in. */
type Found = Run & { readonly path: string }

export async function pack(database: RecordDatabase, options: PackOptions): Promise<PackReport> {
  const { archive } = options
  const goOn = (): void => database.mustGoOn()
  mkdirSync(archive, { recursive: true, mode: 0o700 })
  using _lock = lockArchive(archive)
  const working = join(archive, '.packing')
  rmSync(working, { recursive: true, force: true })
  mkdirSync(working, { mode: 0o700 })
  let positions = await withFooters(database, keptPositions(archive), archiveFiles(archive))
  const report = { rows: 0, unreadable: 0, bytesRead: 0, bytesWritten: 0, parquetFiles: 0 }
  const packLines = async (hour: string, made: readonly Position[]): Promise<void> => {
    const { name, rows, bytes } = await packBatch(database, archive, working, hour, made)
    positions = new Map([...positions, [name, made]])
    const bytesRead = total(made.map(({ from, to }) => to - from))
    report.rows += rows
    report.unreadable += total(made.map(({ lines }) => lines)) - rows
    report.bytesRead += bytesRead
    report.bytesWritten += bytes
    report.parquetFiles++
    options.onPacked?.(bytesRead)
  }
  try {
    for (const batch of await batchesOf(options, positions, goOn)) {
      await packLines(batch[0]!.hour, await gather(working, batch, goOn))
    }
    const { files, beforeMs, batchBytesMax = batchBytesMaxDefault } = options
    const path = join(working, linesName)
    for (const log of logsOf(files)) {
      const batches = batchesOfLog(log, new Covered(positions), { path, beforeMs, batchBytesMax, goOn })
      for await (const { hour, made } of batches) await packLines(hour, made)
    }
  } finally {
    keepPositions(archive, positions)
    rmSync(working, { recursive: true, force: true })
  }
  return report
}

/** What is not in the archive and of hours that are over, in the order of time; each batch is of one hour. */
async function batchesOf(
  { files, beforeMs, batchBytesMax = batchBytesMaxDefault }: PackOptions,
  positions: PositionsByFile,
  goOn: () => void,
): Promise<Found[][]> {
  const covered = new Covered(positions)
  const byHour = new Map<string, Found[]>()
  for (const file of files) {
    if (isSegment(file)) continue
    const { path, bytes } = file
    for (const span of covered.missing(basename(path), bytes)) {
      for await (const run of runsOf(path, span, goOn)) {
        if (Date.parse(`${run.hour}:00:00Z`) >= beforeMs) continue
        const found = byHour.get(run.hour) ?? []
        byHour.set(run.hour, found)
        found.push({ ...run, path })
      }
    }
  }
  const batches: Found[][] = []
  for (const hour of [...byHour.keys()].sort()) {
    let batch: Found[] = []
    let batchBytes = 0
    for (const run of byHour.get(hour)!) {
      if (batch.length > 0 && batchBytes + run.to - run.from > batchBytesMax) {
        batches.push(batch)
        batch = []
        batchBytes = 0
      }
      batch.push(run)
      batchBytes += run.to - run.from
    }
    batches.push(batch)
  }
  return batches
}

/** Lines of a batch, where they are packed from. */
async function gather(working: string, batch: readonly Found[], goOn: () => void): Promise<Position[]> {
  const made: Position[] = []
  await using file = await open(join(working, linesName), 'w', 0o600)
  for (const { path, from, to, lines: count } of batch) {
    const sha256 = await copyLines(path, { from, to }, file, goOn)
    made.push({ file: basename(path), from, to, lines: count, sha256 })
  }
  return made
}

async function packBatch(
  database: RecordDatabase,
  archive: string,
  working: string,
  hour: string,
  made: readonly Position[],
): Promise<{ name: string; rows: number; bytes: number }> {
  const name = parquetName(hour, made)
  const path = join(working, name)
  const lines = join(working, linesName)
  await writeParquet(database, `SELECT * FROM ${rowsOfLines([lines])} WHERE time IS NOT NULL`, path, made)
  const { rows } = await database.ask(`SELECT count(*)::INTEGER AS count FROM read_parquet(${sqlText(path)})`)
  const bytes = putInPlace(archive, hour, path, name)
  return { name, rows: Number(rows[0]!.count), bytes }
}

/** Sorted, compressed, with its positions. @param rowsOfGroup by tests: how many are found by bounds of their own */
export async function writeParquet(
  database: RecordDatabase,
  rows: string,
  path: string,
  positions: readonly Position[],
  rowsOfGroup = groupRows,
): Promise<void> {
  const settings = `FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowsOfGroup}`
  const metadata = `KV_METADATA {${sqlText(positionsKey)}: ${sqlText(JSON.stringify(positions))}}`
  await database.run(
    `COPY (SELECT *, ${beside} FROM (${rows}) ORDER BY ${sortedBy}) TO ${sqlText(path)} (${settings}, ${metadata})`,
  )
}

/** Flushes it and renames it to where readers look; how long it is. */
export function putInPlace(archive: string, hour: string, made: string, name: string): number {
  const [day = '', ofDay = ''] = hour.split('T')
  const folder = join(archive, `day=${day}`, `hour=${ofDay}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(made, 0o600)
  const file = openSync(made, 'r+')
  fsyncSync(file)
  closeSync(file)
  renameSync(made, join(folder, name))
  for (const path of [folder, join(archive, `day=${day}`), archive]) flushFolder(path)
  return statSync(join(folder, name)).size
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0)
}
