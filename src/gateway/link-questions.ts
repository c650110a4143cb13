/**
 * What a gateway asks a sidecar over their link: its node's schema version, ring and keys.
 *
 * Rule: each question ends, with an answer of its kind or with `undefined`: an answer that does not fit is as good as one that cannot be
 * given.
 */
import type { z } from 'zod'
import { after, type Owner } from '../base/contained.ts'
import type { Ring } from '../link/protocol.ts'
import {
  Control,
  controlEnvelope,
  numberedSchema,
  ringSchema,
  schemaNameMax,
  schemaSchema,
  tableSchema,
  tryControl,
} from '../link/protocol.ts'
import type { Outbox } from '../session/outbox.ts'

const questionTimeoutMs = 2000

export class LinkQuestions {
  readonly #link: Owner
  readonly #outbox: Outbox
  readonly #asked = new Map<number, (answer: unknown) => void>()
  #last = 0
  #closed = false

  constructor(link: Owner, outbox: Outbox) {
    this.#link = link
    this.#outbox = outbox
  }

  /** The schema version of the sidecar's node; `undefined` when it cannot be told now. */
  async schemaVersion(): Promise<string | undefined> {
    const answer = (await this.#ask(Control.SCHEMA_QUERY, {})) as { versions: readonly string[] } | undefined
    return answer?.versions[0]
  }

  /** The ring as the sidecar's node sees it; `undefined` when it cannot be told now. */
  async ring(): Promise<Ring | undefined> {
    return (await this.#ask(Control.RING_QUERY, {})) as Ring | undefined
  }

  /** The columns of a table's partition key, empty where the sidecar knows no such table; `undefined` when it cannot be told now. */
  async partitionKey(keyspace: string, table: string): Promise<readonly string[] | undefined> {
    // Names that clients write can be of any length.
    if (keyspace.length > schemaNameMax || table.length > schemaNameMax) return []
    const question = { keyspace, table }
    const answer = await this.#ask(Control.TABLE_QUERY, question)
    return (answer as { partitionKey: readonly string[] } | undefined)?.partitionKey
  }

  /** A control message came; one that is no answer is none that is waited for. */
  answered(opcode: number, envelope: Buffer): void {
    if (opcode === Control.SCHEMA) this.#take(schemaSchema, envelope)
    else if (opcode === Control.RING) this.#take(ringSchema, envelope)
    else if (opcode === Control.TABLE) this.#take(tableSchema, envelope)
  }

  /** No answer comes any more. */
  close(): void {
    this.#closed = true
    for (const id of [...this.#asked.keys()]) this.#answer(id, undefined)
  }

  /** The answer was validated by the schema of its kind; `undefined` when none came in time. */
  #ask(opcode: number, question: Record<string, unknown>): Promise<unknown> {
    if (this.#closed) return Promise.resolve(undefined)
    const id = ++this.#last
    return new Promise((resolve) => {
      const timer = after(this.#link, 'a question to a sidecar', questionTimeoutMs, () => this.#answer(id, undefined))
      this.#asked.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.#outbox.send(controlEnvelope(opcode, { id, ...question }), 0)
    })
  }

  #take(schema: z.ZodType<{ id: number }>, envelope: Buffer): void {
    const answer = tryControl(schema, envelope)
    const id = answer?.id ?? tryControl(numberedSchema, envelope)?.id
    if (id !== undefined) this.#answer(id, answer)
  }

  #answer(id: number, answer: unknown): void {
    const asked = this.#asked.get(id)
    this.#asked.delete(id)
    asked?.(answer)
  }
}
