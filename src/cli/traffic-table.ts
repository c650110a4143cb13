/** Who is talking to Cassandra, as a table that fits a terminal. */
import type { TrafficLine } from '../control/traffic.ts'
import { type FittedColumn, type FittedTableOptions, fittedTable } from './fitted-table.ts'

const columns: readonly FittedColumn<TrafficLine>[] = [
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
const colours = { allow: undefined, observe: '33', deny: '31' } as const

export function trafficTable(lines: readonly TrafficLine[], options?: FittedTableOptions): string[] {
  return fittedTable(columns, lines, ({ verdict }) => colours[verdict], options)
}

function milliseconds({ verdict }: TrafficLine, micros: number): string {
  return verdict === 'deny' ? '–' : (micros / 1000).toFixed(1)
}

/** `spiffe://demo.local/svc/orders` as `svc/orders`; the trust domain is the same on every line. */
export function pathOf(spiffeId: string): string {
  return /^spiffe:\/\/[^/]+\/(.+)$/.exec(spiffeId)?.[1] ?? spiffeId
}

function targetOf(keyspace: string | undefined, table: string | undefined): string {
  if (keyspace === undefined && table === undefined) return '–'
  return table === undefined ? keyspace! : `${keyspace ?? '?'}.${table}`
}
