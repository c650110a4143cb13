/**
 * What a permit asks for beside being there: checks of each request's values, and work on the answer.
 */

/** How a column is hidden. `full`: a fixed value of its type. `partial`: but some characters at the ends. `hash`: keyed, equal values stay equal. */
export type Mask =
  | { readonly kind: 'full' }
  | { readonly kind: 'partial'; readonly keepStart: number; readonly keepEnd: number }
  | { readonly kind: 'hash' }
  | { readonly kind: 'null' }

export interface ColumnMask {
  /** Canonical name of the column. */
  readonly column: string
  readonly mask: Mask
  /** The rule that asks for it. */
  readonly rule: string
}

/** What must hold for the values of one request; `data/check.ts` judges it. Observed ones let the request go and are counted. */
export interface RequestCheck {
  /** The rule that asks for it. */
  readonly rule: string
  readonly observe: boolean
  /** For the client where it does not hold: what must be, in one line, without values of the data. */
  readonly text: string
  readonly test: RequestTest
}

export type RequestTest =
  /**
   * `USING TTL ?`: at least `minSeconds` and at most `maxSeconds`. Null counts as 0, as in Cassandra (`cql3/Attributes.java`); unset means
   * the table's default, and is refused when `required`.
   */
  | {
      readonly kind: 'ttl'
      readonly marker: number
      readonly minSeconds: number
      readonly maxSeconds: number | undefined
      readonly required: boolean
    }
  /**
   * The timestamp of a write: written (`literalMicros`), else bound (`marker`), else the protocol's default timestamp, which also
   * stands in for an unset one. `futureMs` and `pastMs` are measured from the clock of the request.
   */
  | {
      readonly kind: 'timestamp'
      readonly literalMicros: bigint | undefined
      readonly marker: number | undefined
      readonly futureMs: number | undefined
      readonly pastMs: number | undefined
    }
  /** There must be none. */
  | { readonly kind: 'nowInSeconds' }
  /** A page of at least 1 and at most `max` rows; or `LIMIT ?`, where `limitMarker` has its marker, that is no greater. */
  | { readonly kind: 'pageSize'; readonly max: number; readonly limitMarker: number | undefined }
  /** `IN ?`: the product of the sizes of these lists and of `times`, which is that of the lists that are written. */
  | { readonly kind: 'inSize'; readonly markers: readonly number[]; readonly times: number; readonly max: number }
  /** `LIMIT ?` */
  | { readonly kind: 'limit'; readonly marker: number; readonly max: number }
  /** Statements of a BATCH message to different partitions; the caller counts them. */
  | { readonly kind: 'partitions'; readonly max: number }
  /** `UPDATE … WHERE k IN ?`: for each write the product of its bound lists and of `times`; `written` are those of the other writes. */
  | {
      readonly kind: 'partitionLists'
      readonly written: number
      readonly lists: readonly { readonly times: number; readonly markers: readonly number[] }[]
      readonly max: number
    }
  /** A write that removes nothing: none of the first is bound to null, and the others, which would replace a collection, are unset. */
  | { readonly kind: 'nothingRemoved'; readonly notNull: readonly number[]; readonly unset: readonly number[] }

export interface Obligations {
  /** All that the request must meet. A permit without obligations leaves the built-in check, which `checkRequest(undefined, …)` makes. */
  readonly checks: readonly RequestCheck[]
  /** Columns to hide in the answer, by table (`keyspace.table` of the statement's own table); empty for most. */
  readonly masks: readonly ColumnMask[]
  /** Rows of `system_schema` and DESCRIBE that the principal may not see are taken out of the answer. */
  readonly visibleOnly: boolean
  /**
   * The answer shows whole rows, and policy tells the columns of their table apart: the columns as they were known. An answer with others
   * is decided on again by what it has (`PolicyEngine.decide` with them in the schema).
   */
  readonly columns?: readonly string[]
  /** Addresses of nodes are taken out of the answer: the session is shown another topology. Set by the sidecar. */
  readonly addressesHidden?: boolean
  /** All rows are taken out of the answer: the session is told of one host, and these are the others. Set by the sidecar. */
  readonly rowsHidden?: boolean
}
