/** Who is talking to Cassandra, as a table for people. */
import type { TrafficLine } from '../src/control/traffic.ts'

interface Column {
  readonly title: string
  readonly widthMax: number
  readonly right?: boolean
  readonly cell: (line: TrafficLine) => string
}

const columns: readonly Column[] = [
  { title: 'WORKLOAD', widthMax: 26, cell: ({ workload }) => pathOf(workload) },
  { title: 'PERSON', widthMax: 16, cell: ({ person }) => person ?? '–' },
  { title: 'KEYSPACE.TABLE', widthMax: 30, cell: ({ keyspace, table }) => targetOf(keyspace, table) },
  { title: 'OPERATION', widthMax: 16, cell: ({ operation }) => operation },
  { title: 'VERDICT', widthMax: 7, cell: ({ verdict }) => verdict },
  { title: 'RULE', widthMax: 34, cell: ({ rule }) => rule },
  { title: 'RATE/S', widthMax: 8, right: true, cell: ({ rate }) => rate.toFixed(1) },
  {
    title: 'P99 MS',
    widthMax: 8,
    right: true,
    cell: ({ verdict, p99Micros }) => (verdict === 'deny' ? '–' : (p99Micros / 1000).toFixed(1)),
  },
]

/**
 * @param widthMax columns of the terminal; a longer line is cut
 * @param linesMax lines of traffic at most; how many are left out is said
 */
export function trafficTable(
  lines: readonly TrafficLine[],
  { widthMax = 200, linesMax = 40, color = false }: { widthMax?: number; linesMax?: number; color?: boolean } = {},
): string[] {
  const shown = lines.slice(0, linesMax)
  const cells = shown.map((line) => columns.map(({ cell, widthMax }) => fit(cell(line), widthMax)))
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)))
  const write = (row: readonly string[]): string =>
    row
      .map((cell, i) => (columns[i]!.right === true ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
      .slice(0, widthMax)
  const heading = write(columns.map(({ title }) => title))
  const rows = cells.map((row, i) => {
    const text = write(row)
    return color && shown[i]!.verdict === 'deny' ? `\x1b[31m${text}\x1b[0m` : text
  })
  const rest = lines.length - shown.length
  return [color ? `\x1b[1m${heading}\x1b[0m` : heading, ...rows, ...(rest > 0 ? [`… and ${rest} more`] : [])]
}

/** `spiffe://demo.local/svc/orders` as `svc/orders`; the trust domain is the same on every line. */
function pathOf(spiffeId: string): string {
  return printable(/^spiffe:\/\/[^/]+\/(.+)$/.exec(spiffeId)?.[1] ?? spiffeId)
}

function targetOf(keyspace: string | undefined, table: string | undefined): string {
  if (keyspace === undefined && table === undefined) return '–'
  return table === undefined ? keyspace! : `${keyspace ?? '?'}.${table}`
}

function fit(text: string, widthMax: number): string {
  const clean = printable(text)
  return clean.length <= widthMax ? clean : `${clean.slice(0, widthMax - 1)}…`
}

/** Names come from clients; what steers a terminal does not get there. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '�')
}
