import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../base/errors.ts'
import { FrameSplitter } from './splitter.ts'

const bodyMax = 100_000

function frame(session: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(13 + bodyBytes, session & 0xff)
  bytes.writeUInt32BE(session, 0)
  Buffer.from([0x04, 0, 0, 7, 0x0a]).copy(bytes, 4)
  bytes.writeInt32BE(bodyBytes, 9)
  return bytes
}

/** Sessions and envelopes as text, for chunks given one after the other. */
function split(chunks: readonly Buffer[]): string[] {
  const found: string[] = []
  const splitter = new FrameSplitter(bodyMax)
  for (const chunk of chunks) {
    splitter.push(chunk, {
      onFrame: (session, buffer, start, end) => found.push(`${session}:${buffer.toString('hex', start, end)}`),
    })
    // What was handed on was borrowed.
    chunk.fill(0xaa)
  }
  return found
}

const wanted = (frames: readonly Buffer[]): string[] =>
  frames.map((bytes) => `${bytes.readUInt32BE(0)}:${bytes.toString('hex', 4)}`)

describe('frames of a mesh link', () => {
  const frames = [frame(0, 0), frame(1, 5), frame(0xffff_ffff, 40), frame(2, 1), frame(3, 0)]
  const wire = Buffer.concat(frames)

  it('come out whole at every split position', () => {
    for (let at = 0; at <= wire.length; at++) {
      assert.deepEqual(
        split([Buffer.from(wire.subarray(0, at)), Buffer.from(wire.subarray(at))]),
        wanted(frames),
        `split at ${at}`,
      )
    }
  })

  it('come out whole byte by byte', () => {
    assert.deepEqual(split([...wire].map((byte) => Buffer.from([byte]))), wanted(frames))
  })

  it('come out whole in any chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.nat(3000)), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 20 }),
        (specs, sizes) => {
          const all = specs.map(([session, bytes]) => frame(session, bytes))
          const bytes = Buffer.concat(all)
          const chunks: Buffer[] = []
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length]!
            chunks.push(Buffer.from(bytes.subarray(at, at + size)))
            at += size
          }
          assert.deepEqual(split(chunks), wanted(all))
        },
      ),
      { numRuns: 200 },
    )
  })

  for (const [name, bodyBytes] of [
    ['negative', -1],
    ['of 2³¹ − 1', 2 ** 31 - 1],
    ['one byte above the bound', bodyMax + 1],
  ] as const) {
    it(`are refused when their length is ${name}, before memory is taken, wherever the split is`, () => {
      const lie = frame(9, 0)
      lie.writeInt32BE(bodyBytes, 9)
      for (let at = 0; at <= lie.length; at++) {
        assert.throws(
          () => split([frame(1, 2), Buffer.from(lie.subarray(0, at)), Buffer.from(lie.subarray(at))]),
          (reason) => reason instanceof RingfenceError && reason.code === 'LINK',
        )
      }
    })
  }

  it('of the largest body are taken', () => {
    assert.equal(split([frame(1, bodyMax)]).length, 1)
  })
})
