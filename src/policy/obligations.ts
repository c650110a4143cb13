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

/** What must hold for the values of one request; `limits.ts` judges it. Observed ones let the request go and are counted. */
export interface RequestCheck {
  /** The rule that asks for it. */
  readonly rule: string
  readonly observe: boolean
  readonly test: /** USING TTL ?: at least 1 and at most `maxSeconds`; `required` refuses null and unset too. */
    | {
        readonly kind: 'ttl'
        readonly marker: number
        readonly maxSeconds: number | undefined
        readonly required: boolean
      }
    /** USING TIMESTAMP ? of this statement, or the protocol's default timestamp where `marker` is undefined. */
    | {
        readonly kind: 'timestamp'
        readonly marker: number | undefined
        readonly futureMs: number
        readonly pastMs: number | undefined
      }
    | { readonly kind: 'nowInSeconds' }
    | { readonly kind: 'pageSize'; readonly max: number }
    /** `IN ?` */
    | { readonly kind: 'inSize'; readonly marker: number; readonly max: number }
    /** `LIMIT ?` */
    | { readonly kind: 'limit'; readonly marker: number; readonly max: number }
    /** Statements of a BATCH to different partitions; the caller counts them. */
    | { readonly kind: 'partitions'; readonly max: number }
}

export interface Obligations {
  readonly checks: readonly RequestCheck[]
  /** Columns to hide in the answer, by table (`keyspace.table` of the statement's own table); empty for most. */
  readonly masks: readonly ColumnMask[]
  /** Rows of `system_schema` and DESCRIBE that the principal may not see are taken out of the answer. */
  readonly visibleOnly: boolean
}
