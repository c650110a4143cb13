/**
 * Failures, counted by what they say: in an outage thousands say the same.
 *
 * Rule: each counts. Beyond `textsMax` different texts they are `other`, which nobody takes for a node that was slow. The application in Python has the
 * same two rules of its own.
 */

const textsMax = 40
const charsMax = 500
const otherText = 'other'

export class FailureCounts {
  readonly #counts = new Map<string, number>()

  add(error: string): void {
    const text = plain(error).slice(0, charsMax)
    const key = this.#counts.has(text) || this.#counts.size < textsMax ? text : otherText
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  /** How often each was said. */
  get said(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

/** Without numbers, but for those that say what it is: of HTTP and of CQL. */
export function plain(error: string): string {
  return error.replaceAll(
    /(HTTP \d+|code=\d+|0x[0-9a-f]{4}\b)|0x[0-9a-f]+|\d+/g,
    (_, kept: string | undefined) => kept ?? '#',
  )
}
