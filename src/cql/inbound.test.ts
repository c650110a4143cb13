import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../base/errors.fixture.ts'
import { RingfenceError } from '../base/errors.ts'
import { optionsEnvelope } from './encode.fixture.ts'
import { queryEnvelope, readyEnvelope } from './encode.ts'
import type { EnvelopeSink } from './envelope-sink.ts'
import { Collected, largeWires, setMode, smallWires } from './fixtures.ts'
import { Inbound } from './inbound.ts'
import { lz4Compress } from './lz4.ts'
import { writeHeader } from './protocol.ts'
import { compressedSegment, sealSegment, segmentHeaderBytes, segmentTrailerBytes } from './segment.ts'

const bodyMax = 16 * 1024 * 1024
const requests = (bodyBytesMax = bodyMax) => new Inbound('requests', bodyBytesMax)
const nobody: EnvelopeSink = { onEnvelope: () => assert.fail('nothing was to be delivered') }

function plainSegment(payload: Buffer, selfContained = true): Buffer {
  const segment = Buffer.alloc(segmentHeaderBytes + payload.length + segmentTrailerBytes)
  payload.copy(segment, segmentHeaderBytes)
  sealSegment(segment, 0, payload.length, selfContained)
  return segment
}

const codeOfPush = (inbound: Inbound, bytes: Buffer) => codeOf(() => inbound.push(Buffer.from(bytes), new Collected()))

