import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../base/errors.ts'
import { pythonDriver } from './fixtures.ts'
import { murmur3Token, token } from './murmur3.ts'
import { BodyReader, inetText } from './reader.ts'
import { inetBytes } from './text-bytes.ts'
import { readType, writeType } from './type-options.ts'
import { type CqlType, listOf, mapOf, type NativeTypeName, native, setOf } from './types.ts'
import { type CqlValue, decodeValue, encodeValue } from './values.ts'
import { readUnsignedVint, readVint, writeUnsignedVint, writeVint } from './vint.ts'
import { BodyWriter } from './writer.ts'

function typeOf(name: string): CqlType {
  const match = /^(\w+)<(.*)>$/.exec(name)
  if (match === null) return native(name as NativeTypeName)
  const parts = match[2]!.split(',')
  switch (match[1]) {
    case 'list':
      return listOf(typeOf(parts[0]!))
    case 'set':
      return setOf(typeOf(parts[0]!))
    case 'map':
      return mapOf(typeOf(parts[0]!), typeOf(parts[1]!))
    case 'tuple':
      return { kind: 'tuple', elements: parts.map(typeOf) }
    default:
      return { kind: 'vector', element: typeOf(parts[0]!), dimension: Number(parts[1]) }
  }
}

const longs = new Set(['bigint', 'counter', 'varint', 'time', 'timestamp'])

/** JSON has no bigints and no Maps. */
function fromJson(type: CqlType, json: unknown): CqlValue {
  if (json === null) return null
  if (longs.has(type.kind)) return BigInt(json as string)
  switch (type.kind) {
    case 'duration':
    case 'decimal':
      return Object.fromEntries(
        Object.entries(json as object).map(([key, value]) => [key, typeof value === 'string' ? BigInt(value) : value]),
      ) as unknown as CqlValue
    case 'map':
      return new Map(
        (json as unknown[][]).map(([key, value]) => [fromJson(type.key, key), fromJson(type.value, value)]),
      )
    case 'tuple':
      return type.elements.map((element, i) => fromJson(element, (json as unknown[])[i]))
    case 'list':
    case 'set':
    case 'vector':
      return (json as unknown[]).map((item) => fromJson(type.element, item))
    default:
      return json as CqlValue
  }
}

describe('values as the Python driver writes them', () => {
  for (const { type: name, hex, value } of pythonDriver.values) {
    it(`${name} ${JSON.stringify(value).slice(0, 50)}`, () => {
      const type = typeOf(name)
      const expected = fromJson(type, value)
      assert.deepEqual(decodeValue(type, Buffer.from(hex, 'hex')), expected)
      assert.equal(encodeValue(type, expected)?.toString('hex'), hex)
    })
  }
})

describe('values that do not fit their type', () => {
  it('are PROTOCOL', () => {
    const bad: [string, string][] = [
      ['int', '000000'],
      ['int', '0000000000'],
      ['bigint', '00'],
      ['uuid', '00'],
      ['inet', '0a000007ff'],
      ['text', 'ff'],
      ['list<int>', '7fffffff'],
      ['list<int>', 'ffffffff'],
      ['map<int,int>', '00000001ffffffff'],
      ['duration', 'ff'],
      ['vector<float,2>', '00000000'],
      ['vector<text,1>', 'ffffffffffffffffff'],
    ]
    for (const [type, hex] of bad) {
      assert.throws(
        () => decodeValue(typeOf(type), Buffer.from(hex, 'hex')),
        (reason) => reason instanceof RingfenceError && reason.code === 'PROTOCOL',
        `${type} ${hex}`,
      )
    }
  })

  it('are null where they are empty, except text and blob', () => {
    assert.equal(decodeValue(native('int'), Buffer.alloc(0)), null)
    assert.equal(decodeValue(native('text'), Buffer.alloc(0)), '')
    assert.deepEqual(decodeValue(native('blob'), Buffer.alloc(0)), Buffer.alloc(0))
  })
})

describe('variable integers', () => {
  it('write 256,000 as the specification does', () => {
    assert.equal(
      writeOf((w) => writeUnsignedVint(w, 256_000n)),
      'c3e800',
    )
  })

  const writeOf = (write: (writer: BodyWriter) => void) => {
    const writer = new BodyWriter()
    write(writer)
    return writer.take().toString('hex')
  }

  it('come back whole', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (n) => {
        const writer = new BodyWriter()
        writeVint(writer, n)
        const unsigned = BigInt.asUintN(64, n)
        writeUnsignedVint(writer, unsigned)
        const bytes = writer.take()
        const reader = new BodyReader().reset(bytes, 0, bytes.length)
        assert.equal(readVint(reader), n)
        assert.equal(readUnsignedVint(reader), unsigned)
        reader.assertDone()
      }),
    )
  })
})

describe('types', () => {
  const anyType = fc.letrec<{ type: CqlType }>((tie) => ({
    type: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom(native('int'), native('text'), native('duration')),
      tie('type').map(listOf),
      tie('type').map(setOf),
      fc.tuple(tie('type'), tie('type')).map(([key, value]) => mapOf(key, value)),
      fc.array(tie('type'), { maxLength: 3 }).map((elements): CqlType => ({ kind: 'tuple', elements })),
    ),
  })).type

  it('come back as they were written', () => {
    fc.assert(
      fc.property(anyType, (type) => {
        const writer = new BodyWriter()
        writeType(writer, type)
        const bytes = writer.take()
        assert.deepEqual(readType(new BodyReader().reset(bytes, 0, bytes.length)), type)
      }),
    )
  })

  it('of a long custom name cost no more than reading it', () => {
    const name = `org.apache.cassandra.db.marshal.VectorType(${' '.repeat(60_000)},`
    const bytes = new BodyWriter().short(0).string(name).take()
    const started = performance.now()
    assert.deepEqual(readType(new BodyReader().reset(bytes, 0, bytes.length)), { kind: 'custom', className: name })
    assert.ok(performance.now() - started < 100)
  })
})

describe('addresses', () => {
  it('take the shortest form of RFC 5952 and come back', () => {
    for (const address of [
      '0.0.0.0',
      '::',
      '::1',
      '1::',
      '2001:db8::1:0:0:1',
      '2001:db8:0:1:1:1:1:1',
      'fe80::1:2:3:4',
    ]) {
      const bytes = inetBytes(address)
      assert.equal(inetText(bytes, 0, bytes.length), address)
    }
    assert.equal(inetText(inetBytes('::ffff:10.0.0.7'), 0, 16), '::ffff:a00:7')
  })
})

describe('murmur3Token', () => {
  const { Murmur3Tokenizer } = createRequire(import.meta.url)('cassandra-driver/lib/tokenizer.js')
  const tokenizer = new Murmur3Tokenizer()

  it('is what the Node.js driver computes, for keys of 1 to 64 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (bytes) => {
        const key = Buffer.concat([Buffer.alloc(2, 7), bytes, Buffer.alloc(2, 7)])
        const expected = BigInt(tokenizer.hash(Buffer.from(bytes)).getValue().toString())
        murmur3Token(key, 2, 2 + bytes.length)
        assert.equal((BigInt(token.high) << 32n) | BigInt(token.low >>> 0), expected)
      }),
      { numRuns: 2000 },
    )
  })

  it('is the smallest one for an empty key (Murmur3Partitioner.getToken)', () => {
    murmur3Token(Buffer.alloc(0), 0, 0)
    assert.deepEqual(token, { high: -0x80000000, low: 0 })
  })
})
