/** Integers of one to nine bytes (`org.apache.cassandra.utils.vint.VIntCoding`). */
import type { BodyReader } from './reader.ts'
import type { BodyWriter } from './writer.ts'

/** As many leading ones in the first byte as bytes follow, then the number, most significant byte first. */
export function readUnsignedVint(reader: BodyReader): bigint {
  const first = reader.byte()
  const extra = Math.clz32(~(first << 24))
  let value = extra >= 8 ? 0n : BigInt(first & (0xff >> extra))
  for (let i = 0; i < extra; i++) value = (value << 8n) | BigInt(reader.byte())
  return value
}

export function writeUnsignedVint(writer: BodyWriter, value: bigint): void {
  let extra = 0
  while (extra < 8 && value >> BigInt(7 * (extra + 1)) !== 0n) extra++
  const top = extra === 8 ? 0n : value >> BigInt(8 * extra)
  writer.byte(Number(top) | (0xff & ~(0xff >> extra)))
  for (let i = extra - 1; i >= 0; i--) writer.byte(Number((value >> BigInt(8 * i)) & 0xffn))
}

/** Zig-zag: 0, −1, 1, −2, 2 are 0, 1, 2, 3, 4. */
export function readVint(reader: BodyReader): bigint {
  const value = readUnsignedVint(reader)
  return (value >> 1n) ^ -(value & 1n)
}

export function writeVint(writer: BodyWriter, value: bigint): void {
  writeUnsignedVint(writer, BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)))
}
