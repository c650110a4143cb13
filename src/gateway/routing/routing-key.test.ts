import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { executeEnvelope } from '../../cql/encode.fixture.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { murmur3Token, token } from '../../cql/murmur3.ts'
import { compositeKey } from '../../cql/partition-key.ts'
import { envelopeHeaderBytes, Flag, type ProtocolVersion, writeHeader } from '../../cql/protocol.ts'
import { BatchView, QueryView, readBatch, readQuery } from '../../cql/requests.ts'
import { BodyWriter } from '../../cql/writer.ts'
import { executeAt, isSerial, KeyMarkers, tokenOfExecute, tokenOfParams, tokenOfPart } from './routing-key.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]
const id = Buffer.alloc(16, 7)

/** What the key's columns make, the plain way: one is the key as it stands, several are a composite. */
function tokenOf(parts: readonly Buffer[]): { high: number; low: number } {
  const key = parts.length === 1 ? parts[0]! : compositeKey(parts)
  murmur3Token(key, 0, key.length)
  return { ...token }
}

function execute(version: ProtocolVersion, values: readonly (Buffer | null)[]): Buffer {
  return executeEnvelope(version, 3, id, version === 5 ? id : undefined, [...values])
}

function withPayload(envelope: Buffer, payload: readonly (readonly [string, Buffer | null])[]): Buffer {
  const writer = new BodyWriter().short(payload.length)
  for (const [name, bytes] of payload) writer.string(name).bytes(bytes)
  const map = writer.envelope(4, 0, 0).subarray(envelopeHeaderBytes)
  const request = Buffer.concat([
    envelope.subarray(0, envelopeHeaderBytes),
    map,
    envelope.subarray(envelopeHeaderBytes),
  ])
  const body = request.length - envelopeHeaderBytes
  writeHeader(request, envelope[0]!, envelope[1]! | Flag.CUSTOM_PAYLOAD, 3, envelope[4]!, body)
  return request
}

const value = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))

describe('the routing key of an EXECUTE', () => {
  it('is found wherever its markers stand, in every version', () => {
    const cases = fc
      .array(value, { minLength: 1, maxLength: 12 })
      .chain((values) =>
        fc.tuple(
          fc.constant(values),
          fc.shuffledSubarray([...values.keys()], { minLength: 1, maxLength: Math.min(values.length, 5) }),
          fc.constantFrom(...versions),
        ),
      )
    fc.assert(
      fc.property(cases, ([values, markers, version]) => {
        const key = KeyMarkers.of(markers, [])
        assert.ok(key !== undefined)
        const envelope = execute(version, values)
        const padded = Buffer.concat([Buffer.alloc(5, 0xee), envelope, Buffer.alloc(5, 0xee)])
        assert.equal(tokenOfExecute(key, version, { bytes: padded, start: 5, end: 5 + envelope.length }), true)
        const found = { ...token }
        assert.deepEqual(found, tokenOf(markers.map((marker) => values[marker]!)))
      }),
    )
  })

  it('is not there when a column of it is null, or there are too few values', () => {
    const key = KeyMarkers.of([1, 0], [])!
    for (const version of versions) {
      const [a, b] = [Buffer.from('a'), Buffer.from('b')]
      for (const [values, there] of [
        [[a, b], true],
        [[a, b, null], true],
        [[a, null], false],
        [[null, b], false],
        [[a], false],
        [[], false],
      ] as const) {
        const envelope = execute(version, values)
        assert.equal(tokenOfExecute(key, version, wholeEnvelope(envelope)), there, `${version} ${values.length}`)
      }
    }
  })

  it('is not looked for in bytes that lie about themselves', () => {
    const key = KeyMarkers.of([0], [])!
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...versions), (body, version) => {
        const envelope = Buffer.alloc(envelopeHeaderBytes + body.length)
        writeHeader(envelope, version, 0, 1, 0x0a, body.length)
        envelope.set(body, envelopeHeaderBytes)
        // Whatever it says, it neither throws nor reads on: behind it stands nothing.
        tokenOfExecute(key, version, wholeEnvelope(envelope))
      }),
    )
    const envelope = execute(4, [Buffer.from('abc')])
    for (let end = 0; end < envelope.length; end++) {
      assert.equal(tokenOfExecute(key, 4, { bytes: envelope, start: 0, end }), false, `cut at ${end}`)
    }
  })

  it('cannot be longer than 64 KiB when it is put together', () => {
    const key = KeyMarkers.of([0, 1], [])!
    const fits = execute(4, [Buffer.alloc(65_000), Buffer.alloc(535)])
    assert.equal(tokenOfExecute(key, 4, wholeEnvelope(fits)), true)
    const long = execute(4, [Buffer.alloc(65_000), Buffer.alloc(536)])
    assert.equal(tokenOfExecute(key, 4, wholeEnvelope(long)), false)
  })
})