describe('an Inbound', () => {
  for (const { name, mode, wire, envelopes } of [...smallWires, ...largeWires]) {
    it(`finds what the Python driver wrote: ${name}`, () => {
      const sink = new Collected()
      setMode(requests(), mode).push(Buffer.from(wire), sink)
      assert.deepEqual(sink.envelopes, envelopes)
    })
  }

  for (const { name, mode, wire, envelopes } of smallWires) {
    it(`finds the same at every split into two, and byte by byte: ${name}`, () => {
      for (let split = 0; split <= wire.length; split++) {
        const sink = new Collected()
        const inbound = setMode(requests(), mode)
        inbound.push(Buffer.from(wire.subarray(0, split)), sink)
        inbound.push(Buffer.from(wire.subarray(split)), sink)
        assert.deepEqual(sink.envelopes, envelopes, `split at ${split}`)
        assert.equal(inbound.collectingBytes, 0)
      }
      const sink = new Collected()
      const inbound = setMode(requests(), mode)
      for (const byte of wire) inbound.push(Buffer.of(byte), sink)
      assert.deepEqual(sink.envelopes, envelopes)
    })
  }

  for (const { name, mode, wire, envelopes } of largeWires) {
    it(`finds the same in random pieces: ${name}`, () => {
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 0, max: wire.length }), { maxLength: 20 }), (cuts) => {
          const sink = new Collected()
          const inbound = setMode(requests(), mode)
          let from = 0
          for (const to of [...cuts.sort((a, b) => a - b), wire.length]) {
            inbound.push(Buffer.from(wire.subarray(from, to)), sink)
            from = to
          }
          assert.deepEqual(sink.envelopes, envelopes)
        }),
        { numRuns: 30 },
      )
    })
  }

  it('hands out the chunk itself where nothing is split, in bare and in plain segments', () => {
    const envelope = optionsEnvelope(5, 1)
    for (const segments of [false, true]) {
      const inbound = requests()
      if (segments) inbound.useSegments('none')
      const chunk = segments ? plainSegment(envelope) : envelope
      inbound.push(chunk, { onEnvelope: (buffer) => assert.equal(buffer, chunk) })
    }
  })

  it('keeps one version once it is told, and refuses another', () => {
    const inbound = requests()
    inbound.expectVersion(4)
    const sink = new Collected()
    inbound.push(optionsEnvelope(4, 1), sink)
    assert.equal(sink.envelopes.length, 1)
    assert.equal(codeOfPush(inbound, optionsEnvelope(5, 9)), 'PROTOCOL')
    assert.equal(inbound.faultStream, 9)
  })

  for (const [version, versionByte] of [
    [1, 1],
    [2, 2],
    [6, 6],
    [65, 0x41],
    [66, 0x42],
    [71, 0x47],
  ] as const) {
    it(`answers version ${version} with VERSION and the stream, even before the header is whole`, () => {
      const inbound = requests()
      const header = Buffer.from([versionByte, 0, 0x01, 0x02])
      inbound.push(header.subarray(0, 3), nobody)
      assert.equal(
        codeOf(() => inbound.push(header.subarray(3), nobody)),
        'VERSION',
      )
      assert.equal(inbound.faultVersion, version)
      assert.equal(inbound.faultStream, version < 3 ? 1 : 0x0102)
    })
  }

  it('refuses a response from a client and a request from a node', () => {
    assert.equal(codeOfPush(requests(), readyEnvelope(4, 1)), 'PROTOCOL')
    assert.equal(codeOfPush(new Inbound('responses', bodyMax), optionsEnvelope(4, 1)), 'PROTOCOL')
    assert.equal(codeOfPush(new Inbound('responses', bodyMax), readyEnvelope(4, 1)), 'none')
  })

  it('takes a body of exactly bodyBytesMax and refuses one byte more at the header, before the body has come', () => {
    const header = Buffer.alloc(9)
    writeHeader(header, 4, 0, 21, 7, 1000)
    assert.equal(codeOfPush(requests(1000), header), 'none')
    const inbound = requests(999)
    assert.equal(codeOfPush(inbound, header), 'TOO_LARGE')
    assert.equal(inbound.faultStream, 21)
    assert.equal(inbound.collectingBytes, 0)
    writeHeader(header, 4, 0, 21, 7, -1)
    assert.equal(codeOfPush(requests(), header), 'PROTOCOL')
    writeHeader(header, 4, 0, 21, 7, 0x7fffffff)
    assert.equal(codeOfPush(requests(), header), 'TOO_LARGE')
  })

  it('holds the same bound inside segments, and may be given another between two messages', () => {
    const big = queryEnvelope(5, 1, 'x'.repeat(2000))
    for (const selfContained of [true, false]) {
      const inbound = requests(1000)
      inbound.useSegments('none')
      assert.equal(codeOfPush(inbound, plainSegment(big, selfContained)), 'TOO_LARGE')
      const raised = requests(1000)
      raised.useSegments('none')
      raised.bodyBytesMax = 4000
      assert.equal(codeOfPush(raised, plainSegment(big, selfContained)), 'none')
    }
  })

  it('takes memory for what has come, not for what is announced', () => {
    const inbound = requests()
    const header = Buffer.alloc(9)
    writeHeader(header, 4, 0, 1, 7, bodyMax)
    const before = process.memoryUsage().arrayBuffers
    const many = Array.from({ length: 100 }, () => {
      const one = requests()
      one.push(header, nobody)
      one.push(Buffer.alloc(10), nobody)
      return one
    })
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 1024 * 1024)
    assert.equal(many.length, 100)
    inbound.push(header, nobody)
    assert.ok(inbound.collectingBytes <= 1024)
  })

  it('is dead after a fault', () => {
    const inbound = requests()
    assert.equal(codeOfPush(inbound, Buffer.from([9, 9, 9, 9, 9])), 'VERSION')
    assert.equal(codeOfPush(inbound, optionsEnvelope(4, 1)), 'PROTOCOL')
  })

  it('is dead after its sink threw, and lets that through', () => {
    const inbound = requests()
    const angry: EnvelopeSink = {
      onEnvelope: () => {
        throw new RingfenceError('UNAUTHORIZED', 'no')
      },
    }
    assert.equal(
      codeOf(() => inbound.push(optionsEnvelope(4, 1), angry)),
      'UNAUTHORIZED',
    )
    assert.equal(codeOfPush(inbound, optionsEnvelope(4, 1)), 'PROTOCOL')
  })
})

