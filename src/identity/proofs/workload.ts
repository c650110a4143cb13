/**
 * The workload of a session that is on behalf of one person from its log-in.
 *
 * Rule: whatever is bounded for each caller (places, bytes held, the loop, connections to the node, new statements) is bounded for the workload, which
 * would else have as much as it can name people.
 */
import { identityKey, type VerifiedIdentity } from '../verified.ts'
import { certificate } from './certificate.ts'
import { behalfMethods } from './registry.ts'

type Methods = Pick<VerifiedIdentity, 'methods'>

/** The person stands behind it by the authorization id, and has shown nothing herself. */
export function isBehalf({ methods }: Methods): boolean {
  return methods.at(-1) === behalfMethods.token || isByName({ methods })
}

/** The workload only named the person. */
export function isByName({ methods }: Methods): boolean {
  return methods.at(-1) === behalfMethods.name
}

/** The key of the caller, or of the workload as it would have come for itself. */
export function workloadKeyOf(who: VerifiedIdentity): string {
  if (!isBehalf(who)) return who.key
  const { subject, role, claimsOf } = who
  const methods = who.methods.slice(0, -1)
  const claims = claimsOf?.workload ?? {}
  const bySubject = methods.length === 1 && methods[0] === certificate.method
  return identityKey({ subject, person: undefined, groups: [], role, methods, claims }, bySubject)
}
