/**
 * How one value is masked, by its type. What can be done is decided once for each column, before a value is read:
 *
 *     full     every type but custom ones: '****', 0, false, nothing, an address or date that is always the same
 *     partial  text, ascii and blob: at most half is kept; collections and vectors of them by element
 *     hash     text, ascii, blob, uuid, integers; collections and vectors of them by element
 *
 * A masked value is always a value of its type. Elements of a set and keys of a map that are equal once masked become one, the first
 * one's value staying; they are put in the order of their masked bytes, because the old order would tell which is the greater.
 */
import { isUtf8 } from 'node:buffer'
import { createHash, hash as digest } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { BodyReader } from '../reader.ts'
import type { Column } from '../responses.ts'
import { type CqlType, fixedBytes } from '../types.ts'
import { readUnsignedVint, writeUnsignedVint } from '../vint.ts'
import { BodyWriter } from '../writer.ts'
import { Growing, writeInt } from './growing.ts'

/** How a column is hidden. */
export type Mask =
  /** A fixed value of its type. */
  | { readonly kind: 'full' }
  /** Some characters (or bytes of a blob) at the ends stay, never more than half. */
  | { readonly kind: 'partial'; readonly keepStart: number; readonly keepEnd: number }
  /** Keyed: equal values of a column stay equal. `name` where the column goes by another name in this answer. */
  | { readonly kind: 'hash'; readonly name?: string }
  | { readonly kind: 'null' }

/** Writes the masked form of the value `buf[start..end)`, without a length. */
export interface ValueMasker {
  (out: Growing, buf: Buffer, start: number, end: number): void
  /** The same in steps of a millisecond or less, for a value of more than `stepBytes`; undefined where it takes no longer. */
  readonly steps?: Steps
}
type Steps = (out: Growing, buf: Buffer, start: number, end: number) => Generator<undefined, void>

/** Of elements, each of which may have to be hashed. */
export const stepBytes = 2048
const elementsAtOnce = 256
/** Of one text. */
const windowBytes = 256 * 1024
/** Entries that are sorted or merged at once. */
const sortedAtOnce = 1024

/** The part of a mask that looks at one text, number, …; undefined where it cannot be done for that type. */
type LeafOf = (type: CqlType) => ValueMasker | undefined

const hashKeyBytesMin = 32

/**
 * @param keyed needed for a hash
 * @throws RingfenceError INVALID where values of the column's type cannot be masked so
 */
export function maskerOf(
  { name, type }: Pick<Column, 'name' | 'type'>,
  mask: Exclude<Mask, { readonly kind: 'null' }>,
  keyed: KeyedHash | undefined,
): ValueMasker {
  let masker: ValueMasker | undefined
  switch (mask.kind) {
    case 'full':
      masker = fullOf(type)
      break
    case 'partial':
      masker = byElement(type, partialOf(Math.max(0, mask.keepStart), Math.max(0, mask.keepEnd)))
      break
    case 'hash':
      masker = keyed && byElement(type, hashOf(keyed, Buffer.from(mask.name ?? name, 'utf8')))
  }
  if (masker !== undefined) return masker
  throw new RingfenceError('INVALID', `column ${name} cannot be masked by ${mask.kind}: its type is ${typeText(type)}`)
}

/** The masked value with its length in front. */
export function writeMasked(out: Growing, masker: ValueMasker, buf: Buffer, start: number, end: number): void {
  const lengthAt = out.room(4)
  const { buf: lengthBuf, bytes: before } = out
  masker(out, buf, start, end)
  writeInt(lengthBuf, lengthAt, out.bytes - before)
}

/** The same in steps, where the value is long and the masker has some. */
export function* writeMaskedInSteps(
  out: Growing,
  masker: ValueMasker,
  buf: Buffer,
  start: number,
  end: number,
): Generator<undefined, void> {
  if (masker.steps === undefined || end - start <= stepBytes) {
    writeMasked(out, masker, buf, start, end)
    return
  }
  const lengthAt = out.room(4)
  const { buf: lengthBuf, bytes: before } = out
  yield* masker.steps(out, buf, start, end)
  writeInt(lengthBuf, lengthAt, out.bytes - before)
}