describe('the routing key of an EXECUTE, whatever else the request carries', () => {
  const key = KeyMarkers.of([1], [])!
  const values = [Buffer.from('a'), Buffer.from('the key')]
  const payloads: readonly (readonly (readonly [string, Buffer | null])[])[] = [
    [],
    [['request-id', Buffer.from('7f3a')]],
    [
      ['', Buffer.alloc(0)],
      ['null', null],
      ['long', Buffer.alloc(70_000, 1)],
    ],
    Array.from({ length: 64 }, (_, i) => [`key ${i}`, Buffer.alloc(i)] as const),
  ]
  const options: readonly (readonly [ProtocolVersion, Parameters<typeof executeEnvelope>[5]])[] = [
    [3, {}],
    [4, { pageSize: 10, pagingState: Buffer.from('state') }],
    [4, { serialConsistency: 9, timestamp: 5n, skipMetadata: true }],
    [5, { keyspace: 'shop' }],
    [5, { nowInSeconds: 5 }],
    [
      5,
      {
        pageSize: 10,
        pagingState: Buffer.from('s'),
        serialConsistency: 9,
        timestamp: 5n,
        keyspace: 'k',
        nowInSeconds: 5,
      },
    ],
  ]

  it('is that of the plain request, in each combination of flags', () => {
    const wanted = tokenOf([values[1]!])
    let combinations = 0
    for (const [version, given] of options) {
      const envelope = executeEnvelope(version, 3, id, version === 5 ? id : undefined, values, given)
      for (const payload of version === 3 ? [undefined] : [undefined, ...payloads]) {
        for (const flags of [0, Flag.TRACING, Flag.USE_BETA, Flag.TRACING | Flag.USE_BETA]) {
          const request = payload === undefined ? Buffer.from(envelope) : withPayload(envelope, payload)
          request[1]! |= flags
          const at = executeAt(wholeEnvelope(request))
          assert.deepEqual(request.subarray(at + 2, at + 18), id)
          assert.equal(tokenOfExecute(key, version, wholeEnvelope(request)), true)
          assert.deepEqual({ ...token }, wanted)
          assert.equal(isSerial(version, wholeEnvelope(request)), false)
          for (let end = 0; end < Math.min(request.length, 400); end++) {
            assert.ok(
              executeAt({ bytes: request, start: 0, end }) <= Math.max(end, envelopeHeaderBytes),
              'no length is believed',
            )
          }
          combinations++
        }
      }
    }
    assert.equal(combinations, 4 + 5 * 20)
  })

  it('does not believe a payload about itself', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...versions), (body, version) => {
        const envelope = Buffer.alloc(envelopeHeaderBytes + body.length)
        writeHeader(envelope, version, Flag.CUSTOM_PAYLOAD, 1, 0x0a, body.length)
        envelope.set(body, envelopeHeaderBytes)
        const at = executeAt(wholeEnvelope(envelope))
        assert.ok((at > envelopeHeaderBytes && at <= envelope.length) || envelope.length <= envelopeHeaderBytes)
        tokenOfExecute(key, version, wholeEnvelope(envelope))
        isSerial(version, wholeEnvelope(envelope))
      }),
    )
  })
})

describe('markers of a key', () => {
  it('are none where there is none, one stands for two columns, or there are too many', () => {
    assert.equal(KeyMarkers.of([], []), undefined)
    assert.equal(KeyMarkers.of([1, 1], []), undefined)
    assert.equal(KeyMarkers.of([...Array(31).keys()], []), undefined)
    assert.equal(KeyMarkers.of([...Array(30).keys()], [])?.count, 30)
  })
})

