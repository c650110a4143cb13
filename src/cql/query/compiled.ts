/** An expression made into a function of a row, and what makes one. */
import type { CqlType } from '../types.ts'
import type { Aggregate } from './aggregates.ts'
import type { RowView, TableShape } from './table.ts'
import type { Expression } from './tree.ts'

/** What an expression may look at. */
export interface Frame {
  row: RowView | undefined
  readonly aggregates: (Aggregate | undefined)[]
}

export interface Compiled {
  readonly type: CqlType
  /** Of the output column; undefined where it is not known to be Cassandra's. */
  readonly name: string | undefined
  readonly evaluate: (frame: Frame) => Buffer | null
}

/** What makes them: `Compiler`. */
export interface Compiling {
  readonly shape: TableShape
  /** Only what PREPARE says is wanted. */
  readonly formOnly: boolean
  columnAt(name: string): number
  /** A value that no row changes, of the type that is wanted; null for null. */
  value(expression: Expression, wanted: CqlType): Buffer | null
  compile(expression: Expression, wanted?: CqlType): Compiled
  /** A part whose place says nothing of its type. */
  alone(part: Expression): Compiled
}
