/**
 * Bytes of a stream become whole frames. A frame is a header of known length that says how long the whole is; what a frame means is
 * its format's business (`cql/inbound.ts`: envelopes and segments; `link/splitter.ts`: frames of a mesh link).
 *
 * Rule: memory is taken for what has arrived, never for what was announced, until some MiB of it are there. A frame that lies whole in a chunk is handed on as a view
 * of it, and copied only when it is split over chunks.
 */

/** A collecting buffer up to this size is kept for the next frame in pieces. */
const keptBytesMax = 64 * 1024
const collectingBytesMin = 1024
/** From here on memory for the whole is taken at once, for doubling would copy half of 100 MB in a turn. It is resident as far as it is filled. */
const doubledBytesMax = 4 * 1024 * 1024

const nothing: Buffer = Buffer.alloc(0)

/** Bytes of one frame that arrives in pieces. Grows by doubling first, so that a lie about the length costs the liar. */
export class Collector {
  buffer = nothing
  have = 0

  /** Memory that is held for a frame that has begun. */
  get heldBytes(): number {
    return this.have > 0 ? this.buffer.length : 0
  }

  /** Takes from `chunk[at..end)` until `need` bytes are there; answers how many it took. */
  take(chunk: Buffer, at: number, end: number, need: number): number {
    const count = Math.min(need - this.have, end - at)
    const wanted = this.have + count
    if (this.buffer.length < wanted) {
      const { length } = this.buffer
      const doubled = length < doubledBytesMax ? Math.max(collectingBytesMin, length * 2) : need
      const grown = Buffer.allocUnsafeSlow(Math.max(wanted, Math.min(need, doubled)))
      this.buffer.copy(grown, 0, 0, this.have)
      this.buffer = grown
    }
    chunk.copy(this.buffer, this.have, at, at + count)
    this.have = wanted
    return count
  }

  /** Empties it and keeps a small buffer for the next frame. */
  clear(): void {
    this.have = 0
    if (this.buffer.length > keptBytesMax) this.buffer = nothing
  }

  release(): void {
    this.have = 0
    this.buffer = nothing
  }
}

/** `Sink` is handed through to the format, so that nothing is bound for each chunk. */
export abstract class Framer<Sink> {
  /** A frame that has begun and not come whole. */
  protected readonly partial = new Collector()
  /** What is still to come of a frame that is dropped. */
  #passingBytes = 0
  /** Set within `onFrame`: what is behind that frame stays in `#rest`, until somebody goes on. */
  protected stopped = false
  #rest = nothing

  /** A format may change it from the next frame on. */
  protected abstract headerBytes: number

  /** The length of the whole frame whose header stands at `at`, or throws. Asked again with every chunk that the frame needs. */
  protected abstract frameBytes(buffer: Buffer, at: number, sink: Sink): number

  /** `buffer[start..end)` is one whole frame, borrowed for the call. */
  protected abstract onFrame(buffer: Buffer, start: number, end: number, sink: Sink): void

  /** False: the frame is not collected or delivered, and passes by. `isWhole`: all of it is there. */
  protected wants(_buffer: Buffer, _at: number, _frameBytes: number, _isWhole: boolean, _sink: Sink): boolean {
    return true
  }

  /** `have` bytes of a header that is not whole: a format may throw before the rest comes. */
  protected onPartOfHeader(_buffer: Buffer, _at: number, _have: number): void {}

  /** The last byte of a frame that was not wanted has come. */
  protected onPassed(_sink: Sink): void {}

  /** Of a frame something has come, and not all. */
  protected get isWithinFrame(): boolean {
    return this.partial.have > 0 || this.#passingBytes > 0
  }

  /** What has come and was not looked at. */
  protected get restBytes(): number {
    return this.#rest.length
  }

  /** Keeps a copy of `chunk`, behind what is kept. */
  protected keepRest(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
  }

  protected takeRest(): Buffer {
    const rest = this.#rest
    this.#rest = nothing
    return rest
  }

  /** Hands on every frame that `chunk` completes, up to where it is stopped. `chunk` is not kept. */
  protected split(chunk: Buffer, sink: Sink): void {
    const end = chunk.length
    let at = 0
    while (at < end && !this.stopped) {
      if (this.#passingBytes > 0) at = this.#passBy(at, end, sink)
      else if (this.partial.have > 0) at = this.#collect(chunk, at, sink)
      else if (end - at < this.headerBytes) {
        this.onPartOfHeader(chunk, at, end - at)
        at += this.partial.take(chunk, at, end, this.headerBytes)
      } else {
        const frameBytes = this.frameBytes(chunk, at, sink)
        const isWhole = frameBytes <= end - at
        if (!this.wants(chunk, at, frameBytes, isWhole, sink)) this.#passingBytes = frameBytes
        else if (isWhole) {
          this.onFrame(chunk, at, at + frameBytes, sink)
          at += frameBytes
        } else at += this.partial.take(chunk, at, end, frameBytes)
      }
    }
    if (at < end) this.keepRest(chunk.subarray(at))
  }

  /** The frame that has begun is not wanted any more: what is there of it goes, the rest passes by. */
  protected pass(frameBytes: number): void {
    this.#passingBytes = frameBytes - this.partial.have
    this.partial.release()
  }

  #collect(chunk: Buffer, from: number, sink: Sink): number {
    const { partial } = this
    let at = from
    if (partial.have < this.headerBytes) {
      at += partial.take(chunk, at, chunk.length, this.headerBytes)
      if (partial.have < this.headerBytes) {
        this.onPartOfHeader(partial.buffer, 0, partial.have)
        return at
      }
    }
    const frameBytes = this.frameBytes(partial.buffer, 0, sink)
    if (!this.wants(partial.buffer, 0, frameBytes, false, sink)) {
      this.pass(frameBytes)
      return this.#passBy(at, chunk.length, sink)
    }
    at += partial.take(chunk, at, chunk.length, frameBytes)
    if (partial.have < frameBytes) return at
    // Emptied first: whoever gets the frame may ask what is held. The bytes stay until the next `take`.
    partial.have = 0
    this.onFrame(partial.buffer, 0, frameBytes, sink)
    partial.clear()
    return at
  }

  #passBy(from: number, end: number, sink: Sink): number {
    const count = Math.min(this.#passingBytes, end - from)
    this.#passingBytes -= count
    if (this.#passingBytes === 0) this.onPassed(sink)
    return from + count
  }
}
