/**
 * What the node says of a question before it is answered: that it may not be asked so, or the columns of its answer. The tables about the
 * schema are the same for everybody, so this tells nothing that is hidden; only a PREPARE is sent, so no row is looked at.
 */

import { createCache } from '../../base/cache.ts'
import { nothingEnds, settle } from '../../base/contained.ts'
import { limits } from '../../base/limits.ts'
import { prepareEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { headerOpcode, Opcode } from '../../cql/protocol.ts'
import type { OutputColumn } from '../../cql/query/plan.ts'
import { readPrepared } from '../../cql/responses.ts'
import type { Permit } from '../../policy/engine.ts'
import { nodeError } from '../node-error.ts'
import type { Ask } from '../schema/load.ts'

const version = 4
/** What a remembered text may be, and have. */
const textMax = 2048
const columnsMax = 64

export class AskedColumns {
  readonly #ask: Ask
  /** By text, with the keyspace in it. */
  readonly #known = createCache<Promise<readonly OutputColumn[]>>(limits.schemaTextsMax)

  constructor(ask: Ask) {
    this.#ask = ask
  }

  has(text: string): boolean {
    return this.#known.has(text)
  }

  /** Asked by leave of the first who asks. Empty where the node leaves them out. Throws what the node says as `NodeError`, UPSTREAM where it is away. */
  of(text: string, permit: Permit): Promise<readonly OutputColumn[]> {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const asked = this.#prepare(text, permit)
    this.#known.set(text, asked)
    // What is large is asked again each time.
    settle(
      nothingEnds,
      'columns of a question',
      asked,
      (columns) => {
        if (columns.length > columnsMax || text.length > textMax) this.forget(text)
      },
      () => this.forget(text),
    )
    return asked
  }

  /** The node was changed: what it said is not true any more. */
  forget(text: string): void {
    this.#known.delete(text)
  }

  async #prepare(text: string, permit: Permit): Promise<readonly OutputColumn[]> {
    const answer = await this.#ask(prepareEnvelope(version, 0, text), permit)
    if (headerOpcode(answer, 0) !== Opcode.RESULT) throw nodeError(answer)
    return readPrepared(wholeEnvelope(answer), version).result.columns.map(({ name, type }) => ({ name, type }))
  }
}
