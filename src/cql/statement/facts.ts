/**
 * What a statement would do, in words that policy understands. The analyser (`analyse.ts`) makes these; `policy` reads them.
 * Names are canonical: unquoted ones folded to lower case, quoted ones as they stand. A `keyspace` of `undefined` means that
 * the statement named none and the keyspace in force applies (see `resolveKeyspace`).
 */

/** Cassandra's own permission names (`org.apache.cassandra.auth.Permission`), plus three that Cassandra does not tell apart. */
export type Permission =
  | 'SELECT'
  | 'MODIFY'
  | 'CREATE'
  | 'ALTER'
  | 'DROP'
  | 'AUTHORIZE'
  | 'DESCRIBE'
  | 'EXECUTE'
  | 'UNMASK'
  | 'TRUNCATE'
  | 'USE'

export type Resource =
  | { readonly kind: 'cluster' }
  | { readonly kind: 'keyspace'; readonly keyspace: string | undefined }
  | { readonly kind: 'table'; readonly keyspace: string | undefined; readonly table: string }
  | { readonly kind: 'function'; readonly keyspace: string | undefined; readonly name: string }
  | { readonly kind: 'role'; readonly role: string }

/** One thing that must be permitted. All accesses of a statement must be, or the statement is refused. */
export interface Access {
  readonly permission: Permission
  readonly resource: Resource
  /** Columns mentioned, each mention counts; `'*'` where every column is meant; empty where columns play no part. */
  readonly columns: readonly string[] | '*'
}

export interface StatementFacts {
  /** Leading words in upper case: `SELECT`, `INSERT`, `CREATE TABLE`, `ALTER ROLE`, `BATCH`, `USE`, … */
  readonly verb: string
  readonly accesses: readonly Access[]
  /** The target of the statement for the record, where it has one: the table read or written, the object created. */
  readonly keyspace: string | undefined
  readonly table: string | undefined
  /** True when a name is unqualified, so that the keyspace in force decides what is meant. */
  readonly unqualified: boolean
  /** IF conditions: the answer of the statement is a read. */
  readonly conditional: boolean
  /** The keyspace of a USE statement. */
  readonly use: string | undefined
  /** The text with every literal replaced by `?` and comments gone; at most 4 KiB. */
  readonly redacted: string
  /** Bind markers in order of appearance; `undefined` for `?`. */
  readonly markers: readonly (string | undefined)[]
  /** Statements inside a BATCH text, in order; empty otherwise. */
  readonly children: readonly StatementFacts[]
}
