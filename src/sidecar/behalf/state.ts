/** What is remembered of who begins a session. A workload with a person behind it has what is bounded with the workload. */
import { isBehalf, workloadKeyOf } from '../../identity/proofs/workload.ts'
import type { VerifiedIdentity } from '../../identity/verified.ts'
import { principalOf } from '../../policy/principal.ts'
import type { IdentityState, Judge } from '../judged.ts'

export function stateOf(judge: Judge, who: VerifiedIdentity): IdentityState {
  if (!isBehalf(who)) return judge.identity(principalOf(who))
  const { subject: spiffeId, role, claimsOf } = who
  const workload = { spiffeId, groups: [], role, claims: claimsOf?.workload ?? {}, key: workloadKeyOf(who) }
  return judge.behalf(principalOf(who), judge.identity(workload))
}
