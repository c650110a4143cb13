/**
 * The byte sequences follow the specification's own tables (haproxy.org, "The PROXY protocol" §2.1, §2.2), written out by hand.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { readProxyHeader } from './proxy-header.ts'

const signature = '0d0a0d0a000d0a515549540a'
const tlsHello = Buffer.from('160301020001', 'hex')

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const v2 = (rest: string): Buffer => bytes(signature + rest)

const refused = (header: Buffer): void => {
  assert.throws(
    () => readProxyHeader(header),
    (reason) => reason instanceof RingfenceError && reason.code === 'PROXY_HEADER',
    header.toString('latin1'),
  )
}

const good: { name: string; header: Buffer; source: string | undefined; destination: string | undefined }[] = [
  {
    name: 'v1 over IPv4',
    header: Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 56324 9042\r\n'),
    source: '192.0.2.7:56324',
    destination: '198.51.100.1:9042',
  },
  {
    name: 'v1 over IPv6',
    header: Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 56324 9042\r\n'),
    source: '2001:db8::7:56324',
    destination: '2001:db8::1:9042',
  },
  { name: 'v1 UNKNOWN', header: Buffer.from('PROXY UNKNOWN\r\n'), source: undefined, destination: undefined },
  {
    name: 'v1 UNKNOWN with what a proxy may add',
    header: Buffer.from('PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n'),
    source: undefined,
    destination: undefined,
  },
  {
    name: 'v2 over IPv4',
    header: v2('21 11 000c c0000207 c6336401 dc04 2352'),
    source: '192.0.2.7:56324',
    destination: '198.51.100.1:9042',
  },
  {
    name: 'v2 over IPv6',
    header: v2('21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 dc04 2352'),
    source: '2001:db8:0:0:0:0:0:7:56324',
    destination: '2001:db8:0:0:0:0:0:1:9042',
  },
  {
    name: 'v2 with TLVs (no-op, authority)',
    header: v2('21 11 0015 c0000207 c6336401 dc04 2352 04 0000 02 0003 616263'),
    source: '192.0.2.7:56324',
    destination: '198.51.100.1:9042',
  },
  { name: 'v2 LOCAL', header: v2('20 00 0000'), source: undefined, destination: undefined },
  {
    name: 'v2 LOCAL with an address that is not to be believed',
    header: v2('20 11 000c c0000207 c6336401 dc04 2352'),
    source: undefined,
    destination: undefined,
  },
]

describe('PROXY protocol header', () => {
  for (const { name, header, source, destination } of good) {
    it(`reads ${name}, with the client's first bytes behind it`, () => {
      const found = readProxyHeader(Buffer.concat([header, tlsHello]))
      const shown = (place: { address: string; port: number } | undefined): string | undefined =>
        place && `${place.address}:${place.port}`
      assert.equal(found?.bytes, header.length)
      assert.equal(shown(found?.source), source)
      assert.equal(shown(found?.destination), destination)
    })

    it(`waits for the rest of ${name} at every split position`, () => {
      for (let end = 1; end < header.length; end++) {
        assert.equal(readProxyHeader(header.subarray(0, end)), undefined, `after ${end} bytes`)
      }
    })
  }

  const bad: Record<string, Buffer> = {
    'TLS without a header': tlsHello,
    'a CQL STARTUP': bytes('04000000010000001600010000'),
    'an HTTP request': Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    'v1 with one space too many': Buffer.from('PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n'),
    'v1 with a sixth value': Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n'),
    'v1 with IPv6 in TCP4': Buffer.from('PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n'),
    'v1 with IPv4 in TCP6': Buffer.from('PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n'),
    'v1 with an unknown family': Buffer.from('PROXY UNIX a b 1 2\r\n'),
    'v1 with a port of 65536': Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n'),
    'v1 with a leading zero in a port': Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n'),
    'v1 with a signed port': Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n'),
    'v1 with a host name': Buffer.from('PROXY TCP4 example.org 198.51.100.1 1 2\r\n'),
    'v1 without its end in 107 bytes': Buffer.from(`PROXY TCP4 ${'1'.repeat(100)}`),
    'v1 that ends in a bare line feed only': Buffer.from(`PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n${'x'.repeat(80)}`),
    'v1 in lower case': Buffer.from('proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n'),
    'version 3': v2('31 11 000c c0000207 c6336401 dc04 2352'),
    'v2 with command 2': v2('22 11 000c c0000207 c6336401 dc04 2352'),
    'v2 over UDP': v2('21 12 000c c0000207 c6336401 dc04 2352'),
    'v2 of a UNIX socket': v2(`21 31 00d8 ${'00'.repeat(216)}`),
    'v2 without a family': v2('21 00 0000'),
    'v2 too short for its addresses': v2('21 11 000b c0000207 c6336401 dc04 23'),
    'v2 with a TLV that overruns it': v2('21 11 0010 c0000207 c6336401 dc04 2352 02 0002 61'),
    'v2 that ends inside a TLV': v2('21 11 000e c0000207 c6336401 dc04 2352 02 00'),
    'v2 longer than proxyHeaderBytesMax, before its bytes come': v2('21 11 ffff'),
  }
  for (const [name, header] of Object.entries(bad)) it(`refuses ${name}`, () => refused(header))

  it('leaves a second header to the client, whose bytes it then is', () => {
    const [first, second] = [good[0]!.header, good[4]!.header]
    assert.equal(readProxyHeader(Buffer.concat([first, second]))?.bytes, first.length)
    assert.equal(readProxyHeader(Buffer.concat([second, first]))?.bytes, second.length)
  })

  it('reads a v2 header of exactly proxyHeaderBytesMax, and refuses one byte more', () => {
    const of = (size: number): Buffer => {
      const header = Buffer.alloc(size)
      v2('21 11 0000 c0000207 c6336401 dc04 2352').copy(header)
      header.writeUInt16BE(size - 16, 14)
      header.writeUInt8(4, 28)
      header.writeUInt16BE(size - 31, 29)
      return header
    }
    assert.equal(readProxyHeader(of(limits.proxyHeaderBytesMax))?.bytes, limits.proxyHeaderBytesMax)
    refused(of(limits.proxyHeaderBytesMax + 1))
  })

  it('answers any bytes with a header, a wait or PROXY_HEADER, and never reads past its end', () => {
    const prefix = fc.constantFrom(
      v2(''),
      v2('2111000c'),
      Buffer.from('PROXY '),
      Buffer.from('PROXY TCP4 '),
      Buffer.alloc(0),
    )
    fc.assert(
      fc.property(prefix, fc.uint8Array({ maxLength: 300 }), (head, tail) => {
        const input = Buffer.concat([head, tail])
        try {
          const found = readProxyHeader(input)
          if (found !== undefined) assert.ok(found.bytes > 0 && found.bytes <= input.length)
        } catch (reason) {
          assert.ok(reason instanceof RingfenceError && reason.code === 'PROXY_HEADER', String(reason))
        }
      }),
      { numRuns: 3000 },
    )
  })
})
