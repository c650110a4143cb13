/**
 * What a session of a gateway has in hand: a client's request on its way to a sidecar, or an answer on its way back.
 *
 * Rule: it is used again when the call that brought it ends, unless it was held. Nobody keeps it otherwise.
 */
import { copyOf, type Envelope } from '../cql/envelope.ts'
import { headerOpcode, headerStream } from '../cql/protocol.ts'
import type { Holdable } from '../session/held.ts'

const nothing = Buffer.alloc(0)

export class Passing implements Envelope, Holdable {
  bytes: Buffer = nothing
  start = 0
  end = 0
  opcode = 0
  /** As it stands in the header; −1 is that of events. */
  stream = 0
  /** Its bytes are its own, and somebody may have kept it. */
  #isHeld = false

  arrive(bytes: Buffer, start: number, end: number): this {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.opcode = headerOpcode(bytes, start)
    this.stream = headerStream(bytes, start)
    return this
  }

  get byteCount(): number {
    return this.end - this.start
  }

  hold(): void {
    if (this.#isHeld) return
    this.#isHeld = true
    this.bytes = copyOf(this)
    this.start = 0
    this.end = this.bytes.length
  }

  /** The call that brought it ends. */
  over(): void {
    if (this.#isHeld) return
    this.bytes = nothing
    if (free.length < freeMax) free.push(this)
  }
}

/** Calls seldom stand within each other. */
const freeMax = 16
const free: Passing[] = []

/** `bytes[start..end)` is one whole envelope. `over` is to be called behind it; where something was thrown, it is left to the garbage collector. */
export function passing(bytes: Buffer, start: number, end: number): Passing {
  return (free.pop() ?? new Passing()).arrive(bytes, start, end)
}
