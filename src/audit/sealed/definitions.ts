/**
 * What a block says once and refers to by a number: sessions, statements, verdicts, and requests as they were asked.
 *
 * Rule: a block leans on no other, so that it says by itself who did what. A number is never given twice while the process lives, so that what
 * was defined before is never taken for something else.
 */
import { frameKind } from './format.ts'
import type { SealedWriter } from './writer.ts'

/** Texts that are remembered, by their length; the notes of sessions and statements know the numbers of those in use. */
const textsMax = 2 * 1024 * 1024

export class Definitions {
  readonly #writer: SealedWriter
  #generation = -1
  #last = 0
  // No LRU: what is defined again costs its bytes in the segment, and nothing else.
  #known = new Map<string, number>()
  #texts = 0

  constructor(writer: SealedWriter) {
    this.#writer = writer
  }

  text(kind: number, text: string): number {
    return this.#of(`${kind}${text}`, kind, text)
  }

  /** `statement` and `verdict` are numbers of theirs. */
  asked(statement: number, verdict: number, opcode: number, consistency: number, batchSize: number): number {
    const key = `${statement} ${verdict} ${opcode} ${consistency} ${batchSize}`
    this.#current()
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const number = this.#remember(key)
    const frames = this.#writer.frames
    frames.begin(frameKind.asked)
    frames.number(number)
    frames.number(statement)
    frames.number(verdict)
    frames.byte(opcode)
    frames.byte(consistency + 1)
    frames.number(batchSize)
    this.#writer.end()
    return number
  }

  #of(key: string, kind: number, text: string): number {
    this.#current()
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const number = this.#remember(key)
    const frames = this.#writer.frames
    frames.begin(kind)
    frames.number(number)
    frames.text(text)
    this.#writer.end()
    return number
  }

  #current(): void {
    if (this.#generation === this.#writer.generation && this.#texts < textsMax) return
    this.#generation = this.#writer.generation
    this.#known = new Map()
    this.#texts = 0
  }

  #remember(key: string): number {
    const number = ++this.#last
    this.#known.set(key, number)
    this.#texts += key.length
    return number
  }
}
