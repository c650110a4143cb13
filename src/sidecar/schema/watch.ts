/**
 * Keeps the model of the schema as the node has it: loaded at connect, read again when the node tells of a change, when a session saw
 * one pass, and when the node's schema version is not the one that was read last.
 *
 *   attach ─┐            ┌────────────┐  ┌───────────┐
 *   changed ├─▶ wanted ─▶│ one queued │─▶│ one runs  │─▶ model, epoch
 *   fresh  ─┘            └────────────┘  └───────────┘
 *
 * Rule: whoever asks is served by a load that begins after the question. A node writes its schema tables before it tells of a change and
 * before it changes its version (org.apache.cassandra.schema.Schema#mergeAndUpdateVersion), so an event always makes a load, and only
 * an answer to `fresh` may rest on an unchanged version.
 */
import { RingfenceError } from '../../base/errors.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { Upstream } from '../upstream.ts'
import { type Ask, loadKeyspace, loadSchema, readSchemaVersion } from './load.ts'
import { emptySchema, type SchemaModel } from './model.ts'

/** What is asked; an `Upstream`. */
export type SchemaPeer = Pick<Upstream, 'ask' | 'usable'>

/** Longer than any load that went well; a client waits for this. */
const FRESH_MS_MAX = 5000
const RETRY_MS = 1000
/** From here on one load of everything is cheaper than many small ones. */
const KEYSPACES_MAX = 8

interface Job {
  /** Everything, whatever the version says. */
  full: boolean
  /** Everything where the version is not the one that was read last. */
  check: boolean
  readonly keyspaces: Set<string>
  readonly done: PromiseWithResolvers<void>
}

export class SchemaWatch {
  readonly #log: Logger
  readonly #callbacks = new Set<(epoch: number) => void>()
  #model: SchemaModel = emptySchema
  /** The node's, as it was before and after the last load of everything; undefined when it was not the same, or is not known. */
  #version: string | undefined
  #peer: SchemaPeer | undefined
  #running = false
  #queued: Job | undefined
  #retry: NodeJS.Timeout | undefined

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
    clearTimeout(this.#retry)
  }

  /** The schema changed; in `keyspace` only, where that is known. */
  changed(keyspace?: string): void {
    this.#want((job) => {
      if (keyspace === undefined) job.full = true
      else job.keyspaces.add(keyspace)
    }).catch((reason: unknown) => {
      this.#log.warn({ reason: String(reason) }, 'the schema was not read')
      if (this.#peer === undefined) return
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => this.changed(), RETRY_MS)
      this.#retry.unref()
    })
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
      FRESH_MS_MAX,
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
    const job = this.#queued ?? { full: false, check: false, keyspaces: new Set(), done: Promise.withResolvers() }
    set(job)
    this.#queued = job
    if (!this.#running) void this.#serve()
    return job.done.promise
  }

  async #serve(): Promise<void> {
    this.#running = true
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
    const before = await readSchemaVersion(ask)
    const full = job.full || this.epoch === 0 || job.keyspaces.size > KEYSPACES_MAX
    if (full || (job.check && before !== this.#version)) {
      const keyspaces = await loadSchema(ask)
      const after = await readSchemaVersion(ask)
      this.#version = before === after ? before : undefined
      this.#swap(this.#model.with(keyspaces))
    } else if (job.keyspaces.size > 0) {
      const names = [...job.keyspaces]
      const loaded = await Promise.all(names.map((name) => loadKeyspace(ask, name)))
      this.#version = undefined
      this.#swap(names.reduce((model, name, i) => model.withKeyspace(name, loaded[i]), this.#model))
    }
  }

  #swap(model: SchemaModel): void {
    if (model === this.#model) return
    this.#model = model
    for (const callback of this.#callbacks) callback(model.epoch)
  }
}

/** A connection that is closed never answers; it must not be asked. */
export function asking(peer: SchemaPeer): Ask {
  return (envelope) => (peer.usable ? peer.ask(envelope) : Promise.reject(away()))
}

function away(): RingfenceError {
  return new RingfenceError('UPSTREAM', 'the node is away')
}
