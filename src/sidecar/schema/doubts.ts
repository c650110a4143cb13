/**
 * Objects of the schema that may be other than they were last read. A statement through this sidecar puts what it changes here from its
 * sending until the schema was read after its answer. An event of the node does so until the schema was read after it.
 *
 *   begin ─▶ under way ─ end, or changeMsMax ─▶ unread ─ a load that began after that ─▶ gone
 *
 * Rule: a statement that names one of these, or may mean one, waits until it is gone, and is judged then. Others do not wait.
 */
import { after, nothingEnds } from '../../base/contained.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { tableName } from '../touched.ts'

/** A change that takes longer counts as not made until the node tells of it. */
const changeMsMax = 5000

/** The objects of one change. */
interface Changing {
  readonly keyspace: string
  /** As `tableName` writes them. */
  readonly tables: readonly string[]
  readonly functions: readonly string[]
  /** Some index is made or goes: then DROP INDEX may be about another table. */
  readonly indexes: boolean
}

/** What the node tells of a change. */
export interface SchemaNotice {
  readonly target: string
  readonly keyspace: string
  readonly name: string
}

export interface Doubt {
  readonly changing: Changing
  /** The node has not answered yet. */
  isUnderWay: boolean
  timer: NodeJS.Timeout | undefined
}

const ddl = /^(?:CREATE|ALTER|DROP) /
const onObjects = /^(?:CREATE|ALTER|DROP) (?:TABLE|MATERIALIZED VIEW|FUNCTION|AGGREGATE)$/

export function changesSchema({ verb }: StatementFacts): boolean {
  return ddl.test(verb)
}

/** What a statement changes that others are judged by; undefined for nothing, such as a role. */
function changedBy({ verb, keyspace, accesses }: StatementFacts): Changing | undefined {
  if (keyspace === undefined) return undefined
  const nothing = { keyspace, tables: [], functions: [], indexes: false }
  if (verb.endsWith(' INDEX')) return { ...nothing, indexes: true }
  if (!onObjects.test(verb)) return undefined
  const tables: string[] = []
  const functions: string[] = []
  for (const { resource } of accesses) {
    if (resource.kind === 'table') tables.push(tableName(resource.keyspace ?? keyspace, resource.table))
    if (resource.kind === 'function') functions.push(resource.name)
  }
  return { ...nothing, tables, functions }
}

function changedIn({ target, keyspace, name }: SchemaNotice): Changing | undefined {
  const nothing = { keyspace, tables: [], functions: [], indexes: false }
  if (target === 'TABLE') return { ...nothing, tables: [tableName(keyspace, name)], indexes: true }
  if (target === 'FUNCTION' || target === 'AGGREGATE') return { ...nothing, functions: [name] }
  return undefined
}

/** @param tables that the statement touches, by the schema as it was last read */
function concerns(changing: Changing, facts: StatementFacts, tables: readonly string[]): boolean {
  if (changing.tables.some((table) => tables.includes(table))) return true
  if (changing.indexes && facts.verb === 'DROP INDEX' && facts.keyspace === changing.keyspace) return true
  return changing.functions.length > 0 && (calls(changing, facts) || facts.children.some((one) => calls(changing, one)))
}

/** By a name that a native function has too: any other is judged by its name, whether or not it exists. */
function calls({ keyspace, functions }: Changing, facts: StatementFacts): boolean {
  return facts.keyspace === keyspace && facts.nativeCalls.some((name) => functions.includes(name))
}

export class SchemaDoubts {
  readonly #doubts = new Set<Doubt>()
  readonly #onUnread: (keyspace: string) => void
  #waiting = Promise.withResolvers<void>()

  /** @param onUnread what is in this keyspace is to be read now */
  constructor(onUnread: (keyspace: string) => void) {
    this.#onUnread = onUnread
  }

  get some(): boolean {
    return this.#doubts.size > 0
  }

  concern(facts: StatementFacts, tables: readonly string[]): boolean {
    for (const { changing } of this.#doubts) if (concerns(changing, facts, tables)) return true
    return false
  }

  /** A statement is about to be sent. The result is called when the node has answered it, or cannot any more. */
  begin(facts: StatementFacts): () => void {
    const changing = changedBy(facts)
    if (changing === undefined) return () => {}
    const doubt: Doubt = { changing, isUnderWay: true, timer: undefined }
    this.#doubts.add(doubt)
    doubt.timer = after(nothingEnds, 'a change of the schema', changeMsMax, () => this.#unread(doubt))
    doubt.timer.unref()
    return () => this.#unread(doubt)
  }

  /** The node told of a change; its keyspace is about to be read. */
  onNotice(notice: SchemaNotice): void {
    const changing = changedIn(notice)
    if (changing === undefined) return
    this.#doubts.add({ changing, isUnderWay: false, timer: undefined })
  }

  /** Those that a load which begins now settles. */
  unread(): readonly Doubt[] {
    return this.#doubts.size === 0 ? [] : [...this.#doubts].filter(({ isUnderWay }) => !isUnderWay)
  }

  /** @param isRead of a keyspace */
  settle(doubts: readonly Doubt[], isRead: (keyspace: string) => boolean): void {
    for (const doubt of doubts) if (isRead(doubt.changing.keyspace)) this.#doubts.delete(doubt)
    if (doubts.length === 0) return
    const waiting = this.#waiting
    this.#waiting = Promise.withResolvers()
    waiting.resolve()
  }

  /** Resolves when some are gone: the next time to look. */
  next(): Promise<void> {
    return this.#waiting.promise
  }

  stop(): void {
    for (const { timer } of this.#doubts) clearTimeout(timer)
  }

  #unread(doubt: Doubt): void {
    clearTimeout(doubt.timer)
    doubt.timer = undefined
    doubt.isUnderWay = false
    // Where it took too long it is gone already, and comes again with its answer.
    this.#doubts.add(doubt)
    this.#onUnread(doubt.changing.keyspace)
  }
}
