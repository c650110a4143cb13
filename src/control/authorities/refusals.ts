/** What an operator hears of a step that cannot be now, and what to do in its place. */
import { RingfenceError } from '../../base/errors.ts'
import type { AuthorityKind } from './signer.ts'

export const seeShow = 'ringfence ca show'
export const byOffline = 'ringfence ca prepare issuing --offline <file>; docs/rotate.md has the rest'

export function usage(message: string, hint: string): RingfenceError {
  return new RingfenceError('USAGE', message, { hint })
}

export function activateFirst(kind: AuthorityKind): string {
  return `first another one: ringfence ca prepare ${kind}, then ringfence ca activate ${kind}`
}
