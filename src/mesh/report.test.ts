import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cutMark } from '../base/text.ts'
import { type ProxyReport, proxyReport, reportBytesMax } from './proxy-report.ts'
import { fullReport, variantsOf } from './report.fixture.ts'
import { cutReport, readReport, reportText } from './report.ts'
import { type TrafficRow, trafficRowsMax } from './traffic.ts'

describe('a report', () => {
  it('has every field that there is in the full one of these tests', () => {
    assert.deepEqual(Object.keys(fullReport).sort(), Object.keys(proxyReport.shape).sort())
    for (const list of ['listeners', 'traffic'] as const) {
      assert.deepEqual(
        Object.keys(fullReport[list][0] ?? {}).sort(),
        Object.keys(proxyReport.shape[list].element.shape).sort(),
      )
    }
    assert.deepEqual(
      Object.keys(fullReport.refusals?.[0] ?? {}).sort(),
      Object.keys(proxyReport.shape.refusals.unwrap().element.shape).sort(),
    )
    assert.deepEqual(
      Object.keys(fullReport.endpoint ?? {}).sort(),
      Object.keys(proxyReport.shape.endpoint.unwrap().shape).sort(),
    )
  })

  it('is taken whole with whatever names of whatever length, once it was cut', () => {
    for (const { path, value, before, report } of variantsOf(fullReport)) {
      if (typeof before !== 'string' || path.endsWith('Digest')) continue
      // An address that is none is configuration, refused when it is read.
      if (typeof value !== 'string' || path === 'endpoint.address' || path === 'endpoint.spiffeId') continue
      if (path.startsWith('advertise') || path.endsWith('verdict') || (path === 'endpoint.name' && value === ''))
        continue
      const sent = reportText(cutReport(report as ProxyReport))
      const { dropped, report: read } = readReport(JSON.parse(sent))
      assert.deepEqual(dropped, [], `${path} = ${value.slice(0, 20)} of ${value.length}`)
      assert.equal(read.traffic.length, fullReport.traffic.length)
      if (value.length > 2048) assert.ok(sent.includes(cutMark), path)
    }
  })

  it('loses only the part that is not understood', () => {
    for (const { path, value, report } of variantsOf(fullReport)) {
      const [field = '', index] = path.split('.')
      const { report: read, dropped } = readReport(JSON.parse(JSON.stringify(report) ?? 'null'))
      const where = `${path} = ${JSON.stringify(value)?.slice(0, 40)}`
      for (const { field: lost, count } of dropped) {
        assert.equal(lost, field, where)
        assert.equal(count, 1, where)
      }
      for (const other of Object.keys(fullReport) as (keyof ProxyReport)[]) {
        if (other === field) continue
        assert.deepEqual(read[other], fullReport[other], `${other} with ${where}`)
      }
      if (index !== undefined && field === 'traffic')
        assert.ok(read.traffic.length >= fullReport.traffic.length - 1, where)
    }
  })

  it('is read without a throw whatever it is', () => {
    for (const given of [undefined, null, 1, 'x', [], [fullReport], {}, { traffic: 1 }, { traffic: [null, []] }]) {
      assert.ok(readReport(given).dropped.length > 0, JSON.stringify(given))
    }
    const later = readReport({ ...fullReport, ofANewerAgent: { x: 1 } })
    assert.deepEqual(later.dropped, [])
    assert.equal('ofANewerAgent' in later.report, false)
  })

  it('fits the bound of a body with every row at its bounds, and loses no count', () => {
    const long = '\u0001'.repeat(5_000)
    const rows = Array.from(
      { length: 2 * trafficRowsMax },
      (_, i): TrafficRow => ({
        workload: `${i}${long}`,
        person: long,
        keyspace: long,
        table: long,
        operation: long,
        verdict: (['allow', 'deny', 'observe'] as const)[i % 3]!,
        rule: long,
        count: i === 7 ? 1_000_000 : 1,
        errors: 1,
        p50Micros: 1,
        p99Micros: 2,
      }),
    )
    const text = reportText(cutReport({ ...fullReport, traffic: rows }))
    assert.ok(Buffer.byteLength(text) <= reportBytesMax)
    const { report, dropped } = readReport(JSON.parse(text))
    assert.deepEqual(dropped, [])
    assert.equal(
      report.traffic.reduce((sum, { count }) => sum + count, 0),
      rows.reduce((sum, { count }) => sum + count, 0),
    )
    assert.ok(report.traffic.some(({ workload, count }) => workload.startsWith('7') && count === 1_000_000))
  })
})
