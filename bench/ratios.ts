/**
 * The ratios between rows, which are the result of a run. A ratio is taken in each round, between figures that were measured beside one
 * another, and the median of the rounds' ratios is shown: what the machine did in one round cancels out in it.
 */
import { type Column, type MeasuredRow, median, medianRange, wordsForRange } from './table.ts'

export interface Ratio {
  readonly load: string
  /** Such as `mesh ÷ Envoy pair`. */
  readonly of: string
  readonly cpu: number | undefined
  /** Where the median of `cpu` lies with a certainty of 95 %; undefined of few rounds. */
  readonly cpuRange: readonly [low: number, high: number] | undefined
  readonly perSecond: number | undefined
  readonly p50: number | undefined
  readonly p99: number | undefined
}

export interface RatioNames {
  /** The system whose cost is asked about. */
  readonly mesh: string
  /** Others that it is divided by, in the order in which they are shown; absent ones are left out. */
  readonly over: readonly string[]
}

/** A ratio for each load, of `mesh` to each of `over` that was measured there. */
export function ratiosOf(measured: readonly MeasuredRow[], { mesh, over }: RatioNames): Ratio[] {
  const loads = [...new Set(measured.map(({ load }) => load))]
  return loads.flatMap((load) =>
    over.flatMap((other) => {
      const pairs = pairsOf(measured, load, mesh, other)
      if (pairs.length === 0) return []
      const eachOf = (pick: (row: MeasuredRow) => number | undefined): number[] =>
        pairs.flatMap(([a, b]) => {
          const [above, below] = [pick(a), pick(b)]
          return above === undefined || below === undefined || below === 0 ? [] : [above / below]
        })
      const ratio = (pick: (row: MeasuredRow) => number | undefined): number | undefined => {
        const each = eachOf(pick)
        return each.length === 0 ? undefined : median(each)
      }
      return [
        {
          load,
          of: `${mesh} ÷ ${other}`,
          cpu: ratio((row) => row.cpuUsPerRequest),
          cpuRange: medianRange(eachOf((row) => row.cpuUsPerRequest)),
          perSecond: ratio((row) => row.perSecond),
          p50: ratio((row) => row.p50Ms),
          p99: ratio((row) => row.p99Ms),
        },
      ]
    }),
  )
}

/** The two rows of each round that has both. */
function pairsOf(measured: readonly MeasuredRow[], load: string, a: string, b: string): [MeasuredRow, MeasuredRow][] {
  const rows = measured.filter((row) => row.load === load)
  return rows.flatMap((row) => {
    const other = row.system === a ? rows.find(({ system, round }) => system === b && round === row.round) : undefined
    return other === undefined ? [] : [[row, other]]
  })
}

const show = (ratio: number | undefined): string => ratio?.toFixed(2) ?? '—'

export const ratioColumns: readonly Column<Ratio>[] = [
  ['load', ({ load }) => load],
  ['ratio', ({ of }) => of],
  ['CPU/request', ({ cpu }) => show(cpu)],
  ['its 95 %', ({ cpuRange }) => wordsForRange(cpuRange) ?? '—'],
  ['requests/s', ({ perSecond }) => show(perSecond)],
  ['p50', ({ p50 }) => show(p50)],
  ['p99', ({ p99 }) => show(p99)],
]
