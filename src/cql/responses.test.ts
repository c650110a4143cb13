import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import {
  authChallengeEnvelope,
  authenticateEnvelope,
  authSuccessEnvelope,
  errorEnvelope,
  eventEnvelope,
  preparedEnvelope,
  readyEnvelope,
  rowsEnvelope,
  schemaChangeEnvelope,
  setKeyspaceEnvelope,
  supportedEnvelope,
  unpreparedEnvelope,
  voidEnvelope,
} from './encode.ts'
import { type Envelope, wholeEnvelope } from './envelope.ts'
import { javaDriver } from './fixtures.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  headerOpcode,
  headerStream,
  Opcode,
  type ProtocolVersion,
  ResultKind,
  writeHeader,
} from './protocol.ts'
import { readAuthToken, readSupported, readTracingId, readWarnings } from './responses.fixture.ts'
import {
  bodyStart,
  hasMorePages,
  readAuthenticate,
  readError,
  readEvent,
  readPrepared,
  readRows,
  readSchemaChange,
  readSetKeyspace,
  resultKind,
  rowsCount,
} from './responses.ts'
import { listOf, mapOf, native } from './types.ts'

const id = (from: number) => Buffer.from(Array.from({ length: 16 }, (_, i) => from + i))
const columns = [
  { name: 'k', type: native('int') },
  { name: 'v', type: native('text') },
]
const spec = { keyspace: 'ks', table: 't', columns }
const rows = [
  [Buffer.from([0, 0, 0, 1]), Buffer.from('a')],
  [Buffer.from([0, 0, 0, 2]), null],
  [null, Buffer.alloc(0)],
]

/** The captured bytes with others around them, at 3. */
function captured(name: string, version: number): { buf: Buffer; start: number; end: number; bytes: Buffer } {
  const capture = javaDriver.responses.find((c) => c.name === name && c.version === version)
  assert.ok(capture, name)
  const bytes = Buffer.from(capture.hex, 'hex')
  return {
    buf: Buffer.concat([Buffer.alloc(3, 0xaa), bytes, Buffer.alloc(3, 0xbb)]),
    start: 3,
    end: 3 + bytes.length,
    bytes,
  }
}

function isProtocol(reason: unknown): boolean {
  return reason instanceof RingfenceError && reason.code === 'PROTOCOL'
}

