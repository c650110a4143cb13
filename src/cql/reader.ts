/**
 * A cursor over one body with a checked read for every notation of native_protocol_v5.spec §3. Every failure is PROTOCOL:
 * nothing is read past the end, no length is trusted, no text is repaired.
 */
import { isUtf8 } from 'node:buffer'
import { RingfenceError } from '../base/errors.ts'
import { consistencyMax } from './protocol.ts'

/** What a [value] or [bytes] length says where there are no bytes. */
const nullLength = -1
const unsetLength = -2

const nothing = Buffer.alloc(0)

export class BodyReader {
  buf: Buffer = nothing
  at = 0
  end = 0

  reset(buf: Buffer, start: number, end: number): this {
    this.buf = buf
    this.at = start
    this.end = end
    return this
  }

  get remaining(): number {
    return this.end - this.at
  }

  /** Refuses bytes behind the message: what is not understood is not forwarded. */
  assertDone(): void {
    if (this.at !== this.end)
      throw new RingfenceError('PROTOCOL', `${this.end - this.at} bytes behind the end of the message`)
  }

  /** Moves over `bytes` and answers where they start. */
  skip(bytes: number): number {
    const at = this.at
    if (bytes > this.end - at) throw new RingfenceError('PROTOCOL', 'the message ends too early')
    this.at = at + bytes
    return at
  }

  /** [byte]: 0..255. */
  byte(): number {
    return this.buf[this.skip(1)]!
  }

  /** [short]: 0..65,535. */
  short(): number {
    const at = this.skip(2)
    return (this.buf[at]! << 8) | this.buf[at + 1]!
  }

  /** [int], signed. */
  int(): number {
    const at = this.skip(4)
    const buf = this.buf
    return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!
  }

  /** [int] that counts something and therefore is not negative. */
  count(): number {
    const n = this.int()
    if (n < 0) throw new RingfenceError('PROTOCOL', 'negative count')
    return n
  }

  /** [long], signed. */
  long(): bigint {
    return this.buf.readBigInt64BE(this.skip(8))
  }

  /** [string] */
  string(): string {
    const bytes = this.short()
    return this.text(bytes)
  }

  /** Moves over a [string]; its bytes are not looked at. */
  skipString(): void {
    this.skip(this.short())
  }

  /** [long string] of at most `bytesMax` bytes, else TOO_LARGE. */
  longString(bytesMax: number): string {
    const bytes = this.int()
    if (bytes < 0) throw new RingfenceError('PROTOCOL', 'negative length of a text')
    // What is not there is malformed, and ends the connection; what is there and too large costs its request only.
    if (bytes > this.remaining) throw new RingfenceError('PROTOCOL', 'the message ends too early')
    if (bytes > bytesMax) throw new RingfenceError('TOO_LARGE', `text of ${bytes} bytes is longer than ${bytesMax}`)
    return this.text(bytes)
  }

  /** UTF-8 exactly as it stands, byte order mark included; malformed bytes are refused, never replaced (A6). */
  text(bytes: number): string {
    const at = this.skip(bytes)
    const text = this.buf.toString('utf8', at, at + bytes)
    // Malformed bytes come out as U+FFFD; only then is it worth asking whether the peer meant that character.
    if (text.includes('\ufffd') && !isUtf8(this.buf.subarray(at, at + bytes))) {
      throw new RingfenceError('PROTOCOL', 'text is not well-formed utf-8')
    }
    return text
  }

  /** [uuid] in the usual letters. */
  uuid(): string {
    const at = this.skip(16)
    return uuidText(this.buf, at)
  }

  /** [string list]. `entriesMax`: TOO_LARGE above it. */
  stringList(entriesMax = 65_535): string[] {
    const count = this.entries(entriesMax)
    const list: string[] = []
    for (let i = 0; i < count; i++) list.push(this.string())
    return list
  }

  skipStringList(): void {
    const count = this.short()
    for (let i = 0; i < count; i++) this.skipString()
  }

  /** [bytes]: moves over them and answers their length, or nullLength for any negative one. They end at `at`. */
  skipBytes(): number {
    const bytes = this.int()
    if (bytes < 0) return nullLength
    this.skip(bytes)
    return bytes
  }

  /** [bytes] as a view into the body, null where the length is negative. */
  bytes(): Buffer | null {
    const bytes = this.skipBytes()
    return bytes < 0 ? null : this.buf.subarray(this.at - bytes, this.at)
  }

