/** `audit`: the record kept as Parquet, asked, and verified where it is sealed. */
import type { Command } from 'commander'
import type { Answer } from '../../archive/database.ts'
import { pack } from '../../archive/pack.ts'
import { refuseSameNames, viewRecord } from '../../archive/record-view.ts'
import { type Format, print, printJson, table } from '../output.ts'
import { type AnswerFlags, answered, cellText, showAnswer, withAnswer, writtenBy } from '../record/answer.ts'
import { askRecord } from '../record/asking.ts'
import {
  archiveBeside,
  rangeOf,
  type SourceFlags,
  sourcesOf,
  type TimeFlags,
  withSources,
  withTimes,
} from '../record/sources.ts'
import { withOutput } from './admin-command.ts'
import { addExplain } from './audit-explain.ts'
import { addTail } from './audit-tail.ts'
import { addSealedRecord } from './sealed-record.ts'

export function addAudit(program: Command): void {
  const audit = program.command('audit').description('the record of every transaction')
  addPack(audit)
  addQuery(audit)
  addExplain(audit)
  addTail(audit)
  addSealedRecord(audit)
}

interface PackFlags extends SourceFlags {
  readonly output: Format
  readonly into?: string
  readonly all?: boolean
}

const hourMs = 3_600_000
/** Clocks of hosts differ, and lines may be on their way. */
const graceMs = 60_000

function addPack(audit: Command): void {
  const command = audit
    .command('pack')
    .description('turn the record into Parquet, by day and hour; what is packed already is left out')
    .option('--into <dir>', 'the archive (archive, beside --state-dir)')
    .option('--all', 'also the hour that is not over')
  withOutput(withSources(command)).action(async (flags: PackFlags) => {
    const { files } = sourcesOf(flags, 0)
    refuseSameNames(files)
    const archive = flags.into ?? archiveBeside(flags.stateDir)
    const nowMs = Date.now()
    const beforeMs = flags.all === true ? Number.POSITIVE_INFINITY : Math.floor((nowMs - graceMs) / hourMs) * hourMs
    let packed = 0
    const onPacked = (bytes: number): void => {
      packed += bytes
    }
    const report = await askRecord(
      (database) => pack(database, { archive, files, beforeMs, onPacked }),
      () => `${megabytes(packed)} packed`,
    )
    if (report === undefined) return
    if (flags.output === 'json') return printJson({ archive, ...report })
    const { rows, unreadable, bytesRead, bytesWritten, parquetFiles } = report
    const each = rows === 0 ? '' : `, ${Math.round(bytesWritten / rows)} bytes a transaction`
    print(`${rows} lines (${megabytes(bytesRead)}) packed into ${archive}`)
    if (parquetFiles > 0) print(`${parquetFiles} files of Parquet, ${megabytes(bytesWritten)}${each}`)
    if (unreadable > 0) print(`${unreadable} lines are none of the record, and are not in it`)
  })
}

interface QueryFlags extends SourceFlags, TimeFlags, AnswerFlags {}

function addQuery(audit: Command): void {
  const command = audit
    .command('query')
    .description('ask the record in SQL: one SELECT from the table record')
    .argument('<sql>', 'such as "SELECT workload, count(*) FROM record GROUP BY ALL"')
    .addHelpText(
      'after',
      `
SQL is that of DuckDB. It reads this one table: no file, no network, nothing is
written. DESCRIBE record lists its columns.`,
    )
  withAnswer(withSources(withTimes(command, '24h'))).action(async (sql: string, flags: QueryFlags) => {
    const range = rangeOf(flags, Date.now())
    const sources = sourcesOf(flags, range.fromMs)
    const answer = await askRecord(async (database) => {
      await viewRecord(database, sources, range, writtenBy(flags))
      await database.mustBeSelect(sql)
      return answered(database, { sql, values: [] }, flags)
    })
    if (answer !== undefined) showAnswer(answer, flags, rowsText)
  })
}

/** As many columns as there are: the terminal cuts none. */
function rowsText({ columns, rows }: Answer): string {
  const right = columns.flatMap((column, i) => (rows.some((row) => typeof row[column] === 'number') ? [i] : []))
  const cells = rows.map((row) => columns.map((column) => cellText(row[column])))
  return rows.length === 0 ? 'no rows' : table([...columns], cells, right)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
