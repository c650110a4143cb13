/** What holds for every format that `base/framer.ts` splits: bare envelopes, segments with and without LZ4, frames of a mesh link. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Inbound } from '../cql/inbound.ts'
import { envelopeHeaderBytes, responseBit, writeHeader } from '../cql/protocol.ts'
import { compressedSegment, sealSegment, segmentPayloadBytesMax } from '../cql/segment.ts'
import { FrameSplitter } from './splitter.ts'

const announcedBytesMost = 16 * 1024 * 1024

type Push = (chunk: Buffer, got: (bytes: Buffer) => void) => void

interface Format {
  readonly version: number
  readonly direction: 'requests' | 'responses'
  /** A fresh receiver: what it does with a chunk, and the memory that it holds. */
  open(): { push: Push; heldBytes(): number }
  /** On the wire, in one frame or the number that it takes. */
  framed(envelope: Buffer): Buffer
}

const plain = (payload: Buffer, selfContained: boolean) => {
  const segment = Buffer.alloc(payload.length + 10)
  payload.copy(segment, 6)
  sealSegment(segment, 0, payload.length, selfContained)
  return segment
}

function segments(envelope: Buffer, seal: (payload: Buffer, selfContained: boolean) => Buffer): Buffer {
  if (envelope.length <= segmentPayloadBytesMax) return seal(envelope, true)
  const pieces: Buffer[] = []
  for (let at = 0; at < envelope.length; at += segmentPayloadBytesMax)
    pieces.push(seal(envelope.subarray(at, at + segmentPayloadBytesMax), false))
  return Buffer.concat(pieces)
}

function inboundOf(direction: 'requests' | 'responses', framing: 'bare' | 'none' | 'lz4'): ReturnType<Format['open']> {
  const inbound = new Inbound(direction, limits.messageBytesMax)
  if (framing !== 'bare') inbound.useSegments(framing)
  return {
    push: (chunk, got) => inbound.push(chunk, { onEnvelope: (buffer, start, end) => got(buffer.subarray(start, end)) }),
    heldBytes: () => inbound.collectingBytes,
  }
}

const formats: Readonly<Record<string, Format>> = {
  'bare requests': {
    version: 4,
    direction: 'requests',
    open: () => inboundOf('requests', 'bare'),
    framed: (envelope) => envelope,
  },
  'bare responses': {
    version: 4,
    direction: 'responses',
    open: () => inboundOf('responses', 'bare'),
    framed: (envelope) => envelope,
  },
  segments: {
    version: 5,
    direction: 'requests',
    open: () => inboundOf('requests', 'none'),
    framed: (envelope) => segments(envelope, plain),
  },
  'segments with LZ4': {
    version: 5,
    direction: 'responses',
    open: () => inboundOf('responses', 'lz4'),
    framed: (envelope) => segments(envelope, compressedSegment),
  },
  'frames of a mesh link': {
    version: 4,
    direction: 'requests',
    open: () => {
      const splitter = new FrameSplitter(limits.messageBytesMax)
      return {
        push: (chunk, got) =>
          splitter.push(chunk, { onFrame: (_session, buffer, start, end) => got(buffer.subarray(start, end)) }),
        heldBytes: () => splitter.collectingBytes,
      }
    },
    framed: (envelope) => Buffer.concat([Buffer.from([0, 0, 0, 9]), envelope]),
  },
}

function envelopeOf({ version, direction }: Format, bodyBytes: number, announcedBytes = bodyBytes): Buffer {
  const envelope = Buffer.alloc(envelopeHeaderBytes + bodyBytes)
  // Of a kind that LZ4 does not shrink, so that what has come is what has been sent.
  for (let i = envelopeHeaderBytes, x = 1; i < envelope.length; i++) {
    x = Math.imul(x, 1_103_515_245) + 12_345
    envelope[i] = x >>> 16
  }
  const versionByte = direction === 'requests' ? version : version | responseBit
  writeHeader(envelope, versionByte, 0, 7, direction === 'requests' ? 0x07 : 0x08, announcedBytes)
  return envelope
}