describe('the routing key of a QUERY', () => {
  const view = new QueryView()

  /** A QUERY of v4 whose values have names, as native_protocol_v4.spec §4.1.4 lays it out. */
  function named(values: readonly (readonly [string, Buffer])[]): Buffer {
    const text = Buffer.from('SELECT 1')
    const parts: Buffer[] = [Buffer.from([0, 0, 0, text.length]), text, Buffer.from([0, 1, 0x41, 0, values.length])]
    for (const [name, bytes] of values) {
      parts.push(Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([0, 0, 0, bytes.length]), bytes)
    }
    const body = Buffer.concat(parts)
    const header = Buffer.alloc(envelopeHeaderBytes)
    writeHeader(header, 4, 0, 1, 0x07, body.length)
    return Buffer.concat([header, body])
  }

  function tokenOfNamed(key: KeyMarkers, values: readonly (readonly [string, Buffer])[]): boolean {
    const envelope = named(values)
    readQuery(view, wholeEnvelope(envelope), 4)
    return tokenOfParams(key, view.params)
  }

  it('is found by place and by name', () => {
    const [a, b, c] = [Buffer.from('a'), Buffer.from('bb'), Buffer.from('ccc')]
    const key = KeyMarkers.of([2, 0], ['x', 'y', 'z'])!
    const envelope = queryEnvelope(4, 1, 'SELECT 1', { values: [a, b, c] })
    readQuery(view, wholeEnvelope(envelope), 4)
    assert.equal(tokenOfParams(key, view.params), true)
    const byPlace = { ...token }
    assert.deepEqual(byPlace, tokenOf([c, a]))
    for (const order of [
      [
        ['x', a],
        ['y', b],
        ['z', c],
      ],
      [
        ['z', c],
        ['x', a],
        ['y', b],
      ],
      [
        ['z', c],
        ['x', a],
      ],
    ] as const) {
      assert.equal(tokenOfNamed(key, order), true)
      assert.deepEqual({ ...token }, byPlace)
    }
  })

  it('is not there when a name is missing, comes twice, or the markers have none', () => {
    const [a, b] = [Buffer.from('a'), Buffer.from('b')]
    const key = KeyMarkers.of([0, 1], ['x', 'y'])!
    assert.equal(tokenOfNamed(key, [['x', a]]), false)
    assert.equal(
      tokenOfNamed(key, [
        ['x', a],
        ['X', b],
      ]),
      false,
    )
    assert.equal(
      tokenOfNamed(key, [
        ['x', a],
        ['y', b],
        ['x', b],
      ]),
      false,
    )
    assert.equal(
      tokenOfNamed(KeyMarkers.of([0, 1], ['x', undefined])!, [
        ['x', a],
        ['y', b],
      ]),
      false,
    )
    assert.equal(
      tokenOfNamed(key, [
        ['__proto__', a],
        ['constructor', b],
      ]),
      false,
    )
  })
})

describe('the routing key of a statement in a BATCH', () => {
  it('is that of its own values', () => {
    const values = ['one', 'two'].map((text) => Buffer.from(text))
    const parts = values.map((bytes) =>
      Buffer.concat([Buffer.from([1, 0, 16]), id, Buffer.from([0, 1, 0, 0, 0, bytes.length]), bytes]),
    )
    // native_protocol_v4.spec §4.1.7: type, count, parts, consistency, flags.
    const body = Buffer.concat([Buffer.from([0, 0, 2]), ...parts, Buffer.from([0, 1, 0])])
    const envelope = Buffer.concat([Buffer.alloc(envelopeHeaderBytes), body])
    writeHeader(envelope, 4, 0, 1, 0x0d, body.length)
    const batch = new BatchView()
    readBatch(batch, wholeEnvelope(envelope), 4)
    for (const [index, bytes] of values.entries()) {
      assert.equal(tokenOfPart(KeyMarkers.of([0], [])!, batch, batch.parts[index]!), true)
      assert.deepEqual({ ...token }, tokenOf([bytes]))
      assert.equal(tokenOfPart(KeyMarkers.of([1], [])!, batch, batch.parts[index]!), false)
    }
  })
})
