/** Why log-ins were refused, as a table and a remedy for each cause, in no more columns than the terminal has. */
import type { NamedRefusal } from '../../mesh/refused-log-ins.ts'
import { formatDuration, printable } from '../output.ts'
import { cut, pad, widthOf } from '../screen.ts'
import { remedyOf } from './remedies.ts'

interface Column {
  readonly title: string
  readonly widthMax: number
  readonly right?: boolean
  readonly cell: (row: NamedRefusal, nowMs: number) => string
}

const columns: readonly Column[] = [
  { title: 'AGO', widthMax: 7, cell: ({ lastMs }, nowMs) => formatDuration(Math.max(0, nowMs - lastMs)) },
  { title: 'TIMES', widthMax: 6, right: true, cell: ({ count }) => String(count) },
  { title: 'BY', widthMax: 14, cell: ({ proxy }) => proxy ?? '–' },
  { title: 'CAUSE', widthMax: 17, cell: ({ cause }) => cause },
  { title: 'FROM', widthMax: 39, cell: ({ address }) => address ?? '–' },
  { title: 'CLAIMED', widthMax: 60, cell: ({ claimed }) => claimed ?? '–' },
]
const gap = '  '
/** Of the last two columns, where there is no room for both. */
const endMin = 12

export interface WhyTableOptions {
  readonly nowMs: number
  /** Columns of the terminal. */
  readonly widthMax: number
  /** Rows at most; how many are left out is said. */
  readonly rowsMax: number
}

export function whyTable(rows: readonly NamedRefusal[], { nowMs, widthMax, rowsMax }: WhyTableOptions): string[] {
  const shown = rows.slice(0, rowsMax)
  const cells = shown.map((row) => columns.map(({ cell }) => printable(cell(row, nowMs))))
  const widths = columns.map(({ title, widthMax: most }, i) =>
    Math.min(most, Math.max(title.length, ...cells.map((row) => widthOf(row[i]!)))),
  )
  fit(widths, widthMax)
  const line = (row: readonly string[]): string =>
    row
      .map((text, i) => pad(cut(text, widths[i]!), widths[i]!, columns[i]!.right === true))
      .join(gap)
      .trimEnd()
  const rest = rows.length - shown.length
  return [
    line(columns.map(({ title }) => title)),
    ...cells.map(line),
    ...(rest > 0 ? [`… and ${rest} more (-o json has all)`] : []),
    ...byCause(rows).flatMap((row) => ['', ...explained(row, widthMax)]),
  ]
}

/** The widest of the last two gives way until it is no wider than the other, then both. */
function fit(widths: number[], widthMax: number): void {
  const [from, claimed] = [widths.length - 2, widths.length - 1]
  let excess = widths.reduce((sum, width) => sum + width, 0) + gap.length * (widths.length - 1) - widthMax
  for (; excess > 0; excess--) {
    const widest = widths[claimed]! > widths[from]! ? claimed : from
    if (widths[widest]! <= endMin) return
    widths[widest]! -= 1
  }
}

/** The last one of each cause. */
function byCause(rows: readonly NamedRefusal[]): NamedRefusal[] {
  const found = new Map<string, NamedRefusal>()
  for (const row of rows) if (!found.has(row.cause)) found.set(row.cause, row)
  return [...found.values()]
}

function explained(row: NamedRefusal, widthMax: number): string[] {
  const { cause, words, listener, driver, gateway, session, issuer, tokenId, tokenHash } = row
  const { means, remedy } = remedyOf(cause)
  const said: readonly (readonly [string, string | undefined])[] = [
    ['last', words],
    ['remedy', remedy],
    ['listener', listener],
    ['driver', driver],
    ['gateway', gateway],
    ['session', session],
    ['issuer', issuer],
    ['token id', tokenId],
    ['sha-256', tokenHash],
  ]
  return [
    ...wrapped(`${printable(cause)}: ${means}`, widthMax, ''),
    ...said.flatMap(([name, text]) => {
      if (text === undefined || text === '') return []
      const [first = '', ...others] = wrapped(printable(text), widthMax - indent.length, indent)
      return [`  ${name.padEnd(indent.length - 2)}${first.slice(indent.length)}`, ...others]
    }),
  ]
}

const indent = ' '.repeat(12)

/** In lines of at most so many columns; a word that is longer is cut. */
function wrapped(text: string, widthMax: number, before: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && widthOf(longer) > widthMax) {
      lines.push(before + line)
      line = cut(word, widthMax)
    } else line = cut(longer, widthMax)
  }
  return [...lines, before + line]
}
