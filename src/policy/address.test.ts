import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { it } from 'node:test'
import fc from 'fast-check'
import { canonicalAddress, parseAddress } from './address.ts'

it('reads what Node reads as an address, and nothing else', () => {
  const odd = fc
    .array(fc.constantFrom('0', '1', '12', '255', '256', '01', 'ff', 'ffff', 'fffff', ':', '::', '.', 'g', ' ', ''), {
      maxLength: 12,
    })
    .map((parts) => parts.join(''))
  let addresses = 0
  fc.assert(
    fc.property(fc.oneof(odd, fc.ipV4(), fc.ipV6()), (text) => {
      const bytes = parseAddress(text)
      if (bytes !== undefined) addresses++
      assert.equal(bytes?.length ?? 0, { 0: 0, 4: 4, 6: 16 }[isIP(text)], JSON.stringify(text))
    }),
    { numRuns: 3_000 },
  )
  assert.ok(addresses > 500, `${addresses} addresses`)
})

it('writes them as Cedar reads them', () => {
  const cases = [
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:a00:1', '10.0.0.1'],
    ['0:0:0:0:0:ffff:10.1.2.3', '10.1.2.3'],
    ['fe80::1%eth0', 'fe80:0:0:0:0:0:0:1'],
    ['64:ff9b::1.2.3.4', '64:ff9b:0:0:0:0:102:304'],
    ['::', '0:0:0:0:0:0:0:0'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['010.0.0.1', undefined],
    ['', undefined],
    ['unknown', undefined],
  ] as const
  for (const [text, expected] of cases) assert.equal(canonicalAddress(text), expected, text)
})
