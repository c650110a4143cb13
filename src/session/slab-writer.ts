/**
 * The memory in which what leaves through one socket is gathered. A full slab waits until the socket has taken it and nobody pins it for a
 * replay; then it is used again.
 *
 *   slab  [ handed to the socket | waiting for the end of the turn | room ]
 *         0                     from                             at     size
 *
 * Invariant: from ≤ at ≤ slab.length.
 */
import type { Writable } from 'node:stream'
import { giveSlab, Slab, slabBytes, takeSlab } from './slab.ts'
import type { Turn } from './turn.ts'

/** Full slabs remembered; more are left to the garbage collector. */
const fullMax = 16
/** Of one that is closed. */
const none = new Slab(Buffer.alloc(0))

export abstract class SlabWriter {
  protected readonly socket: Writable
  protected readonly turn: Turn
  /** Requests leave here: their records come with their answers, so full slabs need not wait for those. */
  protected readonly requests: boolean
  // That of a connection that is over, or one that nobody has touched: of an idle session's slab only the first page is ever resident then.
  #current = takeSlab(slabBytes)
  protected slab = this.#current.bytes
  /** Full ones, oldest first, that the socket has not taken or somebody pins. */
  readonly #full: Slab[] = []
  #handedBytes = 0
  #from = 0
  protected at = 0
  protected closed = false
  /** Where the last envelope written stands. Valid until the next write, and after `lastSlab.pin()` until `unpin()`. */
  lastSlab: Slab = this.#current
  lastAt = 0
  lastBytes = 0

  constructor(socket: Writable, turn: Turn, requests: boolean) {
    this.socket = turn.way(socket)
    this.turn = turn
    this.requests = requests
  }

  /** The record of what a full slab holds cannot be written. */
  abstract dropTurn(): void

  /** Bytes that the peer has taken since the beginning. */
  get takenBytes(): number {
    return this.#handedBytes - this.socket.writableLength
  }

  /** Lets go of the slabs that the socket has taken. */
  trim(): void {
    if (this.#full.length > 0) this.#giveBack()
  }

  /** In slabs, and not handed over yet. */
  protected get gatheredBytes(): number {
    return this.at - this.#from
  }

  /** Nothing more is written: the slab is for others, unless the socket has not taken all of it. A request may be sent again from its slab. */
  protected giveUpSlab(): void {
    if (this.requests || this.#current.pinned || this.socket.writableLength > 0) return
    giveSlab(this.#current)
    this.#current = none
    this.slab = none.bytes
    this.lastSlab = none
    this.#from = 0
    this.at = 0
  }

  /** The slab is begun again where everything in it has left. */
  protected beginAgain(): void {
    if (this.#from === 0 || this.at !== this.#from || this.#current.pinned || this.socket.writableLength > 0) return
    this.#from = 0
    this.at = 0
  }

  /** The envelope that was written at `at`. */
  protected wroteAt(at: number, bytes: number): void {
    this.lastSlab = this.#current
    this.lastAt = at
    this.lastBytes = bytes
  }

  /** One that was made for a long envelope is not used again. */
  protected letLongGo(): void {
    if (this.slab.length > slabBytes) this.renew(0)
  }

  /** Makes room for `bytes` in one piece; a full slab is handed to the socket and left alone until it may be used again. */
  protected reserve(bytes: number): void {
    if (this.at + bytes <= this.slab.length) return
    if (!this.requests && !this.closed && !this.turn.record()) this.dropTurn()
    this.handOver()
    this.#giveBack()
    // One that was made for a long envelope is not used again.
    if (this.#full.length < fullMax && this.slab.length === slabBytes) this.#full.push(this.#current)
    this.renew(bytes)
  }

  protected renew(bytes: number): void {
    this.#current = takeSlab(bytes)
    this.slab = this.#current.bytes
    this.#from = 0
    this.at = 0
    this.lastSlab = this.#current
  }

  #giveBack(): void {
    // What a stream has not passed on yet counts in its length, first in, first out.
    const takenBytes = this.#handedBytes - this.socket.writableLength
    let first = this.#full[0]
    while (first !== undefined && !first.pinned && first.handedBytes <= takenBytes) {
      giveSlab(first)
      this.#full.shift()
      first = this.#full[0]
    }
  }

  protected handOver(): void {
    if (this.at === this.#from) return
    const bytes = this.slab.subarray(this.#from, this.at)
    this.#from = this.at
    if (this.closed || !this.socket.writable) return
    this.socket.write(bytes)
    this.#handedBytes += bytes.length
    this.#current.handedBytes = this.#handedBytes
  }
}
