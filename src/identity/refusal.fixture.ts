/** Why a log-in is refused, as tests ask for it. */
import assert from 'node:assert/strict'
import { LogInRefused } from './refusal.ts'

export function refusalOf(run: () => unknown): LogInRefused | undefined {
  try {
    run()
  } catch (reason) {
    assert.ok(reason instanceof LogInRefused, String(reason))
    return reason
  }
  return undefined
}

/** The cause, or `accepted`. */
export function why(run: () => unknown): string {
  return refusalOf(run)?.why ?? 'accepted'
}

/** The same of a promise. */
export async function whyLater(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (reason) {
    return why(() => {
      throw reason
    })
  }
  return 'accepted'
}
