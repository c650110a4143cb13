/** Integers of 8 to 64 bits as values. */
import type { NativeTypeName } from '../types.ts'

/** The low bits of `value`, as the type has them. */
export function integral(kind: NativeTypeName, value: bigint): Buffer {
  switch (kind) {
    case 'tinyint':
      return Buffer.of(Number(BigInt.asUintN(8, value)))
    case 'smallint': {
      const bytes = Buffer.alloc(2)
      bytes.writeInt16BE(Number(BigInt.asIntN(16, value)))
      return bytes
    }
    case 'int': {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32BE(Number(BigInt.asIntN(32, value)))
      return bytes
    }
    default: {
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64BE(BigInt.asIntN(64, value))
      return bytes
    }
  }
}

/** Of tinyint, smallint, int, bigint, counter, timestamp; undefined for an empty value. */
export function integerValue(bytes: Buffer): bigint | undefined {
  switch (bytes.length) {
    case 1:
      return BigInt(bytes.readInt8(0))
    case 2:
      return BigInt(bytes.readInt16BE(0))
    case 4:
      return BigInt(bytes.readInt32BE(0))
    case 8:
      return bytes.readBigInt64BE(0)
    default:
      return undefined
  }
}
