/**
 * The outer frames of protocol v5 (native_protocol_v5.spec §2; `net/FrameEncoderCrc.java`, `net/FrameEncoderLZ4.java`).
 * All numbers little-endian, unlike everything inside.
 *
 *     plain   [ 17 payload bytes | 1 self-contained | 6 zero | CRC24 ]                          payload  [ CRC32 ]
 *     lz4     [ 17 compressed bytes | 17 uncompressed bytes | 1 self-contained | 5 zero | CRC24 ] payload  [ CRC32 ]
 */
import { assert, RingfenceError } from '../base/errors.ts'
import { crc24, crc32 } from './crc.ts'
import { lz4Compress } from './lz4.ts'

export const segmentPayloadBytesMax = 131_071
export const segmentHeaderBytes = 6
export const segmentHeaderLz4Bytes = 8
export const segmentTrailerBytes = 4

/**
 * Makes a plain segment of a payload that already stands at `headerAt + segmentHeaderBytes`: writes the header in front and
 * the checksum behind. Takes no memory; the caller left room on both sides.
 */
export function sealSegment(buf: Buffer, headerAt: number, payloadBytes: number, selfContained: boolean): void {
  assert(payloadBytes <= segmentPayloadBytesMax, 'a segment payload is at most 131,071 bytes')
  buf[headerAt] = payloadBytes
  buf[headerAt + 1] = payloadBytes >> 8
  buf[headerAt + 2] = (payloadBytes >> 16) | (selfContained ? 2 : 0)
  buf.writeUIntLE(crc24(buf, headerAt, 3), headerAt + 3, 3)
  const payloadAt = headerAt + segmentHeaderBytes
  const trailerAt = payloadAt + payloadBytes
  buf.writeUInt32LE(crc32(buf, payloadAt, trailerAt), trailerAt)
}

/**
 * A whole LZ4 segment with a copy of `payload`. A payload that does not shrink goes as it is, marked by an uncompressed length
 * of zero: that is what the code does, whatever the specification's §2.3.2 says (`net/FrameDecoderLZ4.java`).
 */
export function compressedSegment(payload: Buffer, selfContained: boolean): Buffer {
  assert(payload.length <= segmentPayloadBytesMax, 'a segment payload is at most 131,071 bytes')
  let wire = lz4Compress(payload)
  let uncompressedBytes = payload.length
  if (wire.length >= payload.length) {
    wire = payload
    uncompressedBytes = 0
  }
  const payloadAt = segmentHeaderLz4Bytes
  const trailerAt = payloadAt + wire.length
  const segment = Buffer.allocUnsafe(trailerAt + segmentTrailerBytes)
  // 17 + 17 + 1 bits: the second length starts at bit 17 and leaves two of its bits to byte 4.
  segment.writeInt32LE(wire.length | (uncompressedBytes << 17), 0)
  segment[4] = (uncompressedBytes >> 15) | (selfContained ? 4 : 0)
  segment.writeUIntLE(crc24(segment, 0, 5), 5, 3)
  wire.copy(segment, payloadAt)
  segment.writeUInt32LE(crc32(segment, payloadAt, trailerAt), trailerAt)
  return segment
}

/** The length of the whole segment whose header stands at `at`. Throws CHECKSUM or PROTOCOL. */
export function segmentBytesAt(buf: Buffer, at: number, headerBytes: number): number {
  const lz4 = headerBytes === segmentHeaderLz4Bytes
  const crcAt = at + (lz4 ? 5 : 3)
  const crc = buf[crcAt]! | (buf[crcAt + 1]! << 8) | (buf[crcAt + 2]! << 16)
  if (crc24(buf, at, lz4 ? 5 : 3) !== crc)
    throw new RingfenceError('CHECKSUM', 'segment header does not match its checksum')
  const padding = lz4 ? buf[at + 4]! >> 3 : buf[at + 2]! >> 2
  if (padding !== 0) throw new RingfenceError('PROTOCOL', 'padding bits are set in a segment header')
  const payloadBytes = buf[at]! | (buf[at + 1]! << 8) | ((buf[at + 2]! & 1) << 16)
  return headerBytes + payloadBytes + segmentTrailerBytes
}

/** Throws CHECKSUM where the payload is not the one that the trailer behind it is for. */
export function checkSegmentPayload(buf: Buffer, payloadAt: number, trailerAt: number): void {
  if (crc32(buf, payloadAt, trailerAt) === buf.readUInt32LE(trailerAt)) return
  throw new RingfenceError('CHECKSUM', 'segment payload does not match its checksum')
}

/** Of a segment whose header was checked. */
export function isSelfContained(buf: Buffer, at: number, headerBytes: number): boolean {
  return headerBytes === segmentHeaderLz4Bytes ? (buf[at + 4]! & 4) !== 0 : (buf[at + 2]! & 2) !== 0
}

/** Of an LZ4 segment whose header was checked; 0 where its payload is as it is. */
export function segmentUncompressedBytes(buf: Buffer, at: number): number {
  return (buf[at + 2]! >> 1) | (buf[at + 3]! << 7) | ((buf[at + 4]! & 3) << 15)
}
