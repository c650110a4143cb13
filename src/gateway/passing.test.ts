import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { queryEnvelope } from '../cql/encode.ts'
import { Opcode } from '../cql/protocol.ts'
import { passing } from './passing.ts'

const chunkOf = (stream: number, text: string): Buffer => {
  const envelope = queryEnvelope(4, stream, text, {})
  return Buffer.concat([Buffer.alloc(3), envelope, Buffer.alloc(3)])
}
const come = (chunk: Buffer) => passing(chunk, 3, chunk.length - 3)

describe('an envelope that passes a gateway', () => {
  it('is used again when its call is over, and has nothing of the one before', () => {
    const first = come(chunkOf(7, 'SELECT 1'))
    assert.deepEqual([first.stream, first.opcode], [7, Opcode.QUERY])
    first.over()
    assert.equal(first.bytes.length, 0)
    const second = come(chunkOf(8, 'SELECT 22'))
    assert.equal(second, first)
    assert.equal(second.stream, 8)
    second.over()
  })

  it('is another one within its call', () => {
    const outer = come(chunkOf(1, 'SELECT 1'))
    const inner = come(chunkOf(2, 'SELECT 2'))
    assert.notEqual(inner, outer)
    inner.over()
    assert.equal(outer.stream, 1)
    outer.over()
  })

  it('is not used again where it was held, and keeps its bytes when the chunk is overwritten', () => {
    const chunk = chunkOf(9, 'SELECT 1')
    const held = come(chunk)
    const { byteCount } = held
    held.hold()
    held.over()
    held.over()
    chunk.fill(0)
    const others = [come(chunkOf(1, 'SELECT 2')), come(chunkOf(2, 'SELECT 3'))]
    assert.ok(!others.includes(held))
    assert.deepEqual([held.stream, held.start, held.end], [9, 0, byteCount])
    assert.equal(held.bytes.toString('latin1', 13, 21), 'SELECT 1')
    const { bytes } = held
    held.hold()
    assert.equal(held.bytes, bytes)
  })
})
