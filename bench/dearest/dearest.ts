/**
 * The dearest inputs that a client can send to a sidecar, what they cost everybody else, and what strangers cost the control plane.
 *
 *     npm run bench -- --dearest [--quick] [--only TEXT]
 *
 * Each part prints a table of its own: time on the event loop, memory, certificates under a flood.
 */
import { processorAndCommit } from '../figures.ts'
import type { BenchContext } from '../systems/system.ts'
import { reportLoop } from './loop.ts'
import { reportDearestMemory } from './memory.ts'
import type { DearestPlan } from './plan.ts'
import { reportStrangers } from './strangers.ts'

/** Resolves with the number of rows that are not within their bound. */
type Part = (context: BenchContext, plan: DearestPlan, say: (line: string) => void) => Promise<number>

const parts: readonly Part[] = [reportLoop, reportDearestMemory, reportStrangers]

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
