import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { errorEnvelope, rowsEnvelope, voidEnvelope } from '../encode.ts'
import { wholeEnvelope } from '../envelope.ts'
import { CqlErrorCode, type ProtocolVersion } from '../protocol.ts'
import { readWarnings } from '../responses.fixture.ts'
import { readError, readRows } from '../responses.ts'
import { type CqlType, listOf, mapOf, native, setOf } from '../types.ts'
import { encodeValue } from '../values.ts'
import { BodyWriter } from '../writer.ts'
import { withoutAddresses, withoutAddressText, withoutRowAddresses } from './addresses.ts'
import { withWarning } from './warning.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]

/** How Java and Cassandra write addresses. */
const written = [
  '10.9.8.7',
  '10.9.8.7:7000',
  '/10.9.8.7:7000',
  'node-7.cluster.internal/10.9.8.7:9042',
  '2001:db8:0:0:0:0:0:7',
  '/[2001:db8:0:0:0:0:0:7]:7000',
  '2001:db8:0:0:0:0:0:7:7000',
  '2001:db8::7',
  'fe80::1%eth0',
  '::ffff:10.9.8.7',
  '[::1]:9042',
  'FE80::A9:7',
]
const traces = /10\.9\.8\.7|db8|node-7|fe80|a9:7|::1|:7000|:9042/i

describe('a text without addresses', () => {
  for (const address of written) {
    it(`has none of ${address}, wherever it stands`, () => {
      for (const around of [' ', '"', "'", '=', ',', '(', '>', ';']) {
        const text = `failed${around}${address}${around}at 12:34:56, 3 of 5 replicas`
        const hidden = withoutAddressText(text)
        assert.doesNotMatch(hidden, traces)
        assert.match(hidden, /0\.0\.0\.0/)
        assert.match(hidden, /at 12:34:56, 3 of 5 replicas$/)
      }
    })
  }

  it('is otherwise as it was', () => {
    for (const text of [
      '',
      'line 1:27 no viable alternative',
      'at 12:34:56.789',
      'a:b:c',
      '1.2.3',
      'version 5.0.9',
      '{a: 1}',
    ]) {
      assert.equal(withoutAddressText(text), text)
    }
  })

  it('takes time as the text is long', () => {
    for (const unit of ['a', ':', '1.', 'a:', '/', 'ab/0.0.0.0', '0.0.0.0/']) {
      const before = process.cpuUsage()
      withoutAddressText(unit.repeat(65_535 / unit.length))
      const { user } = process.cpuUsage(before)
      assert.ok(user < 200_000, `${unit}: ${user} µs`)
    }
  })
})

/** What stands behind the message, by code (native_protocol_v5.spec §9). */
function extraOf(code: number, version: ProtocolVersion, failures: readonly string[]): Buffer {
  const counts = new BodyWriter().short(1).int(0).int(1)
  switch (code) {
    case CqlErrorCode.UNAVAILABLE:
      return new BodyWriter().short(1).int(3).int(2).take()
    case CqlErrorCode.READ_TIMEOUT:
      return counts.byte(0).take()
    case CqlErrorCode.WRITE_TIMEOUT:
      return counts.string('SIMPLE').take()
    case CqlErrorCode.READ_FAILURE:
    case CqlErrorCode.WRITE_FAILURE: {
      counts.int(failures.length)
      if (version >= 5) {
        for (const hex of failures)
          counts
            .byte(hex.length / 2)
            .raw(Buffer.from(hex, 'hex'))
            .short(4)
      }
      return (code === CqlErrorCode.READ_FAILURE ? counts.byte(1) : counts.string('BATCH')).take()
    }
    case CqlErrorCode.CAS_WRITE_UNKNOWN:
      return counts.take()
    case CqlErrorCode.FUNCTION_FAILURE:
      return new BodyWriter().string('shop').string('f').stringList(['int']).take()
    case CqlErrorCode.ALREADY_EXISTS:
      return new BodyWriter().string('shop').string('items').take()
    case CqlErrorCode.UNPREPARED:
      return new BodyWriter().shortBytes(Buffer.alloc(16, 3)).take()
    default:
      return Buffer.alloc(0)
  }
}

const nodes = ['0a090807', '0a090808', '20010db8000000000000000000000007']

describe('an ERROR without addresses', () => {
  for (const version of versions) {
    for (const [name, code] of Object.entries(CqlErrorCode)) {
      it(`${name} in version ${version} is as it was, but for addresses in its text and its failures`, () => {
        const text = 'Operation failed - received 0 responses and 1 failures: UNKNOWN from '
        const given = errorEnvelope(version, 77, code, `${text}/10.9.8.7:7000`, extraOf(code, version, nodes))
        for (const warned of version < 4
          ? [given]
          : [given, withWarning(wholeEnvelope(given), version, '/10.9.8.7 is slow')]) {
          const hidden = withoutAddresses(wholeEnvelope(warned), version)
          assert.ok(hidden !== undefined)
          assert.equal(hidden.includes(Buffer.from('10.9.8.7')), false)
          for (const hex of nodes) assert.equal(hidden.includes(Buffer.from(hex, 'hex')), false)
          const [before, after] = [readError(wholeEnvelope(warned)), readError(wholeEnvelope(hidden))]
          assert.equal(after.message, `${text}/0.0.0.0`)
          const { message: _before, reasons: known, ...rest } = before
          const { message: _after, reasons = [], ...restAfter } = after
          assert.deepEqual(restAfter, rest)
          assert.deepEqual(
            reasons.map((one) => one.code),
            known?.map((one) => one.code) ?? [],
          )
          // Drivers keep them by address, and their number says how many replicas failed.
          assert.equal(new Set(reasons.map(({ address }) => address)).size, known?.length ?? 0)
          assert.ok(reasons.every(({ address }) => address.startsWith('0.0.0.')))
          assert.deepEqual(hidden.subarray(2, 4), warned.subarray(2, 4))
          assert.equal(hidden.readInt32BE(5), hidden.length - 9)
        }
      })
    }
  }
})