  /**
   * [value]: moves over it and answers its length, nullLength or unsetLength. Below that is PROTOCOL. v3 knows no unset: there
   * any negative length is null (`transport/CBUtil.java` readBoundValue).
   */
  skipValue(version: number): number {
    const bytes = this.int()
    if (bytes >= 0) {
      this.skip(bytes)
      return bytes
    }
    if (bytes === nullLength || version < 4) return nullLength
    if (bytes !== unsetLength) throw new RingfenceError('PROTOCOL', `value of length ${bytes}`)
    return unsetLength
  }

  /** [short bytes]: moves over them and answers their length. They end at `at`. */
  skipShortBytes(): number {
    const bytes = this.short()
    this.skip(bytes)
    return bytes
  }

  /** [short bytes] as a view into the body. */
  shortBytes(): Buffer {
    const bytes = this.skipShortBytes()
    return this.buf.subarray(this.at - bytes, this.at)
  }

  /** [consistency]: a code that has a name. */
  consistency(): number {
    const code = this.short()
    if (code > consistencyMax) throw new RingfenceError('PROTOCOL', `unknown consistency ${code}`)
    return code
  }

  /** [inetaddr] */
  inetAddress(): string {
    const bytes = this.byte()
    if (bytes !== 4 && bytes !== 16) throw new RingfenceError('PROTOCOL', `address of ${bytes} bytes`)
    const at = this.skip(bytes)
    return inetText(this.buf, at, bytes)
  }

  /** [inet] */
  inet(): { address: string; port: number } {
    const address = this.inetAddress()
    return { address, port: this.int() }
  }

  /** [string map]; a key that comes twice is PROTOCOL, since two readers may keep different ones. */
  stringMap(entriesMax = 65_535): Map<string, string> {
    const count = this.entries(entriesMax)
    const map = new Map<string, string>()
    for (let i = 0; i < count; i++) {
      const key = this.string()
      const value = this.string()
      this.#assertNew(map, key)
      map.set(key, value)
    }
    return map
  }

  /** [string multimap] */
  stringMultimap(entriesMax = 65_535): Map<string, string[]> {
    const count = this.entries(entriesMax)
    const map = new Map<string, string[]>()
    for (let i = 0; i < count; i++) {
      const key = this.string()
      const value = this.stringList()
      this.#assertNew(map, key)
      map.set(key, value)
    }
    return map
  }

  skipBytesMap(entriesMax = 65_535): void {
    const count = this.entries(entriesMax)
    for (let i = 0; i < count; i++) {
      this.skipString()
      this.skipBytes()
    }
  }

  /** The [short] count of a list or map of at most `entriesMax` entries. */
  entries(entriesMax: number): number {
    const count = this.short()
    // The least entry is an empty [string].
    if (2 * count > this.remaining) throw new RingfenceError('PROTOCOL', 'the message ends too early')
    if (count > entriesMax) throw new RingfenceError('TOO_LARGE', `${count} entries are more than ${entriesMax}`)
    return count
  }

  #assertNew(map: ReadonlyMap<string, unknown>, key: string): void {
    if (map.has(key)) throw new RingfenceError('PROTOCOL', 'a key stands twice in a map')
  }
}

/** Sixteen bytes as 8-4-4-4-12 hexadecimal digits. */
export function uuidText(buf: Buffer, at: number): string {
  const hex = buf.toString('hex', at, at + 16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** An address of 4 or 16 bytes, IPv6 in the form of RFC 5952. */
export function inetText(buf: Buffer, at: number, bytes: number): string {
  if (bytes === 4) return `${buf[at]}.${buf[at + 1]}.${buf[at + 2]}.${buf[at + 3]}`
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push((buf[at + i]! << 8) | buf[at + i + 1]!)
  // The longest run of zero groups, the first of equals, of two at least.
  let bestAt = -1
  let bestLength = 1
  for (let i = 0; i < 8; i++) {
    let length = 0
    while (i + length < 8 && groups[i + length] === 0) length++
    if (length > bestLength) {
      bestAt = i
      bestLength = length
    }
    i += length
  }
  const hex = groups.map((group) => group.toString(16))
  if (bestAt < 0) return hex.join(':')
  return `${hex.slice(0, bestAt).join(':')}::${hex.slice(bestAt + bestLength).join(':')}`
}
