/** Lists in messages. */
import { z } from 'zod'

export interface Fitting<T> {
  readonly entries: T[]
  /** So many did not fit. */
  readonly skipped: number
}

/**
 * A list in a message, looked at entry by entry: what does not fit is left out and counted, so that one bad entry never costs
 * the good ones. Undefined where it is no list.
 */
export function readFitting<T>(entry: z.ZodType<T>, countMax: number, given: unknown): Fitting<T> | undefined {
  return Array.isArray(given) ? fittingOf(entry, countMax, given) : undefined
}

/** The same as a schema, for a list that stands in another message. */
export function fittingEntries<T>(entry: z.ZodType<T>, countMax: number) {
  return z.array(z.unknown()).transform((given) => fittingOf(entry, countMax, given))
}

function fittingOf<T>(entry: z.ZodType<T>, countMax: number, given: readonly unknown[]): Fitting<T> {
  const entries: T[] = []
  for (const each of given) {
    if (entries.length >= countMax) break
    const read = entry.safeParse(each)
    if (read.success) entries.push(read.data)
  }
  return { entries, skipped: given.length - entries.length }
}
