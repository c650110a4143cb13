/** A picture of `top`: a head, the table, the refusals with their rules, and the keys. */
import type { TrafficLine } from '../../control/traffic.ts'
import { printable } from '../output.ts'
import { cut, pad } from '../screen.ts'
import { pathOf, trafficTable } from '../traffic-table.ts'
import { linesOf, type TopState } from './state.ts'

export interface TopSize {
  readonly columns: number
  /** Lines that a picture may have. */
  readonly lines: number
  readonly color: boolean
}

export interface TopSeen {
  readonly lines: readonly TrafficLine[]
  readonly seconds: number
  /** Of the wall clock, as text. */
  readonly time: string
  /** Why what is shown is not of now. */
  readonly stale?: string | undefined
}

const keys = 'q quit · ↑↓ choose · ⏎ look into · Esc back · / filter · s sort'
/** Head, a space, heading of the table, the line that says how many more; and the keys. */
const aroundTable = 5
const refusalsMax = 6

export function topPicture(seen: TopSeen, state: TopState, { columns, lines: linesMax, color }: TopSize): string[] {
  const lines = linesOf(seen.lines, state)
  const refusals = lines.filter(({ verdict }) => verdict === 'deny')
  const shownRefusals = Math.min(refusals.length, refusalsMax, Math.max(0, Math.floor(linesMax / 4) - 1))
  const pane = shownRefusals === 0 ? [] : ['', ...refusalLines(refusals, shownRefusals, color)]
  const rows = Math.max(1, linesMax - aroundTable - pane.length)
  const selected = Math.min(state.selected, Math.max(0, lines.length - 1))
  // What is chosen is on the screen.
  const from = Math.max(0, Math.min(selected - rows + 1, lines.length - rows))
  const [heading = '', ...body] = trafficTable(lines.slice(from, from + rows), { widthMax: columns, color })
  const table = body.map((line, at) => (from + at === selected ? chosen(line, columns, color) : line))
  const more = lines.length - from - body.length
  const rest = [...(from > 0 ? [`${from} above`] : []), ...(more > 0 ? [`${more} below`] : [])].join(', ')
  const picture = [
    ...headOf(seen, state, lines),
    ...(lines.length === 0 ? ['', emptyWords(seen, state)] : [heading, ...table, rest === '' ? '' : `… ${rest}`]),
    ...pane,
  ]
  // The keys stand at the bottom.
  while (picture.length < linesMax - 1) picture.push('')
  const foot = state.typing ? `filter: ${state.filter}▏ (⏎ keep, Esc none)` : keys
  return [...picture.slice(0, linesMax - 1), foot].map((line) => cut(line, columns))
}

function headOf(
  { time, seconds, stale }: TopSeen,
  { sort, filter, into }: TopState,
  lines: readonly TrafficLine[],
): string[] {
  const rate = sum(lines.map((line) => line.rate))
  const refused = sum(lines.filter(({ verdict }) => verdict === 'deny').map((line) => line.rate))
  const who =
    into === undefined
      ? `${new Set(lines.map(({ workload, person }) => `${workload} ${person}`)).size} identities`
      : nameOf(into)
  const parts = [
    'ringfence top',
    time,
    ...(filter === '' ? [] : [`with "${filter}"`]),
    who,
    `${rate.toFixed(1)}/s`,
    `${refused.toFixed(1)}/s refused`,
    `by ${sort}`,
    `of ${seconds} s`,
  ]
  return [printable(parts.join(' · ')), stale === undefined ? '' : printable(`not of now: ${stale}`)]
}

function nameOf({ workload, person }: { workload: string; person: string | undefined }): string {
  return person === undefined ? pathOf(workload) : `${person} by ${pathOf(workload)}`
}

function emptyWords({ lines }: TopSeen, { filter, into }: TopState): string {
  if (lines.length === 0) return 'nobody talks to Cassandra'
  if (filter !== '') return 'nothing that the filter leaves'
  return into === undefined ? 'nobody talks to Cassandra' : 'this one does not talk any more'
}

function refusalLines(refusals: readonly TrafficLine[], count: number, color: boolean): string[] {
  const rows = [...refusals].sort((a, b) => b.count - a.count).slice(0, count)
  const title = 'REFUSED, AND BY WHICH RULE'
  return [color ? `\u001b[1m${title}\u001b[0m` : title, ...rows.map((line) => refusalOf(line, color))]
}

function refusalOf(line: TrafficLine, color: boolean): string {
  const { keyspace = '?', table, operation, rule, rate } = line
  const target = table === undefined ? keyspace : `${keyspace}.${table}`
  const text = printable(
    `${pad(`${rate.toFixed(1)}/s`, 8, true)}  ${nameOf({ workload: line.workload, person: line.person })}: ${operation} ${target} (${rule})`,
  )
  return color ? `\u001b[31m${text}\u001b[0m` : text
}

function chosen(line: string, columns: number, color: boolean): string {
  if (!color) return line
  const plain = line.replace(/\u001b\[[0-9;]*m/g, '')
  return `\u001b[7m${pad(plain, columns)}\u001b[0m`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