describe('frames', () => {
  for (const [name, format] of Object.entries(formats)) {
    it(`cost memory for what has come, never for what was announced: ${name}`, () => {
      for (const arrived of [0, 1, 100, 5000, 100_000]) {
        const receiver = format.open()
        const begun = envelopeOf(format, arrived, announcedBytesMost)
        // A segment holds a part of a message and says so; the others are cut off by the silence.
        const wire =
          format.version === 5 ? (name === 'segments' ? plain : compressedSegment)(begun, false) : format.framed(begun)
        receiver.push(Buffer.from(wire), () => assert.fail('it is not whole'))
        assert.ok(receiver.heldBytes() >= arrived, `${arrived}: ${receiver.heldBytes()}`)
        assert.ok(receiver.heldBytes() <= 2 * (arrived + 1024), `${arrived}: ${receiver.heldBytes()}`)
      }
    })

    it(`cost at most twice what has come, however slowly it comes: ${name}`, () => {
      const receiver = format.open()
      const wire = format.framed(envelopeOf(format, 3_000_000))
      const pieceBytes = 700
      let whole = 0
      for (let at = 0; at < wire.length; at += pieceBytes) {
        receiver.push(Buffer.from(wire.subarray(at, at + pieceBytes)), ({ length }) => {
          whole = length
        })
        const came = at + pieceBytes
        // A segment that is not whole is held beside the message that it is a part of.
        assert.ok(receiver.heldBytes() <= 2 * came + 2 * segmentPayloadBytesMax, `${came}: ${receiver.heldBytes()}`)
      }
      assert.equal(whole, envelopeHeaderBytes + 3_000_000)
      assert.equal(receiver.heldBytes(), 0)
    })

    it(`come out whole in any pieces, and are views where they lie whole in one: ${name}`, () => {
      const sizes = fc.array(fc.constantFrom(0, 1, 90, 1015, 5000, 70_000, 140_000), { minLength: 1, maxLength: 6 })
      const cuts = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 6 })
      fc.assert(
        fc.property(sizes, cuts, (bodies, each) => {
          const envelopes = bodies.map((bytes) => envelopeOf(format, bytes))
          const wire = Buffer.concat(envelopes.map((envelope) => format.framed(envelope)))
          const receiver = format.open()
          const got: Buffer[] = []
          for (let at = 0, i = 0; at < wire.length; i++) {
            const next = Math.min(wire.length, at + (each[i % each.length] ?? 1))
            const chunk = Buffer.from(wire.subarray(at, next))
            receiver.push(chunk, (bytes) => got.push(Buffer.from(bytes)))
            // The socket's memory is used again as soon as push is over.
            chunk.fill(0xee)
            at = next
          }
          assert.ok(got.length === envelopes.length && got.every((bytes, i) => envelopes[i]?.equals(bytes)))
          assert.equal(receiver.heldBytes(), 0)
        }),
        { numRuns: 40 },
      )
      if (name === 'segments with LZ4') return
      const one = format.framed(envelopeOf(format, 100))
      format.open().push(one, (bytes) => assert.equal(bytes.buffer, one.buffer))
    })

    it(`are refused or delivered alike, whole and in pieces, whatever the bytes: ${name}`, () => {
      const wire = format.framed(envelopeOf(format, 40))
      fc.assert(
        fc.property(fc.nat(wire.length - 1), fc.nat(255), fc.integer({ min: 1, max: 30 }), (at, byte, pieceBytes) => {
          const bytes = Buffer.concat([wire, wire, wire])
          bytes[at] = byte
          assert.deepEqual(outcome(format, bytes, pieceBytes), outcome(format, bytes, bytes.length))
        }),
        { numRuns: 200 },
      )
    })
  }
})

function outcome(format: Format, bytes: Buffer, pieceBytes: number): string[] {
  const receiver = format.open()
  const got: string[] = []
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes)
      receiver.push(Buffer.from(bytes.subarray(at, at + pieceBytes)), (envelope) => got.push(envelope.toString('hex')))
  } catch (reason) {
    if (!(reason instanceof RingfenceError)) throw reason
    got.push(reason.code)
  }
  return got
}