describe('compression of v3 and v4 bodies', () => {
  const query = queryEnvelope(4, 3, 'SELECT 1 FROM t WHERE k = 1 AND k = 1 AND k = 1')

  function compressed(declared: number, block: Buffer, version = 4): Buffer {
    const envelope = Buffer.alloc(13 + block.length)
    writeHeader(envelope, version, 1, 3, 7, 4 + block.length)
    envelope.writeInt32BE(declared, 9)
    block.copy(envelope, 13)
    return envelope
  }
  const body = query.subarray(9)
  const agreed = (max = bodyMax) => setMode(requests(max), 'bare-lz4')

  it('opens a flagged body, with the flag gone from what it hands out', () => {
    const sink = new Collected()
    agreed().push(compressed(body.length, lz4Compress(body)), sink)
    assert.deepEqual(sink.envelopes, [query])
  })

  it('leaves an unflagged body alone', () => {
    const sink = new Collected()
    agreed().push(Buffer.from(query), sink)
    assert.deepEqual(sink.envelopes, [query])
  })

  it('refuses a flagged body where nothing was agreed, and takes it in v5, where the flag means nothing', () => {
    const inbound = requests()
    assert.equal(codeOfPush(inbound, compressed(body.length, lz4Compress(body))), 'PROTOCOL')
    assert.equal(inbound.faultStream, 3)
    const v5 = optionsEnvelope(5, 3)
    v5[1] = 1
    const sink = new Collected()
    requests().push(v5, sink)
    assert.deepEqual(sink.envelopes, [optionsEnvelope(5, 3)])
  })

  it('refuses a declared length that is negative, above the cap, too long, too short, or missing', () => {
    const block = lz4Compress(body)
    assert.equal(codeOfPush(agreed(), compressed(-1, block)), 'PROTOCOL')
    assert.equal(codeOfPush(agreed(body.length), compressed(body.length + 1, block)), 'TOO_LARGE')
    assert.equal(codeOfPush(agreed(), compressed(0x7fffffff, block)), 'TOO_LARGE')
    assert.equal(codeOfPush(agreed(), compressed(body.length + 1, block)), 'PROTOCOL')
    assert.equal(codeOfPush(agreed(), compressed(body.length - 1, block)), 'PROTOCOL')
    assert.equal(codeOfPush(agreed(), compressed(body.length, block.subarray(0, -1))), 'PROTOCOL')
    const short = Buffer.alloc(12)
    writeHeader(short, 4, 1, 3, 7, 3)
    assert.equal(codeOfPush(agreed(), short), 'PROTOCOL')
  })

  it('refuses a bomb by its declared length (E1)', () => {
    const bomb = lz4Compress(Buffer.alloc(1024 * 1024))
    assert.ok(bomb.length < 8192)
    assert.equal(codeOfPush(agreed(64 * 1024), compressed(1024 * 1024, bomb)), 'TOO_LARGE')
    assert.equal(codeOfPush(agreed(64 * 1024), compressed(1024, bomb)), 'PROTOCOL')
  })
})

