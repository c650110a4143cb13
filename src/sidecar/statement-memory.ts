/**
 * What the statements that are remembered weigh, for one identity and in all: the text, its facts, and what every statement has with it. Facts
 * are weighed piece by piece, for a text of 4,000 characters can have facts of 6 KB and of 160 KB.
 *
 * Rule: an identity that has most loses its own; one without a session loses what it has before one with sessions.
 */
import { getHeapStatistics } from 'node:v8'
import { limits } from '../base/limits.ts'
import type { Judged } from './statement.ts'

/** The judged statement, the decision on it, its entry in a table. */
const statementBytesFixed = 1024
/** Of V8 without compressed pointers: an object, a slot of one or of an array, a text beside its characters. */
const objectBytes = 40
const slotBytes = 8
const textBytes = 24

/** An identity's statements, as their memory sees them. */
export interface StatementHolder {
  readonly sessions: number
  readonly statementBytes: number
  /** Forgets them all. */
  forgetStatements(): void
}

export interface StatementBounds {
  readonly bytesMax: number
  readonly identityBytesMax: number
}

/** An eighth of the heap's bound for all of them, a quarter of that for one identity. */
export function statementBounds(
  bytesMax: number = Math.min(limits.statementMemoryBytesMax, getHeapStatistics().heap_size_limit / 8),
): StatementBounds {
  return { bytesMax, identityBytesMax: bytesMax / 4 }
}

/** What a statement weighs that is to be remembered. Weighed once. */
export function bytesOf(judged: Judged): number {
  judged.bytes ||= statementBytes(judged.text, judged.facts)
  return judged.bytes
}

/** Twice the text, for the record has it without its literals. */
export function statementBytes(text: string, facts: object): number {
  return statementBytesFixed + 2 * text.length + weightOf(facts, new Set())
}

/** `weighed`: what many pieces share counts once, such as a column's name. */
function weightOf(value: unknown, weighed: Set<unknown>): number {
  if (typeof value === 'bigint') return textBytes
  if (value === null || (typeof value !== 'object' && typeof value !== 'string') || weighed.has(value)) return 0
  weighed.add(value)
  if (typeof value === 'string') return textBytes + value.length
  const pieces: readonly unknown[] = Array.isArray(value) ? value : Object.values(value)
  let bytes = objectBytes
  for (const piece of pieces) bytes += slotBytes + weightOf(piece, weighed)
  return bytes
}

export class StatementMemory {
  readonly bounds: StatementBounds
  bytes = 0
  readonly #holders: () => Iterable<StatementHolder>

  constructor(holders: () => Iterable<StatementHolder>, bounds: StatementBounds = statementBounds()) {
    this.#holders = holders
    this.bounds = bounds
  }

  /** Called when an identity remembers `more` bytes, or forgets them where that is negative. */
  changed(more: number): void {
    this.bytes += more
    while (more > 0 && this.bytes > this.bounds.bytesMax) {
      const heaviest = this.#heaviest()
      if (heaviest === undefined || heaviest.statementBytes === 0) return
      heaviest.forgetStatements()
    }
  }

  #heaviest(): StatementHolder | undefined {
    let found: StatementHolder | undefined
    for (const each of this.#holders()) {
      if (each.statementBytes === 0) continue
      const unused = each.sessions === 0
      if (found === undefined || (unused && found.sessions > 0)) found = each
      else if (unused === (found.sessions === 0) && each.statementBytes > found.statementBytes) found = each
    }
    return found
  }
}
