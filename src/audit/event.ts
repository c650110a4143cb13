/**
 * What happens at a sidecar, as its consumers are told of it: a session begins or ends, a request is let through to the node, a request is over.
 *
 * Rule: an event is borrowed for the call. Its object is the request itself, which is used again for the next one, so that telling of it
 * makes no object. A consumer takes what it needs and keeps no event.
 */
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Decision } from '../policy/engine.ts'
import type { Trace } from '../telemetry/traces/span.ts'
import type { AuditOutcome, AuditSession, RefusedLogIn } from './record.ts'

/** The message where the outcome is lost because the node did not answer in time. */
export const timedOut = 'timeout'

/** `register`: the client asked to be told of events of the node. */
export type EventKind = 'log-in' | 'log-out' | 'register' | 'request'

/** Something that lives longer than one event, of which consumers remember things; see `Note`. */
export interface Noted {
  notes: unknown[] | undefined
}

export interface EventSession extends Noted {
  /** Who, from where, by what way. */
  readonly who: AuditSession
}

/** One statement as one identity sees it. The same object for each time that it is run. */
export interface EventStatement extends Noted {
  readonly facts: StatementFacts
  /** Every table that it touches, as `keyspace.table`. Another array where the schema changed. */
  readonly tables: readonly string[]
}

export interface TransactionEvent {
  readonly kind: EventKind
  readonly session: EventSession
  /** Of the request; 0 for what is none. */
  readonly opcode: number
  /** Undefined for what was refused before it was understood, and for what is no request. */
  readonly statement: EventStatement | undefined
  /** Undefined where none was taken; then `rule` says what stopped it. */
  readonly decision: Decision | undefined
  /** A rule of the mesh itself, beside those of the policy. */
  readonly rule: string
  /** The protocol's code; −1 where there is none. */
  readonly consistency: number
  /** Of the envelope. */
  readonly bytesIn: number
  /** Of a request that is traced. */
  readonly trace?: Trace | undefined

  // What follows is known at the end only.

  readonly outcome: AuditOutcome
  /** The CQL error; −1 where there is none, 0 where the outcome is not known. */
  readonly code: number
  /** Of the error. It may quote what the client sent, values too, unless it is ours. */
  readonly message: string
  readonly messageIsOurs: boolean
  /** A count, or −1. */
  readonly rows: number
  readonly bytesOut: number
  /** Of the node; 0 where it was not asked. */
  readonly latencyMicros: number
  /** From its arrival until it left for the node. */
  readonly waitedMicros: number

  // The barrier's own, which no consumer reads: what it knows the request by from `begun` to `ended`; 0 before and after.

  recordNumber?: number
  recordAsked?: number
}

/** Hears what happened. What it does may lag behind; what must not is a `Barrier`'s. */
export interface Consumer {
  /** A permitted request is about to leave for the node, or the sidecar to ask the node for it (DESCRIBE, questions about the schema). */
  begun?(event: TransactionEvent): void
  /** It is over: answered, by the node or here, or refused, or lost. Sessions' beginnings and ends are told of here only. */
  ended?(event: TransactionEvent): void
  refused?(logIn: RefusedLogIn): void
}

/**
 * What must be written before a request leaves or an answer goes back. It is asked at the end of each turn of the event loop, before any
 * socket is written (`session/turn.ts`). What it was told of since the turn before is one group.
 */
export interface Barrier extends Consumer {
  /** True while it cannot write; then nothing is forwarded and nothing answered. */
  readonly failed: boolean
  /** False where something of this turn was not written: then none of it leaves. Does not throw. */
  endTurn(): boolean
  /**
   * For a barrier that writes asynchronously, such as by a group commit. Resolves when everything is written that it was told of before
   * this call; false if it was not. Bytes wait for it in front of their socket (`session/gate.ts`), and `endTurn` only begins the group.
   */
  commit?(): Promise<boolean>
}

let noteCount = 0

/** What one consumer remembers of sessions or statements. One for each thing, made when its module is loaded. */
export class Note<T> {
  readonly #place = noteCount++

  of(noted: Noted): T | undefined {
    return noted.notes?.[this.#place] as T | undefined
  }

  set(noted: Noted, value: T): T {
    noted.notes ??= []
    noted.notes[this.#place] = value
    return value
  }
}
