/**
 * The memory that envelopes are gathered in before they leave. Slabs are used again: a fresh one for every 64 KiB that pass through
 * would be memory that the garbage collector must first mark the whole heap to get back.
 *
 * Rule: a slab is written to again only when nobody pins it and the socket has taken everything that was handed over from it.
 */

export const slabBytes = 64 * 1024
/** Free slabs kept for all outboxes together. */
const freeMax = 64

export class Slab {
  readonly bytes: Buffer
  /** Requests that may have to be sent again from here. */
  #pins = 0
  /** What its outbox had handed over, in bytes since the beginning, when it handed over the last of this slab. */
  handedBytes = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get pinned(): boolean {
    return this.#pins > 0
  }

  pin(): void {
    this.#pins++
  }

  unpin(): void {
    this.#pins--
  }
}

const free: Slab[] = []

/** A slab of `bytes` at least; its contents are anything. */
export function takeSlab(bytes: number): Slab {
  if (bytes > slabBytes) return new Slab(Buffer.allocUnsafeSlow(bytes))
  return free.pop() ?? new Slab(Buffer.allocUnsafeSlow(slabBytes))
}

/** Takes back a slab that nothing refers to any more. */
export function giveSlab(slab: Slab): void {
  if (slab.bytes.length === slabBytes && free.length < freeMax) free.push(slab)
}
