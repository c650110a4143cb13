/**
 * W3C trace context in a request: the entry `traceparent` of its custom payload, a map from [string] to [bytes] that stands first in the body
 * (native_protocol_v4.spec §2.2, flag 0x04).
 *
 * Rule: nothing here throws. What is no custom payload, or no trace context, is none; whoever reads the request says what is wrong with it.
 */
import { splice, writeLength } from './answers/splice.ts'
import type { Envelope } from './envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags, headerOpcode, Opcode } from './protocol.ts'

const key = Buffer.from('traceparent')
/** `00-`, 32 characters, `-`, 16 characters, `-`, 2 characters. */
const valueBytes = 55
const traceIdAt = 3
const parentIdAt = 36
const flagsAt = 53
const sampled = 1
const dash = 0x2d
const versionNone = 0xff
const none = -1
const countBytes = 2
const flagsOfHeaderAt = 1
/** Fewer than any reader takes: room for one more. */
const entriesMax = 32

export interface TraceParent {
  readonly traceId: string
  readonly parentId: string
  /** Whoever asks records its own part of the trace. */
  readonly sampled: boolean
}

/** Requests whose payload is read. */
export function mayCarry(opcode: number): boolean {
  return opcode === Opcode.QUERY || opcode === Opcode.EXECUTE || opcode === Opcode.BATCH || opcode === Opcode.PREPARE
}

/** Where the value stands; −1 where there is none that can be used. */
export function traceparentAt({ bytes, start, end }: Envelope): number {
  if ((headerFlags(bytes, start) & Flag.CUSTOM_PAYLOAD) === 0 || !mayCarry(headerOpcode(bytes, start))) return none
  let at = start + envelopeHeaderBytes
  if (at + countBytes > end) return none
  const count = bytes.readUInt16BE(at)
  at += countBytes
  for (let entry = 0; entry < count; entry++) {
    if (at + 2 > end) return none
    const keyAt = at + 2
    const keyEnd = keyAt + bytes.readUInt16BE(at)
    if (keyEnd + 4 > end) return none
    const length = bytes.readInt32BE(keyEnd)
    at = keyEnd + 4 + Math.max(0, length)
    if (at > end) return none
    if (key.compare(bytes, keyAt, keyEnd) === 0) {
      const isWhole = length === valueBytes || (length > valueBytes && isLater(bytes, keyEnd + 4))
      return isWhole && isValue(bytes, keyEnd + 4) ? keyEnd + 4 : none
    }
  }
  return none
}

/** Of what `traceparentAt` found. */
export function readTraceparent(bytes: Buffer, at: number): TraceParent {
  return {
    traceId: bytes.toString('latin1', at + traceIdAt, at + traceIdAt + 32),
    parentId: bytes.toString('latin1', at + parentIdAt, at + parentIdAt + 16),
    sampled: isSampled(bytes, at),
  }
}

export function isSampled(bytes: Buffer, at: number): boolean {
  return (nibble(bytes[at + flagsAt + 1]!) & sampled) !== 0
}

/** In its place: from now on the request is a part of that trace, which is recorded, and asked by that span. */
export function setTraceparent(bytes: Buffer, at: number, traceId: string, spanId: string): void {
  bytes.write(traceId, at + traceIdAt, 'latin1')
  bytes.write(spanId, at + parentIdAt, 'latin1')
  setSampled(bytes, at, true)
}

/** In its place: nobody records the trace. */
export function setUnsampled(bytes: Buffer, at: number): void {
  setSampled(bytes, at, false)
}

function setSampled(bytes: Buffer, at: number, isSet: boolean): void {
  const digit = flagsAt + 1
  const others = nibble(bytes[at + digit]!) & ~sampled
  bytes.write((isSet ? others | sampled : others).toString(16), at + digit, 'latin1')
}

/** The same request, which has no such entry, as a part of that trace, asked by that span. */
export function withTraceparent(envelope: Envelope, traceId: string, spanId: string): Buffer {
  const { bytes, start } = envelope
  const value = `00-${traceId}-${spanId}-01`
  const entry = Buffer.alloc(2 + key.length + 4 + valueBytes)
  entry.writeUInt16BE(key.length, 0)
  key.copy(entry, 2)
  entry.writeInt32BE(valueBytes, 2 + key.length)
  entry.write(value, 2 + key.length + 4, 'latin1')
  const bodyAt = start + envelopeHeaderBytes
  const flags = headerFlags(bytes, start)
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0) {
    const whole = splice(envelope, { from: bodyAt + countBytes, to: bodyAt + countBytes, inserted: entry })
    whole.writeUInt16BE(bytes.readUInt16BE(bodyAt) + 1, envelopeHeaderBytes)
    return whole
  }
  const whole = splice(envelope, { from: bodyAt, to: bodyAt, inserted: Buffer.concat([Buffer.from([0, 1]), entry]) })
  whole[flagsOfHeaderAt] = flags | Flag.CUSTOM_PAYLOAD
  return whole
}

/** Whether an entry can be added. One that is there and cannot be used stays, and the request begins no trace here. */
export function hasRoomForOne({ bytes, start, end }: Envelope): boolean {
  if ((headerFlags(bytes, start) & Flag.CUSTOM_PAYLOAD) === 0) return true
  const at = start + envelopeHeaderBytes
  if (at + countBytes > end || bytes.readUInt16BE(at) > entriesMax) return false
  return !bytes.subarray(at, Math.min(end, at + payloadLookedMax)).includes(key)
}

const payloadLookedMax = 16 * 1024

/** An ERROR that names its trace at the end of its message; unchanged where the message has no room. */
export function errorOfTrace(envelope: Envelope, messageAt: number, traceId: string): Buffer {
  const { bytes, start, end } = envelope
  const length = bytes.readUInt16BE(messageAt)
  const words = Buffer.from(` (trace ${traceId})`)
  if (length + words.length > 65_535) return bytes.subarray(start, end)
  const at = messageAt + 2 + length
  const whole = splice(envelope, { from: at, to: at, inserted: words })
  whole.writeUInt16BE(length + words.length, messageAt - start)
  writeLength(whole)
  return whole
}

/** Of a version behind 0: it may go on behind a dash. */
function isLater(bytes: Buffer, at: number): boolean {
  return (bytes[at] !== 0x30 || bytes[at + 1] !== 0x30) && bytes[at + valueBytes] === dash
}

/** The digits and dashes that each version begins with. All zeros mean nothing, and there is no version ff. */
function isValue(bytes: Buffer, at: number): boolean {
  let [version, trace, parent] = [0, 0, 0]
  for (let i = 0; i < valueBytes; i++) {
    const byte = bytes[at + i]!
    if (i === traceIdAt - 1 || i === parentIdAt - 1 || i === flagsAt - 1) {
      if (byte !== dash) return false
      continue
    }
    const digit = nibble(byte)
    if (digit < 0) return false
    if (i < traceIdAt) version = version * 16 + digit
    else if (i < parentIdAt) trace |= digit
    else if (i < flagsAt) parent |= digit
  }
  return version !== versionNone && trace !== 0 && parent !== 0
}

/** Of a lower-case digit; −1 of anything else. */
function nibble(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : none
}
