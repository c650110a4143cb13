/**
 * The record as one table named `record`: the Parquet files of an archive (`packed`), and the lines that are not in it yet (`unpacked`). A line
 * is in one of both, also while another process packs.
 *
 * Rule: `packed` is what Parquet has and no more, so that a condition on a column of its own, with a literal, is answered by the bounds of its row
 * groups. DuckDB does not look at them for an OR of two columns, nor for what stands as $1.
 */
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { rowColumns } from '../audit/transaction-row.ts'
import { RingfenceError } from '../base/errors.ts'
import { type RecordDatabase, sqlText, sqlTime } from './database.ts'
import { type ArchiveFile, archiveFiles, Covered, keptPositions, type Position, withFooters } from './positions.ts'
import { isSegment, type RecordFile, type TimeRange } from './record-file.ts'
import { copyLines, isReadableAsIs } from './record-lines.ts'
import { rowsOfLines } from './rows-of-lines.ts'
import { type ReadSpan, writeSealedLines } from './sealed-lines.ts'

export interface RecordSources {
  readonly archives: readonly string[]
  readonly files: readonly RecordFile[]
}

const hourMs = 3_600_000

/** What `record` is made of. */
export interface ReadFiles {
  /** Names of Parquet files, which say what each was made of. */
  readonly parquet: readonly string[]
  readonly lines: readonly ReadSpan[]
}

/** Makes `record`, of all that is of this time. After it the database opens nothing else, but for what an answer is `written` to. */
export async function viewRecord(
  database: RecordDatabase,
  { archives, files }: RecordSources,
  range: TimeRange,
  written: readonly string[] = [],
): Promise<ReadFiles> {
  refuseSameNames(files)
  // In this order: see `keptPositions`.
  const kept = archives.map((archive) => ({ archive, known: keptPositions(archive), files: archiveFiles(archive) }))
  // A name says what is in it: in two archives it is a copy.
  const packed = new Map<string, ArchiveFile>()
  const positions = new Map<string, readonly Position[]>()
  for (const { known, files: ofArchive } of kept) {
    for (const [name, made] of await withFooters(database, known, ofArchive)) positions.set(name, made)
    for (const file of ofArchive) packed.set(file.name, file)
  }
  refuseLinesTwice(packed, positions)
  const parquet = [...packed.values()].filter(({ hour }) => isWithin(hour, range))
  const covered = new Covered(positions)
  const { lines, read } = await linesBeside(database, files, covered)
  if (files.some(isSegment)) {
    const path = join(database.temporary, 'sealed.jsonl')
    read.push(...(await writeSealedLines(path, files, covered, range, () => database.mustGoOn())))
    lines.push(path)
  }
  const columns = rowColumns.map(({ name }) => name).join(', ')
  const within = `time >= ${sqlTime(range.fromMs)} AND time < ${sqlTime(range.toMs)}`
  await database.run(`CREATE VIEW packed AS SELECT ${columns}, beside FROM ${rowsOfParquet(parquet)} WHERE ${within}`)
  await database.run(`CREATE VIEW unpacked AS SELECT ${columns} FROM ${rowsOfLines(lines)} WHERE ${within}`)
  await database.run('CREATE VIEW record AS SELECT * EXCLUDE (beside) FROM packed UNION ALL SELECT * FROM unpacked')
  await database.confine([...parquet.map(({ path }) => path), ...lines], written)
  return { parquet: parquet.map(({ name }) => name), lines: read }
}

/** A column is NULL in the rows of an archive that was packed before there was one of that name. */
function rowsOfParquet(files: readonly ArchiveFile[]): string {
  if (files.length === 0) return `(SELECT *, 0 AS beside FROM ${rowsOfLines([])})`
  const list = files.map(({ path }) => sqlText(path)).join(', ')
  return `(SELECT * FROM read_parquet([${list}], union_by_name = true, hive_partitioning = false)
    UNION ALL BY NAME SELECT *, NULL::INTEGER AS beside FROM ${rowsOfLines([])})`
}

/** Files of lines that hold all that the archive has not; what is there in part is copied. */
async function linesBeside(
  database: RecordDatabase,
  files: readonly RecordFile[],
  covered: Covered,
): Promise<{ lines: string[]; read: ReadSpan[] }> {
  const lines: string[] = []
  const read: ReadSpan[] = []
  const goOn = (): void => database.mustGoOn()
  for (const file of files) {
    goOn()
    if (isSegment(file)) continue
    const { path, bytes } = file
    const missing = covered.missing(basename(path), bytes)
    if (missing.length === 0) continue
    read.push(...missing.map((span) => ({ file: basename(path), ...span })))
    const isWhole = missing.length === 1 && missing[0]!.from === 0 && missing[0]!.to === bytes
    if (isWhole && (await isReadableAsIs(path, goOn))) lines.push(path)
    else {
      const copy = join(database.temporary, `${lines.length}.jsonl`)
      await using copied = await open(copy, 'wx', 0o600)
      for (const span of missing) await copyLines(path, span, copied, goOn)
      lines.push(copy)
    }
  }
  return { lines, read }
}

function isWithin(hour: string, { fromMs, toMs }: TimeRange): boolean {
  const startMs = Date.parse(`${hour}:00:00Z`)
  return startMs + hourMs > fromMs && startMs < toMs
}

/** Archives that were packed by themselves from the same files have other Parquet files, of which none is a copy. */
function refuseLinesTwice(
  packed: ReadonlyMap<string, ArchiveFile>,
  positions: ReadonlyMap<string, readonly Position[]>,
): void {
  const spans = [...packed.values()].flatMap(({ name, path }) =>
    (positions.get(name) ?? []).map((position) => ({ ...position, path })),
  )
  spans.sort((a, b) => (a.file === b.file ? a.from - b.from : a.file < b.file ? -1 : 1))
  for (const [i, span] of spans.entries()) {
    const before = spans[i - 1]
    if (before === undefined || before.file !== span.file || before.to <= span.from) continue
    throw new RingfenceError('USAGE', `${before.path} and ${span.path} have the same lines of ${span.file}`, {
      hint: 'name one archive of them; or two sidecars have the same name, which their record can’t tell apart',
    })
  }
}

/** The archive knows files of the record by name. */
export function refuseSameNames(files: readonly RecordFile[]): void {
  const paths = new Map<string, string>()
  for (const { path } of files) {
    const other = paths.get(basename(path))
    if (other !== undefined && other !== path) {
      throw new RingfenceError('USAGE', `${other} and ${path} have the same name`, {
        hint: 'leave out the copy; or two sidecars have the same name, which their record can’t tell apart',
      })
    }
    paths.set(basename(path), path)
  }
}
