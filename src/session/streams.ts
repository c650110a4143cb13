/**
 * Which of a client's stream ids wait for their answer: one bit each, memory only as far as the client counts.
 */
import { assert } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

const wordBits = 32

export class StreamSet {
  #words = new Uint32Array(4)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** False when the id is taken already: the client reused a stream before its answer. `stream` is 0..32767. */
  add(stream: number): boolean {
    const word = stream >>> 5
    if (word >= this.#words.length) this.#grow(word)
    const bit = 1 << (stream & (wordBits - 1))
    if ((this.#words[word]! & bit) !== 0) return false
    this.#words[word] = this.#words[word]! | bit
    this.#count++
    return true
  }

  has(stream: number): boolean {
    const word = stream >>> 5
    return word < this.#words.length && (this.#words[word]! & (1 << (stream & (wordBits - 1)))) !== 0
  }

  /** Those that wait, in ascending order. */
  ids(): number[] {
    const found: number[] = []
    for (let stream = 0; stream < this.#words.length * wordBits; stream++) if (this.has(stream)) found.push(stream)
    return found
  }

  /** False when nothing waited under that id. */
  delete(stream: number): boolean {
    const word = stream >>> 5
    if (word >= this.#words.length) return false
    const bit = 1 << (stream & (wordBits - 1))
    if ((this.#words[word]! & bit) === 0) return false
    this.#words[word] = this.#words[word]! & ~bit
    this.#count--
    return true
  }

  #grow(word: number): void {
    assert(word < limits.streamsInFlightMax / wordBits, 'a stream id is within streamsInFlightMax')
    let length = this.#words.length
    while (length <= word) length *= 2
    const words = new Uint32Array(length)
    words.set(this.#words)
    this.#words = words
  }
}
