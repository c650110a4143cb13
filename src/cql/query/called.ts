/** A call of a function, once its parts have types. */
import type { CqlType } from '../types.ts'
import { invalid } from './unsupported.ts'

/** A part of a call: typed when it is asked for, since a constant or marker takes the type that the function wants. */
export interface Part {
  /** @param wanted of a constant or marker; of anything else it must be its type */
  typed(wanted?: CqlType): CqlType
  /** A constant in quotes: it may be a time. */
  readonly isText: boolean
}

export interface Called {
  readonly type: CqlType
  readonly call: (values: readonly (Buffer | null)[]) => Buffer | null
}

/** Of null, null. */
export const strict =
  (call: (value: Buffer, others: readonly (Buffer | null)[]) => Buffer | null) =>
  ([value = null, ...others]: readonly (Buffer | null)[]): Buffer | null =>
    value === null ? null : call(value, others)

export function wrongCount(name: string): Error {
  return invalid(`invalid number of arguments in call to function ${name}`)
}
