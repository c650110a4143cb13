/** How far a zone is from UTC, from which moment on: clocks go forward and back. The database knows names of zones, and no `+02:00`. */
import type { Offset } from '../../archive/who.ts'
import type { SaidRange } from './sources.ts'

/** Those of a range, in the order of time; the first is that of its beginning. */
export function offsetsOf({ fromMs, toMs, zone }: SaidRange): Offset[] {
  const offsets: Offset[] = []
  let at: Temporal.ZonedDateTime | null = Temporal.Instant.fromEpochMilliseconds(fromMs).toZonedDateTimeISO(zone)
  while (at !== null && at.epochMilliseconds < toMs) {
    offsets.push({ fromMs: at.epochMilliseconds, micros: at.offsetNanoseconds / 1000, text: at.offset })
    at = at.getTimeZoneTransition('next')
  }
  return offsets
}
