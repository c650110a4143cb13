/** The identity providers in force of a process that compiles no policy, as the pushed values have them. */
import type { Outside } from '../identity/outside/outside.ts'
import { ProvidersInForce } from '../identity/providers/in-force.ts'
import { loadProviders } from '../policy/providers.ts'
import type { Observable } from './observable.ts'
import { pushedKinds } from './pushed.ts'
import type { PushedKind } from './pushed-kind.ts'

/** By the documents of the policy and the keys that were fetched, now and whenever there are others. */
export function followedProviders(
  value: <T>(kind: PushedKind<T>) => Observable<T>,
  outside?: Outside,
): ProvidersInForce {
  const providers = new ProvidersInForce(outside)
  const [policy, keySets] = [value(pushedKinds.policy), value(pushedKinds.keySets)]
  providers.setKeySets(keySets.current)
  providers.setDocuments(loadProviders(policy.current.source))
  keySets.observe((now) => providers.setKeySets(now))
  policy.observe(({ source }) => providers.setDocuments(loadProviders(source)))
  return providers
}
