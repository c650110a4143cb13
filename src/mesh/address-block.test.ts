import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { addressBlock } from './address-block.ts'

describe('whose address it is', () => {
  const blocks = {
    '198.51.100.7': '198.51.100.7',
    '::ffff:198.51.100.7': '198.51.100.7',
    '::FFFF:c633:6407': '198.51.100.7',
    '0:0:0:0:0:ffff:c633:6407': '198.51.100.7',
    '2001:db8:1:2::1': '2001:db8:1:2::/64',
    '2001:db8:1:2:ffff:ffff:ffff:ffff': '2001:db8:1:2::/64',
    '2001:0DB8:0001:0002:0:0:0:9': '2001:db8:1:2::/64',
    '2001:db8:1:2:0:0:198.51.100.7': '2001:db8:1:2::/64',
    '2001:db8:1:3::1': '2001:db8:1:3::/64',
    'fe80::1%eth0': 'fe80:0:0:0::/64',
    '::1': '0:0:0:0::/64',
    '::': '0:0:0:0::/64',
    '1:2:3::': '1:2:3:0::/64',
    unix: 'unix',
    '': '',
  }
  for (const [address, block] of Object.entries(blocks)) {
    it(`${address || 'nothing'} counts as ${block || 'nothing'}`, () => assert.equal(addressBlock(address), block))
  }
})
