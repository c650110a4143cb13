/**
 * What is on its way to the node, as the connection that carries it sees it: its bytes, its permit and its slot there. There are two kinds:
 * a `Request` of a client and a `Question` of the sidecar's own.
 *
 * Rule: each ends once: with an answer, with one that is too large to be kept, with a time-out or with the loss of the connection. An answer
 * after a time-out is dropped.
 */
import type { ByteAccount } from '../base/bytes-budget.ts'
import type { Owner } from '../base/contained.ts'
import type { Permit } from '../policy/engine.ts'
import type { OwnPermit } from '../policy/own-permit.ts'
import type { Slab } from '../session/slab.ts'

/** The connection that carries it; an `Upstream`. */
export interface Carrier {
  /** Of the connection, which never changes; empty for none. */
  readonly keyspace: string
  /** Called within `onAnswer`: the slot stays taken until `release`. */
  keep(request: InFlight): void
  /** Gives back a slot that was kept. */
  release(request: InFlight): void
  /** Nobody waits for the answer any more. The slot stays taken until it has come. */
  abandon(request: InFlight): void
  destroy(reason: string): void
}

const nothing = Buffer.alloc(0)

export abstract class InFlight implements Owner {
  /** The envelope: borrowed until it is sent, afterwards where it lies as it was sent, or nothing where it is not needed again. */
  bytes: Buffer = nothing
  start = 0
  end = 0
  /** What allows it to be sent. */
  permit: Permit | OwnPermit | undefined
  /** Whose the request's bytes are, and a large answer's. `bytesIn` are taken from it while the request is in flight. */
  account: ByteAccount | undefined
  bytesIn = 0
  /** See `begin`. */
  #begunMicros = 0
  /** While it is in flight. */
  carrier: Carrier | undefined
  /** The stream id on that connection; −1 where it has none. */
  slot = -1
  /** It was answered, and its slot is kept. */
  kept = false
  /** See `Carrier.abandon`. */
  abandoned = false
  /** Its bytes are needed until it is answered. */
  remembered = false
  /** Holds its bytes after they were sent; undefined where they are a copy. */
  pin: Slab | undefined
  /** Called when the node has answered it, whoever still waits for that, or never will. */
  whenOver: (() => void) | undefined

  /** May keep the request (`Carrier.keep`); otherwise its slot is free after the call. */
  abstract onAnswer(buffer: Buffer, start: number, end: number): void
  /** The answer is larger than may be kept for whoever asked. It is dropped as it comes. */
  abstract onUnfit(answerBytes: number): void
  /** The node did not answer in time. The slot stays taken until it does. */
  abstract onTimeout(): void
  /** The connection died; whether the node acted is unknown. */
  abstract onLost(reason: string): void
  /** A fault of ours in one of these calls: ends whoever it was for, and nobody else on the connection. */
  abstract onFault(reason: unknown): void
  /** It was answered in the call that has ended, and nobody kept it. */
  abstract over(): void

  /** Its time begins. Kept in 32 bits, for V8 keeps a larger number, or a fraction, in an object of its own. */
  begin(nowMicros: number): void {
    this.#begunMicros = nowMicros | 0
  }

  /** Whole microseconds since `begin`: right for half an hour, and no request lasts so long. */
  ageMicros(nowMicros: number): number {
    return ((nowMicros | 0) - this.#begunMicros) | 0
  }

  get byteCount(): number {
    return this.end - this.start
  }

  /** The envelope as it lies; borrowed like `bytes`. */
  view(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }

  /** Takes other bytes for the envelope. */
  use(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes
    this.start = start
    this.end = end
  }

  /** Its bytes are needed no more. */
  unpin(): void {
    this.pin?.unpin()
    this.pin = undefined
    this.use(nothing, 0, 0)
  }

  /** What it took is free when nothing of it waits here any more. */
  giveBack(): void {
    const { account } = this
    if (account !== undefined) {
      account.give(this.bytesIn)
      account.countInFlight(-1)
      this.account = undefined
    }
    const { whenOver } = this
    this.whenOver = undefined
    whenOver?.()
  }

  /** A slow request is not to keep the whole slab that it was sent from. */
  copyOut(): void {
    if (this.pin === undefined) return
    const copy = Buffer.from(this.view())
    this.pin.unpin()
    this.pin = undefined
    this.use(copy, 0, copy.length)
  }

  /** Lets go of everything that it refers to. */
  clear(): void {
    this.use(nothing, 0, 0)
    this.permit = undefined
    this.account = undefined
    this.carrier = undefined
    this.slot = -1
    this.kept = false
    this.abandoned = false
    this.remembered = false
    this.pin = undefined
    this.whenOver = undefined
  }
}
