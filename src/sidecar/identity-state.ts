/**
 * What the sidecar remembers of one identity, over all its sessions: its statements, and what it may see.
 *
 * Rule: what it weighs is counted in the memory of all, which takes the statements of those who hold most.
 */
import { type Cache, createWeighedCache } from '../base/cache.ts'
import type { Visibility } from '../policy/engine.ts'
import { type Principal, principalKey } from '../policy/principal.ts'
import { type LoopShare, LoopShares } from '../session/loop-share.ts'
import type { SessionLimits } from './limits/rate-limits.ts'
import { PreparedTable } from './prepared.ts'
import type { Judged } from './statement.ts'
import { bytesOf, type StatementHolder, type StatementMemory } from './statement-memory.ts'

const textsPerIdentityMax = 2000

export class IdentityState implements StatementHolder {
  readonly principal: Principal
  /** Under what everything of it is kept; see `principalKey`. */
  readonly key: string
  /** Of the event loop; all its sessions have one. By it goes whatever is shared out: a workload has one with all on whose behalf it asks. */
  share: LoopShare
  /** That it is of, where it is one with a person behind it. It stays while this one has a session. */
  workload: IdentityState | undefined
  readonly prepared: PreparedTable
  readonly #memory: StatementMemory
  /** Statements sent as text, by keyspace and text. */
  readonly #texts: Cache<Judged>
  #textsBytes = 0
  sessions = 0
  /** Of the epoch below. */
  epoch = -1
  /** Its rules look at the request, so a decision is good only for requests alike. */
  contextual = false
  visibility: Visibility | undefined
  /** What it may do in a time. */
  limits: SessionLimits | undefined

  constructor(principal: Principal, memory: StatementMemory, share: LoopShare = new LoopShares().share()) {
    this.principal = principal
    this.key = principalKey(principal)
    this.share = share
    this.#memory = memory
    // So heavy that by their number no more are kept than may be, either.
    const bytesMax = Math.floor(memory.bounds.identityBytesMax / 2)
    const weightMin = Math.ceil(bytesMax / textsPerIdentityMax)
    this.#texts = createWeighedCache(
      bytesMax,
      (judged) => Math.max(judged.bytes, weightMin),
      (judged) => this.#changed(-judged.bytes),
    )
    this.prepared = new PreparedTable(memory.bounds.identityBytesMax / 2, (more) => memory.changed(more))
  }

  get statementBytes(): number {
    return this.#textsBytes + this.prepared.bytes
  }

  text(key: string): Judged | undefined {
    return this.#texts.get(key)
  }

  /** One half of an identity's bytes is for texts, the other for prepared statements. */
  rememberText(key: string, judged: Judged): void {
    const bytes = bytesOf(judged)
    this.#texts.set(key, judged)
    if (this.#texts.peek(key) === judged) this.#changed(bytes)
  }

  forgetStatements(): void {
    this.#texts.clear()
    this.prepared.clear()
  }

  #changed(more: number): void {
    this.#textsBytes += more
    this.#memory.changed(more)
  }
}
