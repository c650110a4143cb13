/**
 * Keeps the model of the schema as the node has it. It is loaded at connect. It is read again when the node tells of a change, when a
 * session saw one pass, and when the node's schema version is not the one that was read last.
 *
 *   attach ─┐            ┌────────────┐  ┌───────────┐
 *   changed ├─▶ wanted ─▶│ one queued │─▶│ one runs  │─▶ model, epoch
 *   fresh  ─┘            └────────────┘  └───────────┘
 *
 * Rule: whoever asks is served by a load that begins after the question. A node writes its schema tables before it tells of a change and
 * before it changes its version (org.apache.cassandra.schema.Schema#mergeAndUpdateVersion). So an event always makes a load. Only `fresh`,
 * and a statement that changed nothing, may take an unchanged version as the answer. `doubts.ts` has what is known to be older than a
 * change meanwhile.
 */
import { createCache } from '../../base/cache.ts'
import { after, contain, containOwnFault, nothingEnds, soon, unawaited } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { Logger } from '../../telemetry/log.ts'
import { Repeated } from '../../telemetry/repeated.ts'
import type { Upstream } from '../upstream.ts'
import { SchemaDoubts, type SchemaNotice } from './doubts.ts'
import { type Ask, loadKeyspace, loadSchema, readSchemaVersion } from './load.ts'
import { emptySchema, type SchemaModel } from './model.ts'

/** What is asked; an `Upstream`. */
export type SchemaPeer = Pick<Upstream, 'ask' | 'usable'>

/** Longer than any load that went well; a client waits for this. */
const freshMsMax = 5000
const retryMs = 1000
/** A change that is under way for longer counts as not made, and is read after that. */
const settledMsMax = 10_000
const basesGoneMax = 1024
/** From here on one load of everything is cheaper than many small ones. */
const keyspacesMax = 8

interface Job {
  /** Everything, whatever the version says. */
  full: boolean
  /** Everything where the version is not the one that was read last. */
  check: boolean
  readonly keyspaces: Set<string>
  /** These, where the version is not the one that was read last. */
  readonly checked: Set<string>
  readonly done: PromiseWithResolvers<void>
}

export class SchemaWatch {
  readonly #log: Logger
  readonly #callbacks = new Set<(epoch: number) => void>()
  readonly #doubts = new SchemaDoubts((keyspace) => this.#wantRead((job) => job.checked.add(keyspace)))
  /** The base tables of views that went a moment ago, by `keyspace.view`: the node tells of their going afterwards. */
  readonly #basesGone = createCache<string>(basesGoneMax)
  #model: SchemaModel = emptySchema
  /** The node's, as it was before and after the last load of everything; undefined when it was not the same, or is not known. */
  #version: string | undefined
  #peer: SchemaPeer | undefined
  #running = false
  #queued: Job | undefined
  #retry: NodeJS.Timeout | undefined
  readonly #unread = new Repeated()

  constructor(log: Logger) {
    this.#log = log
  }

  /** As it was last read; it never changes, so a holder sees one state only. */
  get view(): SchemaModel {
    return this.#model
  }

  /** Grows when the content changed. 0 before the first load. */
  get epoch(): number {
    return this.#model.epoch
  }

  /** Called after the model changed; the result unsubscribes. */
  onChange(callback: (epoch: number) => void): () => void {
    this.#callbacks.add(callback)
    return () => this.#callbacks.delete(callback)
  }

