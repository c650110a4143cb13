/**
 * A session whose workload only named the person behind it: it begins, and each of its requests is served, only while policy lets that workload say that
 * name (kind `Impersonation`).
 */
import { LogInRefused } from '../../identity/refusal.ts'
import type { VerifiedIdentity } from '../../identity/verified.ts'
import { deny, refuseUnrecorded } from '../ending.ts'
import type { IdentityState, Judge } from '../judged.ts'
import { refusalMs } from '../stages/admit.ts'
import type { Ways } from '../stages/in-order.ts'
import { Step } from '../stages/stage.ts'
import type { Workload } from './behalf-session.ts'

const rule = 'impersonate'
const words = 'no rule lets this workload act on behalf of whom it names; show a transaction token'

/** @throws LogInRefused */
export function refuseUnlessNamed(judge: Judge, state: IdentityState, { person }: VerifiedIdentity): void {
  if (person !== undefined && judge.impersonationRule(state, person) !== undefined) return
  throw new LogInRefused('not-supported', words, { words, evidence: { claimed: person } })
}

/** The ways of such a session: looked at again where the policy is another. */
export function whileNamed(ways: Ways, session: Workload): Ways {
  const { judge } = session.shared
  const { person } = session.client.info.identity
  let lookedAt = judge.epoch
  return {
    ...ways,
    request: (request, of) => {
      if (lookedAt !== judge.epoch) {
        if (person === undefined || judge.impersonationRule(session.identity, person) === undefined) {
          refuseUnrecorded(session)
          request.judged = undefined
          request.rule = rule
          session.identity.share.charge(refusalMs)
          deny(request, session, judge.refusal(session.identity, rule, words))
          return Step.DONE
        }
        lookedAt = judge.epoch
      }
      return ways.request(request, of)
    },
  }
}
