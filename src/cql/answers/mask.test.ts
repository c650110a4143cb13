import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import { types as driverTypes } from 'cassandra-driver'
import { RingfenceError } from '../../base/errors.ts'
import type { Mask as PolicyMask } from '../../policy/obligations.ts'
import { wholeEnvelope } from '../envelope.ts'
import type { ProtocolVersion } from '../protocol.ts'
import { type CqlType, listOf, mapOf, native, setOf } from '../types.ts'
import { driverEncode, driverRead, type RowsShape, rowsAnswer, samples, versions } from './driver.fixture.ts'
import { Growing } from './growing.ts'
import { maskRows } from './mask.fixture.ts'
import type { Mask } from './mask.ts'

const key = Buffer.alloc(32, 9)
const full: Mask = { kind: 'full' }
const hash: Mask = { kind: 'hash' }
const partial = (keepStart: number, keepEnd: number): Mask => ({ kind: 'partial', keepStart, keepEnd })

const refusal = (code: string, words: RegExp) => (reason: unknown) =>
  reason instanceof RingfenceError && reason.code === code && words.test(reason.message)

function masked(version: ProtocolVersion, shape: RowsShape, mask: Mask, column = 'c') {
  const answer = rowsAnswer(version, shape)
  const before = Buffer.from(answer)
  const result = maskRows(wholeEnvelope(answer), version, (name) => (name === column ? mask : undefined), key)
  assert.deepEqual(answer, before, 'the input is as it was')
  return driverRead(version, result)
}

function one(version: ProtocolVersion, type: CqlType, value: unknown, mask: Mask): unknown {
  const columns = [{ name: 'c', type }]
  return masked(version, { columns, rows: [[driverEncode(version, type, value)]] }, mask).rows[0]![0]
}

const text = (type: CqlType) => (type.kind === 'vector' ? `vector of ${type.element.kind}` : type.kind)

describe('a full mask', () => {
  const { Long, Tuple } = driverTypes
  const expected = new Map<string, unknown>([
    ['text', '****'],
    ['ascii', '****'],
    ['blob', Buffer.alloc(0)],
    ['boolean', false],
    ['tinyint', 0],
    ['smallint', 0],
    ['int', 0],
    ['bigint', Long.ZERO],
    ['counter', Long.ZERO],
    ['float', 0],
    ['double', 0],
    ['timestamp', new Date(0)],
    ['list', []],
    ['set', []],
    ['map', {}],
    ['tuple', new Tuple('****', Long.ZERO)],
    ['udt', { street: '****', number: 0 }],
  ])
  const asText = new Map([
    ['varint', '0'],
    ['decimal', '0'],
    ['date', '1970-01-01'],
    ['time', '00:00:00'],
    ['duration', ''],
    ['inet', '0.0.0.0'],
    ['uuid', '00000000-0000-0000-0000-000000000000'],
    ['timeuuid', '00000000-0000-1000-8000-000000000000'],
  ])
  for (const version of versions) {
    for (const { type, value } of samples) {
      it(`of ${text(type)} is a value that the driver reads, v${version}`, () => {
        const seen = one(version, type, value, full)
        if (type.kind === 'vector') {
          const zero = type.element.kind === 'text' ? '****' : 0
          assert.deepEqual([...(seen as Iterable<unknown>)], Array(type.dimension).fill(zero))
        } else if (asText.has(type.kind)) assert.equal(String(seen), asText.get(type.kind))
        else assert.deepEqual(seen, expected.get(type.kind))
      })
    }
  }

  it('refuses a type that only the node knows, even without rows, and says which column', () => {
    const columns = [{ name: 'shape', type: { kind: 'custom', className: 'org.example.PointType' } as const }]
    for (const mask of [full, hash, partial(1, 1)]) {
      assert.throws(
        () => masked(4, { columns, rows: [] }, mask, 'shape'),
        refusal('INVALID', new RegExp(`column shape cannot be masked by ${mask.kind}: its type is custom`)),
      )
    }
    const rows = [[Buffer.from('point')]]
    assert.deepEqual(maskedRaw({ columns, rows }, { kind: 'null' }, 'shape'), [[null]])
  })
})

function maskedRaw(shape: RowsShape, mask: Mask, column = 'c') {
  return masked(4, shape, mask, column).raw
}