describe('a RESULT', () => {
  it('has no addresses in its warnings, and is not touched where it has none', () => {
    const plain = voidEnvelope(4, 5)
    assert.equal(withoutAddresses(wholeEnvelope(plain), 4), undefined)
    const warned = withWarning(wholeEnvelope(plain), 4, 'replica node-7/10.9.8.7:7000 is slow')
    const hidden = withoutAddresses(wholeEnvelope(warned), 4)!
    assert.deepEqual(readWarnings(wholeEnvelope(hidden)), ['replica /0.0.0.0 is slow'])
    assert.deepEqual(hidden.subarray(-4), plain.subarray(-4))
  })

  it('of the node’s own tables has none in its values, and others stay', () => {
    const inet = native('inet')
    const text_ = native('text')
    const parameters = mapOf(text_, text_)
    const [address, text, int] = [
      Buffer.from('0a090807', 'hex'),
      Buffer.from('from /10.9.8.7:7000'),
      Buffer.from([0, 0, 0, 7]),
    ]
    const cells: readonly (readonly [CqlType, Buffer | null, string | null])[] = [
      [inet, address, '00000000'],
      [inet, null, null],
      [native('text'), text, Buffer.from('from /0.0.0.0').toString('hex')],
      [native('int'), int, int.toString('hex')],
      [native('blob'), Buffer.from('aabb', 'hex'), 'aabb'],
      [setOf(inet), encodeValue(setOf(inet), ['10.9.8.7']), '00000000'],
      // system_distributed.repair_history.participants_v2, system_traces.sessions.parameters
      ...[['10.9.8.7:7000'], ['a', '10.9.8.7'], ['node7', 'fe80::1'], ['[2001:db8::7]:7000']].map(
        (hosts) => [setOf(text_), encodeValue(setOf(text_), hosts), '00000000'] as const,
      ),
      [listOf(setOf(text_)), encodeValue(listOf(setOf(text_)), [['10.9.8.7']]), '00000000'],
      [parameters, encodeValue(parameters, new Map([['client', '/10.9.8.7:1']])), '00000000'],
      ...[
        [setOf(text_), ['dc1', 'rack:1', '12:30:01']] as const,
        [parameters, new Map([['page_size', '5000']])] as const,
      ].map(([type, value]) => {
        const plain = encodeValue(type, value as never)!
        return [type, plain, plain.toString('hex')] as const
      }),
    ]
    const columns = cells.map(([type], i) => ({ name: `c${i}`, type }))
    const spec = { keyspace: 'system_traces', table: 'events', columns }
    for (const version of versions) {
      const rows = rowsEnvelope(version, 1, spec, [cells.map(([, value]) => value)])
      const hidden = withoutRowAddresses(wholeEnvelope(rows), version)
      const [row = []] = readRows(wholeEnvelope(hidden), version).rows
      assert.deepEqual(
        row.map((value) => value?.toString('hex') ?? null),
        cells.map(([, , wanted]) => wanted),
      )
    }
  })
})

describe('a text that is made of addresses', () => {
  const address = '/10.9.8.7'
  const texts: readonly (readonly [what: string, text: string])[] = [
    ['addresses', address.repeat(100_000)],
    ['addresses with ports', '/10.9.8.7:9042 '.repeat(60_000)],
    ['hosts', 'node-1.example.org/10.9.8.7 '.repeat(30_000)],
    ['IPv6', '/[fe80::1]:7000'.repeat(60_000)],
    ['one long host', `${'a'.repeat(900_000)}${address}`],
    ['numbers and dots', '1.'.repeat(450_000)],
    ['colons', '1:'.repeat(450_000)],
    ['slashes', '/'.repeat(900_000)],
  ]

  for (const [what, text] of texts) {
    it(`is read in time that grows with its length: ${what}`, () => {
      let best = Number.POSITIVE_INFINITY
      for (let run = 0; run < 3 && best > 300; run++) {
        const before = performance.now()
        withoutAddressText(text)
        best = Math.min(best, performance.now() - before)
      }
      // A tenth of that where nothing else runs; with a copy for each address these take minutes.
      assert.ok(best < 3000, `${best} ms for ${text.length} characters`)
    })
  }

  it('loses hosts and addresses, and nothing else', () => {
    for (const [given, wanted] of [
      ['/10.9.8.7/10.9.8.7', '/0.0.0.0/0.0.0.0'],
      ['a b-c.d_e/10.9.8.7 x/1.2.3.4:9042: y', 'a /0.0.0.0 /0.0.0.0: y'],
      ['(node/[fe80::1]:7000)', '(/0.0.0.0)'],
      ['ünode/10.9.8.7', 'ü/0.0.0.0'],
    ] as const) {
      assert.equal(withoutAddressText(given), wanted)
    }
  })
})
