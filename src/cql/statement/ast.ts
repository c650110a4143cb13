/**
 * What the parser makes of a statement: not a tree of its expressions but everything that the statement *names*, since names
 * are what policy speaks of. `authorise.ts` turns these into accesses.
 */
import type { Amount, Assignment, Restriction, StatementFacts } from './facts.ts'

/** A canonical name; `keyspace` is undefined where the statement did not give one. */
export interface QualifiedName {
  readonly keyspace: string | undefined
  readonly name: string
}

/** Names mentioned in a stretch of a statement, in order, doubles included. */
export interface Mentions {
  readonly columns: readonly string[]
  /** Functions called, native ones too. */
  readonly functions: readonly QualifiedName[]
}

export interface Select {
  readonly kind: 'select'
  readonly table: QualifiedName
  /** `SELECT *`: every column is read. */
  readonly wildcard: boolean
  readonly mentions: Mentions
  readonly selection: StatementFacts['selection']
  /** Columns mentioned otherwise than to be shown as they are, doubles included. */
  readonly used: readonly string[]
  readonly restrictions: readonly Restriction[]
  readonly limit: Amount | undefined
  readonly allowFiltering: boolean
}

/** `USING` of a write; where one is given twice, the last counts. */
export interface Using {
  readonly ttl: Amount | undefined
  readonly timestamp: Amount | undefined
}

export interface Modification extends Using {
  readonly kind: 'modification'
  readonly verb: 'INSERT' | 'UPDATE' | 'DELETE'
  readonly table: QualifiedName
  /** INSERT JSON, and DELETE of whole rows: every column is written. */
  readonly wildcard: boolean
  readonly mentions: Mentions
  /** `rows`: IF EXISTS or IF NOT EXISTS, which answers with the whole row; `columns`: the columns of the conditions. */
  readonly condition: 'rows' | { readonly columns: readonly string[] } | undefined
  /** WHERE, or the columns of an INSERT with their values. */
  readonly restrictions: readonly Restriction[]
  readonly assignments: readonly Assignment[]
  /** Inside a BATCH: the statement that this one repeats but for the numbers of its USING. */
  readonly like: Modification | undefined
  /** Where the statement stands: first token, token after the last one; first marker, marker after the last one. */
  readonly tokens: readonly [number, number]
  readonly markers: readonly [number, number]
}

export type SchemaAction = 'CREATE' | 'ALTER' | 'DROP'

export type Schema =
  | { readonly kind: 'keyspace'; readonly action: SchemaAction; readonly keyspace: string }
  | {
      readonly kind: 'table'
      readonly action: SchemaAction
      readonly table: QualifiedName
      /** Columns and masking functions. */
      readonly mentions: Mentions
      /** RENAME: the columns' names, old and new. */
      readonly renamed: readonly string[]
      readonly defaultTtlSeconds: number | undefined
    }
  | {
      readonly kind: 'view'
      readonly action: SchemaAction
      readonly view: QualifiedName
      readonly base:
        | (Mentions & {
            readonly table: QualifiedName
            readonly wildcard: boolean
            /** Columns mentioned otherwise than to be shown as they are, doubles included. */
            readonly used: readonly string[]
          })
        | undefined
      readonly defaultTtlSeconds: number | undefined
    }
  | { readonly kind: 'type'; readonly action: SchemaAction; readonly type: QualifiedName }
  | { readonly kind: 'createIndex'; readonly table: QualifiedName; readonly mentions: Mentions }
  | { readonly kind: 'dropIndex'; readonly index: QualifiedName }
  | {
      readonly kind: 'function'
      readonly action: 'CREATE' | 'DROP'
      readonly noun: 'FUNCTION' | 'AGGREGATE'
      readonly name: QualifiedName
      readonly orReplace: boolean
      /** What an aggregate is made of. */
      readonly functions: readonly QualifiedName[]
    }
  | { readonly kind: 'trigger'; readonly action: 'CREATE' | 'DROP'; readonly table: QualifiedName }

/** The object of a GRANT, REVOKE or LIST. */
export type Grantable =
  | { readonly kind: 'cluster' }
  | { readonly kind: 'keyspace'; readonly keyspace: string }
  | { readonly kind: 'table'; readonly table: QualifiedName }
  | { readonly kind: 'function'; readonly name: QualifiedName }
  | { readonly kind: 'role'; readonly role: string }

export type Administration =
  | {
      readonly kind: 'role'
      readonly action: SchemaAction
      readonly noun: 'ROLE' | 'USER'
      readonly role: string
      /** It makes or unmakes a superuser. */
      readonly superuser: boolean
    }
  | { readonly kind: 'identity'; readonly action: 'ADD' | 'DROP' }
  | { readonly kind: 'grant'; readonly action: 'GRANT' | 'REVOKE'; readonly resource: Grantable; readonly role: string }
  | { readonly kind: 'grantRole'; readonly action: 'GRANT' | 'REVOKE'; readonly role: string; readonly grantee: string }
  | {
      readonly kind: 'list'
      readonly what: 'ROLES' | 'USERS' | 'PERMISSIONS'
      readonly resource: Grantable | undefined
      readonly role: string | undefined
    }

export type Describe = {
  readonly kind: 'describe'
  readonly what:
    | 'CLUSTER'
    | 'SCHEMA'
    | 'KEYSPACES'
    | 'KEYSPACE'
    | 'TABLES'
    | 'TABLE'
    | 'INDEX'
    | 'MATERIALIZED VIEW'
    | 'TYPES'
    | 'TYPE'
    | 'FUNCTIONS'
    | 'FUNCTION'
    | 'AGGREGATES'
    | 'AGGREGATE'
    | 'ANY'
  readonly name: QualifiedName | undefined
  readonly keyspace: string | undefined
  /** WITH INTERNALS: ids and dropped columns too. */
  readonly internals: boolean
}

export type Statement =
  | Select
  | Modification
  | {
      readonly kind: 'batch'
      readonly using: Using /** Repeated statements are one object. */
      readonly children: readonly Modification[]
    }
  | { readonly kind: 'use'; readonly keyspace: string }
  | { readonly kind: 'truncate'; readonly table: QualifiedName }
  | Schema
  | Administration
  | Describe
