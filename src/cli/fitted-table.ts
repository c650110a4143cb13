/** A table that fits a terminal: columns are cut, and then give way in a fixed order, where there is no room for all. */
import { printable } from './output.ts'
import { cut, pad, widthOf } from './screen.ts'

export interface FittedColumn<T> {
  readonly title: string
  readonly widthMax: number
  /** It is cut down to this, and no further, before columns are left out. */
  readonly widthMin: number
  readonly right?: boolean
  /** Columns with a number go where there is no room, the greatest first. */
  readonly goes?: number
  readonly cell: (line: T) => string
}

export interface FittedTableOptions {
  /** Columns of the terminal. */
  readonly widthMax?: number
  /** Lines at most; how many are left out is said. */
  readonly linesMax?: number
  readonly color?: boolean
}

/** Between columns; one where two would cost a column. */
const gapMax = 2
const gapMin = 1

/** @param colourOf the number of a line's colour (ECMA-48 SGR), where it has one */
export function fittedTable<T>(
  columns: readonly FittedColumn<T>[],
  lines: readonly T[],
  colourOf: (line: T) => string | undefined,
  { widthMax = 200, linesMax = Number.POSITIVE_INFINITY, color = false }: FittedTableOptions = {},
): string[] {
  const shown = lines.slice(0, linesMax)
  const { chosen, widths, gap } = layOut(columns, shown, widthMax)
  const write = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => pad(cut(cell, widths[i]!), widths[i]!, chosen[i]!.right === true))
      .join(' '.repeat(gap))
      .trimEnd()
  const heading = write(chosen.map(({ title }) => title))
  const rows = shown.map((line) => {
    const text = write(chosen.map(({ cell }) => printable(cell(line))))
    const colour = colourOf(line)
    return color && colour !== undefined ? `\u001b[${colour}m${text}\u001b[0m` : text
  })
  const rest = lines.length - shown.length
  return [color ? `\u001b[1m${heading}\u001b[0m` : heading, ...rows, ...(rest > 0 ? [`… and ${rest} more`] : [])]
}

interface Layout<T> {
  readonly chosen: readonly FittedColumn<T>[]
  readonly widths: number[]
  readonly gap: number
}

/** Columns that have room, and how wide each is: first the widest is cut, then columns are left out. */
function layOut<T>(columns: readonly FittedColumn<T>[], lines: readonly T[], widthMax: number): Layout<T> {
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
