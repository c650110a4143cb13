/** Long values: the change is made in slices, whatever the value is made of, and together they are what one go gives. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { rowsEnvelope } from '../encode.ts'
import { wholeEnvelope } from '../envelope.ts'
import { readRows } from '../responses.ts'
import { type CqlType, listOf, mapOf, native, setOf } from '../types.ts'
import { Growing } from './growing.ts'
import { type Mask, maskersBy, RowsChange } from './mask.ts'

const key = Buffer.alloc(32, 9)
const hash: Mask = { kind: 'hash' }
const partial: Mask = { kind: 'partial', keepStart: 1, keepEnd: 1 }
const full: Mask = { kind: 'full' }
/** A slice is two steps of a value, each of so many bytes or elements at the most. */
const stepsASlice = 2

function change(type: CqlType, values: readonly (Buffer | null)[], mask: Mask): RowsChange {
  const columns = [{ name: 'c', type }]
  const answer = rowsEnvelope(
    4,
    0,
    { keyspace: 'shop', table: 'items', columns },
    values.map((value) => [value]),
  )
  return new RowsChange(
    wholeEnvelope(answer),
    4,
    maskersBy(() => mask, key),
  )
}

/** What the slices come to, and how many they are. */
function inSlices(made: RowsChange): { readonly result: Buffer; readonly count: number } {
  const slices = made.inSlices()
  for (let count = 1; ; count++) {
    const slice = slices.next()
    if (slice.done === true) return { result: slice.value, count }
  }
}

/** Elements with their lengths in front, behind their number. */
function collection(count: number, elements: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(4)]
  parts[0]!.writeInt32BE(count)
  for (const element of elements) {
    const length = Buffer.alloc(4)
    length.writeInt32BE(element.length)
    parts.push(length, element)
  }
  return Buffer.concat(parts)
}

const numbered = (count: number, bytes = 4): Buffer[] =>
  Array.from({ length: count }, (_, at) => {
    const element = Buffer.alloc(bytes, 0x61)
    element.writeInt32BE((at * 2_654_435_761) | 0, bytes - 4)
    return element
  })
const list = (count: number): Buffer => collection(count, numbered(count))
const map = (count: number): Buffer =>
  collection(
    count,
    numbered(count).flatMap((each) => [each, each]),
  )
const most = limits.maskedElementsMax
const vector = (dimension: number, element = native('int')): CqlType => ({ kind: 'vector', element, dimension })
const letters = (bytes: number): Buffer<ArrayBufferLike> =>
  Buffer.alloc(bytes, 'ä€x', 'utf8').subarray(0, bytes - (bytes % 6))

const values: readonly (readonly [what: string, type: CqlType, value: () => Buffer, masks: readonly Mask[]])[] = [
  ['a list of integers', listOf(native('int')), () => list(20_000), [hash, full]],
  ['a list of texts', listOf(native('text')), () => list(20_000).fill(0x61, 8, 12), [hash]],
  ['a list of nulls', listOf(native('int')), () => nulls(100_000), [hash]],
  ['a list of one list', listOf(listOf(native('int'))), () => collection(1, [list(20_000)]), [hash]],
  ['a list of many lists', listOf(listOf(native('int'))), () => collection(600, many(600, list(100))), [hash]],
  ['a set of integers', setOf(native('int')), () => list(most), [hash]],
  ['a map of integers', mapOf(native('int'), native('int')), () => map(most), [hash]],
  ['a map of one list', mapOf(native('int'), listOf(native('int'))), () => mapOfLists(1, 20_000), [hash]],
  ['a vector of integers', vector(20_000), () => Buffer.alloc(80_000, 7), [hash]],
  [
    'a vector of short texts',
    vector(20_000, native('text')),
    () => Buffer.alloc(40_000, Buffer.of(1, 0x61)),
    [hash, partial],
  ],
  ['a text of 3 MB', native('text'), () => letters(3_000_000), [hash, partial, full]],
  ['a blob of 3 MB', native('blob'), () => Buffer.alloc(3_000_000, 7), [hash, partial, full]],
  ['a list of one text of 3 MB', listOf(native('text')), () => collection(1, [letters(3_000_000)]), [hash, partial]],
]

function nulls(count: number): Buffer {
  const value = Buffer.alloc(4 + 4 * count, 0xff)
  value.writeInt32BE(count)
  return value
}
function many(count: number, element: Buffer): Buffer[] {
  return Array.from({ length: count }, () => element)
}
function mapOfLists(entries: number, elements: number): Buffer {
  return collection(
    entries,
    many(entries, list(elements)).flatMap((each, at) => [Buffer.from([0, 0, 0, at]), each]),
  )
}