/** A masker that is its steps, one after the other. */
function inSteps(steps: Steps): ValueMasker {
  const masker = (out: Growing, buf: Buffer, start: number, end: number): void => {
    const all = steps(out, buf, start, end)
    while (all.next().done !== true);
  }
  return Object.assign(masker, { steps })
}

// --- full

const nil = Buffer.alloc(16)
const timeuuidOfZero = Buffer.from('00000000000010008000000000000000', 'hex')

/** What stands for every value of a type. */
const fullValues: ReadonlyMap<CqlType['kind'], Buffer> = new Map([
  ['text', Buffer.from('****')],
  ['ascii', Buffer.from('****')],
  ['blob', nil.subarray(0, 0)],
  ['boolean', nil.subarray(0, 1)],
  ['tinyint', nil.subarray(0, 1)],
  ['smallint', nil.subarray(0, 2)],
  ['int', nil.subarray(0, 4)],
  ['bigint', nil.subarray(0, 8)],
  ['counter', nil.subarray(0, 8)],
  ['varint', nil.subarray(0, 1)],
  // Scale 0, then a varint.
  ['decimal', nil.subarray(0, 5)],
  ['float', nil.subarray(0, 4)],
  ['double', nil.subarray(0, 8)],
  ['timestamp', nil.subarray(0, 8)],
  ['time', nil.subarray(0, 8)],
  // Days are unsigned around 2^31: 1970-01-01.
  ['date', Buffer.from('80000000', 'hex')],
  // Months, days, nanoseconds.
  ['duration', nil.subarray(0, 3)],
  // 0.0.0.0
  ['inet', nil.subarray(0, 4)],
  ['uuid', nil],
  ['timeuuid', timeuuidOfZero],
  // No elements.
  ['list', nil.subarray(0, 4)],
  ['set', nil.subarray(0, 4)],
  ['map', nil.subarray(0, 4)],
] as const)

function fullOf(type: CqlType): ValueMasker | undefined {
  switch (type.kind) {
    case 'tuple':
      return fieldsOf(type.elements)
    case 'udt':
      return fieldsOf(type.fields.map((field) => field.type))
    case 'vector':
      return vectorOf(type, fullOf(type.element))
    default: {
      const value = fullValues.get(type.kind)
      if (value === undefined) return undefined
      return unlessEmpty(type, (out) => out.copy(value, 0, value.length))
    }
  }
}

/** Fields that are not there, and those that are null, stay so. */
function fieldsOf(types: readonly CqlType[]): ValueMasker | undefined {
  const maskers: ValueMasker[] = []
  for (const type of types) {
    const masker = fullOf(type)
    if (masker === undefined) return undefined
    maskers.push(masker)
  }
  return (out, buf, start, end) => {
    const reader = new BodyReader().reset(buf, start, end)
    for (const masker of maskers) {
      if (reader.remaining === 0) return
      maskNext(out, reader, masker)
    }
    reader.assertDone()
  }
}

// --- partial

const star = 0x2a

function partialOf(keepStart: number, keepEnd: number): LeafOf {
  return ({ kind }) => {
    if (kind === 'blob') return inSteps((out, buf, start, end) => partialBlob(out, buf, start, end, keepStart, keepEnd))
    if (kind !== 'text' && kind !== 'ascii') return undefined
    return inSteps((out, buf, start, end) => partialText(out, buf, start, end, keepStart, keepEnd))
  }
}

/** How many of `count` stay at the start and at the end: never more than half, shared as they were asked for. */
function kept(count: number, keepStart: number, keepEnd: number): { first: number; last: number } {
  const most = count >> 1
  if (keepStart + keepEnd <= most) return { first: keepStart, last: keepEnd }
  const first = Math.floor((most * keepStart) / (keepStart + keepEnd))
  return { first, last: Math.min(keepEnd, most - first) }
}

