/** A sink that stops: what is behind waits, and comes in its order, whole and once, however often it is stopped. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { EnvelopeSink } from './envelope-sink.ts'
import { Inbound } from './inbound.ts'
import { headerStream, Opcode } from './protocol.ts'
import { compressedSegment, sealSegment, segmentHeaderBytes, segmentTrailerBytes } from './segment.ts'
import { BodyWriter } from './writer.ts'

const envelopeOf = (stream: number, bytes: number): Buffer =>
  new BodyWriter().raw(Buffer.alloc(bytes, stream)).envelope(5, stream, Opcode.QUERY)

function segment(payload: Buffer): Buffer {
  const whole = Buffer.alloc(segmentHeaderBytes + payload.length + segmentTrailerBytes)
  payload.copy(whole, segmentHeaderBytes)
  sealSegment(whole, 0, payload.length, true)
  return whole
}

const framings = {
  bare: (envelopes: readonly Buffer[]) => Buffer.concat(envelopes),
  segments: (envelopes: readonly Buffer[]) => Buffer.concat(envelopes.map((one) => segment(Buffer.concat([one, one])))),
  lz4: (envelopes: readonly Buffer[]) =>
    Buffer.concat(envelopes.map((one) => compressedSegment(Buffer.concat([one, one]), true))),
} as const

class Sink implements EnvelopeSink {
  readonly seen: string[] = []
  readonly #inbound: Inbound
  /** After so many it stops. */
  readonly #every: number
  #count = 0

  constructor(inbound: Inbound, every: number) {
    this.#inbound = inbound
    this.#every = every
  }

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    this.seen.push(`${headerStream(buffer, start)}: ${end - start} ${buffer[end - 1]}`)
    if (++this.#count % this.#every === 0) this.#inbound.stop()
  }
}

function read(framing: keyof typeof framings, wire: Buffer, chunks: readonly number[], every: number): string[] {
  const inbound = new Inbound('requests', 1_000_000)
  if (framing !== 'bare') inbound.useSegments(framing === 'lz4' ? 'lz4' : 'none')
  const sink = new Sink(inbound, every)
  let at = 0
  for (const bytes of [...chunks, wire.length]) {
    const chunk = Buffer.from(wire.subarray(at, at + bytes))
    at += bytes
    const before = sink.seen.length
    inbound.push(chunk, sink)
    assert.ok(sink.seen.length - before <= every, 'nothing comes after it was stopped')
    chunk.fill(0)
    for (let turns = 0; inbound.waits && turns < at % 3; turns++) inbound.goOn(sink)
  }
  while (inbound.waits) {
    const before = sink.seen.length
    inbound.goOn(sink)
    assert.ok(sink.seen.length - before <= every)
  }
  assert.equal(inbound.collectingBytes <= 64 * 1024, true)
  return sink.seen
}

describe('a sink that stops', () => {
  for (const framing of ['bare', 'segments', 'lz4'] as const) {
    it(`is given the same as one that does not: ${framing}`, () => {
      fc.assert(
        fc.property(
          fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 20 }),
          fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 20 }),
          fc.integer({ min: 1, max: 5 }),
          (sizes, chunks, every) => {
            const wire = framings[framing](sizes.map((bytes, at) => envelopeOf(at, bytes)))
            assert.deepEqual(read(framing, wire, chunks, every), read(framing, wire, [], Number.POSITIVE_INFINITY))
          },
        ),
        { numRuns: 200 },
      )
    })
  }

  it('counts what waits, and does not take it for what comes before a change of framing', () => {
    const inbound = new Inbound('requests', 1_000_000)
    const sink = new Sink(inbound, 1)
    const wire = Buffer.concat([envelopeOf(1, 0), envelopeOf(2, 1000)])
    inbound.push(wire, sink)
    assert.equal(inbound.collectingBytes, 1009)
    assert.throws(() => inbound.useSegments('none'), /bytes came before/)
  })

  it('ends with what is malformed behind it, not before', () => {
    const inbound = new Inbound('requests', 1_000_000)
    const sink = new Sink(inbound, 1)
    inbound.push(Buffer.concat([envelopeOf(1, 0), Buffer.from('GET / HTTP/1.1\r\n')]), sink)
    assert.equal(sink.seen.length, 1)
    assert.throws(() => inbound.goOn(sink), /protocol version/)
    assert.throws(() => inbound.goOn(sink), /already failed/)
    assert.equal(inbound.collectingBytes, 0)
  })
})
