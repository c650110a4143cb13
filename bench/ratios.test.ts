import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseLoad } from './loads.ts'
import { ratioColumns, ratiosOf } from './ratios.ts'
import { type MeasuredRow, median, medianRange, mediansOf, tableOf } from './table.ts'

function row(round: number, system: string, cpu: number | undefined, more: Partial<MeasuredRow> = {}): MeasuredRow {
  const memory = cpu === undefined ? undefined : 1e6
  const latencies = { p50Ms: 1, p99Ms: 2, p999Ms: 3 }
  return {
    round,
    system,
    load: '16 × 1',
    cpuUsPerRequest: cpu,
    perSecond: 100,
    ...latencies,
    residentBytes: memory,
    errors: 0,
    ...more,
  }
}

describe('ratios', () => {
  it('are taken in each round, and their median shown: not the ratio of the medians', () => {
    // The machine was three times as slow in the second round, for both.
    const measured = [
      ...[row(1, 'mesh', 10), row(1, 'Envoy pair', 20)],
      ...[row(2, 'mesh', 33), row(2, 'Envoy pair', 60)],
      ...[row(3, 'mesh', 18), row(3, 'Envoy pair', 20)],
    ]
    const [ratio] = ratiosOf(measured, { mesh: 'mesh', over: ['Envoy pair'] })
    assert.equal(ratio?.of, 'mesh ÷ Envoy pair')
    assert.equal(ratio?.cpu, 0.55)
    const [mesh, envoy] = ['mesh', 'Envoy pair'].map((system) =>
      mediansOf(measured, [parseLoad('16x1')]).find((each) => each.system === system),
    )
    assert.equal(mesh!.cpuUsPerRequest! / envoy!.cpuUsPerRequest!, 0.9)
  })

  it('cover CPU, requests, p50 and p99, each load by itself', () => {
    const measured = [
      row(1, 'mesh', 10, { perSecond: 300, p50Ms: 0.5, p99Ms: 4 }),
      row(1, 'Envoy pair', 20),
      row(1, 'mesh', 1, { load: '16 × 32' }),
      row(1, 'Envoy pair', 4, { load: '16 × 32' }),
    ]
    const [first, second] = ratiosOf(measured, { mesh: 'mesh', over: ['Envoy pair'] })
    assert.deepEqual([first?.cpu, first?.perSecond, first?.p50, first?.p99], [0.5, 3, 0.5, 2])
    assert.deepEqual([second?.load, second?.cpu], ['16 × 32', 0.25])
  })

  it('say between which of the rounds the one of CPU lies, if there are enough', () => {
    const rounds = (last: number): MeasuredRow[] =>
      Array.from({ length: last }, (_, index) => [row(index, 'mesh', index + 1), row(index, 'Envoy pair', 1)]).flat()
    const rangeOf = (measured: MeasuredRow[]) => ratiosOf(measured, { mesh: 'mesh', over: ['Envoy pair'] })[0]?.cpuRange
    assert.deepEqual([rangeOf(rounds(5)), rangeOf(rounds(9))], [undefined, [2, 8]])
  })

  it('leave out rounds and systems that are not there, and CPU where there are no hops', () => {
    const measured = [row(1, 'mesh', 10), row(1, 'direct', undefined), row(2, 'mesh', 10)]
    assert.deepEqual(ratiosOf(measured, { mesh: 'mesh', over: ['Envoy pair'] }), [])
    assert.deepEqual(ratiosOf(measured, { mesh: 'mesh, 2 workers', over: ['mesh'] }), [])
    const [toDirect] = ratiosOf(measured, { mesh: 'mesh', over: ['direct'] })
    assert.deepEqual([toDirect?.cpu, toDirect?.perSecond], [undefined, 1])
  })
})

describe('a table', () => {
  it('shows medians, the mean of the two in the middle for an even number, and the sum of errors', () => {
    assert.equal(median([3, 1, 2]), 2)
    assert.equal(median([4, 1, 2, 3]), 2.5)
    const measured = [row(1, 'mesh', 10, { errors: 1 }), row(2, 'mesh', 30, { errors: 2 }), row(3, 'mesh', 11)]
    const [mesh] = mediansOf(measured, [parseLoad('16x1'), parseLoad('128x1')])
    assert.deepEqual([mesh?.cpuUsPerRequest, mesh?.errors], [11, 3])
  })

  it('knows between which of the rounds the median lies, as statistical tables do, and not of five', () => {
    const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => last - index)
    assert.equal(medianRange(upTo(5)), undefined)
    assert.deepEqual(
      [6, 8, 9, 15, 20, 30].map((n) => medianRange(upTo(n))),
      [
        [1, 6],
        [1, 8],
        [2, 8],
        [4, 12],
        [6, 15],
        [10, 21],
      ],
    )
  })

  it('is Markdown whose columns stand under one another', () => {
    const figures = { cpu: 0.5, cpuRange: [0.456, 0.6] as const, perSecond: 10.25, p50: undefined, p99: 1 }
    const lines = tableOf(ratioColumns, [{ load: '16 × 1', of: 'mesh ÷ Envoy pair', ...figures }]).split('\n')
    assert.equal(lines.length, 3)
    assert.equal(new Set(lines.map((line) => line.length)).size, 1)
    assert.equal(lines[2], '| 16 × 1 | mesh ÷ Envoy pair |        0.50 | 0.46 to 0.60 |      10.25 |   — | 1.00 |')
  })
})