for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
  describe(`responses as the Java driver writes them, v${version}`, () => {
    const at = (name: string) => captured(name, version)
    const since4 = { skip: version < 4 }
    const since5 = { skip: version < 5 }

    it('are byte for byte what our encoder writes', () => {
      const ours: [string, Buffer][] = [
        ['ready', readyEnvelope(version, 7)],
        ['authenticate', authenticateEnvelope(version, 7, 'org.apache.cassandra.auth.PasswordAuthenticator')],
        ['auth challenge', authChallengeEnvelope(version, 7, Buffer.from([1, 2, 3]))],
        ['auth success', authSuccessEnvelope(version, 7)],
        [
          'supported',
          supportedEnvelope(
            version,
            7,
            new Map([
              ['CQL_VERSION', ['3.4.7']],
              ['COMPRESSION', ['lz4', 'snappy']],
            ]),
          ),
        ],
        ['void', voidEnvelope(version, 7)],
        ['set keyspace', setKeyspaceEnvelope(version, 7, 'Ks ü')],
        ['error unauthorized', errorEnvelope(version, 7, 0x2100, 'User x has no SELECT permission')],
        ['error unprepared', unpreparedEnvelope(version, 7, id(0), 'm')],
        ['rows', rowsEnvelope(version, 7, spec, rows)],
        ['rows with a next page', rowsEnvelope(version, 7, { ...spec, pagingState: Buffer.from([1, 2, 3]) }, rows)],
        [
          'prepared select',
          preparedEnvelope(version, 7, {
            id: id(0),
            resultMetadataId: id(16),
            bind: { ...spec, pkIndexes: [1, 0] },
            result: spec,
          }),
        ],
        [
          'schema change table',
          schemaChangeEnvelope(version, 7, {
            change: 'CREATED',
            target: 'TABLE',
            keyspace: 'ks',
            name: 't',
            argTypes: [],
          }),
        ],
        [
          'event status',
          eventEnvelope(version, { type: 'STATUS_CHANGE', change: 'UP', address: '10.0.0.7', port: 9042 }),
        ],
        [
          'event topology',
          eventEnvelope(version, { type: 'TOPOLOGY_CHANGE', change: 'NEW_NODE', address: '2001:db8::7', port: 9042 }),
        ],
      ]
      for (const [name, envelope] of ours) assert.equal(envelope.toString('hex'), at(name).bytes.toString('hex'), name)
    })

    it('give back every error with its details', () => {
      const read = (name: string) => {
        const { buf, start, end } = at(name)
        return readError({ bytes: buf, start, end })
      }
      assert.deepEqual(read('error unauthorized'), {
        code: CqlErrorCode.UNAUTHORIZED,
        message: 'User x has no SELECT permission',
      })
      assert.deepEqual(read('error unavailable'), { code: 0x1000, message: 'm', consistency: 4, required: 3, alive: 2 })
      const counts = { message: 'm', consistency: 1, received: 2, blockFor: 3 }
      assert.deepEqual(read('error write timeout'), { code: 0x1100, ...counts, writeType: 'SIMPLE' })
      assert.deepEqual(read('error read timeout'), { code: 0x1200, ...counts, dataPresent: true })
      assert.deepEqual(read('error already exists'), { code: 0x2400, message: 'm', keyspace: 'ks', table: 't' })
      assert.deepEqual(read('error unprepared'), { code: 0x2500, message: 'm', preparedId: id(0) })
    })

    it('give back failures, in v5 with who and why', since4, () => {
      const read = (name: string) => {
        const { buf, start, end } = at(name)
        return readError({ bytes: buf, start, end })
      }
      const counts = { message: 'm', consistency: 1, received: 2, blockFor: 3, failures: 2 }
      const reasons = [
        { address: '10.0.0.7', code: 1 },
        { address: '2001:db8::7', code: 3 },
      ]
      const details = version < 5 ? counts : { ...counts, reasons }
      assert.deepEqual(read('error read failure'), { code: 0x1300, ...details, dataPresent: true })
      assert.deepEqual(read('error write failure'), { code: 0x1500, ...details, writeType: 'BATCH' })
      assert.deepEqual(read('error function failure'), {
        code: 0x1400,
        message: 'm',
        keyspace: 'ks',
        function: 'f',
        argTypes: ['int', 'text'],
      })
    })

    it('give back an unknown outcome of a conditional write, and contentions where they are sent', since5, () => {
      const { buf, start, end } = at('error cas write unknown')
      assert.deepEqual(readError({ bytes: buf, start, end }), {
        code: 0x1700,
        message: 'm',
        consistency: 8,
        received: 1,
        blockFor: 2,
      })
      const extra = Buffer.from([0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 3, 0x43, 0x41, 0x53, 0, 9])
      const timeout = errorEnvelope(5, 1, CqlErrorCode.WRITE_TIMEOUT, 'm', extra)
      assert.equal(readError(wholeEnvelope(timeout)).contentions, 9)
      const without = errorEnvelope(5, 1, CqlErrorCode.WRITE_TIMEOUT, 'm', extra.subarray(0, -2))
      assert.equal(readError(wholeEnvelope(without)).contentions, undefined)
    })

    it('count their rows without reading them, metadata or none', () => {
      for (const name of ['rows', 'rows with a next page', 'rows of two tables', 'rows without metadata']) {
        const { buf, start, end } = at(name)
        assert.equal(resultKind({ bytes: buf, start, end }), ResultKind.ROWS)
        assert.equal(rowsCount({ bytes: buf, start, end }, version), 3, name)
        assert.equal(hasMorePages({ bytes: buf, start, end }), name.includes('next') || name.includes('without'))
        const read = readRows({ bytes: buf, start, end }, version)
        assert.deepEqual(read.rows, rows)
        assert.equal(read.columns.length, name.includes('without') ? 0 : 2)
      }
      const { buf, start, end } = at('void')
      assert.equal(rowsCount({ bytes: buf, start, end }, version), -1)
      assert.equal(hasMorePages({ bytes: buf, start, end }), false)
    })

    it('say of which table each column is', () => {
      const { buf, start, end } = at('rows of two tables')
      assert.deepEqual(
        readRows({ bytes: buf, start, end }, version).columns.map((c) => `${c.keyspace}.${c.table}.${c.name}`),
        ['ks.t.k', 'ks2.t2.v'],
      )
    })

    it('may change their metadata id', since5, () => {
      const { buf, start, end } = at('rows with changed metadata')
      assert.deepEqual(readRows({ bytes: buf, start, end }, version).newMetadataId, id(32))
      assert.equal(rowsCount({ bytes: buf, start, end }, version), 3)
    })

    it('know every type', () => {
      const { buf, start, end } = at('rows of every type')
      assert.equal(rowsCount({ bytes: buf, start, end }, version), 0)
      const types = new Map(readRows({ bytes: buf, start, end }, version).columns.map((c) => [c.name, c.type]))
      assert.deepEqual(types.get('c13'), native('text'))
      if (version >= 5) assert.deepEqual(types.get('c21'), native('duration'))
      assert.deepEqual(types.get('map'), mapOf(native('text'), listOf(native('int'))))
      assert.deepEqual(types.get('tuple'), { kind: 'tuple', elements: [native('int'), native('text')] })
      assert.deepEqual(types.get('udt'), {
        kind: 'udt',
        keyspace: 'ks',
        name: 'addr',
        fields: [
          { name: 'street', type: native('text') },
          { name: 'zip', type: native('int') },
        ],
      })
      assert.deepEqual(types.get('vector'), { kind: 'vector', element: native('float'), dimension: 3 })
      assert.deepEqual(types.get('custom'), { kind: 'custom', className: 'com.example.T' })
      // And written again they are the same bytes.
      const again = rowsEnvelope(
        version,
        7,
        { keyspace: 'ks', table: 't', columns: [...types].map(([name, type]) => ({ name, type })) },
        [],
      )
      assert.equal(again.toString('hex'), at('rows of every type').bytes.toString('hex'))
    })

    it('give back what was prepared', () => {
      const select = at('prepared select')
      const prepared = readPrepared({ bytes: select.buf, start: select.start, end: select.end }, version)
      assert.deepEqual(prepared.id, id(0))
      assert.deepEqual(prepared.resultMetadataId, version >= 5 ? id(16) : undefined)
      assert.deepEqual(prepared.bind.pkIndexes, version >= 4 ? [1, 0] : [])
      assert.equal(prepared.bind.table, 't')
      assert.deepEqual(
        prepared.result.columns.map((c) => c.name),
        ['k', 'v'],
      )
      const insert = at('prepared insert')
      assert.equal(
        readPrepared({ bytes: insert.buf, start: insert.start, end: insert.end }, version).result.columnCount,
        0,
      )
    })

    it('give back keyspace, schema change, events, options and tokens', () => {
      const read = <T>(name: string, reader: (envelope: Envelope) => T) => {
        const { buf, start, end } = at(name)
        return reader({ bytes: buf, start, end })
      }
      assert.equal(read('set keyspace', readSetKeyspace), 'Ks ü')
      assert.deepEqual(read('schema change keyspace', readSchemaChange), {
        change: 'DROPPED',
        target: 'KEYSPACE',
        keyspace: 'ks',
        name: '',
        argTypes: [],
      })
      if (version >= 4) assert.deepEqual(read('schema change function', readSchemaChange).argTypes, ['int', 'text'])
      assert.deepEqual(read('event topology', readEvent), {
        type: 'TOPOLOGY_CHANGE',
        change: 'NEW_NODE',
        address: '2001:db8::7',
        port: 9042,
      })
      assert.equal((read('event schema', readEvent) as { name: string }).name, 't')
      assert.equal(headerStream(at('event schema').bytes, 0), -1)
      assert.deepEqual(read('supported', readSupported).get('COMPRESSION'), ['lz4', 'snappy'])
      assert.equal(read('authenticate', readAuthenticate), 'org.apache.cassandra.auth.PasswordAuthenticator')
      assert.deepEqual(read('auth challenge', readAuthToken), Buffer.from([1, 2, 3]))
      assert.equal(read('auth success', readAuthToken), null)
    })

    it('may have tracing id, warnings and payload in front, in any combination', () => {
      const plain = at('rows').bytes.subarray(envelopeHeaderBytes)
      const tracing = Buffer.from('0123456789abcdef0123456789abcdef', 'hex')
      const warnings = Buffer.from('00020002773100027732', 'hex')
      const payload = Buffer.from('000100016b0000000101', 'hex')
      for (let mask = 1; mask < (version >= 4 ? 8 : 2); mask++) {
        // The Java codec puts the payload first where both are there; the specification, Cassandra and the other drivers do not.
        const both = (mask & 6) === 6
        const { buf, start, end } = both ? prefixed(mask) : at(`rows with prefix ${mask}`)
        if (!both) assert.deepEqual(prefixed(mask).buf, at(`rows with prefix ${mask}`).bytes)
        assert.deepEqual(buf.subarray(bodyStart({ bytes: buf, start, end }), end), plain)
        assert.equal(rowsCount({ bytes: buf, start, end }, version), 3)
        assert.deepEqual(readWarnings({ bytes: buf, start, end }), mask & 4 ? ['w1', 'w2'] : [])
        assert.equal(
          readTracingId({ bytes: buf, start, end }),
          mask & 1 ? '01234567-89ab-cdef-0123-456789abcdef' : undefined,
        )
      }

      function prefixed(mask: number): { buf: Buffer; start: number; end: number } {
        const parts = [mask & 1 ? tracing : [], mask & 4 ? warnings : [], mask & 2 ? payload : []].map((part) =>
          Buffer.from(part),
        )
        const body = Buffer.concat([...parts, plain])
        const header = Buffer.alloc(envelopeHeaderBytes)
        const flags = (mask & 1 ? 2 : 0) | (mask & 2 ? 4 : 0) | (mask & 4 ? 8 : 0)
        writeHeader(header, version | 0x80, flags, 7, Opcode.RESULT, body.length)
        const buf = Buffer.concat([header, body])
        return { buf, start: 0, end: buf.length }
      }
    })
  })
}

