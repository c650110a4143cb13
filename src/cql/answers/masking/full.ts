/** A value that is always the same, of the value's type. */
import { BodyReader } from '../../reader.ts'
import type { CqlType } from '../../types.ts'
import { vectorOf } from './elements.ts'
import { maskNext, unlessEmpty, type ValueMasker } from './value-masker.ts'

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

export function fullOf(type: CqlType): ValueMasker | undefined {
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
