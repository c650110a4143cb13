/** Who is talking to Cassandra, as a table that fits a terminal: columns give way in a fixed order where there is no room for all. */
import type { TrafficLine } from '../control/traffic.ts'
import { printable } from './output.ts'
import { cut, pad, widthOf } from './screen.ts'

interface Column {
  readonly title: string
  readonly widthMax: number
  /** It is cut down to this, and no further, before columns are left out. */
  readonly widthMin: number
  readonly right?: boolean
  /** Columns with a number go where there is no room, the greatest first. */
  readonly goes?: number
  readonly cell: (line: TrafficLine) => string
}

const columns: readonly Column[] = [
  { title: 'WORKLOAD', widthMax: 40, widthMin: 14, cell: ({ workload }) => pathOf(workload) },
  { title: 'PERSON', widthMax: 20, widthMin: 10, goes: 1, cell: ({ person }) => person ?? '–' },
  { title: 'KEYSPACE.TABLE', widthMax: 40, widthMin: 13, cell: ({ keyspace, table }) => targetOf(keyspace, table) },
  { title: 'OPERATION', widthMax: 16, widthMin: 9, cell: ({ operation }) => operation },
  { title: 'VERDICT', widthMax: 7, widthMin: 7, cell: ({ verdict }) => verdict },
  { title: 'RULE', widthMax: 34, widthMin: 8, cell: ({ rule }) => rule },
  { title: 'RATE/S', widthMax: 8, widthMin: 6, right: true, cell: ({ rate }) => rate.toFixed(1) },
  {
    title: 'ERRORS',
    widthMax: 8,
    widthMin: 6,
    right: true,
    goes: 2,
    cell: ({ verdict, errors }) => (verdict === 'deny' ? '–' : String(errors)),
  },
  {
    title: 'P50 MS',
    widthMax: 8,
    widthMin: 6,
    right: true,
    goes: 4,
    cell: (line) => milliseconds(line, line.p50Micros),
  },
  {
    title: 'P99 MS',
    widthMax: 8,
    widthMin: 6,
    right: true,
    goes: 3,
    cell: (line) => milliseconds(line, line.p99Micros),
  },
]
/** Between columns; one where two would cost a column. */
const gapMax = 2
const gapMin = 1
const colours = { allow: undefined, observe: '33', deny: '31' } as const

export interface TrafficTableOptions {
  /** Columns of the terminal. */
  readonly widthMax?: number
  /** Lines of traffic at most; how many are left out is said. */
  readonly linesMax?: number
  readonly color?: boolean
}

export function trafficTable(
  lines: readonly TrafficLine[],
  { widthMax = 200, linesMax = Number.POSITIVE_INFINITY, color = false }: TrafficTableOptions = {},
): string[] {
  const shown = lines.slice(0, linesMax)
  const { chosen, widths, gap } = layOut(shown, widthMax)
  const write = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => pad(cut(cell, widths[i]!), widths[i]!, chosen[i]!.right === true))
      .join(' '.repeat(gap))
      .trimEnd()
  const heading = write(chosen.map(({ title }) => title))
  const rows = shown.map((line) => {
    const text = write(chosen.map(({ cell }) => printable(cell(line))))
    const colour = colours[line.verdict]
    return color && colour !== undefined ? `\u001b[${colour}m${text}\u001b[0m` : text
  })
  const rest = lines.length - shown.length
  return [color ? `\u001b[1m${heading}\u001b[0m` : heading, ...rows, ...(rest > 0 ? [`… and ${rest} more`] : [])]
}

interface Layout {
  readonly chosen: readonly Column[]
  readonly widths: number[]
  readonly gap: number
}

/** Columns that have room, and how wide each is: first the widest is cut, then columns are left out. */
function layOut(lines: readonly TrafficLine[], widthMax: number): Layout {
  const wanted = new Map(
    columns.map((column) => {
      const cells = lines.map((line) => widthOf(printable(column.cell(line))))
      return [column, Math.min(column.widthMax, Math.max(column.title.length, ...cells))]
    }),
  )
  let chosen = [...columns]
  const least = (): number => sum(chosen.map((column) => Math.min(column.widthMin, wanted.get(column)!)))
  while (least() + gapMin * (chosen.length - 1) > widthMax) {
    const goes = chosen.filter((column) => column.goes !== undefined).sort((a, b) => b.goes! - a.goes!)[0]
    if (goes === undefined) break
    chosen = chosen.filter((column) => column !== goes)
  }
  const gap = least() + gapMax * (chosen.length - 1) > widthMax ? gapMin : gapMax
  const widths = chosen.map((column) => wanted.get(column)!)
  let excess = sum(widths) + gap * (chosen.length - 1) - widthMax
  while (excess > 0) {
    let widest = -1
    for (let i = 0; i < widths.length; i++) {
      if (widths[i]! > chosen[i]!.widthMin && (widest < 0 || widths[i]! > widths[widest]!)) widest = i
    }
    if (widest < 0) break
    widths[widest]! -= 1
    excess -= 1
  }
  return { chosen, widths, gap }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

function milliseconds({ verdict }: TrafficLine, micros: number): string {
  return verdict === 'deny' ? '–' : (micros / 1000).toFixed(1)
}

/** `spiffe://demo.local/svc/orders` as `svc/orders`; the trust domain is the same on every line. */
function pathOf(spiffeId: string): string {
  return /^spiffe:\/\/[^/]+\/(.+)$/.exec(spiffeId)?.[1] ?? spiffeId
}

function targetOf(keyspace: string | undefined, table: string | undefined): string {
  if (keyspace === undefined && table === undefined) return '–'
  return table === undefined ? keyspace! : `${keyspace ?? '?'}.${table}`
}
