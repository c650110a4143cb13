import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { componentBytesMax, compositeKey, writeComponent } from './partition-key.ts'

describe('the partition key', () => {
  it('is the value itself for one column, and length, value and 0 for each of several (CompositeType)', () => {
    const value = Buffer.from('cafe', 'hex')
    assert.equal(compositeKey([value]), value)
    assert.equal(
      compositeKey([value, Buffer.alloc(0), Buffer.from('7f', 'hex')]).toString('hex'),
      '0002cafe00' + '000000' + '00017f00',
    )
    assert.equal(compositeKey([]).length, 0)
  })

  it('writes values of every length between others of their neighbours', () => {
    for (const length of [0, 1, 31, 32, 33, 255, 256, componentBytesMax]) {
      const source = Buffer.alloc(length + 2, 0xee)
      source.fill(0xab, 1, length + 1)
      const buffer = Buffer.alloc(length + 6, 0xcc)
      assert.equal(writeComponent(buffer, 1, source, 1, length + 1), length + 4)
      const expected = Buffer.alloc(length + 6, 0xcc)
      expected.writeUInt16BE(length, 1)
      expected.fill(0xab, 3, length + 3)
      expected[length + 3] = 0
      assert.ok(buffer.equals(expected), String(length))
    }
  })

  it('refuses a component that the length cannot say, and takes the longest that it can', () => {
    const small = Buffer.alloc(1)
    assert.equal(compositeKey([small, Buffer.alloc(componentBytesMax)]).length, componentBytesMax + 7)
    assert.throws(() => compositeKey([small, Buffer.alloc(componentBytesMax + 1)]), { code: 'INVALID' })
  })
})
