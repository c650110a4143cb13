import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../base/errors.fixture.ts'
import { limits } from '../base/limits.ts'
import { batchEnvelope, executeEnvelope } from './encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from './encode.ts'
import { type Envelope, wholeEnvelope } from './envelope.ts'
import { type Capture, javaDriver, pythonDriver, type RequestCapture } from './fixtures.ts'
import {
  envelopeHeaderBytes,
  headerOpcode,
  headerStream,
  headerVersion,
  Opcode,
  type ProtocolVersion,
  writeHeader,
} from './protocol.ts'
import { readOptions, readPayload } from './requests.fixture.ts'
import {
  BatchView,
  batchPartCount,
  ExecuteView,
  type ParamsView,
  PrepareView,
  QueryView,
  readAuthResponse,
  readBatch,
  readExecute,
  readPrepare,
  readQuery,
  readRegister,
  readStartup,
} from './requests.ts'

type Read = (envelope: Envelope, version: ProtocolVersion) => unknown

/** Bytes of somebody else on both sides, so that a decoder that reads past its envelope is found out. */
function decode(read: Read, envelope: Buffer): unknown {
  const buf = Buffer.concat([Buffer.alloc(5, 0xaa), envelope, Buffer.alloc(5, 0xbb)])
  const version = headerVersion(envelope, 0) as ProtocolVersion
  return read({ bytes: buf, start: 5, end: 5 + envelope.length }, version)
}

function decodeView<V>(view: V, read: (view: V, ...rest: Parameters<Read>) => void, envelope: Buffer): V {
  decode((...rest) => read(view, ...rest), envelope)
  return view
}

const anyRead: Record<number, Read> = {
  [Opcode.STARTUP]: readStartup,
  [Opcode.OPTIONS]: readOptions,
  [Opcode.REGISTER]: readRegister,
  [Opcode.AUTH_RESPONSE]: readAuthResponse,
  [Opcode.QUERY]: (...rest) => readQuery(new QueryView(), ...rest),
  [Opcode.PREPARE]: (...rest) => readPrepare(new PrepareView(), ...rest),
  [Opcode.EXECUTE]: (...rest) => readExecute(new ExecuteView(), ...rest),
  [Opcode.BATCH]: (...rest) => readBatch(new BatchView(), ...rest),
}

function lastByte(envelope: Buffer, byte: number): Buffer {
  envelope[envelope.length - 1] = byte
  return envelope
}

const codeOfRead = (envelope: Buffer) => codeOf(() => decode(anyRead[headerOpcode(envelope, 0)]!, envelope))

function valueText(bytes: number, buffer: Buffer, start: number, end: number): string | null {
  if (bytes === -1) return null
  if (bytes === -2) return 'unset'
  assert.equal(end - start, bytes)
  return buffer.toString('hex', start, end)
}

function valuesOf(params: ParamsView): (string | null)[] {
  return Array.from({ length: params.valueCount }, (_, i) =>
    valueText(params.valueAt(i), params.buffer, params.valueStart, params.valueEnd),
  )
}

function assertParams(params: ParamsView, expect: RequestCapture['expect']): void {
  assert.equal(params.consistency, expect.consistency)
  assert.equal(params.serialConsistency, expect.serial)
  assert.equal(params.pageSize, expect.pageSize)
  assert.equal(params.timestamp, expect.timestamp === undefined ? undefined : BigInt(expect.timestamp))
  assert.equal(params.keyspace, expect.keyspace)
  const { buffer, pagingStateStart, pagingStateEnd } = params
  const paging = pagingStateStart < 0 ? undefined : buffer.toString('hex', pagingStateStart, pagingStateEnd)
  assert.equal(paging, expect.pagingState)
  assert.deepEqual(valuesOf(params), expect.values ?? [])
}

function assertPayload(view: QueryView | BatchView, envelope: Buffer, expect: RequestCapture['expect']): void {
  const buf = Buffer.concat([Buffer.alloc(5), envelope])
  const payload = [...readPayload(view, buf)].map(([key, value]) => [key, value?.toString('hex')])
  assert.deepEqual(Object.fromEntries(payload), expect.payload ?? {})
}

