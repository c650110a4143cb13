import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { queryEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { QueryView, readQuery } from '../cql/requests.ts'
import { BoundValues } from './bound.ts'

const int = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const long = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
const values = [
  int(-7),
  long(2n ** 40n),
  null,
  Buffer.from('shop'),
  Buffer.from([0xff]),
  Buffer.concat([int(3), int(0), int(0), int(-1)]),
  Buffer.concat([int(3), int(0), int(0)]),
  int(2 ** 31 - 1),
  int(-1),
  int(0),
]

function bound(options: Parameters<typeof queryEnvelope>[3], markers: readonly (string | undefined)[]): BoundValues {
  const envelope = queryEnvelope(4, 1, 'SELECT 1', options)
  const view = new QueryView()
  readQuery(view, wholeEnvelope(envelope), 4)
  return new BoundValues().ofRequest(view.params, markers)
}

describe('bound values', () => {
  it('are found by place', () => {
    const found = bound(
      { values },
      values.map(() => undefined),
    )
    assert.equal(found.unresolved, false)
    assert.equal(found.integer(0), -7n)
    assert.equal(found.integer(1), 2n ** 40n)
    assert.equal(found.integer(2), null)
    assert.equal(
      found.integer(3),
      BigInt(Buffer.from('shop').readInt32BE(0)),
      'four bytes are an int, whatever was meant',
    )
    assert.equal(found.integer(4), null)
    assert.equal(found.integer(99), null)
    assert.equal(found.text(3), 'shop')
    assert.equal(found.text(4), null, 'malformed UTF-8')
    assert.equal(found.listSize(5), 3)
    assert.equal(found.listSize(4), null)
    assert.deepEqual(
      [6, 7, 8, 9].map((marker) => found.listSize(marker)),
      [null, null, null, 0],
      'more than have room',
    )
  })

  it('are found by name, the first of two equal names, and not at all for a marker without one', () => {
    const named = bound({ values: [int(1), int(2), int(3)], names: ['b', 'a', 'a'] }, ['a', 'b', 'c', undefined])
    assert.equal(named.unresolved, true)
    assert.equal(named.integer(0), 2n)
    assert.equal(named.integer(1), 1n)
    assert.equal(named.integer(2), null)
    assert.equal(named.integer(3), null)
    assert.equal(bound({ values: [int(1)], names: ['a'] }, ['a', 'a']).unresolved, false)
  })

  it('say what the request says beside them', () => {
    const found = bound({ values: [], pageSize: 12, timestamp: 5n }, [])
    assert.equal(found.pageSize, 12)
    assert.equal(found.defaultTimestampMicros, 5n)
    assert.equal(found.nowInSeconds, undefined)
    assert.equal(found.partitions, 1)
  })
})
