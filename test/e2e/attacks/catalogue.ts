/**
 * The standing corpus of attacks: rows A (text of a statement) and C (objects and privileges) of the catalogue as data, one entry for each
 * way of trying. `variants.ts` multiplies the statements, `run.ts` sends them, and both witnesses are asked afterwards. What is no
 * single statement (bytes, states, prepared ids) is in the suites beside this file; `coverage.ts` says what is where.
 *
 * In a statement `§` stands for a name of its own for each variant, by which it is found in both records. It stands inside a name
 * where that is possible, for the mesh's record keeps names and no literals.
 */
import type { QueryOptions } from '../../../src/cql/encode.ts'
import { objectAttacks } from './objects.ts'
import { privilegeAttacks } from './privileges.ts'
import { textAttacks } from './texts.ts'

/** Identities `e2e-<name>`; what each may do is in policy.yaml. */
export const people = ['attacker', 'column', 'viewer', 'writer', 'leveled', 'reader', 'admin'] as const
export type Person = (typeof people)[number]

/**
 * `DENY`: 0x2100. `INVALID`: no statement, 0x2000 or 0x2200, made by the mesh. `NOWHERE`: a statement about what is not there for whoever asks,
 * 0x2200, made by the mesh. `PASS`: the node answers it.
 */
export type Wanted = 'DENY' | 'INVALID' | 'NOWHERE' | 'PASS'

/** How a statement is sent. `batch`: a part of a BATCH message. `batch text`: inside BEGIN BATCH … APPLY BATCH. */
export const forms = ['query', 'prepare', 'batch', 'batch text'] as const
export type Form = (typeof forms)[number]

export interface Bound {
  readonly text: string
  readonly values: readonly (Buffer | null)[]
}

export interface Attack {
  /** Row of the catalogue. */
  readonly row: string
  readonly name: string
  readonly who: Person
  readonly wanted: Wanted
  readonly statements: readonly (string | Bound)[]
  /** The point of the statement is in its spelling: nothing inside it is varied. */
  readonly exact?: true
  /** Of the request's values or options the mesh knows only when it is executed: preparing it is permitted. */
  readonly judged?: 'execution'
  readonly forms?: readonly Form[]
  readonly options?: Pick<QueryOptions, 'consistency' | 'pageSize' | 'timestamp' | 'nowInSeconds' | 'keyspace'>
  /** A rule that must be named in the refusal. */
  readonly rule?: string
}

export const attacks: readonly Attack[] = [...textAttacks, ...objectAttacks, ...privilegeAttacks]

export const rowIds: readonly string[] = [
  ...Array.from({ length: 14 }, (_, i) => `A${i + 1}`),
  ...Array.from({ length: 20 }, (_, i) => `B${i + 1}`),
  ...Array.from({ length: 20 }, (_, i) => `C${i + 1}`),
  ...Array.from({ length: 18 }, (_, i) => `D${i + 1}`),
]
