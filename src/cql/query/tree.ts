/**
 * A SELECT as a tree, for the few that are answered here and not by the node: questions about the schema and the topology.
 *
 * Folder rule: pure functions over a table in memory. Nothing here knows policy; who calls says which rows exist. What is not understood
 * to its last token, or not known to be done as Cassandra does it, is refused, never guessed.
 *
 *   text ─ read.ts ─▶ tree ─ plan.ts ─▶ plan ─ run.ts + table.ts ─▶ rows, page by page
 */
import type { CqlType } from '../types.ts'

export type Expression =
  | { readonly kind: 'column'; readonly name: string }
  | { readonly kind: 'constant'; readonly token: number; readonly text: string }
  | { readonly kind: 'null' }
  /** Its place among the markers of the statement. */
  | { readonly kind: 'marker'; readonly index: number }
  | {
      readonly kind: 'call'
      readonly keyspace: string | undefined
      readonly name: string
      readonly parts: readonly Expression[]
    }
  | { readonly kind: 'countRows' }
  /** One thing in parentheses. */
  | { readonly kind: 'group'; readonly part: Expression }
  /** Of the column, or of a part of it: an `element` or a `slice`. */
  | {
      readonly kind: 'stamp'
      readonly of: 'writetime' | 'ttl' | 'maxwritetime'
      readonly column: string
      readonly part: Expression | undefined
    }
  | { readonly kind: 'cast'; readonly part: Expression; readonly type: CqlType }
  | { readonly kind: 'hint'; readonly part: Expression; readonly type: CqlType; readonly words: string }
  | {
      readonly kind: 'operation'
      readonly operator: '+' | '-' | '*' | '/' | '%'
      readonly left: Expression
      readonly right: Expression
    }
  | { readonly kind: 'negation'; readonly part: Expression }
  | { readonly kind: 'element'; readonly of: Expression; readonly key: Expression }
  | {
      readonly kind: 'slice'
      readonly of: Expression
      readonly from: Expression | undefined
      readonly to: Expression | undefined
    }
  | { readonly kind: 'tuple' | 'list' | 'set'; readonly parts: readonly Expression[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [Expression, Expression])[] }

export interface Selector {
  readonly expression: Expression
  readonly alias: string | undefined
}

export type Operator = '=' | '<' | '<=' | '>' | '>=' | 'IN' | 'CONTAINS' | 'CONTAINS KEY'

export interface Relation {
  readonly columns: readonly string[]
  /** `token(a, b)` is compared. */
  readonly token: boolean
  /** `(a, b) = …`: the value is a tuple, or a marker for one. */
  readonly tuple: boolean
  /** `column[key] = …` */
  readonly key: Expression | undefined
  readonly operator: Operator
  /** Of IN a `list` of values, or a marker for it. */
  readonly value: Expression
}

export interface SelectTree {
  readonly json: boolean
  readonly distinct: boolean
  readonly selectors: '*' | readonly Selector[]
  /** Undefined where the statement names none. */
  readonly keyspace: string | undefined
  readonly table: string
  /** Where the name of the table begins in the text. */
  readonly tableAt: number
  readonly where: readonly Relation[]
  readonly groupBy: readonly Expression[]
  readonly orderBy: readonly { readonly column: string; readonly descending: boolean }[]
  readonly perPartitionLimit: Expression | undefined
  readonly limit: Expression | undefined
  readonly allowFiltering: boolean
  /** The names of its markers, undefined for `?`. */
  readonly markers: readonly (string | undefined)[]
}
