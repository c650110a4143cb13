/** What one log-in costs an event loop, out of half seconds with log-ins and half seconds without. */
import { median } from '../table.ts'
import type { Sample } from './probe.ts'

export interface Cost {
  /** Of the loop's time and of its thread's CPU, each the median of half seconds; NaN where there was none with a log-in. */
  readonly loopMs: number
  readonly cpuMs: number
}

/** Of a second, where nobody logs in. */
export interface Quiet {
  readonly busyMs: number
  readonly cpuMs: number
}

interface Span {
  readonly fromMs: number
  readonly toMs: number
  readonly seconds: number
  readonly busyMs: number
  readonly cpuMs: number
}

function spansOf(samples: readonly Sample[], fromMs: number, toMs: number): Span[] {
  const inside = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
  return inside.slice(1).map((sample, at) => {
    const before = inside[at]!
    return {
      fromMs: before.atMs,
      toMs: sample.atMs,
      seconds: (sample.atMs - before.atMs) / 1_000,
      busyMs: sample.busyMs - before.busyMs,
      cpuMs: sample.cpuMs - before.cpuMs,
    }
  })
}

/** The medians of what a second costs between the two moments. */
export function quietOf(samples: readonly Sample[], fromMs: number, toMs: number): Quiet {
  const spans = spansOf(samples, fromMs, toMs)
  return {
    busyMs: median(spans.map(({ busyMs, seconds }) => busyMs / seconds)),
    cpuMs: median(spans.map(({ cpuMs, seconds }) => cpuMs / seconds)),
  }
}

/**
 * @param doneAtMs when each log-in was done
 * @param share how much of what the neighbours ask when it is quiet they asked now: their part of the cost is smaller then, not the log-ins'
 */
export function costOf(
  samples: readonly Sample[],
  [fromMs, toMs]: readonly [number, number],
  doneAtMs: readonly number[],
  quiet: Quiet,
  share: number,
): Cost {
  const spans = spansOf(samples, fromMs, toMs).flatMap((span) => {
    const count = doneAtMs.filter((atMs) => atMs > span.fromMs && atMs <= span.toMs).length
    return count === 0 ? [] : [{ ...span, count }]
  })
  const each = (pick: 'busyMs' | 'cpuMs'): number =>
    median(spans.map((span) => (span[pick] - quiet[pick] * share * span.seconds) / span.count))
  return { loopMs: each('busyMs'), cpuMs: each('cpuMs') }
}
