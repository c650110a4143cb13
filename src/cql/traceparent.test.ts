/** Trace context in custom payloads: what is found, what is written, and that nothing of it ends in an exception. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { errorEnvelope, queryEnvelope, registerEnvelope, unpreparedEnvelope } from './encode.ts'
import { wholeEnvelope } from './envelope.ts'
import { QueryView, readQuery } from './requests.ts'
import { bodyStart, readError } from './responses.ts'
import {
  errorOfTrace,
  hasRoomForOne,
  readTraceparent,
  setTraceparent,
  setUnsampled,
  traceparentAt,
  withTraceparent,
} from './traceparent.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'
const query = queryEnvelope(4, 7, 'SELECT v FROM shop.items')
// By hand: count, [string], [bytes].
const written = Buffer.concat([
  Buffer.from([0, 1, 0, 11]),
  Buffer.from('traceparent'),
  Buffer.from([0, 0, 0, 55]),
  Buffer.from(`00-${traceId}-${spanId}-01`),
])

function found(envelope: Buffer) {
  const at = traceparentAt(wholeEnvelope(envelope))
  return at < 0 ? undefined : readTraceparent(envelope, at)
}

describe('trace context in a request', () => {
  it('is written as the protocol has custom payloads, and the request stays the same', () => {
    const traced = withTraceparent(wholeEnvelope(query), traceId, spanId)
    assert.deepEqual(traced.subarray(9, 9 + written.length), written)
    assert.deepEqual(traced.subarray(9 + written.length), query.subarray(9))
    assert.equal(traced[1], query[1]! | 4)
    assert.equal(traced.readInt32BE(5), traced.length - 9)
    const view = new QueryView()
    readQuery(view, wholeEnvelope(traced), 4)
    assert.equal(view.text, 'SELECT v FROM shop.items')
    assert.deepEqual(found(traced), { traceId, parentId: spanId, sampled: true })
  })

  it('of somebody else gets another span, beside entries that stay', () => {
    const first = withTraceparent(wholeEnvelope(query), traceId, spanId)
    const again = Buffer.from(first)
    const at = traceparentAt(wholeEnvelope(again))
    for (const flags of ['00', '01', '02', '03', 'fe', 'ff']) {
      again.write(flags, at + 53)
      setUnsampled(again, at)
      assert.deepEqual(found(again), { traceId, parentId: spanId, sampled: false }, flags)
      setTraceparent(again, at, 'b'.repeat(32), 'a'.repeat(16))
      assert.deepEqual(found(again), { traceId: 'b'.repeat(32), parentId: 'a'.repeat(16), sampled: true }, flags)
      setTraceparent(again, at, traceId, spanId)
      again.write('01', at + 53)
      assert.deepEqual(again, first)
    }
    const other = Buffer.concat([
      query.subarray(0, 9),
      Buffer.from([0, 1, 0, 1, 0x78, 0, 0, 0, 1, 0x79]),
      query.subarray(9),
    ])
    other[1]! |= 4
    other.writeInt32BE(other.length - 9, 5)
    assert.equal(found(other), undefined)
    assert.ok(hasRoomForOne(wholeEnvelope(other)))
    const both = withTraceparent(wholeEnvelope(other), traceId, spanId)
    assert.equal(both.readUInt16BE(9), 2)
    assert.deepEqual(found(both), { traceId, parentId: spanId, sampled: true })
    assert.ok(!hasRoomForOne(wholeEnvelope(both)))
  })

  it('is looked for in requests with statements only', () => {
    const register = registerEnvelope(4, 1, ['SCHEMA_CHANGE'])
    register[1]! |= 4
    assert.equal(found(register), undefined)
  })

  it('throws nothing, whatever a client writes', () => {
    const traced = withTraceparent(wholeEnvelope(query), traceId, spanId)
    const fault = fc.record({ at: fc.nat({ max: traced.length - 1 }), byte: fc.nat({ max: 255 }) })
    const check = fc.property(fc.array(fault, { maxLength: 6 }), fc.nat({ max: traced.length }), (faults, cut) => {
      const bytes = Buffer.from(traced)
      for (const { at, byte } of faults) if (at > 4) bytes[at] = byte
      const envelope = { bytes, start: 0, end: Math.max(9, cut) }
      const at = traceparentAt(envelope)
      hasRoomForOne(envelope)
      if (at >= 0) assert.match(readTraceparent(bytes, at).traceId, /^[0-9a-f]{32}$/)
    })
    fc.assert(check, { numRuns: 3000 })
  })
})

describe('an error that names its trace', () => {
  it('has it behind its message, before what its code adds', () => {
    for (const error of [
      errorEnvelope(4, 1, 0x2100, 'no rule permits this'),
      errorEnvelope(4, 1, 0x2100, ''),
      unpreparedEnvelope(5, 1, Buffer.alloc(16, 7), 'not prepared'),
    ]) {
      const before = readError(wholeEnvelope(error))
      const told = errorOfTrace(wholeEnvelope(error), bodyStart(wholeEnvelope(error)) + 4, traceId)
      assert.deepEqual(readError(wholeEnvelope(told)), { ...before, message: `${before.message} (trace ${traceId})` })
      assert.equal(told.readInt32BE(5), told.length - 9)
    }
  })

  it('stays as it is where there is no room', () => {
    const error = errorEnvelope(4, 1, 0x2100, 'x'.repeat(65_535))
    assert.equal(errorOfTrace(wholeEnvelope(error), 13, traceId).length, error.length)
  })
})