describe('a partial mask', () => {
  const cases: readonly [string, number, number, string][] = [
    ['4111111111111111', 0, 4, '************1111'],
    ['abcdef', 1, 1, 'a****f'],
    ['Zoë 🙂 Müller', 3, 1, 'Zoë********r'],
    ['🙂🙂🙂🙂', 1, 1, '🙂**🙂'],
    // Never more than half.
    ['abcdef', 2, 2, 'a***ef'],
    ['abc', 9, 9, '**c'],
    ['ab', 5, 0, 'a*'],
    ['a', 1, 1, '*'],
    ['', 1, 1, ''],
    ['abcdef', 0, 0, '******'],
  ]
  for (const [value, start, end, expected] of cases) {
    it(`of ${JSON.stringify(value)} keeping ${start} and ${end} is ${JSON.stringify(expected)}`, () => {
      for (const version of versions) assert.equal(one(version, native('text'), value, partial(start, end)), expected)
    })
  }

  it('of a blob zeroes the rest', () => {
    const value = Buffer.from('0102030405060708', 'hex')
    assert.deepEqual(one(4, native('blob'), value, partial(1, 2)), Buffer.from('0100000000000708', 'hex'))
    assert.deepEqual(one(4, native('blob'), value, partial(8, 0)), Buffer.from('0102030400000000', 'hex'))
  })

  it('goes into collections and vectors', () => {
    assert.deepEqual(one(5, listOf(native('text')), ['abcd', 'efgh'], partial(1, 0)), ['a***', 'e***'])
    assert.deepEqual(one(4, mapOf(native('text'), native('text')), { abcd: 'wxyz' }, partial(0, 1)), { '***d': '***z' })
    const vector = { kind: 'vector', element: native('text'), dimension: 2 } as const
    const { value } = samples.find(({ type }) => type.kind === 'vector' && type.element.kind === 'text')!
    assert.deepEqual([...(one(5, vector, value, partial(1, 0)) as Iterable<string>)], ['a***', 'e***'])
  })

  it('of set elements that look alike leaves one, and of such map keys the first', () => {
    assert.deepEqual(one(4, setOf(native('text')), ['abcd', 'axyz', 'bbbb'], partial(1, 0)), ['a***', 'b***'])
    const map = one(4, mapOf(native('text'), native('text')), { abcd: 'first', axyz: 'other' }, partial(1, 0))
    assert.deepEqual(map, { 'a***': 'f****' })
  })

  it('is refused for numbers, also inside a map, and for what has fields', () => {
    const tuple = { kind: 'tuple', elements: [native('text')] } as const
    for (const type of [native('int'), native('double'), mapOf(native('text'), native('int')), tuple]) {
      const columns = [{ name: 'c', type }]
      assert.throws(() => masked(4, { columns, rows: [] }, partial(1, 1)), refusal('INVALID', /column c .* partial/))
    }
  })

  it('refuses text that is no utf-8, and never shows it', () => {
    const columns = [{ name: 'c', type: native('text') }]
    const rows = [[Buffer.from('61ff62', 'hex')]]
    assert.throws(() => masked(4, { columns, rows }, partial(1, 1)), refusal('PROTOCOL', /utf-8/))
  })
})

