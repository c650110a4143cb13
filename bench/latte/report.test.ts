import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { tableOf } from '../table.ts'
import { findLatte } from './binary.ts'
import { type MeasuredPath, pathColumns, readReport, summariesOf } from './report.ts'

describe("latte's report", () => {
  /** What latte 0.29.0 wrote of a second, without its log and histograms. */
  const text = readFileSync(join(import.meta.dirname, 'report.fixture.json'), 'utf8')

  it('gives throughput, percentiles in milliseconds and errors', () => {
    const figures = readReport(text)
    assert.ok(figures.perSecond > 0)
    assert.ok(figures.p50Ms > 0.01 && figures.p50Ms <= figures.p99Ms && figures.p99Ms <= figures.p999Ms)
    assert.equal(figures.errors, 0)
  })

  it('takes each percentile by its name, wherever it stands', () => {
    const report = JSON.parse(text) as {
      percentiles: number[]
      result: { request_latency: { percentiles: unknown[] } }
    }
    const before = readReport(text)
    report.percentiles.reverse()
    report.result.request_latency.percentiles.reverse()
    assert.deepEqual(readReport(JSON.stringify(report)), before)
  })

  it('is refused when a percentile or a figure is missing', () => {
    const report = JSON.parse(text) as { percentiles: number[]; result: Record<string, unknown> }
    const without = { ...report, percentiles: report.percentiles.map((each) => (each === 99 ? 98.5 : each)) }
    assert.throws(() => readReport(JSON.stringify(without)), /no percentile 99/)
    assert.throws(() => readReport(JSON.stringify({ ...report, result: { ...report.result, request_latency: null } })))
    assert.throws(() => readReport(''))
  })
})

describe('what a path adds', () => {
  const of = (round: number, path: string, p50Ms: number, p99Ms: number, errors = 0): MeasuredPath => ({
    ...{ round, path, p50Ms, p99Ms, p999Ms: p99Ms, errors },
    perSecond: 1000,
  })

  it('is the median of the differences in each round, not the difference of medians', () => {
    const measured = [
      ...[of(1, 'direct', 1, 2), of(1, 'mesh', 1.5, 4)],
      ...[of(2, 'direct', 5, 9), of(2, 'mesh', 5.25, 9.5, 1)],
      ...[of(3, 'direct', 2, 3), of(3, 'mesh', 6, 4, 2)],
    ]
    const [direct, mesh] = summariesOf(measured, 'direct')
    assert.deepEqual([direct?.p50Ms, direct?.addedP50Ms, direct?.addedP99Ms], [2, undefined, undefined])
    assert.deepEqual([mesh?.p50Ms, mesh?.addedP50Ms?.median, mesh?.addedP99Ms?.median], [5.25, 0.5, 1])
    assert.deepEqual([mesh?.errors, mesh?.addedP50Ms?.range], [3, undefined])
  })

  it('says how sure that is, where the rounds are enough to tell', () => {
    const rounds = Array.from({ length: 30 }, (_, round) => round)
    const measured = rounds.flatMap((round) => [of(round, 'direct', 1, 2), of(round, 'mesh', 1 + round / 10, 3)])
    const [, mesh] = summariesOf(measured, 'direct')
    assert.match(tableOf(pathColumns, [mesh!], 1), /\| 1\.45 \(0\.90 to 2\.00\) \| 1\.00 \(1\.00 to 1\.00\) \|/)
  })

  it('is not known without a direct path, and the table says so', () => {
    const [mesh] = summariesOf([of(1, 'mesh', 1, 2)], 'direct')
    assert.equal(mesh?.addedP50Ms, undefined)
    assert.match(tableOf(pathColumns, [mesh!], 1), /—/)
  })
})

describe("latte's binary", () => {
  it('is missed with a word of advice where there is no cargo', () => {
    const path = process.env.PATH
    process.env.PATH = import.meta.dirname
    try {
      const found = findLatte(join(import.meta.dirname, 'no-such-state'), () => assert.fail('nothing is built'))
      assert.ok('missing' in found && found.missing.includes('install Rust'))
    } finally {
      process.env.PATH = path
    }
  })
})