  /** Loads everything through `peer` and asks it from now on; where that fails, the one before again. Throws `UPSTREAM`. */
  async attach(peer: SchemaPeer): Promise<void> {
    const before = this.#peer
    this.#peer = peer
    try {
      await this.#want((job) => {
        job.full = true
      })
    } catch (reason) {
      if (this.#peer === peer || this.#peer === undefined) this.#peer = before?.usable === true ? before : undefined
      throw reason
    }
  }

  detach(peer: SchemaPeer): void {
    if (this.#peer === peer) this.#peer = undefined
  }

  stop(): void {
    this.#peer = undefined
    this.#doubts.stop()
    clearTimeout(this.#retry)
  }

  /** The schema changed; in `keyspace` only, where that is known. */
  changed(keyspace?: string): void {
    this.#wantRead((job) => {
      if (keyspace === undefined) job.full = true
      else job.keyspaces.add(keyspace)
    })
  }

  /** The node told of a change. Resolves when it was read, or cannot be now. */
  onNotice(notice: SchemaNotice): Promise<void> {
    this.#doubts.onNotice(notice)
    return this.#wantRead((job) => job.keyspaces.add(notice.keyspace))
  }

  /** Something may be other than it was last read. */
  get doubtful(): boolean {
    return this.#doubts.some
  }

  /** Whether a statement that touches these tables is about something that may be other than it was last read. */
  doubts(facts: StatementFacts, tables: readonly string[]): boolean {
    return this.#doubts.concern(facts, tables)
  }

  /** A statement is about to be sent that may change the schema. The result is called when the node has answered it, or cannot any more. */
  changing(facts: StatementFacts): () => void {
    return this.#doubts.begin(facts)
  }

  /**
   * Resolves when more is certain than when this was called.
   * @throws RingfenceError OVERLOADED where it takes more than ten seconds
   */
  async settled(): Promise<void> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () =>
        late.reject(
          new RingfenceError('OVERLOADED', 'the schema of this changes now and could not be read; ask again'),
        ),
      settledMsMax,
    )
    try {
      await Promise.race([this.#doubts.next(), late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The base table of a view that is there, or was a moment ago. */
  baseOf(keyspace: string, view: string): string | undefined {
    const known = this.#model.table(keyspace, view)
    return known === undefined ? this.#basesGone.get(viewKey(keyspace, view)) : known.base
  }

  async #wantRead(set: (job: Job) => void): Promise<void> {
    try {
      await this.#want(set)
      this.#unread.over()
    } catch (reason) {
      containOwnFault('a load of the schema', reason)
      const why = String(reason)
      const repeated = this.#unread.due(why)
      if (repeated !== undefined) this.#log.warn({ reason: why, repeated }, 'the schema was not read')
      if (this.#peer === undefined) return
      clearTimeout(this.#retry)
      this.#retry = after(nothingEnds, 'the schema', retryMs, () => this.changed())
      this.#retry.unref()
    }
  }

  /** The node's schema version came by: an event that was lost is made good. */
  heard(version: string): void {
    if (version !== this.#version && !this.#running) this.changed()
  }

  /**
   * Resolves when the model holds whatever the node had when this was called. Asks for the version only, where that did not change.
   * @throws RingfenceError UPSTREAM when the node is away or does not answer within five seconds
   */
  async fresh(): Promise<void> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new RingfenceError('UPSTREAM', 'the node’s schema could not be read in time')),
      freshMsMax,
    )
    try {
      const done = this.#want((job) => {
        job.check = true
      })
      await Promise.race([done, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  #want(set: (job: Job) => void): Promise<void> {
    const job = this.#queued ?? emptyJob()
    set(job)
    this.#queued = job
    if (!this.#running) {
      this.#running = true
      // What is wanted in one go is one job.
      soon(nothingEnds, 'the schema', () => unawaited(nothingEnds, 'the schema', this.#serve()))
    }
    return job.done.promise
  }

  async #serve(): Promise<void> {
    for (let job = this.#queued; job !== undefined; job = this.#queued) {
      this.#queued = undefined
      await this.#run(job).then(job.done.resolve, job.done.reject)
    }
    this.#running = false
  }

  async #run(job: Job): Promise<void> {
    for (;;) {
      const peer = this.#peer
      if (peer === undefined) throw away()
      try {
        await this.#load(job, asking(peer))
        return
      } catch (reason) {
        // A connection that was replaced meanwhile (a new certificate) is no reason to fail.
        if (this.#peer === peer || this.#peer === undefined) throw reason
      }
    }
  }

  async #load(job: Job, ask: Ask): Promise<void> {
    const unread = this.#doubts.unread()
    const before = await readSchemaVersion(ask)
    const isSame = before === this.#version
    if (!isSame) for (const keyspace of job.checked) job.keyspaces.add(keyspace)
    const full = job.full || this.epoch === 0 || job.keyspaces.size > keyspacesMax
    if (full || (job.check && !isSame)) {
      const keyspaces = await loadSchema(ask)
      const after = await readSchemaVersion(ask)
      this.#version = before === after ? before : undefined
      this.#swap(this.#model.with(keyspaces))
      this.#doubts.settle(unread, () => true)
      return
    }
    if (job.keyspaces.size > 0) {
      const names = [...job.keyspaces]
      const loaded = await Promise.all(names.map((name) => loadKeyspace(ask, name)))
      this.#version = undefined
      this.#swap(names.reduce((model, name, i) => model.withKeyspace(name, loaded[i]), this.#model))
    }
    this.#doubts.settle(unread, (keyspace) => job.keyspaces.has(keyspace) || job.checked.has(keyspace))
  }

  #swap(model: SchemaModel): void {
    if (model === this.#model) return
    this.#rememberBases(model)
    this.#model = model
    for (const callback of this.#callbacks) contain(nothingEnds, 'news of the schema', () => callback(model.epoch))
  }

  #rememberBases(next: SchemaModel): void {
    for (const [keyspace, known] of this.#model.keyspaces) {
      if (next.keyspace(keyspace) === known) continue
      for (const { name, base } of known.tables.values()) {
        if (base === undefined || next.table(keyspace, name)?.base === base) continue
        this.#basesGone.set(viewKey(keyspace, name), base)
      }
    }
  }
}

function emptyJob(): Job {
  return { full: false, check: false, keyspaces: new Set(), checked: new Set(), done: Promise.withResolvers() }
}

function viewKey(keyspace: string, view: string): string {
  return `${keyspace.length}:${keyspace}${view}`
}

/** A connection that is closed never answers; it must not be asked. */
export function asking(peer: SchemaPeer): Ask {
  return (envelope) => (peer.usable ? peer.ask(envelope) : Promise.reject(away()))
}

function away(): RingfenceError {
  return new RingfenceError('UPSTREAM', 'the node is away')
}