describe('requests of the Python driver', () => {
  for (const { name, version, stream, hex, expect } of pythonDriver.requests) {
    it(`v${version} ${name}`, () => {
      const envelope = Buffer.from(hex, 'hex')
      assert.equal(headerStream(envelope, 0), stream)
      assert.equal(headerVersion(envelope, 0), version)
      switch (expect.kind) {
        case 'QUERY': {
          const view = decodeView(new QueryView(), readQuery, envelope)
          assert.equal(view.text, expect.text)
          assertParams(view.params, expect)
          assertPayload(view, envelope, expect)
          break
        }
        case 'PREPARE': {
          const view = decodeView(new PrepareView(), readPrepare, envelope)
          assert.equal(view.text, expect.text)
          assert.equal(view.keyspace, expect.keyspace)
          break
        }
        case 'EXECUTE': {
          const view = decodeView(new ExecuteView(), readExecute, envelope)
          assert.equal(view.buffer.toString('hex', view.idStart, view.idEnd), expect.id)
          const { resultMetadataIdStart: from, resultMetadataIdEnd: to } = view
          assert.equal(from < 0 ? null : view.buffer.toString('hex', from, to), expect.resultId)
          assertParams(view.params, expect)
          break
        }
        case 'BATCH': {
          const view = decodeView(new BatchView(), readBatch, envelope)
          assert.equal(view.type, expect.type)
          assert.equal(view.consistency, expect.consistency)
          assert.equal(view.serialConsistency, expect.serial)
          assert.equal(view.timestamp?.toString(), expect.timestamp)
          assert.equal(view.keyspace, expect.keyspace)
          const parts = view.parts.map((part) => [
            part.text ?? null,
            part.idStart < 0 ? null : view.buffer.toString('hex', part.idStart, part.idEnd),
            Array.from({ length: part.valueCount }, (_, i) =>
              valueText(view.valueAt(part, i), view.buffer, view.valueStart, view.valueEnd),
            ),
          ])
          assert.deepEqual(parts, expect.parts)
          assertPayload(view, envelope, expect)
          break
        }
        case 'STARTUP':
          assert.deepEqual(decode(readStartup, envelope), new Map(Object.entries(expect.options!)))
          break
        case 'AUTH_RESPONSE':
          assert.deepEqual((decode(readAuthResponse, envelope) as Buffer).toString('hex'), expect.token)
          break
        case 'REGISTER':
          assert.deepEqual(decode(readRegister, envelope), expect.types)
          break
        default:
          decode(readOptions, envelope)
      }
    })
  }
})

