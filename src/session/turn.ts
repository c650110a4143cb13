/**
 * One client connection, from its first byte to its last: listener, PROXY header, TLS, handshake, state machine, and the
 * buffers in both directions. It never decides access; it hands whole, uncompressed envelopes to a `Backend`.
 *
 * This file: the end of a turn of the event loop. Everything that was written in a turn leaves in one go, the record first.
 */

import type { Writable } from 'node:stream'
import { containFault, nothingEnds, type Owner } from '../base/contained.ts'
import { Fifo } from '../base/fifo.ts'
import { limits } from '../base/limits.ts'
import { type Committed, gated } from './gate.ts'
import { type LoopShare, LoopShares } from './loop-share.ts'

/** Something with bytes to hand on at the end of the turn. */
export interface Flushable {
  flushTurn(): void
  /** In the place of `flushTurn`: the bytes may never leave, so whoever waits for them is disconnected. */
  dropTurn(): void
}

/** Something with more bytes than are handed on in one turn. */
export interface Pumped {
  /** Hands on a part of them. */
  pumpTurn(): void
  dropTurn(): void
}

/**
 * Collects what has something to flush and flushes it once per turn of the event loop.
 * Invariant: `first` (the audit record) runs before any socket is written, and where it fails none is, so that nothing leaves unrecorded.
 */
export class Turn {
  #waiting: Flushable[] = []
  #flushing: Flushable[] = []
  #armed = false
  /** The next to hand on a part first. */
  readonly #pumps: Fifo<Pumped> = new Fifo()
  #first: (() => boolean) | undefined
  #committed: Committed | undefined
  /** What comes first failed in this turn. */
  #withheld = false
  readonly #run = (): void => this.#flush()
  /** Monotonic microseconds, read once per turn. */
  #nowMicros = 0
  #nowKnown = false
  /** Wall clock, read once per turn. */
  #wallMs = 0
  #wallKnown = false
  readonly #readWallMs: () => number
  /** Of what clients send. They begin anew with the turns that this ends, so that one that writes needs no end of its own. */
  readonly #reads = new LoopShares({
    now: () => performance.now(),
    nextTurn: (run) => {
      this.#atEnd = run
      this.wake()
    },
  })
  readonly #readsOf = new WeakMap<object, LoopShare>()
  /** They arm themselves once for each turn. */
  #atEnd: (() => void) | undefined

  constructor(wallMs: () => number = Date.now) {
    this.#readWallMs = wallMs
  }

  /** How much of a turn may go into reading what a client sends: the same for all connections of one `who`. */
  readsOf(who: object): LoopShare {
    let share = this.#readsOf.get(who)
    if (share === undefined) {
      share = this.#reads.share()
      this.#readsOf.set(who, share)
    }
    return share
  }

  /** Sets what runs before the sockets are written. It gives false where it failed since it ran last: what the sockets hold is unrecorded. */
  before(first: () => boolean): void {
    this.#first = first
  }

  /** Sets what bytes wait for where the record is written asynchronously. Before the first outbox. */
  gate(committed: Committed): void {
    this.#committed = committed
  }

  /** What an outbox writes to. */
  way(socket: Writable): Writable {
    return this.#committed === undefined ? socket : gated(socket, this.#committed)
  }

  /** For bytes that leave before the turn is over. False where none may, whatever was written in this turn. */
  record(): boolean {
    try {
      if (this.#first !== undefined && !this.#first()) this.#withheld = true
    } catch (reason) {
      // Whether it is on record is not known, so nothing leaves.
      this.#withheld = true
      containFault(nothingEnds, 'the record at the end of a turn', reason)
    }
    return !this.#withheld
  }

  /** The caller keeps a flag of its own so that it is added once per turn. */
  add(what: Flushable): void {
    this.#waiting.push(what)
    this.wake()
  }

  /** Calls `pumpTurn` once, when all else of a turn has left. All those that wait for it have one share of a turn together. */
  pump(what: Pumped): void {
    this.#pumps.push(what)
    this.wake()
  }

  /** Makes sure that this turn has an end, so that `first` runs. */
  wake(): void {
    if (this.#armed) return
    this.#armed = true
    setImmediate(this.#run)
  }

  /** Microseconds for latencies: one clock reading per turn. */
  nowMicros(): number {
    if (!this.#nowKnown) {
      this.#nowMicros = performance.now() * 1000
      this.#nowKnown = true
      this.wake()
    }
    return this.#nowMicros
  }

  /** Milliseconds since 1970, the same in all of a turn: what was decided by it in this turn is sent by it. */
  wallMs(): number {
    if (!this.#wallKnown) {
      this.#wallMs = this.#readWallMs()
      this.#wallKnown = true
      this.wake()
    }
    return this.#wallMs
  }

  #flush(): void {
    this.#armed = false
    this.#nowKnown = false
    this.#wallKnown = false
    const leaves = this.record()
    this.#withheld = false
    const now = this.#waiting
    this.#waiting = this.#flushing
    this.#flushing = now
    for (const what of now) {
      try {
        if (leaves) what.flushTurn()
        else what.dropTurn()
      } catch (reason) {
        // Bytes of one connection, which is all that ends.
        containFault(ownerOf(what), 'the end of a turn', reason)
      }
    }
    now.length = 0
    if (this.#pumps.length > 0) this.#pump(leaves)
    const atEnd = this.#atEnd
    this.#atEnd = undefined
    atEnd?.()
  }

  #pump(leaves: boolean): void {
    const until = performance.now() + limits.loopShareMs
    for (let left = this.#pumps.length; left > 0; left--) {
      const what = this.#pumps.shift()!
      try {
        if (leaves) what.pumpTurn()
        else what.dropTurn()
      } catch (reason) {
        containFault(ownerOf(what), 'a part of a long envelope', reason)
      }
      if (leaves && performance.now() >= until) break
    }
    if (this.#pumps.length > 0) this.wake()
  }
}

/** A connection whose bytes could not leave is ended by the means that ends one whose bytes may not. */
function ownerOf(what: Pick<Flushable, 'dropTurn'>): Owner {
  return { onFault: () => what.dropTurn() }
}