/** Steps that a value takes at the least. */
function least(type: CqlType, value: Buffer): number {
  switch (type.kind) {
    case 'text':
    case 'blob':
      return value.length / (256 * 1024)
    case 'vector':
      return type.dimension / 256
    case 'list':
      // Of one long element it takes what that takes.
      return value.readInt32BE(0) === 1 ? least(type.element, value.subarray(8)) : value.length / 2 / 2048
    default:
      return value.length / 2 / 2048
  }
}

describe('a long value that is masked', () => {
  for (const [what, type, valueFor, masks] of values) {
    for (const mask of masks) {
      it(`${what}, ${mask.kind}: is changed in slices, and comes to the same`, () => {
        const value = valueFor()
        const { result, count } = inSlices(change(type, [value], mask))
        assert.ok(result.equals(change(type, [value], mask).whole()))
        const steps = mask === full ? 1 : least(type, value)
        assert.ok(count >= steps / stepsASlice, `${count} slices of ${value.length} bytes`)
      })
    }
  }

  it('is read by its slices as by its elements: nulls, empty and equal ones, nested', () => {
    const numbers = numbered(3_000)
    const texts = Array.from({ length: 6_000 }, (_, at) => Buffer.from(`${at % 3} ä ${at % 700}`))
    const shapes: readonly (readonly [CqlType, Buffer, Mask])[] = [
      [setOf(native('text')), collection(6_000, texts), partial],
      [mapOf(native('int'), listOf(native('int'))), mapOfLists(50, 1_000), hash],
      [listOf(setOf(native('int'))), collection(3, many(3, collection(3_000, numbers))), hash],
      [vector(2, listOf(native('int'))), vints([list(2_000), list(3)]), hash],
    ]
    for (const [type, value, mask] of shapes) {
      const values = [null, value, Buffer.alloc(0), value, null]
      const whole = change(type, values, mask).whole()
      assert.ok(inSlices(change(type, values, mask)).result.equals(whole))
      const rows = readRows(wholeEnvelope(whole), 4).rows.map(([cell]) => cell)
      assert.deepEqual([rows[0], rows[4]], [null, null])
      assert.deepEqual(rows[1], rows[3])
    }
  })

  it('is refused as a set or map of more elements than are sorted anew; a list is not', () => {
    const tooMany = most + 1
    const refused = (reason: unknown): boolean =>
      reason instanceof RingfenceError && reason.code === 'TOO_LARGE' && /maskedElementsMax/.test(reason.message)
    for (const mask of [hash] as const) {
      assert.throws(() => change(setOf(native('int')), [list(tooMany)], mask).whole(), refused)
      assert.throws(() => inSlices(change(setOf(native('int')), [list(tooMany)], mask)), refused)
      assert.throws(() => change(mapOf(native('int'), native('int')), [map(tooMany)], mask).whole(), refused)
      inSlices(change(setOf(native('int')), [list(most)], mask))
      inSlices(change(listOf(native('int')), [list(tooMany)], mask))
    }
    inSlices(change(setOf(native('int')), [list(tooMany)], full))
  })

  it('and an answer that grows to six times its length is put together in slices', () => {
    const row = Buffer.alloc(1)
    const rows = Array.from({ length: 60_000 }, () => row)
    const { result, count } = inSlices(change(native('text'), rows, hash))
    assert.ok(result.equals(change(native('text'), rows, hash).whole()))
    assert.ok(count > rows.length / 512, `${count} slices`)
  })
})

function vints(elements: readonly Buffer[]): Buffer {
  return Buffer.concat(
    elements.flatMap((element) => {
      const { length } = element
      const prefix =
        length < 0x80
          ? Buffer.of(length)
          : length < 0x4000
            ? Buffer.of(0x80 | (length >> 8), length & 255)
            : Buffer.of(0xc0 | (length >> 16), (length >> 8) & 255, length & 255)
      return [prefix, element]
    }),
  )
}

describe('growing memory', () => {
  it('holds what was written across its parts, at once and window by window', () => {
    const out = new Growing(3)
    const wanted: Buffer[] = []
    for (let at = 0; at < 2_000; at++) {
      const bytes = Buffer.alloc(at % 700, at)
      out.copy(bytes, 0, bytes.length)
      out.int(at)
      const number = Buffer.alloc(4)
      number.writeInt32BE(at)
      wanted.push(bytes, number)
    }
    const all = Buffer.concat(wanted)
    assert.equal(out.bytes, all.length)
    assert.ok(out.written().equals(all))
    const windows = out.writtenInWindows()
    let step = windows.next()
    while (step.done !== true) step = windows.next()
    assert.ok(step.value.equals(all))
  })
})
