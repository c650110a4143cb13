/** The segment that is written, as a file: it is begun, grows, and is left, or abandoned where it failed. */
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { type SegmentFiles, segmentName } from './files.ts'

export interface SegmentOptions {
  readonly directory: string
  readonly proxy: string
  /** Another one is begun when this is reached, and at each midnight UTC. */
  readonly segmentBytesMax: number
  readonly clock: Clock
}

const dayMs = 86_400_000

export class Segment {
  readonly #options: SegmentOptions
  readonly #files: SegmentFiles
  #serial: number
  #path = ''
  #day = -1
  /** −1 where none is open. */
  fd = -1
  /** What it has that counts. */
  bytes = 0

  constructor(options: SegmentOptions, files: SegmentFiles, serial: number) {
    this.#options = options
    this.#files = files
    this.#serial = serial
  }

  get isDue(): boolean {
    const day = Math.floor(this.#options.clock.now() / dayMs)
    return this.bytes >= this.#options.segmentBytesMax || day !== this.#day
  }

  /** Begins another one. */
  open(): void {
    const { directory, proxy, clock } = this.#options
    const nowMs = clock.now()
    this.#path = join(directory, segmentName(proxy, this.#serial, nowMs))
    this.fd = this.#files.open(this.#path)
    this.#serial++
    this.bytes = 0
    this.#day = Math.floor(nowMs / dayMs)
  }

  /** Gives how many bytes were taken, which may be fewer. @throws Error where none were */
  write(bytes: Buffer): number {
    const taken = this.#files.write(this.fd, bytes)
    if (taken <= 0) throw new Error('nothing was written')
    return taken
  }

  /** Leaves only what counts behind, and no file without anything. The device that failed may refuse both. */
  abandon(): void {
    const { fd } = this
    if (fd === -1) return
    this.fd = -1
    attempt(() => this.#files.truncate(fd, this.bytes))
    attempt(() => this.#files.close(fd))
    if (this.bytes === 0) attempt(() => this.#files.remove(this.#path))
  }

  close(): void {
    const { fd } = this
    this.fd = -1
    if (fd !== -1) attempt(() => this.#files.close(fd))
  }
}

function attempt(step: () => void): void {
  try {
    step()
  } catch {
    // Best effort: the failure that led here is the one that was reported.
  }
}
