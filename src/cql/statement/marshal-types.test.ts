import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isMarshalType } from './marshal-types.ts'

describe('types written as Java classes', () => {
  it('are known by their short and their long name', () => {
    for (const text of ['', 'Int32Type', 'org.apache.cassandra.db.marshal.UTF8Type', ' LongType ']) {
      assert.equal(isMarshalType(text), true, text)
    }
  })

  it('are bytes where no name begins the text, whatever it says', () => {
    for (const text of [' ', '\n', '{"a":1}', '(AsciiType)', ' {Int32Type', '\\', 'é', '\u00a0Int32Type']) {
      assert.equal(isMarshalType(text), true, text)
    }
    for (const text of ['-', ' +', '.', '&x', '_', '7', 'nope']) assert.equal(isMarshalType(text), false, text)
  })

  it('may be made of others, as the Python driver’s suite writes them', () => {
    for (const text of [
      'CompositeType(AsciiType, Int32Type)',
      'org.apache.cassandra.db.marshal.CompositeType(org.apache.cassandra.db.marshal.AsciiType)',
      'DynamicCompositeType(s => UTF8Type, i => Int32Type)',
      'DynamicCompositeType(s=>ReversedType(UTF8Type))',
      'FrozenType(MapType(UTF8Type,ListType(Int32Type)))',
      'TupleType(Int32Type,SetType(LongType),BytesType)',
    ]) {
      assert.equal(isMarshalType(text), true, text)
    }
  })

  it('are refused when a class, a count or a sign is another', () => {
    for (const text of [
      'CompositeType',
      'CompositeType()',
      'CompositeType(AsciiType',
      'CompositeType(AsciiType,)',
      'CompositeType(AsciiType) Int32Type',
      'CompositeType(com.example.Evil)',
      'com.example.CompositeType(AsciiType)',
      'Int32Type(Int32Type)',
      'MapType(UTF8Type)',
      'ListType(UTF8Type,UTF8Type)',
      'DynamicCompositeType(UTF8Type)',
      'DynamicCompositeType(ab=>UTF8Type)',
      'CompositeType(a=>UTF8Type)',
      `${'FrozenType('.repeat(70)}UTF8Type${')'.repeat(70)}`,
    ]) {
      assert.equal(isMarshalType(text), false, text)
    }
  })
})
