/** `who`: who asked for a table, when, and what came of it. */
import { type Command, Option } from 'commander'
import type { Answer, RecordDatabase, Row } from '../../archive/database.ts'
import { viewRecord } from '../../archive/record-view.ts'
import { statementsOf, type Wanted, whoAsked, whoByHour, whoTotals } from '../../archive/who.ts'
import { type FittedColumn, fittedTable } from '../fitted-table.ts'
import { paint, printable } from '../output.ts'
import {
  type Answered,
  type AnswerFlags,
  answered,
  cellText,
  headLines,
  showAnswer,
  tableOptions,
  withAnswer,
  writtenBy,
} from '../record/answer.ts'
import { askRecord } from '../record/asking.ts'
import { statementsTouching } from '../record/columns.ts'
import { offsetsOf } from '../record/offsets.ts'
import {
  rangeOf,
  type SaidRange,
  type SourceFlags,
  sourcesOf,
  type TimeFlags,
  withSources,
  withTimes,
} from '../record/sources.ts'
import { parseColumn, parseTable, type TableName } from '../record/table-name.ts'
import { timeText } from '../time-words.ts'
import { pathOf } from '../traffic-table.ts'

interface WhoFlags extends SourceFlags, TimeFlags, AnswerFlags {
  readonly person?: string
  readonly workload?: string
  readonly denied?: boolean
  readonly column?: string
  readonly by?: 'hour'
}

export function addWho(program: Command): void {
  const command = program
    .command('who')
    .description('who talked to Cassandra: identities, what they did, and when')
    .argument('[table]', 'a keyspace, or keyspace.table, as CQL writes it', parseTable)
  withAnswer(withSources(withTimes(command, '24h')))
    .option('--person <name>', 'behind the request, such as alice or corp/alice; * stands for any letters')
    .option('--workload <name>', 'that asked, such as svc/orders or a SPIFFE id; * stands for any letters')
    .option('--denied', 'refused requests only')
    .option('--column <name>', 'of statements that touch this column, or all columns; as CQL writes it', parseColumn)
    .addOption(new Option('--by <unit>', 'a line for each hour').choices(['hour']))
    .addHelpText(
      'after',
      `
  ringfence who shop.orders --since "last night"
  ringfence who shop --person alice --since yesterday --denied
  ringfence who shop.customers --column email --since monday -o csv

A night is from 20:00 to 06:00. Ends with 0, with 64 for words that are no time,
with 65 where there is no record, and with 130 after Ctrl-C.`,
    )
    .action(who)
}

async function who(target: TableName | undefined, flags: WhoFlags): Promise<void> {
  const range = rangeOf(flags, Date.now())
  const sources = sourcesOf(flags, range.fromMs)
  const asked = await askRecord(async (database) => {
    await viewRecord(database, sources, range, writtenBy(flags))
    const { person, workload, denied } = flags
    let wanted: Wanted = { ...target, person, workload, denied }
    let unknownRequests = 0
    if (flags.column !== undefined) {
      const { sql, values } = statementsOf(wanted)
      const { rows } = await database.ask(sql, values)
      const touching = await statementsTouching(flags.column, rows, target?.table, () => database.mustGoOn())
      wanted = { ...wanted, statements: touching.statements }
      unknownRequests = touching.unknownRequests
    }
    const question = flags.by === 'hour' ? whoByHour(wanted, offsetsOf(range)) : whoAsked(wanted)
    const found = await answered(database, question, flags)
    const totals = flags.output === 'table' ? await totalsOf(database, wanted, found) : undefined
    return { found, totals, unknownRequests }
  })
  if (asked !== undefined) show(asked, target, flags, range)
}

interface Totals {
  readonly requests: number
  readonly refused: number
}

interface Asked {
  readonly found: Answered
  readonly totals: Totals | undefined
  readonly unknownRequests: number
}

/** For the heading of a table: of what was found, not of the lines that are left of it. */
async function totalsOf(
  database: RecordDatabase,
  wanted: Wanted,
  { answer, cutAt }: Answered,
): Promise<Totals | undefined> {
  if (typeof answer === 'number') return undefined
  if (cutAt === undefined) {
    return { requests: requestsIn(answer.rows), refused: requestsIn(answer.rows.filter(isRefused)) }
  }
  const { sql, values } = whoTotals(wanted)
  const [row] = (await database.ask(sql, values)).rows
  return { requests: Number(row!.requests), refused: Number(row!.refused) }
}

