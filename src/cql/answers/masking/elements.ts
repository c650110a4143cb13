/** Collections and vectors, masked element by element. */
import { RingfenceError } from '../../../base/errors.ts'
import { limits } from '../../../base/limits.ts'
import { BodyReader } from '../../reader.ts'
import { type CqlType, fixedBytes } from '../../types.ts'
import { readUnsignedVint, writeUnsignedVint } from '../../vint.ts'
import { BodyWriter } from '../../writer.ts'
import { Growing, writeInt } from '../growing.ts'
import {
  inSteps,
  isLongNext,
  type LeafOf,
  maskedNext,
  maskNext,
  maskNextInSteps,
  stepBytes,
  unlessEmpty,
  type ValueMasker,
} from './value-masker.ts'

const elementsAtOnce = 256
/** Entries that are sorted or merged at once. */
const sortedAtOnce = 1024

export function byElement(type: CqlType, leafOf: LeafOf): ValueMasker | undefined {
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
export function vectorOf(
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