describe('segments', () => {
  const one = queryEnvelope(5, 1, 'SELECT a FROM t')
  const two = queryEnvelope(5, 2, 'SELECT b FROM t')
  const framed = (lz4 = false, max = bodyMax) => setMode(requests(max), lz4 ? 'segments-lz4' : 'segments')

  it('switches over inside the sink, for what follows in the same chunk', () => {
    const inbound = requests()
    const seen: number[] = []
    const sink: EnvelopeSink = {
      onEnvelope: (buffer, start) => {
        if (seen.length === 0) inbound.useSegments('none')
        seen.push(buffer[start + 3]!)
      },
    }
    inbound.push(Buffer.concat([optionsEnvelope(5, 8), plainSegment(Buffer.concat([one, two]))]), sink)
    assert.deepEqual(seen, [8, 1, 2])
  })

  it('refuses to switch over when a bare message has begun', () => {
    const inbound = requests()
    inbound.push(one.subarray(0, 12), nobody)
    assert.equal(
      codeOf(() => inbound.useSegments('none')),
      'PROTOCOL',
    )
  })

  for (const lz4 of [false, true]) {
    const seal = lz4 ? compressedSegment : plainSegment
    const kind = lz4 ? 'lz4' : 'plain'

    it(`notices any flipped bit, ${kind}`, () => {
      const segment = seal(one, true)
      for (let bit = 0; bit < segment.length * 8; bit++) {
        const bad = Buffer.from(segment)
        bad[bit >> 3]! ^= 1 << (bit & 7)
        assert.equal(codeOfPush(framed(lz4), bad), 'CHECKSUM', `bit ${bit}`)
      }
    })

    it(`takes a message in pieces, the last one with the header alone in front, ${kind}`, () => {
      const sink = new Collected()
      const inbound = framed(lz4)
      for (const piece of [one.subarray(0, 9), one.subarray(9, 20), one.subarray(20)]) {
        inbound.push(seal(piece, false), sink)
      }
      inbound.push(seal(two, true), sink)
      assert.deepEqual(sink.envelopes, [one, two])
    })

    it(`takes a whole message that says it is not self-contained, and refuses two in one piece, ${kind}`, () => {
      const sink = new Collected()
      framed(lz4).push(seal(one, false), sink)
      assert.deepEqual(sink.envelopes, [one])
      assert.equal(codeOfPush(framed(lz4), seal(Buffer.concat([one, two]), false)), 'PROTOCOL')
    })

    it(`refuses a first piece without a whole header, and a last one with bytes behind, ${kind}`, () => {
      assert.equal(codeOfPush(framed(lz4), seal(one.subarray(0, 8), false)), 'PROTOCOL')
      const inbound = framed(lz4)
      inbound.push(seal(one.subarray(0, 12), false), nobody)
      assert.equal(codeOfPush(inbound, seal(Buffer.concat([one.subarray(12), two]), false)), 'PROTOCOL')
    })

    it(`refuses a self-contained segment between the pieces of a message, ${kind}`, () => {
      const inbound = framed(lz4)
      inbound.push(seal(one.subarray(0, 12), false), nobody)
      assert.equal(codeOfPush(inbound, seal(two, true)), 'PROTOCOL')
    })

    it(`refuses a self-contained segment that ends inside a header or an envelope, ${kind}`, () => {
      assert.equal(codeOfPush(framed(lz4), seal(Buffer.concat([one, two.subarray(0, 8)]), true)), 'PROTOCOL')
      assert.equal(codeOfPush(framed(lz4), seal(Buffer.concat([one, two.subarray(0, -1)]), true)), 'PROTOCOL')
    })

    it(`lets empty segments pass, as Cassandra does, but not as a first piece, ${kind}`, () => {
      const empty = Buffer.alloc(0)
      const sink = new Collected()
      const inbound = framed(lz4)
      inbound.push(seal(empty, true), sink)
      inbound.push(seal(one.subarray(0, 12), false), sink)
      inbound.push(seal(empty, false), sink)
      inbound.push(seal(one.subarray(12), false), sink)
      assert.deepEqual(sink.envelopes, [one])
      assert.equal(codeOfPush(framed(lz4), seal(empty, false)), 'PROTOCOL')
    })

    it(`ignores the old compression flag of an envelope, ${kind}`, () => {
      const flagged = Buffer.from(one)
      flagged[1] = 1
      const sink = new Collected()
      framed(lz4).push(seal(flagged, true), sink)
      assert.deepEqual(sink.envelopes, [one])
    })
  }

  it('refuses padding bits although their checksum is right', async () => {
    const { crc24 } = await import('./crc.ts')
    const plain = plainSegment(one)
    plain[2]! |= 0x04
    plain.writeUIntLE(crc24(plain, 0, 3), 3, 3)
    assert.equal(codeOfPush(framed(), plain), 'PROTOCOL')
    const lz4 = compressedSegment(one, true)
    lz4[4]! |= 0x80
    lz4.writeUIntLE(crc24(lz4, 0, 5), 5, 3)
    assert.equal(codeOfPush(framed(true), lz4), 'PROTOCOL')
  })

  it('refuses an lz4 payload that is not as long as its header says', async () => {
    const { crc24 } = await import('./crc.ts')
    for (const change of [-1, 1]) {
      const lz4 = compressedSegment(queryEnvelope(5, 1, 'k = 1 '.repeat(100)), true)
      const lengths = lz4.readUInt32LE(0)
      const uncompressed = (lengths >>> 17) + change
      lz4.writeUInt32LE(((uncompressed << 17) | (lengths & 0x1ffff)) >>> 0, 0)
      lz4.writeUIntLE(crc24(lz4, 0, 5), 5, 3)
      assert.equal(codeOfPush(framed(true), lz4), 'PROTOCOL')
    }
  })

  it('carries the largest payload of 131,071 bytes, compressible or not', () => {
    for (const fill of [0, undefined]) {
      const bytes = 131_071 - 9 - 4 - 6
      const text =
        fill === 0
          ? 'a'.repeat(bytes)
          : Array.from({ length: bytes }, (_, i) => String.fromCharCode(33 + ((i * i * 7919) % 90))).join('')
      const envelope = queryEnvelope(5, 1, text)
      assert.equal(envelope.length, 131_071)
      for (const lz4 of [false, true]) {
        const sink = new Collected()
        framed(lz4).push((lz4 ? compressedSegment : plainSegment)(envelope, true), sink)
        assert.deepEqual(sink.envelopes, [envelope])
      }
    }
  })
})