describe('a hash', () => {
  const hmac = (name: string, value: Buffer) => {
    const length = Buffer.alloc(2)
    length.writeUInt16BE(Buffer.byteLength(name))
    return createHmac('sha256', key).update(length).update(name).update(value).digest()
  }

  it('is HMAC-SHA256 of the column and the value', () => {
    assert.equal(
      one(4, native('text'), 'x@example.org', hash),
      hmac('c', Buffer.from('x@example.org')).toString('hex', 0, 16),
    )
    assert.deepEqual(one(4, native('blob'), Buffer.from('abc'), hash), hmac('c', Buffer.from('abc')))
    const long = 'y'.repeat(5000)
    assert.equal(one(4, native('text'), long, hash), hmac('c', Buffer.from(long)).toString('hex', 0, 16))
  })

  it('differs between columns and keys, and follows the name the mask gives', () => {
    const columns = [{ name: 'alias', type: native('text') }]
    const rows = [[Buffer.from('v')]]
    const named = masked(4, { columns, rows }, { kind: 'hash', name: 'email' }, 'alias').rows[0]![0]
    assert.equal(named, hmac('email', Buffer.from('v')).toString('hex', 0, 16))
    assert.notEqual(named, masked(4, { columns, rows }, hash, 'alias').rows[0]![0])
  })

  it('keeps the version of a uuid', () => {
    const uuid = driverTypes.Uuid.fromString('f81d4fae-7dec-41d0-a765-00a0c91e6bf6')
    assert.match(String(one(4, native('uuid'), uuid, hash)), /^.{8}-.{4}-4.{3}-[89ab]/)
    const timeuuid = driverTypes.TimeUuid.now()
    const seen = one(4, native('timeuuid'), timeuuid, hash)
    assert.match(String(seen), /^.{8}-.{4}-1.{3}-[89ab]/)
    assert.ok((seen as driverTypes.TimeUuid).getDate() instanceof Date)
  })

  it('of an integer has its width, is not negative, and is the same for the same number', () => {
    for (const kind of ['tinyint', 'smallint', 'int'] as const) {
      for (const value of [-1, 0, 1, 100]) assert.ok((one(4, native(kind), value, hash) as number) >= 0)
    }
    const wide = String(one(4, native('bigint'), driverTypes.Long.fromNumber(5), hash))
    assert.equal(wide, (hmac('c', Buffer.of(5)).readBigInt64BE(0) & (2n ** 63n - 1n)).toString())
    const columns = [{ name: 'c', type: native('varint') }]
    const { rows } = masked(
      4,
      { columns, rows: [[Buffer.of(5)], [Buffer.of(0, 0, 5)], [Buffer.of(0xff, 0xfb)], [Buffer.of(0xfb)]] },
      hash,
    )
    assert.equal(String(rows[0]), String(rows[1]))
    assert.equal(String(rows[2]), String(rows[3]))
    assert.notEqual(String(rows[0]), String(rows[2]))
    assert.ok(!String(rows[0]).startsWith('-'))
  })

  it('of a set stands in the order of its own bytes', () => {
    const hashed = one(4, setOf(native('text')), ['a', 'b', 'c', 'd', 'e'], hash) as string[]
    assert.deepEqual(hashed, [...hashed].sort())
    assert.equal(new Set(hashed).size, 5)
  })

  it('is refused for what cannot hold it', () => {
    for (const kind of [
      'double',
      'float',
      'decimal',
      'boolean',
      'date',
      'time',
      'timestamp',
      'inet',
      'duration',
    ] as const) {
      const columns = [{ name: 'c', type: listOf(native(kind)) }]
      assert.throws(() => masked(4, { columns, rows: [] }, hash), refusal('INVALID', new RegExp(`hash.*list<${kind}>`)))
    }
  })

  it('is refused without a key', () => {
    const answer = rowsAnswer(4, { columns: [{ name: 'c', type: native('text') }], rows: [] })
    for (const none of [Buffer.alloc(0), Buffer.alloc(31)]) {
      assert.throws(() => maskRows(wholeEnvelope(answer), 4, () => hash, none), refusal('UNAVAILABLE', /no key/))
    }
  })
})

