/** The applications in `applications/`, each runnable. */
import { join } from 'node:path'
import { ownProgram } from '../e2e/drivers/own-program.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'

const sources = { folder: join(import.meta.dirname, 'applications'), javaClass: 'Outage' }

export const drivers = ['node', 'python', 'java', 'go'] as const
export type OutageDriver = (typeof drivers)[number]

/** @param dir where what is built goes */
export async function programOf(driver: OutageDriver, dir: string): Promise<Program | { readonly absent: string }> {
  const made = await ownProgram(driver, sources, dir)
  return 'absent' in made ? made : made.program
}