describe('a malformed response', () => {
  it('is PROTOCOL wherever it is cut off', () => {
    for (const { hex, version, name } of javaDriver.responses) {
      const bytes = Buffer.from(hex, 'hex')
      if (headerOpcode(bytes, 0) !== Opcode.RESULT || !name.startsWith('rows')) continue
      for (let end = envelopeHeaderBytes; end < bytes.length; end++) {
        assert.throws(() => readRows({ bytes, start: 0, end }, version), isProtocol, name)
      }
    }
  })

  it('cannot claim more rows than it has bytes, nor rows without columns', () => {
    const envelope = rowsEnvelope(4, 1, spec, rows)
    const countAt = envelope.length - 4 - rows.flat().reduce((sum, v) => sum + 4 + (v?.length ?? 0), 0)
    envelope.writeInt32BE(0x7fffffff, countAt)
    assert.throws(() => readRows(wholeEnvelope(envelope), 4), isProtocol)
    const none = rowsEnvelope(4, 1, { ...spec, columns: [] }, [])
    none.writeInt32BE(0x7fffffff, none.length - 4)
    assert.throws(() => readRows(wholeEnvelope(none), 4), isProtocol)
  })

  it('cannot nest types without end', () => {
    let type = native('int')
    for (let depth = 0; depth < 64; depth++) type = listOf(type)
    const deepest = rowsEnvelope(4, 1, { ...spec, columns: [{ name: 'c', type }] }, [])
    assert.equal(readRows(wholeEnvelope(deepest), 4).columns.length, 1)
    const deeper = rowsEnvelope(4, 1, { ...spec, columns: [{ name: 'c', type: listOf(type) }] }, [])
    assert.throws(() => readRows(wholeEnvelope(deeper), 4), isProtocol)
    assert.throws(() => rowsCount(wholeEnvelope(deeper), 4), isProtocol)
  })
})

describe('an error message that is too long', () => {
  it('is cut between two characters', () => {
    const envelope = errorEnvelope(4, 1, 0, 'é'.repeat(40_000))
    assert.equal(readError(wholeEnvelope(envelope)).message, 'é'.repeat(32_767))
  })
})
