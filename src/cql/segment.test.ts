import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { smallWires } from './fixtures.ts'
import { lz4Compress, lz4Uncompress } from './lz4.ts'
import { compressedSegment, sealSegment, segmentHeaderBytes, segmentTrailerBytes } from './segment.ts'

describe('sealSegment', () => {
  it('writes the bytes that the Python driver writes', () => {
    const { wire, envelopes } = smallWires.find(({ name }) => name.startsWith('v5 one envelope'))!
    const segments = envelopes.map((envelope) => {
      const room = Buffer.alloc(segmentHeaderBytes + envelope.length + segmentTrailerBytes, 0xee)
      envelope.copy(room, segmentHeaderBytes)
      sealSegment(room, 0, envelope.length, true)
      return room
    })
    assert.deepEqual(Buffer.concat(segments), wire)
  })
})

describe('compressedSegment', () => {
  it('marks what does not shrink by an uncompressed length of zero, as the code and not the specification says', () => {
    const payload = Buffer.from(Array.from({ length: 40 }, (_, i) => (i * 37) & 0xff))
    const segment = compressedSegment(payload, true)
    assert.equal(segment.readUInt32LE(0), payload.length)
    assert.deepEqual(segment.subarray(8, -4), payload)
  })

  it('shrinks what shrinks', () => {
    assert.ok(compressedSegment(Buffer.alloc(10_000), false).length < 200)
  })
})

describe('lz4Uncompress', () => {
  const plain = Buffer.from('abcabcabc'.repeat(50))
  const block = lz4Compress(plain)

  it('answers the bytes when the length is right and refuses every other length', () => {
    assert.deepEqual(lz4Uncompress(block, plain.length), plain)
    for (const length of [0, 1, plain.length - 1, plain.length + 1, plain.length * 2, 1024 * 1024]) {
      assert.throws(
        () => lz4Uncompress(block, length),
        (reason) => reason instanceof RingfenceError && reason.code === 'PROTOCOL',
        String(length),
      )
    }
  })

  it('answers or refuses any block that is changed by one byte, and always the length asked for', () => {
    for (let at = 0; at < block.length; at++) {
      for (const byte of [0, 0x0f, 0xf0, 0xff]) {
        const bad = Buffer.from(block)
        bad[at] = byte
        try {
          assert.equal(lz4Uncompress(bad, plain.length).length, plain.length)
        } catch (reason) {
          assert.ok(reason instanceof RingfenceError)
        }
      }
    }
  })
})