function requestsIn(rows: readonly Row[]): number {
  return rows.reduce((sum, { requests }) => sum + Number(requests), 0)
}

function isRefused({ verdict }: Row): boolean {
  return verdict === 'deny'
}

function show(
  { found, totals, unknownRequests }: Asked,
  target: TableName | undefined,
  flags: WhoFlags,
  range: SaidRange,
): void {
  if (unknownRequests > 0) {
    const unknown = `${unknownRequests} further requests may touch ${flags.column}:`
    const why = 'their statements are cut off, or can’t be read without their literals'
    process.stderr.write(`${paint(`${printable(unknown)}\n${why}`, 'yellow')}\n`)
  }
  showAnswer(found, flags, (rows) =>
    [headOf(totals, target, flags, range), ...linesOf(rows, flags, range.zone)].join('\n'),
  )
}

function headOf(
  totals: Totals | undefined,
  target: TableName | undefined,
  { column }: WhoFlags,
  range: SaidRange,
): string {
  const name =
    target === undefined ? 'everything' : [target.keyspace, target.table].filter((part) => part !== undefined).join('.')
  const { requests = 0, refused = 0 } = totals ?? {}
  const counts = `${requests} requests${refused === 0 ? '' : `, ${refused} refused`}`
  const head = headLines(`${name}${column === undefined ? '' : `, column ${column}`}`, range)
  return [...head, counts].map(printable).join('\n')
}

function linesOf({ rows }: Answer, flags: WhoFlags, zone: string): string[] {
  if (rows.length === 0) return ['', 'nobody']
  const columns = flags.by === 'hour' ? hourColumns : whoColumns(zone)
  const lines = fittedTable(columns, rows, ({ verdict }) => colours.get(String(verdict)), tableOptions())
  return ['', ...lines]
}

/** So many are read in a table. */
const addressesMax = 8

function addressesText(addresses: unknown): string {
  if (!Array.isArray(addresses) || addresses.length <= addressesMax) return cellText(addresses)
  return `${cellText(addresses.slice(0, addressesMax))}, …`
}

const colours: ReadonlyMap<string, string> = new Map([
  ['observe', '33'],
  ['deny', '31'],
])

const identityColumns: readonly FittedColumn<Row>[] = [
  { title: 'WORKLOAD', widthMax: 40, widthMin: 13, cell: ({ workload }) => pathOf(String(workload)) },
  { title: 'PERSON', widthMax: 32, widthMin: 13, cell: ({ person }) => cellText(person) },
]
const countColumns: readonly FittedColumn<Row>[] = [
  { title: 'VERDICT', widthMax: 7, widthMin: 7, cell: ({ verdict }) => cellText(verdict) },
  { title: 'REQUESTS', widthMax: 12, widthMin: 8, right: true, cell: ({ requests }) => String(requests) },
]

const hourColumns: readonly FittedColumn<Row>[] = [
  { title: 'HOUR', widthMax: 22, widthMin: 22, cell: ({ hour }) => cellText(hour) },
  ...identityColumns,
  ...countColumns,
  { title: 'ROWS', widthMax: 12, widthMin: 4, right: true, goes: 1, cell: ({ rows_answered: rows }) => cellText(rows) },
]

function whoColumns(zone: string): readonly FittedColumn<Row>[] {
  return [
    ...identityColumns,
    { title: 'OPERATIONS', widthMax: 30, widthMin: 16, cell: ({ operations }) => cellText(operations) },
    ...countColumns,
    { title: 'RULE', widthMax: 30, widthMin: 12, goes: 4, cell: ({ rule }) => cellText(rule) },
    {
      title: 'ROWS',
      widthMax: 12,
      widthMin: 6,
      right: true,
      goes: 3,
      cell: ({ rows_answered: rows }) => cellText(rows),
    },
    { title: 'FROM', widthMax: 40, widthMin: 12, goes: 5, cell: ({ addresses }) => addressesText(addresses) },
    {
      title: 'LAST',
      widthMax: 17,
      widthMin: 17,
      goes: 2,
      cell: ({ last }) => timeText(Date.parse(String(last)), zone).slice(4),
    },
  ]
}
