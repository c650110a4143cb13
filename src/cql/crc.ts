/** The two checksums of v5 segments (native_protocol_v5.spec §2; `org.apache.cassandra.net.Crc`). */
import { crc32 as zlibCrc32 } from 'node:zlib'

const crc24Init = 0x875060
const crc24Polynomial = 0x1974f0b

// One step of eight shifts for every value of the top byte.
const crc24Table = Int32Array.from({ length: 256 }, (_, top) => {
  let crc = top << 16
  for (let bit = 0; bit < 8; bit++) {
    crc <<= 1
    if (crc & 0x1000000) crc ^= crc24Polynomial
  }
  return crc
})

/** CRC24 over `bytes` header bytes at `start`: 3 without compression, 5 with LZ4. */
export function crc24(buf: Uint8Array, start: number, bytes: number): number {
  let crc = crc24Init
  for (let at = start; at < start + bytes; at++) crc = ((crc & 0xffff) << 8) ^ crc24Table[(crc >> 16) ^ buf[at]!]!
  return crc
}

// Cassandra feeds four bytes first, so that a payload of zeroes does not have a checksum of zero.
const crc32Seed = zlibCrc32(Uint8Array.of(0xfa, 0x2d, 0x55, 0xca))

/** CRC32 of a segment's payload as it stands on the wire, an unsigned 32-bit number. */
export function crc32(buf: Buffer, start: number, end: number): number {
  return zlibCrc32(buf.subarray(start, end), crc32Seed)
}
