/** Writes the notations of native_protocol_v5.spec §3 behind one another into memory that grows. Our own values: no checks. */
import { assert } from '../base/errors.ts'
import { envelopeHeaderBytes, writeHeader } from './protocol.ts'

const shortMax = 65_535

export class BodyWriter {
  #buf = Buffer.allocUnsafe(256)
  #at = 0

  #room(bytes: number): number {
    const at = this.#at
    const wanted = at + bytes
    if (wanted > this.#buf.length) {
      const grown = Buffer.allocUnsafe(Math.max(wanted, this.#buf.length * 2))
      this.#buf.copy(grown, 0, 0, at)
      this.#buf = grown
    }
    this.#at = wanted
    return at
  }

  byte(n: number): this {
    // In two steps: `this.#buf` is another one after the memory has grown.
    const at = this.#room(1)
    this.#buf[at] = n
    return this
  }

  short(n: number): this {
    assert(n >= 0 && n <= shortMax, 'a [short] is 0 to 65,535')
    const at = this.#room(2)
    this.#buf[at] = n >> 8
    this.#buf[at + 1] = n
    return this
  }

  int(n: number): this {
    const at = this.#room(4)
    this.#buf.writeInt32BE(n, at)
    return this
  }

  long(n: bigint): this {
    const at = this.#room(8)
    this.#buf.writeBigInt64BE(n, at)
    return this
  }

  string(text: string): this {
    const bytes = Buffer.from(text, 'utf8')
    return this.short(bytes.length).raw(bytes)
  }

  /** A [string] for people: cut to what fits, never inside a character. */
  cutString(text: string): this {
    let bytes = Buffer.from(text, 'utf8')
    if (bytes.length > shortMax) {
      let end = shortMax
      while ((bytes[end]! & 0xc0) === 0x80) end--
      bytes = bytes.subarray(0, end)
    }
    return this.short(bytes.length).raw(bytes)
  }

  longString(text: string): this {
    const bytes = Buffer.from(text, 'utf8')
    return this.int(bytes.length).raw(bytes)
  }

  stringList(list: readonly string[]): this {
    this.short(list.length)
    for (const text of list) this.string(text)
    return this
  }

  stringMap(map: ReadonlyMap<string, string>): this {
    this.short(map.size)
    for (const [key, value] of map) this.string(key).string(value)
    return this
  }

  stringMultimap(map: ReadonlyMap<string, readonly string[]>): this {
    this.short(map.size)
    for (const [key, values] of map) this.string(key).stringList(values)
    return this
  }

  /** [bytes] or [value]; null is a length of −1. */
  bytes(bytes: Uint8Array | null): this {
    return bytes === null ? this.int(-1) : this.int(bytes.length).raw(bytes)
  }

  shortBytes(bytes: Uint8Array): this {
    return this.short(bytes.length).raw(bytes)
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#buf.set(bytes, at)
    return this
  }

  /** What was written, as memory of its own. */
  take(): Buffer {
    return Buffer.from(this.#buf.subarray(0, this.#at))
  }

  /** What was written as the body of a whole envelope. */
  envelope(versionByte: number, stream: number, opcode: number, flags = 0): Buffer {
    const whole = Buffer.allocUnsafe(envelopeHeaderBytes + this.#at)
    writeHeader(whole, versionByte, flags, stream, opcode, this.#at)
    this.#buf.copy(whole, envelopeHeaderBytes, 0, this.#at)
    return whole
  }
}
