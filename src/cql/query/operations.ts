/** `+`, `-`, `*`, `/` and `%` between two values (`cql3/functions/OperationFcts.java`). */
import { type CqlType, native } from '../types.ts'
import { isNumber, type Operator, operate, resultType } from './numbers.ts'
import { plusDuration } from './times.ts'
import { invalid } from './unsupported.ts'

export interface Operation {
  readonly type: CqlType
  /** Of values that are not null. */
  readonly call: (left: Buffer, right: Buffer) => Buffer | null
}

const isText = ({ kind }: CqlType): boolean => kind === 'text' || kind === 'ascii'

function isTemporal({ kind }: CqlType): boolean {
  return kind === 'date' || kind === 'timestamp'
}

/** @throws RingfenceError INVALID where a node has none between such values */
export function operationOf(operator: Operator, left: CqlType, right: CqlType): Operation {
  if (isNumber(left) && isNumber(right)) {
    const type = resultType(left, right)
    const of = [left, right] as const
    return {
      type,
      call: (a, b) => (a.length === 0 || b.length === 0 ? null : operate(operator, type, a, b, of)),
    }
  }
  if (operator === '+' && isText(left) && isText(right)) {
    const type = native(left.kind === 'ascii' && right.kind === 'ascii' ? 'ascii' : 'text')
    return { type, call: (a, b) => Buffer.concat([a, b]) }
  }
  const { kind } = left
  if (
    (operator === '+' || operator === '-') &&
    (kind === 'date' || kind === 'timestamp') &&
    right.kind === 'duration'
  ) {
    const sign = operator === '+' ? 1 : -1
    return {
      type: left,
      call: (a, b) => (a.length === 0 || b.length === 0 ? null : plusDuration(kind, a, b, sign)),
    }
  }
  throw invalid(`the '${operator}' operation is not supported between ${kind} and ${right.kind}`)
}

/** What a marker or null beside a value of `type` is, at the right of it where `right` says so. */
export function typeBeside(operator: Operator, type: CqlType, right: boolean): CqlType {
  if (right && isTemporal(type) && (operator === '+' || operator === '-')) return native('duration')
  // It may be any number, or either kind of text.
  throw invalid(`Ambiguous '${operator}' operation: use type hint to disambiguate, example '(int) ?'`)
}
