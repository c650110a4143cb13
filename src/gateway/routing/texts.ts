/**
 * The texts of statements as routing sees them: which table, and which markers are its partition key. Remembered, because a text is read
 * slowly; whether a statement is allowed is never asked here.
 */

import { createWeighedCache } from '../../base/cache.ts'
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { LoopShare } from '../../session/loop-share.ts'
import { KeyMarkers } from './routing-key.ts'
import type { Keyed } from './statements.ts'

/** Characters of the texts that are remembered. */
const textsCharsMax = 8 * 1024 * 1024
/** And each counts so much at least: what is known of a short text is more than the text. */
const textCharsMin = 4 * 1024
/** A longer text takes too long to be read beside everybody's traffic, and gains the least by a hop that is saved. */
const textCharsMax = 16 * 1024

export interface TextRoute extends Keyed {
  /** True when the keyspace in force decided that. */
  readonly unqualified: boolean
  /** A USE, or what cannot be distinguished from one: it belongs to the session's primary sidecar. */
  readonly mayUse: boolean
  /** Undefined also while the table's key is not known. */
  key: KeyMarkers | undefined
}

export type PartitionKeyOf = (
  keyspace: string,
  table: string,
  found: (columns: readonly string[]) => void,
) => readonly string[] | undefined

/** What cannot be found out is taken to depend on the keyspace in force. */
const nothing: TextRoute = { keyspace: '', table: '', reads: false, unqualified: true, mayUse: true, key: undefined }

export class TextRoutes {
  readonly #routes = createWeighedCache<TextRoute>(textsCharsMax, (_, name) => Math.max(textCharsMin, name.length))
  readonly #partitionKeyOf: PartitionKeyOf

  /** `partitionKeyOf` answers at once what it knows; else it answers `undefined`, and calls `found` when it does. */
  constructor(partitionKeyOf: PartitionKeyOf) {
    this.#partitionKeyOf = partitionKeyOf
  }

  /** The schema changed: a table of the same name may have another key. */
  forget(): void {
    this.#routes.clear()
  }

  /** A text that is new is read within `share`; where that is used up, nothing is known of it, and nothing remembered. */
  of(text: string, keyspace: string, share: LoopShare): TextRoute {
    if (text.length > textCharsMax) return nothing
    const name = `${keyspace}\0${text}`
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    if (!share.begin()) return nothing
    try {
      return this.#remember(name, text, keyspace)
    } finally {
      share.end()
    }
  }

  #remember(name: string, text: string, keyspace: string): TextRoute {
    const route = this.#read(text, keyspace)
    this.#routes.set(name, route)
    return route
  }

  #read(text: string, inForce: string): TextRoute {
    const facts = factsOf(text)
    const keyspace = facts?.keyspace ?? inForce
    if (facts?.table === undefined || keyspace === '') return nothing
    const { table, unqualified, verb } = facts
    const route: TextRoute = { keyspace, table, reads: verb === 'SELECT', unqualified, mayUse: false, key: undefined }
    const settle = (columns: readonly string[]): void => {
      route.key = keyMarkersOf(facts, columns)
    }
    const columns = this.#partitionKeyOf(keyspace, table, settle)
    if (columns !== undefined) settle(columns)
    return route
  }
}

/** What cannot be read is the sidecar's to refuse. */
function factsOf(text: string): StatementFacts | undefined {
  try {
    return analyse(text)
  } catch (reason) {
    if (reason instanceof RingfenceError) return undefined
    throw reason
  }
}

/** Undefined unless every column of the key is bound by one marker of its own. */
export function keyMarkersOf(facts: StatementFacts, columns: readonly string[]): KeyMarkers | undefined {
  const places: number[] = []
  for (const column of columns) {
    const restriction = facts.restrictions.find(
      (each) => each.operator === '=' && !each.token && each.columns.length === 1 && each.columns[0] === column,
    )
    const value = restriction?.values[0]
    if (value === undefined || !('marker' in value)) return undefined
    places.push(value.marker)
  }
  return KeyMarkers.of(places, facts.markers)
}