describe('a masked answer', () => {
  const everything: RowsShape = {
    columns: [
      { name: 'a', type: native('text') },
      { name: 'c', type: native('text') },
      { name: 'b', type: native('int') },
    ],
    rows: [
      [Buffer.from('first'), Buffer.from('secret'), Buffer.of(0, 0, 0, 1)],
      [null, null, null],
      [Buffer.from('third'), Buffer.from(''), Buffer.of(0, 0, 0, 3)],
    ],
    pagingState: Buffer.from('state'),
    tracing: true,
  }
  for (const version of versions) {
    for (const perColumnSpec of [false, true]) {
      it(`is otherwise as it was: v${version}, ${perColumnSpec ? 'a table for each column' : 'one table'}`, () => {
        const shape = {
          ...everything,
          perColumnSpec,
          ...(version >= 4 ? { warnings: ['old'], payload: true } : {}),
          ...(version >= 5 ? { newMetadataId: Buffer.from('new id') } : {}),
        }
        const seen = masked(version, shape, full)
        assert.deepEqual(seen.rows, [
          ['first', '****', 1],
          [null, null, null],
          ['third', '****', 3],
        ])
        assert.deepEqual(seen.pageState, Buffer.from('state'))
        if (version >= 4) assert.deepEqual(seen.warnings, ['old'])
        if (version >= 5) assert.deepEqual(seen.newResultId, Buffer.from('new id'))
        assert.deepEqual(masked(version, shape, { kind: 'null' }).raw[0]![1], null)
      })
    }
  }

  it('inside a greater buffer is found by its place', () => {
    const answer = rowsAnswer(4, everything)
    const wide = Buffer.concat([Buffer.alloc(7, 1), answer, Buffer.alloc(9, 2)])
    const result = maskRows(
      { bytes: wide, start: 7, end: 7 + answer.length },
      4,
      (name) => (name === 'c' ? full : undefined),
      key,
    )
    assert.deepEqual(driverRead(4, result).rows[0], ['first', '****', 1])
  })

  it('tells columns of one name apart by place and table', () => {
    const columns = [
      { name: 'c', type: native('text'), table: 'mine' },
      { name: 'c', type: native('text'), table: 'other' },
    ]
    const answer = rowsAnswer(4, { columns, perColumnSpec: true, rows: [[Buffer.from('x'), Buffer.from('y')]] })
    const byTable = maskRows(
      wholeEnvelope(answer),
      4,
      (_, __, { table }) => (table === 'other' ? full : undefined),
      key,
    )
    assert.deepEqual(driverRead(4, byTable).rows, [['x', '****']])
    const byPlace = maskRows(wholeEnvelope(answer), 4, (_, index) => (index === 0 ? full : undefined), key)
    assert.deepEqual(driverRead(4, byPlace).rows, [['****', 'y']])
  })

  it('of a conditional statement is masked by the names it has', () => {
    const columns = [
      { name: '[applied]', type: native('boolean') },
      { name: 'c', type: native('text') },
    ]
    assert.deepEqual(masked(4, { columns, rows: [[Buffer.of(0), Buffer.from('secret')]] }, full).rows, [
      [false, '****'],
    ])
  })

  it('without its columns is not shown', () => {
    assert.throws(
      () => masked(4, { ...everything, noMetadata: true }, full),
      refusal('UPSTREAM', /without its columns/),
    )
  })

  it('drops what stands behind the last row', () => {
    const answer = rowsAnswer(4, { ...everything, trailing: Buffer.from('secret') })
    const result = maskRows(wholeEnvelope(answer), 4, (name) => (name === 'c' ? full : undefined), key)
    assert.ok(!result.includes('secret'))
  })

  it('with a flag that nobody knows, or in v4 one of v5, is refused', () => {
    assert.throws(() => masked(5, { ...everything, extraFlags: 0x40000000 }, full), refusal('PROTOCOL', /unknown flag/))
    assert.throws(() => masked(4, { ...everything, extraFlags: 8 }, full), refusal('PROTOCOL', /unknown flag/))
  })

  it('takes policy masks as they are', () => {
    const fromPolicy: PolicyMask = { kind: 'partial', keepStart: 1, keepEnd: 0 }
    assert.equal(one(4, native('text'), 'abcd', fromPolicy), 'a***')
  })

  it('keeps null fields null, and tuples as short as they came', () => {
    const tuple = { kind: 'tuple', elements: [native('text'), native('int')] } as const
    const columns = [{ name: 'c', type: tuple }]
    const { raw } = masked(4, { columns, rows: [[Buffer.from('ffffffff', 'hex')], [Buffer.alloc(0)]] }, full)
    assert.deepEqual(raw, [[Buffer.from('ffffffff', 'hex')], [Buffer.alloc(0)]])
  })

  it('keeps the empty bytes of an old number', () => {
    const columns = [{ name: 'c', type: native('int') }]
    for (const mask of [full, hash])
      assert.deepEqual(maskedRaw({ columns, rows: [[Buffer.alloc(0)]] }, mask), [[Buffer.alloc(0)]])
  })

  it('is refused where a vector has other bytes than its type says, or is of nothing', () => {
    const vector = { kind: 'vector', element: native('int'), dimension: 2 } as const
    const columns = [{ name: 'c', type: vector }]
    assert.throws(() => masked(4, { columns, rows: [[Buffer.alloc(7)]] }, full), refusal('PROTOCOL', /vector/))
    const nothing = [{ name: 'c', type: { ...vector, dimension: 0 } }]
    assert.throws(() => masked(4, { columns: nothing, rows: [] }, full), refusal('INVALID', /vector/))
  })
})

describe('growing memory', () => {
  it('ends at its bound', () => {
    const out = new Growing(4, 100)
    out.room(99)
    out.room(1)
    assert.throws(() => out.room(1), refusal('TOO_LARGE', /100 bytes/))
  })
})
