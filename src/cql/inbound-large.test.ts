/** Envelopes that their receiver does not want: dropped as they come, in every framing and cut of the stream, with what follows intact. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { errorEnvelope } from './encode.ts'
import { largeBytes } from './envelope-sink.ts'
import { Inbound } from './inbound.ts'
import { envelopeHeaderBytes, headerStream, Opcode, writeHeader } from './protocol.ts'
import {
  compressedSegment,
  sealSegment,
  segmentHeaderBytes,
  segmentPayloadBytesMax,
  segmentTrailerBytes,
} from './segment.ts'

type Framing = 'bare' | 'segments' | 'segments-lz4'
const framings: readonly Framing[] = ['bare', 'segments', 'segments-lz4']
const bodyBytesMax = 512 * 1024

function answer(version: number, stream: number, bodyBytes: number): Buffer {
  const envelope = Buffer.alloc(envelopeHeaderBytes + bodyBytes, stream)
  writeHeader(envelope, 0x80 | version, 0, stream, Opcode.RESULT, bodyBytes)
  return envelope
}

function framed(framing: Framing, envelope: Buffer): Buffer {
  if (framing === 'bare') return envelope
  const pieces: Buffer[] = []
  const alone = envelope.length <= segmentPayloadBytesMax
  for (let at = 0; at < envelope.length; at += segmentPayloadBytesMax) {
    const piece = envelope.subarray(at, at + segmentPayloadBytesMax)
    if (framing === 'segments-lz4') {
      pieces.push(Buffer.from(compressedSegment(Buffer.from(piece), alone)))
      continue
    }
    const segment = Buffer.alloc(segmentHeaderBytes + piece.length + segmentTrailerBytes)
    piece.copy(segment, segmentHeaderBytes)
    sealSegment(segment, 0, piece.length, alone)
    pieces.push(segment)
  }
  return Buffer.concat(pieces)
}

class Receiver {
  readonly got: string[] = []
  readonly asked: number[] = []
  peakBytes = 0
  readonly inbound = new Inbound('responses', bodyBytesMax)
  readonly #wants: (stream: number) => boolean

  constructor(framing: Framing, wants: (stream: number) => boolean) {
    this.#wants = wants
    if (framing !== 'bare') this.inbound.useSegments(framing === 'segments' ? 'none' : 'lz4')
  }

  onLarge(buffer: Buffer, start: number, envelopeBytes: number): boolean {
    const stream = headerStream(buffer, start)
    this.asked.push(stream)
    return envelopeBytes - envelopeHeaderBytes <= bodyBytesMax && this.#wants(stream)
  }

  onDropped(stream: number): void {
    this.got.push(`dropped ${stream}`)
  }

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const body = buffer.subarray(start + envelopeHeaderBytes, end)
    const stream = headerStream(buffer, start)
    assert.ok(body.every((byte) => byte === (stream & 0xff)))
    this.got.push(`${stream}: ${body.length}`)
  }

  push(bytes: Buffer, cuts: readonly number[]): void {
    let at = 0
    for (let i = 0; at < bytes.length; i++) {
      const next = Math.min(at + cuts[i % cuts.length]!, bytes.length)
      // A chunk is lent for the call.
      this.inbound.push(Buffer.from(bytes.subarray(at, next)), this)
      this.peakBytes = Math.max(this.peakBytes, this.inbound.collectingBytes)
      at = next
    }
  }
}

describe('large envelopes', () => {
  const sizes = fc.constantFrom(0, 1, 100, 60_000, largeBytes, 200_000, bodyBytesMax, bodyBytesMax + 1, 1_500_000)
  const stream = fc.array(fc.tuple(sizes, fc.boolean()), { minLength: 1, maxLength: 8 })
  const cuts = fc
    .array(fc.constantFrom(1000, 5, 9, 1, 16_384, 65_536, 300_000), { minLength: 1, maxLength: 5 })
    .filter((each) => each.some((cut) => cut > 500))

  for (const framing of framings) {
    it(`are dropped where they are not wanted, and nothing else is: ${framing}`, () => {
      fc.assert(
        fc.property(stream, cuts, (answers, each) => {
          const version = framing === 'bare' ? 4 : 5
          const receiver = new Receiver(framing, (number) => answers[number]![1])
          const bytes = Buffer.concat(answers.map(([size], i) => framed(framing, answer(version, i, size))))
          receiver.push(bytes, each)
          const expected = answers.map(([size, wanted], i) => {
            const asked = receiver.asked.includes(i)
            if (size > bodyBytesMax) return `dropped ${i}`
            return asked && !wanted ? `dropped ${i}` : `${i}: ${size}`
          })
          assert.deepEqual(receiver.got, expected)
          assert.equal(new Set(receiver.asked).size, receiver.asked.length, 'each is asked about once')
          assert.equal(receiver.inbound.collectingBytes, 0)
        }),
        { numRuns: 60 },
      )
    })

    it(`cost no memory when they are dropped: ${framing}`, () => {
      const receiver = new Receiver(framing, () => false)
      receiver.push(framed(framing, answer(framing === 'bare' ? 4 : 5, 3, 8_000_000)), [16_384])
      assert.deepEqual(receiver.got, ['dropped 3'])
      assert.ok(receiver.peakBytes <= 2 * segmentPayloadBytesMax, `${receiver.peakBytes}`)
    })

    it(`can be dropped when a part has come already: ${framing}`, () => {
      for (const part of [70_000, 200_000, 400_000]) {
        const receiver = new Receiver(framing, () => true)
        const version = framing === 'bare' ? 4 : 5
        const bytes = Buffer.concat([
          framed(framing, answer(version, 1, 450_000)),
          framed(framing, answer(version, 2, 5)),
        ])
        const first = Math.min(part, framing === 'segments-lz4' ? 900 : part)
        receiver.push(bytes.subarray(0, first), [first])
        const dropped = receiver.inbound.drop()
        receiver.push(bytes.subarray(first), [10_000])
        assert.ok(dropped || framing !== 'bare')
        assert.deepEqual(receiver.got, [dropped ? 'dropped 1' : '1: 450000', '2: 5'])
      }
    })
  }

  it('end the stream of a receiver that cannot be asked, and of a client always', () => {
    const inbound = new Inbound('responses', 10)
    assert.throws(() => inbound.push(answer(4, 1, 11), { onEnvelope() {} }), { code: 'TOO_LARGE' })
    const request = answer(4, 1, 11)
    request[0] = 4
    const requests = new Inbound('requests', 10)
    assert.throws(() => requests.push(request, { onEnvelope() {}, onLarge: () => false }), { code: 'TOO_LARGE' })
    const small = errorEnvelope(4, 1, 0, '')
    new Inbound('responses', 1000).push(small, { onEnvelope() {}, onLarge: () => assert.fail('it is small') })
  })

  it('are not believed to be larger than their compressed body can be', () => {
    const body = Buffer.alloc(14)
    body.writeInt32BE(10 * 255 + 1)
    const envelope = Buffer.concat([answer(4, 1, 0), body])
    envelope[1] = 1
    envelope.writeInt32BE(body.length, 5)
    const inbound = new Inbound('responses', bodyBytesMax)
    inbound.useBodyCompression()
    assert.throws(() => inbound.push(envelope, { onEnvelope() {} }), /longer than it can be/)
  })
})