/** Characters are code points: no driver gets half of one. */
function* partialText(
  out: Growing,
  buf: Buffer,
  start: number,
  end: number,
  keepStart: number,
  keepEnd: number,
): Generator<undefined, void> {
  const count = yield* characters(buf, start, end)
  const { first, last } = kept(count, keepStart, keepEnd)
  let firstEnd = start
  for (let i = 0; i < first; i++) {
    firstEnd++
    while ((buf[firstEnd]! & 0xc0) === 0x80) firstEnd++
  }
  let lastStart = end
  for (let i = 0; i < last; i++) {
    lastStart--
    while ((buf[lastStart]! & 0xc0) === 0x80) lastStart--
  }
  out.copy(buf, start, firstEnd)
  yield* fill(out, star, count - first - last)
  out.copy(buf, lastStart, end)
}

function* characters(buf: Buffer, start: number, end: number): Generator<undefined, number> {
  let count = 0
  for (let from = start; from < end; ) {
    if (from > start) yield
    let to = Math.min(from + windowBytes, end)
    // A window ends where a character does; where that is not found soon it is no text.
    for (let i = 0; i < 3 && to < end && (buf[to]! & 0xc0) === 0x80; i++) to++
    if (!isUtf8(buf.subarray(from, to))) throw new RingfenceError('PROTOCOL', 'text is not well-formed utf-8')
    for (let i = from; i < to; i++) if ((buf[i]! & 0xc0) !== 0x80) count++
    from = to
  }
  return count
}

function* fill(out: Growing, byte: number, bytes: number): Generator<undefined, void> {
  for (let left = bytes; left > 0; ) {
    if (left < bytes) yield
    const some = Math.min(left, windowBytes)
    const at = out.room(some)
    out.buf.fill(byte, at, at + some)
    left -= some
  }
}

function* partialBlob(
  out: Growing,
  buf: Buffer,
  start: number,
  end: number,
  keepStart: number,
  keepEnd: number,
): Generator<undefined, void> {
  const { first, last } = kept(end - start, keepStart, keepEnd)
  out.copy(buf, start, start + first)
  yield* fill(out, 0, end - start - first - last)
  out.copy(buf, end - last, end)
}

// --- hash

const blockBytes = 64
const sha256Bytes = 32

/** HMAC-SHA256 (RFC 2104) of many short texts: two digests of memory that is kept, since a Hmac object for each value costs more. */
export class KeyedHash {
  #inner = Buffer.alloc(1024)
  readonly #outer = Buffer.alloc(blockBytes + sha256Bytes)

  /** UNAVAILABLE where there is no key of 32 bytes: a hash that everyone can make hides nothing. */
  constructor(key: Buffer) {
    if (key.length < hashKeyBytesMin || key.length > blockBytes) {
      throw new RingfenceError('UNAVAILABLE', 'columns are masked by hash, and the mesh has no key for it yet')
    }
    for (let i = 0; i < blockBytes; i++) {
      const byte = i < key.length ? key[i]! : 0
      this.#inner[i] = byte ^ 0x36
      this.#outer[i] = byte ^ 0x5c
    }
  }

