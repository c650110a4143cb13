import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { plotOf } from './plot.ts'

describe('the plot', () => {
  const values = [
    { system: 'direct', value: undefined, text: '—' },
    { system: 'A & B <pair>', value: 50, text: '50.00' },
    { system: 'mesh', value: 25, text: '25.00' },
  ]
  const svg = plotOf([{ load: '16 × 1', figures: [{ title: 'CPU µs/request', values }] }], 'one machine')

  it('has a bar for each value, as long as the value is large', () => {
    const widths = [...svg.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map((match) => Number(match[1]))
    assert.equal(widths.length, 3)
    assert.equal(widths[0], 0)
    assert.ok(widths[1]! > 0)
    assert.equal(widths[2], widths[1]! / 2)
  })

  it('shows every text, none of it as markup', () => {
    for (const text of ['direct', 'A &#38; B &#60;pair&#62;', '25.00', '16 × 1: CPU µs/request', 'one machine'])
      assert.ok(svg.includes(text), text)
    assert.ok(!svg.includes('<pair>'))
  })
})