describe('requests of the Java driver', () => {
  const capture = (name: string, version: number): Buffer =>
    Buffer.from(javaDriver.requests.find((c: Capture) => c.name === name && c.version === version)!.hex, 'hex')

  for (const version of [3, 4, 5] as const) {
    const tail =
      version === 5 ? { keyspace: 'ks', nowInSeconds: 123 } : { keyspace: undefined, nowInSeconds: undefined }

    it(`v${version} query with named values and every option`, () => {
      const { params, text } = decodeView(new QueryView(), readQuery, capture('query named', version))
      assert.equal(text, 'SELECT :a')
      assert.deepEqual([params.nameAt(0), params.nameAt(1)], ['a', 'b'])
      assert.deepEqual([params.nameAt(1), params.nameAt(0)], ['b', 'a'])
      assert.deepEqual(valuesOf(params), ['07', null])
      assert.equal(params.timestamp, -77n)
      assert.equal(params.serialConsistency, 9)
      assert.deepEqual({ keyspace: params.keyspace, nowInSeconds: params.nowInSeconds }, tail)
    })

    it(`v${version} execute, and the same bytes from our encoder`, () => {
      const bytes = capture('execute', version)
      const view = decodeView(new ExecuteView(), readExecute, bytes)
      assert.deepEqual(valuesOf(view.params), ['00000007', null])
      assert.equal(view.params.skipMetadata, true)
      assert.deepEqual({ keyspace: view.params.keyspace, nowInSeconds: view.params.nowInSeconds }, tail)
      const id = (from: number) => Buffer.from(Array.from({ length: 16 }, (_, i) => from + i))
      const ours = executeEnvelope(version, 9, id(0), id(16), [Buffer.from([0, 0, 0, 7]), null], {
        consistency: 6,
        skipMetadata: true,
        pageSize: 50,
        pagingState: Buffer.from([1, 2]),
        serialConsistency: 9,
        timestamp: -77n,
        ...(version === 5 ? { keyspace: 'ks', nowInSeconds: 123 } : {}),
      })
      assert.deepEqual(ours, bytes)
    })

    it(`v${version} batch, and the same bytes from our encoder`, () => {
      const bytes = capture('batch', version)
      const view = decodeView(new BatchView(), readBatch, bytes)
      assert.equal(view.parts.length, 2)
      assert.deepEqual({ keyspace: view.keyspace, nowInSeconds: view.nowInSeconds }, tail)
      const id = Buffer.from(Array.from({ length: 16 }, (_, i) => i))
      const items = [
        { text: 'INSERT', values: [] },
        { id, values: [Buffer.from([0, 0, 0, 7]), null] },
      ]
      const ours = batchEnvelope(version, 9, 0, items, {
        consistency: 6,
        serialConsistency: 9,
        timestamp: -77n,
        ...(version === 5 ? { keyspace: 'ks', nowInSeconds: 123 } : {}),
      })
      assert.deepEqual(ours, bytes)
    })

    it(`v${version} prepare, and the same bytes from our encoder`, () => {
      const bytes = capture('prepare', version)
      const view = decodeView(new PrepareView(), readPrepare, bytes)
      assert.equal(view.keyspace, tail.keyspace)
      assert.deepEqual(prepareEnvelope(version, 9, 'SELECT', tail.keyspace), bytes)
    })
  }
})

describe('requests of the Node.js driver', () => {
  const require = createRequire(import.meta.url)
  const driver = require('cassandra-driver/lib/requests.js')
  const Encoder = require('cassandra-driver/lib/encoder.js')

  for (const version of [3, 4] as const) {
    it(`v${version} query with values`, () => {
      const request = new driver.QueryRequest('SELECT ?', ['abc', null], driver.ExecutionOptions?.empty?.())
      const envelope: Buffer = request.write(new Encoder(version, {}), 5)
      const view = decodeView(new QueryView(), readQuery, envelope)
      assert.equal(view.text, 'SELECT ?')
      assert.deepEqual(valuesOf(view.params), ['616263', null])
    })
  }
})

