/** Native aggregates (`cql3/functions/AggregateFcts.java`). */
import { type CqlType, native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { compareValues } from './compare.ts'
import { integerValue, integral } from './integers.ts'
import { isFloating, isInteger, numberValue } from './numbers.ts'
import { unsupported } from './unsupported.ts'

/** The state of one aggregate over one group. */
export interface Aggregate {
  /** `value` is a view that is good during the call; null for null. */
  add(value: Buffer | null): void
  result(): Buffer | null
}

export const aggregateNames: ReadonlySet<string> = new Set(['count', 'max', 'min', 'sum', 'avg'])

export function aggregateType(name: string, of: CqlType): CqlType {
  if (name === 'count') return native('bigint')
  if ((name === 'sum' || name === 'avg') && !isInteger(of) && !isFloating(of))
    throw unsupported(`${name} of ${of.kind}`)
  return of.kind === 'counter' ? native('bigint') : of
}

export function aggregateOf(name: string, type: CqlType): Aggregate {
  switch (name) {
    case 'max':
      return new Extreme(type, 1)
    case 'min':
      return new Extreme(type, -1)
    case 'sum':
    case 'avg':
      return isFloating(type) ? new FloatingSum(type, name === 'avg') : new IntegerSum(type, name === 'avg')
    default:
      return new Count()
  }
}

/** Of values that are not null; rows are counted by handing in something. */
class Count implements Aggregate {
  #count = 0n

  add(value: Buffer | null): void {
    if (value !== null) this.#count++
  }

  result(): Buffer {
    return integral('bigint', this.#count)
  }
}

class Extreme implements Aggregate {
  readonly #type: CqlType
  readonly #sign: number
  #value: Buffer | null = null

  constructor(type: CqlType, sign: number) {
    this.#type = type
    this.#sign = sign
  }

  add(value: Buffer | null): void {
    if (value === null) return
    if (this.#value === null || compareValues(this.#type, value, this.#value) * this.#sign > 0) this.#value = value
  }

  result(): Buffer | null {
    return this.#value
  }
}

class IntegerSum implements Aggregate {
  readonly #type: CqlType
  readonly #average: boolean
  #sum = 0n
  #count = 0n

  constructor(type: CqlType, average: boolean) {
    this.#type = type
    this.#average = average
  }

  add(value: Buffer | null): void {
    if (value === null) return
    this.#count++
    this.#sum += integerValue(value) ?? 0n
  }

  result(): Buffer {
    const value = !this.#average ? this.#sum : this.#count === 0n ? 0n : this.#sum / this.#count
    return integral(isInteger(this.#type) ? this.#type.kind : 'bigint', value)
  }
}

/** Kahan's sum, as Cassandra has it. */
class FloatingSum implements Aggregate {
  readonly #type: CqlType
  readonly #average: boolean
  #sum = 0
  #compensation = 0
  #plain = 0
  #count = 0

  constructor(type: CqlType, average: boolean) {
    this.#type = type
    this.#average = average
  }

  add(value: Buffer | null): void {
    if (value === null || value.length === 0) return
    const number = numberValue(this.#type, value)
    this.#count++
    this.#plain += number
    const corrected = number - this.#compensation
    const next = this.#sum + corrected
    this.#compensation = next - this.#sum - corrected
    this.#sum = next
  }

  result(): Buffer | null {
    const sum = Number.isNaN(this.#sum) && !Number.isFinite(this.#plain) ? this.#plain : this.#sum
    return encodeValue(this.#type, !this.#average ? sum : this.#count === 0 ? 0 : sum / this.#count)
  }
}
