/**
 * Leave for what the sidecar itself asks its node: to open a connection, and about the node, its schema and its ring. No rule of a policy is
 * behind it, so what it may be is a closed list.
 *
 * Rule: a question holds nothing that a client chose but the name of a keyspace, in quotes or as a bound value.
 */
import { assert } from '../base/errors.ts'

/** Of what is no statement: its opcode. Of a statement: its text. */
const allowed: readonly RegExp[] = [
  /^(?:STARTUP|AUTH_RESPONSE|REGISTER)$/,
  /^USE "(?:[^"]|"")+"$/,
  /^SELECT [\w", *()]+ FROM system\.(?:local|peers|peers_v2)$/,
  /^SELECT [\w", *()]+ FROM (?:system_schema|system_virtual_schema)\.\w+(?: WHERE keyspace_name = \?)?(?: LIMIT 1)?$/,
]

/** Not exported and with a private field, as the permit of a policy is (`engine.ts`). */
class Own {
  readonly kind = 'own'
  readonly #words: string

  constructor(words: string) {
    this.#words = words
  }

  static isFor(permit: Own, words: string): boolean {
    return #words in permit && permit.#words === words
  }
}

// As of the permit of a policy.
Object.defineProperty(Own.prototype, 'constructor', { value: undefined })

export type OwnPermit = Own
export const isOwnPermitFor = Own.isFor

/** Throws on our own fault: a question that is not on the list. */
export function ownPermit(words: string): OwnPermit {
  assert(
    allowed.some((pattern) => pattern.test(words)),
    'the sidecar asks its node only what is on the list of own-permit.ts',
  )
  return new Own(words)
}