describe('a request that is not wholly understood', () => {
  const all = [...pythonDriver.requests, ...javaDriver.requests]

  /** The envelope with another body; the header says its length. */
  function withBody(envelope: Buffer, body: Buffer): Buffer {
    const header = Buffer.from(envelope.subarray(0, envelopeHeaderBytes))
    header.writeInt32BE(body.length, 5)
    return Buffer.concat([header, body])
  }

  it('is refused with one byte more, whatever it is (B16)', () => {
    for (const { hex } of all) {
      const envelope = Buffer.from(hex, 'hex')
      assert.equal(codeOfRead(envelope), 'none')
      assert.equal(codeOfRead(withBody(envelope, Buffer.from(`${hex.slice(18)}00`, 'hex'))), 'PROTOCOL')
    }
  })

  it('is refused wherever it is cut off', () => {
    for (const { hex } of all) {
      const envelope = Buffer.from(hex, 'hex')
      for (let bytes = envelopeHeaderBytes; bytes < envelope.length; bytes++) {
        assert.equal(codeOfRead(withBody(envelope, envelope.subarray(envelopeHeaderBytes, bytes))), 'PROTOCOL', hex)
      }
    }
  })

  it('is refused with an unknown header flag, a warning flag, or a payload that v3 does not have', () => {
    const query = queryEnvelope(4, 1, 'x')
    for (const flag of [0x08, 0x20, 0x40, 0x80]) {
      query[1] = flag
      assert.equal(codeOfRead(query), 'PROTOCOL')
    }
    query[1] = 0x10
    assert.equal(codeOfRead(query), 'none')
    const withPayload = pythonDriver.requests.find((c) => c.name === 'query with payload')!
    const v3 = Buffer.from(withPayload.hex, 'hex')
    assert.equal(codeOfRead(v3), 'none')
    v3[0] = 3
    assert.equal(codeOfRead(v3), 'PROTOCOL')
  })

  it('is refused with a custom payload where none is allowed', () => {
    const register = Buffer.from(
      pythonDriver.requests.find((c) => c.name === 'register' && c.version === 4)!.hex,
      'hex',
    )
    const flagged = withBody(register, Buffer.concat([Buffer.from([0, 0]), register.subarray(envelopeHeaderBytes)]))
    flagged[1] = 4
    assert.equal(codeOfRead(flagged), 'PROTOCOL')
  })

  const query = (version: ProtocolVersion, afterConsistency: number[]) => {
    const body = Buffer.from([0, 0, 0, 1, 0x78, 0, 1, ...afterConsistency])
    const envelope = Buffer.alloc(envelopeHeaderBytes)
    writeHeader(envelope, version, 0, 1, Opcode.QUERY, body.length)
    return Buffer.concat([envelope, body])
  }

  it('is refused in v4 with the query flags of v5, and in v5 with flags of nobody', () => {
    assert.equal(codeOfRead(query(4, [0])), 'none')
    assert.equal(codeOfRead(query(4, [0x80, 0, 1, 0x78])), 'PROTOCOL')
    assert.equal(codeOfRead(query(5, [0, 0, 0, 0x80, 0, 1, 0x78])), 'none')
    assert.equal(codeOfRead(query(5, [0, 0, 2, 0])), 'PROTOCOL')
    assert.equal(codeOfRead(query(5, [0x80, 0, 0, 0])), 'PROTOCOL')
    assert.equal(codeOfRead(lastByte(prepareEnvelope(5, 1, 'x'), 2)), 'PROTOCOL')
  })

  it('knows null and unset values, and refuses lengths below', () => {
    const value = (version: ProtocolVersion, length: number) =>
      query(version, version === 5 ? [0, 0, 0, 1, 0, 1, 255, 255, 255, length] : [1, 0, 1, 255, 255, 255, length])
    for (const version of [4, 5] as const) {
      assert.equal(codeOfRead(value(version, 255)), 'none')
      assert.equal(codeOfRead(value(version, 254)), 'none')
      assert.equal(codeOfRead(value(version, 253)), 'PROTOCOL')
    }
    // v3 has no unset: Cassandra reads any negative length as null.
    const view = decodeView(new QueryView(), readQuery, value(3, 253))
    assert.deepEqual(valuesOf(view.params), [null])
  })

  it('is refused with a length near 2^31 (B18)', () => {
    assert.equal(codeOfRead(query(4, [1, 0, 1, 0x7f, 255, 255, 255, 0])), 'PROTOCOL')
    assert.equal(codeOfRead(query(4, [1, 255, 255])), 'PROTOCOL')
  })

  it('is refused with an unknown consistency or the timestamp that means none', () => {
    const envelope = queryEnvelope(4, 1, 'x', { consistency: 10 })
    assert.equal(codeOfRead(envelope), 'none')
    assert.equal(codeOfRead(queryEnvelope(4, 1, 'x', { consistency: 11 })), 'PROTOCOL')
    assert.equal(codeOfRead(queryEnvelope(4, 1, 'x', { timestamp: -(2n ** 63n) })), 'PROTOCOL')
    assert.equal(codeOfRead(queryEnvelope(4, 1, 'x', { timestamp: -(2n ** 63n) + 1n })), 'none')
  })

  it('is refused as a BATCH with names or with the four flags it does not have (CASSANDRA-10246)', () => {
    const batch = batchEnvelope(4, 1, 0, [])
    assert.equal(codeOfRead(batch), 'none')
    for (const flag of [1, 2, 4, 8, 0x40, 0x80])
      assert.equal(codeOfRead(lastByte(Buffer.from(batch), flag)), 'PROTOCOL')
    assert.equal(codeOfRead(Buffer.from(batch).fill(3, 9, 10)), 'PROTOCOL')
    const one = batchEnvelope(4, 1, 0, [{ text: 'x', values: [] }])
    assert.equal(codeOfRead(Buffer.from(one).fill(2, 12, 13)), 'PROTOCOL')
  })

  it('is refused with malformed UTF-8, and keeps a byte order mark and a meant U+FFFD (A6)', () => {
    for (const text of ['\ufeffSELECT', 'a\ufffdb', 'żółć \u{1f600}', 'a\0b']) {
      assert.equal(decodeView(new QueryView(), readQuery, queryEnvelope(4, 1, text)).text, text)
    }
    for (const bytes of ['ff', 'c080', 'e08080', 'eda080', 'f4908080', 'c3', '80', 'efbfbdff']) {
      const bad = Buffer.from(bytes, 'hex')
      const envelope = queryEnvelope(4, 1, 'x'.repeat(bad.length))
      bad.copy(envelope, envelopeHeaderBytes + 4)
      assert.equal(codeOfRead(envelope), 'PROTOCOL', bytes)
    }
  })

  const map = (opcode: number, ...strings: string[]) => {
    const parts = strings.map((s) => Buffer.concat([Buffer.from([s.length >> 8, s.length]), Buffer.from(s)]))
    const count = opcode === Opcode.STARTUP ? strings.length / 2 : strings.length
    const body = Buffer.concat([Buffer.from([count >> 8, count]), ...parts])
    const header = Buffer.alloc(envelopeHeaderBytes)
    writeHeader(header, 4, 0, 1, opcode, body.length)
    return Buffer.concat([header, body])
  }

  it('is refused as a STARTUP with two values for a key, and takes names that are traps in JavaScript (A13)', () => {
    assert.equal(codeOfRead(map(Opcode.STARTUP, 'COMPRESSION', 'lz4', 'COMPRESSION', 'lz4')), 'PROTOCOL')
    for (const [one, other] of [
      ['COMPRESSION', 'compression'],
      ['Driver_Name', 'DRIVER_NAME'],
      ['constructor', 'CONSTRUCTOR'],
    ] as const) {
      assert.equal(codeOfRead(map(Opcode.STARTUP, one, 'lz4', other, 'snappy')), 'PROTOCOL')
      const same = new Map([[one.toUpperCase(), 'lz4']])
      assert.deepEqual(decode(readStartup, map(Opcode.STARTUP, one, 'lz4', other, 'lz4')), same)
    }
    assert.deepEqual(
      decode(readStartup, map(Opcode.STARTUP, '__proto__', 'a', 'constructor', 'b')),
      new Map([
        ['__PROTO__', 'a'],
        ['CONSTRUCTOR', 'b'],
      ]),
    )
    // Keys in any case, and the version in two of them, as by Cassandra.
    assert.deepEqual(decode(readStartup, map(Opcode.STARTUP, 'cql_version', '3')), new Map([['CQL_VERSION', '3']]))
    for (const value of ['3.0.0', '3.4.7']) {
      const options = decode(readStartup, map(Opcode.STARTUP, 'CQL_VERSION', '3.0.0', 'cql_version', value))
      assert.deepEqual(options, new Map([['CQL_VERSION', value]]))
    }
  })

  it('is refused as a REGISTER of an event that does not exist', () => {
    assert.equal(codeOfRead(map(Opcode.REGISTER, 'STATUS_CHANGE')), 'none')
    assert.equal(codeOfRead(map(Opcode.REGISTER, 'TRACE_COMPLETE')), 'PROTOCOL')
    // In any case, as by Cassandra.
    for (const type of ['schema_change', 'Topology_Change'])
      assert.equal(codeOfRead(map(Opcode.REGISTER, type)), 'none')
  })

  it('is PROTOCOL, and no large request, where it tells of more than is there', () => {
    const body = (opcode: number, length: number[]) => {
      const header = Buffer.alloc(envelopeHeaderBytes)
      writeHeader(header, 4, 0, 1, opcode, length.length + 8)
      return Buffer.concat([header, Buffer.from(length), Buffer.alloc(8)])
    }
    for (const opcode of [Opcode.QUERY, Opcode.PREPARE]) {
      for (const length of [9, limits.statementBytesMax + 1, 0x7fff_ffff]) {
        const bytes = Buffer.alloc(4)
        bytes.writeInt32BE(length)
        assert.equal(codeOfRead(body(opcode, [...bytes])), 'PROTOCOL', `${opcode}: ${length}`)
      }
    }
    for (const opcode of [Opcode.STARTUP, Opcode.REGISTER]) {
      for (const count of [5, limits.mapEntriesMax + 1, 0xffff]) {
        assert.equal(codeOfRead(body(opcode, [count >> 8, count & 0xff])), 'PROTOCOL', `${opcode}: ${count}`)
      }
    }
  })

  it('is TOO_LARGE one above mapEntriesMax', () => {
    const options = (count: number) => Array.from({ length: count * 2 }, (_, i) => `k${i}`)
    assert.equal(codeOfRead(map(Opcode.STARTUP, ...options(limits.mapEntriesMax))), 'none')
    assert.equal(codeOfRead(map(Opcode.STARTUP, ...options(limits.mapEntriesMax + 1))), 'TOO_LARGE')
  })

  it('is TOO_LARGE one above statementBytesMax and batchTextBytesMax', () => {
    const text = 'x'.repeat(limits.statementBytesMax)
    for (const encode of [queryEnvelope, prepareEnvelope]) {
      assert.equal(codeOfRead(encode(4, 1, text)), 'none')
      assert.equal(codeOfRead(encode(4, 1, `${text}y`)), 'TOO_LARGE')
    }
    const half = 'x'.repeat(limits.batchTextBytesMax / 2)
    const batch = (...texts: string[]) =>
      batchEnvelope(
        4,
        1,
        0,
        texts.map((t) => ({ text: t, values: [] })),
      )
    assert.equal(codeOfRead(batch(half, half)), 'none')
    assert.equal(codeOfRead(batch(half, half, 'y')), 'TOO_LARGE')
  })
})

