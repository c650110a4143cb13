/**
 * A client that asks without a pause for thought, in three ways by turns: a text, a statement that it prepared before, the next page of a result that it began
 * before. It remembers when each request was sent, so that an answer that was under way counts for the moment of its question.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from '../path/client.ts'

const text = 'SELECT id FROM drill.rows'
/** As often as five doors with two clients each leave a small machine time to answer. */
const everyMs = 30
const answerMsMax = 20_000
const streamsMax = 32_000
const ways = 3

export class Asking {
  readonly client: RawClient
  readonly #prepared: Buffer
  readonly #page: Uint8Array
  readonly #working: Promise<void>
  #stream = 10
  #stopped = false
  /** Of those that were answered with rows, by the moment in which they were asked. */
  answered = 0
  lastServedMs = 0
  firstRefusedMs: number | undefined
  /** In how many of the three ways it was refused in words, and what else it was told. */
  readonly refusedWays = new Set<number>()
  readonly faults: string[] = []
  closedMs: number | undefined

  private constructor(client: RawClient, prepared: Buffer, page: Uint8Array) {
    this.client = client
    this.#prepared = prepared
    this.#page = page
    void client.closed.then(() => {
      this.closedMs = performance.now()
    })
    this.#working = this.#work()
  }

  static async begin(client: RawClient): Promise<Asking> {
    const { version } = client
    const prepared = readPrepared(
      wholeEnvelope(await client.ask(prepareEnvelope(version, 1, text), answerMsMax)),
      version,
    )
    const first = await client.ask(queryEnvelope(version, 2, text, { pageSize: 1 }), answerMsMax)
    const { pagingState } = readRows(wholeEnvelope(first), version)
    if (pagingState === undefined || pagingState === null)
      throw new Error(`there is no second page: ${describe(first)}`)
    return new Asking(client, prepared.id, pagingState)
  }

  get isClosed(): boolean {
    return this.closedMs !== undefined
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.client.close()
    await this.#working
  }

  async #work(): Promise<void> {
    for (let n = 0; !this.#stopped && !this.isClosed; n++) {
      void this.#ask(n % ways)
      await sleep(everyMs)
    }
  }

  async #ask(way: number): Promise<void> {
    const { client } = this
    this.#stream = 10 + ((this.#stream - 9) % streamsMax)
    const sentMs = performance.now()
    const answer = await client.ask(this.#envelope(way), answerMsMax).catch(() => undefined)
    // The end of the connection, which is noted by itself.
    if (answer === undefined || this.#stopped) return
    if (headerOpcode(answer, 0) === Opcode.RESULT) {
      this.answered++
      this.lastServedMs = Math.max(this.lastServedMs, sentMs)
      return
    }
    const said = describe(answer)
    if (/^0x2100 .*revoked/.test(said)) {
      this.firstRefusedMs ??= performance.now()
      this.refusedWays.add(way)
    } else if (this.faults.length < 5) this.faults.push(said)
  }

  #envelope(way: number): Buffer {
    const { version } = this.client
    const page = { pageSize: 1, pagingState: this.#page }
    if (way === 1) return executeEnvelope(version, this.#stream, this.#prepared, undefined, [])
    return queryEnvelope(version, this.#stream, text, way === 0 ? {} : page)
  }
}
