/**
 * What the statements that are remembered weigh, for one identity and in all. A text is not only itself: its facts are made of pieces of it,
 * so it is reckoned four times, and what every statement has with it.
 *
 * Rule: an identity that has most loses its own; one without a session loses what it has before one with sessions.
 */
import { getHeapStatistics } from 'node:v8'
import { limits } from '../base/limits.ts'

const statementBytesFixed = 1024
const bytesPerCharacter = 4

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

export function statementBytes(text: string): number {
  return statementBytesFixed + bytesPerCharacter * text.length
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
