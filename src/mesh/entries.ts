/** Lists in messages. */
import { z } from 'zod'

/**
 * A list in a message, looked at entry by entry: what does not fit is left out and counted, so that one bad entry never costs
 * the good ones.
 */
export function fittingEntries<T>(entry: z.ZodType<T>, countMax: number) {
  return z.array(z.unknown()).transform((given) => {
    const entries: T[] = []
    for (const each of given) {
      if (entries.length >= countMax) break
      const read = entry.safeParse(each)
      if (read.success) entries.push(read.data)
    }
    return { entries, skipped: given.length - entries.length }
  })
}
