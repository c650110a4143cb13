/**
 * The dearest inputs that a client can send to a sidecar, and what they cost everybody else.
 *
 *     npm run bench -- --dearest [--quick]
 *
 * Each part prints a table of its own: time on the event loop, memory.
 */
import type { BenchContext } from '../systems/system.ts'
import { reportLoop } from './loop.ts'
import { reportDearestMemory } from './memory.ts'

export interface DearestPlan {
  /** Of each input. */
  readonly runs: number
}

type Part = (context: BenchContext, plan: DearestPlan, say: (line: string) => void) => Promise<void>

const parts: readonly Part[] = [
  (context, { runs }, say) => reportLoop(context, runs, say),
  (context, _plan, say) => reportDearestMemory(context, say),
]

export async function reportDearest(
  context: BenchContext,
  plan: DearestPlan,
  say: (line: string) => void,
): Promise<void> {
  for (const part of parts) await part(context, plan, say)
}