  /** Of the length of `name` (uint16), `name` and `buf[start..end)`: 32 bytes. */
  of(name: Buffer, buf: Buffer, start: number, end: number): Buffer {
    const nameAt = blockBytes + 2
    const valueAt = nameAt + name.length
    const bytes = valueAt + end - start
    if (bytes > this.#inner.length) {
      const grown = Buffer.alloc(Math.max(bytes, this.#inner.length * 2))
      this.#inner.copy(grown, 0, 0, blockBytes)
      this.#inner = grown
    }
    this.#inner.writeUInt16BE(name.length, blockBytes)
    name.copy(this.#inner, nameAt)
    buf.copy(this.#inner, valueAt, start, end)
    return this.#outerOf(digest('sha256', this.#inner.subarray(0, bytes), 'buffer'))
  }

  /** The same in steps. */
  *inSteps(name: Buffer, buf: Buffer, start: number, end: number): Generator<undefined, Buffer> {
    const inner = createHash('sha256').update(this.#inner.subarray(0, blockBytes))
    const nameBytes = Buffer.alloc(2)
    nameBytes.writeUInt16BE(name.length)
    inner.update(nameBytes).update(name)
    for (let from = start; from < end; from += windowBytes) {
      if (from > start) yield
      inner.update(buf.subarray(from, Math.min(from + windowBytes, end)))
    }
    return this.#outerOf(inner.digest())
  }

  #outerOf(inner: Buffer): Buffer {
    inner.copy(this.#outer, blockBytes)
    return digest('sha256', this.#outer, 'buffer')
  }
}

const textHashBytes = 16
const hexDigits = Buffer.from('0123456789abcdef', 'latin1')

/** Bytes of a hashed integer; a varint is as wide as a bigint. */
const integerBytes: ReadonlyMap<CqlType['kind'], number> = new Map([
  ['tinyint', 1],
  ['smallint', 2],
  ['int', 4],
  ['bigint', 8],
  ['counter', 8],
  ['varint', 8],
] as const)

function hashOf(keyed: KeyedHash, name: Buffer): LeafOf {
  return (type) => {
    switch (type.kind) {
      case 'text':
      case 'ascii':
        return hashed(keyed, name, writeHex)
      case 'blob':
        return hashed(keyed, name, (out, hash) => out.copy(hash, 0, sha256Bytes))
      case 'uuid':
      case 'timeuuid': {
        // RFC 9562: random is version 4, time is version 1.
        const version = type.kind === 'uuid' ? 0x40 : 0x10
        return unlessEmpty(type, (out, buf, start, end) => {
          const hashed = keyed.of(name, buf, start, end)
          hashed[6] = (hashed[6]! & 0x0f) | version
          hashed[8] = (hashed[8]! & 0x3f) | 0x80
          out.copy(hashed, 0, 16)
        })
      }
      default: {
        const bytes = integerBytes.get(type.kind)
        if (bytes === undefined) return undefined
        return unlessEmpty(type, (out, buf, start, end) => {
          const hashed = keyed.of(name, buf, shortestStart(buf, start, end), end)
          hashed[0]! &= 0x7f
          // A varint must not begin with a byte that says nothing.
          if (type.kind === 'varint') hashed[0]! |= 0x40
          out.copy(hashed, 0, bytes)
        })
      }
    }
  }
}

function hashed(keyed: KeyedHash, name: Buffer, write: (out: Growing, hash: Buffer) => void): ValueMasker {
  const masker = (out: Growing, buf: Buffer, start: number, end: number): void =>
    write(out, keyed.of(name, buf, start, end))
  return Object.assign(masker, {
    *steps(out: Growing, buf: Buffer, start: number, end: number): Generator<undefined, void> {
      write(out, yield* keyed.inSteps(name, buf, start, end))
    },
  })
}

function writeHex(out: Growing, hash: Buffer): void {
  const at = out.room(textHashBytes * 2)
  for (let i = 0; i < textHashBytes; i++) {
    out.buf[at + i * 2] = hexDigits[hash[i]! >> 4]!
    out.buf[at + i * 2 + 1] = hexDigits[hash[i]! & 15]!
  }
}

/** Behind the leading bytes of an integer that say nothing, so that equal numbers are equal bytes in every width. */
function shortestStart(buf: Buffer, start: number, end: number): number {
  let at = start
  while (at < end - 1) {
    const sign = buf[at + 1]! >= 0x80 ? 0xff : 0
    if (buf[at] !== sign) break
    at++
  }
  return at
}

// --- by element

function byElement(type: CqlType, leafOf: LeafOf): ValueMasker | undefined {
  switch (type.kind) {
    case 'list': {
      const element = byElement(type.element, leafOf)
      return element && unlessEmpty(type, listOf(element))
    }
    case 'set': {
      const element = byElement(type.element, leafOf)
      return element && unlessEmpty(type, entriesOf(element, undefined))
    }
    case 'map': {
      const key = byElement(type.key, leafOf)
      const value = byElement(type.value, leafOf)
      return key && value && unlessEmpty(type, entriesOf(key, value))
    }
    case 'vector':
      return vectorOf(type, byElement(type.element, leafOf))
    default:
      return leafOf(type)
  }
}

function listOf(element: ValueMasker): ValueMasker {
  return inSteps(function* (out, buf, start, end) {
    const reader = new BodyReader().reset(buf, start, end)
    const count = reader.count()
    out.int(count)
    let stepEnd = start + stepBytes
    for (let i = 0; i < count; i++) {
      if (isLongNext(reader, element)) yield* maskNextInSteps(out, reader, element)
      else maskNext(out, reader, element)
      if (reader.at < stepEnd) continue
      stepEnd = reader.at + stepBytes
      yield
    }
    reader.assertDone()
  })
}

/** Of a set, or with `value` of a map. */
function entriesOf(key: ValueMasker, value: ValueMasker | undefined): ValueMasker {
  return inSteps(function* (out, buf, start, end) {
    const reader = new BodyReader().reset(buf, start, end)
    const count = reader.count()
    // Each of them is some objects until they are sorted.
    if (count > limits.maskedElementsMax) {
      const most = `maskedElementsMax (${limits.maskedElementsMax})`
      throw new RingfenceError('TOO_LARGE', `a set or map of ${count} elements to be masked has more than ${most}`)
    }
    const entries: Entry[] = []
    let stepEnd = start + stepBytes
    for (let i = 0; i < count; i++) {
      const maskedKey = yield* maskedNext(reader, key)
      entries.push({ key: maskedKey, value: value && (yield* maskedNext(reader, value)) })
      if (reader.at < stepEnd) continue
      stepEnd = reader.at + stepBytes
      yield
    }
    reader.assertDone()
    const countAt = out.room(4)
    const { buf: countBuf } = out
    let distinct = 0
    let last: Buffer | undefined
    for (const entry of yield* sorted(entries)) {
      if (last?.equals(entry.key)) continue
      last = entry.key
      distinct++
      out.copy(entry.key, 0, entry.key.length)
      if (entry.value !== undefined) out.copy(entry.value, 0, entry.value.length)
      if (distinct % sortedAtOnce === 0) yield
    }
    writeInt(countBuf, countAt, distinct)
  })
}

interface Entry {
  readonly key: Buffer
  readonly value: Buffer | undefined
}

/** By key; equal ones stay in their order. */
function* sorted(entries: Entry[]): Generator<undefined, Entry[]> {
  let runs: Entry[][] = []
  for (let at = 0; at < entries.length; at += sortedAtOnce) {
    if (at > 0) yield
    runs.push(entries.slice(at, at + sortedAtOnce).sort((a, b) => a.key.compare(b.key)))
  }
  while (runs.length > 1) {
    const merged: Entry[][] = []
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* mergedRuns(runs[at]!, runs[at + 1] ?? []))
    runs = merged
  }
  return runs[0] ?? []
}

function* mergedRuns(first: Entry[], second: Entry[]): Generator<undefined, Entry[]> {
  const merged: Entry[] = []
  for (let a = 0, b = 0; a < first.length || b < second.length; ) {
    const one = first[a]
    const other = second[b]
    const isFirst = other === undefined || (one !== undefined && one.key.compare(other.key) <= 0)
    merged.push(isFirst ? one! : other)
    if (isFirst) a++
    else b++
    if (merged.length % sortedAtOnce === 0) yield
  }
  return merged
}

/** Vectors have no lengths in them where all values of the element's type are as long, else a vint before each. */
function vectorOf(
  { element, dimension }: Extract<CqlType, { kind: 'vector' }>,
  masker: ValueMasker | undefined,
): ValueMasker | undefined {
  // No Cassandra has a vector of nothing, and a reader could be kept busy with vectors of vectors of nothing.
  if (masker === undefined || dimension < 1) return undefined
  const fixed = fixedBytes(element)
  return inSteps(function* (out, buf, start, end) {
    if (start === end) return
    const reader = new BodyReader().reset(buf, start, end)
    if (fixed !== undefined && fixed * dimension !== end - start) {
      throw new RingfenceError('PROTOCOL', `vector of ${end - start} bytes`)
    }
    for (let i = 0; i < dimension; i++) {
      // Each may be of a byte or two.
      if (i % elementsAtOnce === elementsAtOnce - 1) yield
      if (fixed !== undefined) {
        const at = reader.skip(fixed)
        masker(out, buf, at, at + fixed)
        continue
      }
      const bytes = Number(readUnsignedVint(reader))
      const at = reader.skip(bytes)
      const masked = new Growing(bytes + 32)
      if (masker.steps !== undefined && bytes > stepBytes) yield* masker.steps(masked, buf, at, at + bytes)
      else masker(masked, buf, at, at + bytes)
      const length = new BodyWriter()
      writeUnsignedVint(length, BigInt(masked.bytes))
      const lengthBytes = length.take()
      out.copy(lengthBytes, 0, lengthBytes.length)
      const element = masked.written()
      out.copy(element, 0, element.length)
    }
    reader.assertDone()
  })
}

// --- parts

/** Empty bytes of a type that has no empty value read as null, a legacy of Thrift; they stay. */
function unlessEmpty(type: CqlType, masker: ValueMasker): ValueMasker {
  if (type.kind === 'text' || type.kind === 'ascii' || type.kind === 'blob') return masker
  const { steps } = masker
  const unless = (out: Growing, buf: Buffer, start: number, end: number): void => {
    if (start !== end) masker(out, buf, start, end)
  }
  // Nothing that has more bytes than `stepBytes` is empty.
  return steps === undefined ? unless : Object.assign(unless, { steps })
}

/** Masks the [bytes] that come next. */
function maskNext(out: Growing, reader: BodyReader, masker: ValueMasker): void {
  const bytes = reader.skipBytes()
  if (bytes < 0) out.int(-1)
  else writeMasked(out, masker, reader.buf, reader.at - bytes, reader.at)
}

function* maskNextInSteps(out: Growing, reader: BodyReader, masker: ValueMasker): Generator<undefined, void> {
  const bytes = reader.skipBytes()
  if (bytes < 0) out.int(-1)
  else yield* writeMaskedInSteps(out, masker, reader.buf, reader.at - bytes, reader.at)
}

function isLongNext({ buf, at, remaining }: BodyReader, { steps }: ValueMasker): boolean {
  return steps !== undefined && remaining > 4 && buf.readInt32BE(at) > stepBytes
}

function* maskedNext(reader: BodyReader, masker: ValueMasker): Generator<undefined, Buffer> {
  const out = new Growing(64)
  if (isLongNext(reader, masker)) yield* maskNextInSteps(out, reader, masker)
  else maskNext(out, reader, masker)
  return out.written()
}

/** Of a type in an error: the outermost kind says enough. */
function typeText(type: CqlType): string {
  switch (type.kind) {
    case 'list':
    case 'set':
      return `${type.kind}<${typeText(type.element)}>`
    case 'map':
      return `map<${typeText(type.key)}, ${typeText(type.value)}>`
    case 'vector':
      return `vector<${typeText(type.element)}, ${type.dimension}>`
    default:
      return type.kind
  }
}