describe('many values', () => {
  it('are read in order in linear time, and backwards all the same', () => {
    const values = Array.from({ length: 65_535 }, (_, i) => Buffer.from([i >> 8, i]))
    const { params } = decodeView(new QueryView(), readQuery, queryEnvelope(4, 1, 'x', { values }))
    for (let i = 0; i < values.length; i++) {
      params.valueAt(i)
      assert.equal(params.buffer.readUInt16BE(params.valueStart), i)
    }
    params.valueAt(3)
    assert.equal(params.buffer.readUInt16BE(params.valueStart), 3)
  })
})

describe('what our encoder writes', () => {
  const version = fc.constantFrom(3, 4, 5) as fc.Arbitrary<ProtocolVersion>
  const bytes = fc.option(
    fc.uint8Array({ maxLength: 20 }).map((b) => Buffer.from(b)),
    { nil: null },
  )

  it('is what our decoder reads', () => {
    fc.assert(
      fc.property(
        version,
        fc.string({ unit: 'grapheme' }),
        fc.array(bytes),
        fc.option(fc.integer()),
        (v, text, values, page) => {
          const options = { values, ...(page === null ? {} : { pageSize: page | 0 }) }
          const view = decodeView(new QueryView(), readQuery, queryEnvelope(v, 7, text, options))
          assert.equal(view.text, text)
          assert.deepEqual(
            valuesOf(view.params),
            values.map((value) => value?.toString('hex') ?? null),
          )
          assert.equal(view.params.pageSize, page === null ? undefined : page | 0)
        },
      ),
    )
  })
})

describe('the parts of a BATCH', () => {
  it('are counted without being looked at, however many there are', () => {
    for (const version of [3, 4, 5] as const) {
      for (const parts of [0, 1, 2048, 65_535]) {
        const envelope = batchEnvelope(
          version,
          1,
          0,
          Array.from({ length: parts }, () => ({ text: 'x', values: [] })),
        )
        const view = new BatchView()
        let quickestMs = Number.POSITIVE_INFINITY
        for (let i = 0; i < 5; i++) {
          const begun = performance.now()
          assert.equal(batchPartCount(view, wholeEnvelope(envelope), version), parts)
          quickestMs = Math.min(quickestMs, performance.now() - begun)
        }
        assert.ok(quickestMs < 1, `${quickestMs} ms`)
      }
    }
  })
})
