/**
 * Waits until the disk has what was written, for all who wait at once: one flush is under way at a time, and what comes meanwhile is the next
 * group.
 *
 * Rule: a flush that failed is never tried again. What it was about may be lost although a later one succeeds.
 */
import { contained, nothingEnds } from '../../base/contained.ts'
import type { SegmentFiles } from './files.ts'

interface Waiter {
  readonly upTo: number
  readonly done: (isWritten: boolean) => void
}

export class GroupCommit {
  readonly #files: SegmentFiles
  readonly #onFailure: (reason: unknown) => void
  #fd = -1
  /** Left, and not flushed or not closed yet. */
  #left: number[] = []
  #written = 0
  #flushed = 0
  #isFlushing = false
  #waiters: Waiter[] = []
  /** Counts failures, so that a flush of before one says nothing. */
  #epoch = 0

  constructor(files: SegmentFiles, onFailure: (reason: unknown) => void) {
    this.#files = files
    this.#onFailure = onFailure
  }

  use(fd: number): void {
    this.#fd = fd
  }

  wrote(bytes: number): void {
    this.#written += bytes
  }

  /** No more is written to this file. It is closed when the disk has it. */
  leave(fd: number): void {
    this.#left.push(fd)
  }

  commit(): Promise<boolean> {
    return new Promise((done) => this.whenFlushed(done))
  }

  /** Calls back, at once where nothing is to be waited for, when the disk has what was written so far; with false where it has not. */
  whenFlushed(done: (isWritten: boolean) => void): void {
    if (this.#flushed === this.#written) {
      done(true)
      return
    }
    this.#waiters.push({ upTo: this.#written, done })
    if (!this.#isFlushing) this.#flush()
  }

  /** Holds everything up until the disk has what was written; false where it has not. */
  flushNow(): boolean {
    try {
      for (const fd of [...this.#left, this.#fd]) this.#files.syncNow(fd)
      return true
    } catch {
      return false
    }
  }

  /** What was written is not to be trusted. */
  failed(): void {
    this.#epoch++
    this.#fd = -1
    const waiters = this.#waiters
    this.#waiters = []
    for (const { done } of waiters) done(false)
  }

  stop(): void {
    this.failed()
    for (const fd of this.#left.splice(0)) this.#close(fd)
  }

  #flush(): void {
    const [left] = this.#left
    const fd = left ?? this.#fd
    if (fd === -1) return
    const upTo = left === undefined ? this.#written : this.#flushed
    const epoch = this.#epoch
    this.#isFlushing = true
    const done = (reason: unknown): void => {
      this.#isFlushing = false
      if (left !== undefined && this.#left[0] === left) {
        this.#left.shift()
        this.#close(left)
      }
      if (epoch !== this.#epoch) {
        if (this.#waiters.length > 0) this.#flush()
        return
      }
      if (reason !== null && reason !== undefined) {
        this.#onFailure(reason)
        return
      }
      this.#flushed = Math.max(this.#flushed, upTo)
      while (this.#waiters.length > 0 && this.#waiters[0]!.upTo <= this.#flushed) this.#waiters.shift()!.done(true)
      if (this.#waiters.length > 0) this.#flush()
    }
    this.#files.sync(fd, contained(nothingEnds, 'a flush of the record', done))
  }

  #close(fd: number): void {
    try {
      this.#files.close(fd)
    } catch {
      // It was flushed, or failed already.
    }
  }
}
