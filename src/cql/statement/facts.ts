/**
 * What a statement would do, in words that policy understands. The analyser (`analyse.ts`) makes these; `policy` reads them.
 * Names are canonical: unquoted ones folded to lower case, quoted ones as they stand. A `keyspace` of `undefined` means that
 * the statement named none and the keyspace in force applies (see `resolveKeyspace`).
 */

/** Cassandra's own permission names (`org.apache.cassandra.auth.Permission`), plus three that Cassandra does not tell apart: TRUNCATE, USE, SCAN. */
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
  | 'SCAN'

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

/** An integer that a statement names: written there, or bound (the place of its marker in `StatementFacts.markers`). */
export type Amount = { readonly literal: bigint } | { readonly marker: number }

/**
 * What one value of a relation is: a marker's place, a string constant's content, or undefined for anything else. Undefined may also be a
 * string of more than 254 characters, or what comes after the first 1,000 strings and 4,096 markers of a text, or a string in a very long
 * BATCH.
 */
export type RestrictingValue = { readonly marker: number } | { readonly text: string } | undefined

/** One relation of WHERE. `(a, b) = (1, 2)` has two columns and two values; `a IN (1, 2)` has one column and two values. */
export interface Restriction {
  readonly columns: readonly string[]
  readonly operator: '=' | 'IN' | 'other'
  /** `token(a, b) > …`: the columns are not restricted themselves. */
  readonly token: boolean
  readonly values: readonly RestrictingValue[]
  /** `a IN ?`: the marker of the whole list; `values` is empty then. */
  readonly list: number | undefined
}

/**
 * What is written: a marker's place; `value` for a constant that is there; `collection` for a literal of a set, list, map or user type;
 * `unknown` for what only the node knows, which may be null.
 */
export type AssignedValue = { readonly marker: number } | 'null' | 'value' | 'collection' | 'unknown'

/** One column that a write sets, takes from, or deletes. What can only add, or sets a whole column to a constant, is left out. */
export interface Assignment {
  readonly column: string
  /** `whole`: `c = …`; `taken`: `c = c - …`; `element`: `c[…] = …`; `field`: `c.f = …`. */
  readonly part: 'whole' | 'taken' | 'element' | 'field'
  readonly value: AssignedValue
}

export interface StatementFacts {
  /** Leading words in upper case: `SELECT`, `INSERT`, `CREATE TABLE`, `ALTER ROLE`, `BATCH`, `USE`, … */
  readonly verb: string
  readonly accesses: readonly Access[]
  /** The target of the statement for the record, where it has one: the table read or written, the object created. */
  readonly keyspace: string | undefined
  readonly table: string | undefined
  /**
   * Native functions called without a keyspace: where the keyspace of the statement's object has a user function of that name, the node
   * chooses between the two by the types of the arguments.
   */
  readonly nativeCalls: readonly string[]
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
  /** `USING TTL` of a write; of a BATCH undefined, its children have their own. */
  readonly ttl: Amount | undefined
  /** `USING TIMESTAMP` of a write, or of a BATCH as a whole. */
  readonly timestamp: Amount | undefined
  /** LIMIT of a SELECT. */
  readonly limit: Amount | undefined
  /** The relations of WHERE in order; empty where there is none. */
  readonly restrictions: readonly Restriction[]
  /** Of a write; see `Assignment`. */
  readonly assignments: readonly Assignment[]
  readonly allowFiltering: boolean
  /**
   * What a SELECT answers with: `'*'`, or for each output column the column that it is as it stands (an alias does not matter), undefined
   * for an expression. Undefined for SELECT JSON and for what is no SELECT.
   */
  readonly selection: '*' | readonly (string | undefined)[] | undefined
  /**
   * Columns that a read uses otherwise than by showing them as they are: in WHERE, ORDER BY, GROUP BY, IF, functions, expressions. A view
   * shows its base, so its columns count by the same rule, and those of its PRIMARY KEY. So do the columns of an index, and those that
   * RENAME names.
   */
  readonly columnsUsed: readonly string[]
  /** `default_time_to_live` of CREATE TABLE, ALTER TABLE and views; undefined where it is not given. */
  readonly defaultTtlSeconds: number | undefined
  /**
   * Full names of the Java classes that the statement has the node load: custom indexes, triggers, and in the properties of keyspaces,
   * tables, views and indexes. Column types are not among them.
   */
  readonly classes: readonly string[]
  /**
   * Statements inside a BATCH text, in order; empty otherwise. Every one is there, but those of the same facts are one object: who goes
   * through them may remember what it found for the last.
   */
  readonly children: readonly StatementFacts[]
  /** How many those are. */
  readonly statementCount: number
}

/** The facts that most statements do not have. */
export const plainFacts = {
  ttl: undefined,
  timestamp: undefined,
  limit: undefined,
  restrictions: [],
  nativeCalls: [],
  assignments: [],
  allowFiltering: false,
  selection: undefined,
  columnsUsed: [],
  defaultTtlSeconds: undefined,
  classes: [],
  statementCount: 0,
} as const satisfies Partial<StatementFacts>
