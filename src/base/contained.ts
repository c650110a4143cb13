/**
 * Faults end what they belong to. An exception in a callback of the event loop (a timer, an event, the continuation of a promise, the end
 * of a turn) would end the process and every session in it. Here it ends its owner, one session or connection, and is counted and reported.
 *
 *   socket.on('data', contained(this, 'client data', (chunk: Buffer) => this.#onData(chunk)))
 *   timer = after(this, 'room timeout', roomTimeoutMs, () => this.#giveUp())
 *   settle(this, 'log-in', promise, (identity) => this.#enter(identity), (reason) => this.#refuse(reason))
 *
 * Work that goes on as a promise is contained to its end: an `async` function may be handed over as well.
 *
 * Rule: no callback of the event loop that does anything is handed over bare. `scripts/contained.test.ts` counts those that are.
 */

import { isOwnFault } from './errors.ts'

/** What a fault ends: one session, one connection, one piece of work that is tried again. */
export interface Owner {
  /** Ends it. The reason was reported already. */
  onFault(reason: unknown): void
}

/** Nothing ends: the work is done again at its next time, or was the end itself. */
export const nothingEnds: Owner = { onFault() {} }

/** Told of each fault that was contained, with the name of its place; must not throw. */
export type FaultReport = (place: string, reason: unknown, count: number) => void

let count = 0
let report: FaultReport = () => {}

/** Faults that were contained since the process started. */
export function faultsContained(): number {
  return count
}

/** There is one for a process. The result is the one before. */
export function reportFaults(to: FaultReport): FaultReport {
  const before = report
  report = to
  return before
}

/** Does `work` now; what it throws ends the owner. */
export function contain(owner: Owner, place: string, work: () => void): void {
  try {
    containRest(owner, place, work())
  } catch (reason) {
    containFault(owner, place, reason)
  }
}

/** What a function for which nobody waits has returned: a type says `void`, and an `async` function is one that fits. */
export function containRest(owner: Owner, place: string, returned: unknown): void {
  if (returned instanceof Promise) unawaited(owner, place, returned)
}

/** For a fault that was caught where no function could be wrapped, such as on the fast path. */
export function containFault(owner: Owner, place: string, reason: unknown): void {
  count++
  try {
    report(place, reason, count)
    owner.onFault(reason)
  } catch (another) {
    count++
    tryToReport(place, another)
  }
}

/** For a loop that goes on whatever was thrown: a fault of ours is counted and reported. */
export function containOwnFault(place: string, reason: unknown): void {
  if (isOwnFault(reason)) containFault(nothingEnds, place, reason)
}

function tryToReport(place: string, reason: unknown): void {
  try {
    report(`${place}, while it was ended`, reason, count)
  } catch {
    // A report that fails has nobody to be told to.
  }
}

/** A handler of an event. */
export function contained<A extends readonly unknown[]>(
  owner: Owner,
  place: string,
  handler: (...args: A) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      containRest(owner, place, handler(...args))
    } catch (reason) {
      containFault(owner, place, reason)
    }
  }
}

/** A timer of Node.js that is to wait longer ends at once. */
export const timerMsMax = 2 ** 31 - 1

export function after(owner: Owner, place: string, ms: number, work: () => void): NodeJS.Timeout {
  return setTimeout(contained(owner, place, work), ms)
}

/** Goes on at its next time, also where one time failed, unless the owner ends it. */
export function every(owner: Owner, place: string, ms: number, work: () => void): NodeJS.Timeout {
  return setInterval(contained(owner, place, work), ms)
}

/** In the next turn of the event loop. */
export function nextTurn(owner: Owner, place: string, work: () => void): void {
  setImmediate(contained(owner, place, work))
}

/** Before the event loop goes on. */
export function soon(owner: Owner, place: string, work: () => void): void {
  queueMicrotask(contained(owner, place, work))
}

/** What comes of a promise. Without `refused` a rejection is a fault as well. */
export function settle<T>(
  owner: Owner,
  place: string,
  promise: PromiseLike<T>,
  done: (value: T) => void,
  refused?: (reason: unknown) => void,
): void {
  promise.then(
    contained(owner, place, done),
    refused === undefined ? (reason: unknown) => containFault(owner, place, reason) : contained(owner, place, refused),
  )
}

/** Work that nobody waits for. */
export function unawaited(owner: Owner, place: string, promise: PromiseLike<unknown>): void {
  settle(owner, place, promise, () => {})
}
