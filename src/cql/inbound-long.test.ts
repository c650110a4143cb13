/** Long bodies that come compressed are uncompressed beside the event loop: what comes of them, and in what order, is the same. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import type { EnvelopeSink } from './envelope-sink.ts'
import { Inbound, uncompressInlineBytesMax } from './inbound.ts'
import { lz4Compress } from './lz4.ts'
import { envelopeHeaderBytes, Flag, headerStream, Opcode } from './protocol.ts'
import { compressedSegment } from './segment.ts'
import { BodyWriter } from './writer.ts'

const bodyBytesMax = 16 * 1024 * 1024
const long = uncompressInlineBytesMax + 1

function compressed(stream: number, bodyBytes: number, declared = bodyBytes): Buffer {
  const block = lz4Compress(Buffer.alloc(bodyBytes, stream))
  const length = Buffer.alloc(4)
  length.writeInt32BE(declared)
  const envelope = new BodyWriter().raw(Buffer.concat([length, block])).envelope(4, stream, Opcode.QUERY)
  envelope[1]! |= Flag.COMPRESSION
  return envelope
}

class Sink implements EnvelopeSink {
  readonly seen: string[] = []
  readonly asked: number[] = []
  pieces = 0
  hasRoom = true
  uncompressed = Promise.withResolvers<void>()

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const body = buffer.subarray(start + envelopeHeaderBytes, end)
    assert.equal(buffer[start + 1]! & Flag.COMPRESSION, 0)
    this.seen.push(`${headerStream(buffer, start)}: ${body.length} ${body[0]} ${body.at(-1)}`)
  }

  onLong(envelopeBytes: number): boolean {
    this.asked.push(envelopeBytes)
    return this.hasRoom
  }

  onUncompressed(): void {
    this.uncompressed.resolve()
    this.uncompressed = Promise.withResolvers<void>()
  }

  onDropped(stream: number): void {
    this.seen.push(`${stream}: dropped`)
  }
}

function inbound(): Inbound {
  const made = new Inbound('requests', bodyBytesMax)
  made.dropsTooLong = true
  made.useBodyCompression()
  return made
}

/** What is seen where all is done at once. */
function atOnce(wire: Buffer): string[] {
  const sink = new Sink()
  inbound().push(Buffer.from(wire), { onEnvelope: (...envelope) => sink.onEnvelope(...envelope) })
  return sink.seen
}

describe('a long body that comes compressed', () => {
  for (const chunkBytes of [Number.POSITIVE_INFINITY, 1_000]) {
    it(`comes in its order, in chunks of ${chunkBytes} bytes`, async () => {
      const sizes = [10, long, 20, long, bodyBytesMax, 30, uncompressInlineBytesMax, 40]
      const wire = Buffer.concat(sizes.map((bytes, at) => compressed(at + 1, bytes)))
      const sink = new Sink()
      const to = inbound()
      for (let at = 0; at < wire.length; at += chunkBytes) {
        const chunk = Buffer.from(wire.subarray(at, at + chunkBytes))
        to.push(chunk, sink)
        chunk.fill(0)
      }
      assert.deepEqual(sink.seen, ['1: 10 1 1'], 'nothing overtakes it')
      while (to.waits) {
        if (to.uncompressing) {
          to.goOn(sink)
          await sink.uncompressed.promise
        }
        const before = sink.seen.length
        to.goOn(sink)
        assert.ok(sink.seen.length > before)
      }
      assert.deepEqual(sink.seen, atOnce(wire))
      assert.deepEqual(
        sink.asked,
        sizes.filter((bytes) => bytes > uncompressInlineBytesMax).map((bytes) => bytes + envelopeHeaderBytes),
      )
      assert.equal(to.collectingBytes, 0)
    })
  }

  it('is dropped where there is no room for it, and what is behind comes', () => {
    const sink = new Sink()
    sink.hasRoom = false
    inbound().push(Buffer.concat([compressed(1, long), compressed(2, 10)]), sink)
    assert.deepEqual(sink.seen, ['1: dropped', '2: 10 2 2'])
  })

  it('ends the stream where it is malformed or not as long as was said, by its number', async () => {
    const torn = compressed(9, long)
    torn.fill(0, 13)
    for (const wire of [torn, compressed(9, long, long + 1), compressed(9, long + 1, long)]) {
      const sink = new Sink()
      const to = inbound()
      to.push(Buffer.concat([wire, compressed(2, 10)]), sink)
      await sink.uncompressed.promise
      assert.throws(
        () => to.goOn(sink),
        (reason: unknown) => reason instanceof RingfenceError && reason.code === 'PROTOCOL',
      )
      assert.equal(to.faultStream, 9)
      assert.deepEqual(sink.seen, [])
      assert.throws(() => to.push(compressed(3, 10), sink), /already failed/)
    }
  })

  it('is looked for in what it will be, not in what came', () => {
    const sink = new Sink()
    const to = inbound()
    to.push(compressed(1, bodyBytesMax), sink)
    assert.ok(to.uncompressing)
    assert.deepEqual(sink.asked, [bodyBytesMax + envelopeHeaderBytes])
  })

  it('may come to an end when nobody is there any more', async () => {
    const sink = new Sink()
    const to = inbound()
    const over = sink.uncompressed.promise
    to.push(compressed(1, long), sink)
    await over
    assert.ok(to.waits)
    assert.deepEqual(sink.seen, [])
  })
})

describe('segments of a long envelope', () => {
  it('may be stopped between two of them', () => {
    const segments: Buffer[] = []
    const envelope = new BodyWriter().raw(Buffer.alloc(8 * 1024 * 1024, 5)).envelope(5, 1, Opcode.QUERY)
    for (let at = 0; at < envelope.length; at += 131_071)
      segments.push(compressedSegment(envelope.subarray(at, at + 131_071), false))
    const to = new Inbound('requests', bodyBytesMax)
    to.useSegments('lz4')
    let stops = 0
    const sink = new Sink()
    const stopping: EnvelopeSink = {
      onEnvelope: (...one) => sink.onEnvelope(...one),
      onPiece: () => {
        stops++
        to.stop()
      },
    }
    // All of it in less than a read of a socket.
    to.push(Buffer.concat(segments), stopping)
    let turns = 1
    for (; to.waits; turns++) {
      assert.deepEqual(sink.seen, [])
      to.goOn(stopping)
    }
    assert.deepEqual(sink.seen, [`1: ${8 * 1024 * 1024} 5 5`])
    assert.equal(stops, 21)
    assert.ok(turns > 20)
  })
})
