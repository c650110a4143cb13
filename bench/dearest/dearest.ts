/**
 * The dearest inputs that a client can send to a sidecar, what they cost everybody else, and what strangers cost the control plane.
 *
 *     npm run bench -- --dearest [--quick]
 *
 * Each part prints a table of its own: time on the event loop, memory, certificates under a flood.
 */
import { processorAndCommit } from '../figures.ts'
import type { BenchContext } from '../systems/system.ts'
import { reportLoop } from './loop.ts'
import { reportDearestMemory } from './memory.ts'
import { reportStrangers } from './strangers.ts'

export interface DearestPlan {
  /** Of each input. */
  readonly runs: number
  /** That strangers are at the control plane. */
  readonly floodSeconds: number
}

/** Resolves with the number of rows that are not within their bound. */
type Part = (context: BenchContext, plan: DearestPlan, say: (line: string) => void) => Promise<number>

const parts: readonly Part[] = [
  (context, { runs }, say) => reportLoop(context, runs, say),
  (context, _plan, say) => reportDearestMemory(context, say),
  (context, { floodSeconds }, say) => reportStrangers(context, floodSeconds, say),
]

/** Resolves with the number of rows that are not within their bound. */
export async function reportDearest(
  context: BenchContext,
  plan: DearestPlan,
  say: (line: string) => void,
): Promise<number> {
  let beyond = 0
  for (const part of parts) {
    beyond += await part(context, plan, say)
    console.log()
  }
  console.log(`${processorAndCommit()}; ${beyond === 0 ? 'all are within' : `${beyond} not within`}`)
  return beyond
}
