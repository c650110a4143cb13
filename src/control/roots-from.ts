/** Follows the roots of a Workload API and has the mesh trust them, for as long as the control plane runs. */
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { followWorkloadApi } from '../mesh/workload-api/client.ts'
import { certificatesInDer, pemOf } from '../mesh/workload-api/der.ts'
import type { Logger } from '../telemetry/log.ts'
import type { AuthorityKeys } from './authorities/keys.ts'
import { outsideRootsOf } from './authorities/outside.ts'

interface RootsFrom {
  /** Of the Unix socket. */
  readonly socketPath: string
  readonly trustDomain: string
  readonly keys: Pick<AuthorityKeys, 'trustOutside'>
  readonly clock: Clock
  readonly log: Logger
}

/** The result ends it. What was taken stays trusted. */
export function followRoots({ socketPath, trustDomain, keys, clock, log }: RootsFrom): () => Promise<void> {
  const stopped = new AbortController()
  const followed = followWorkloadApi({
    call: 'fetchX509Bundles',
    socketPath,
    take: ({ bundles }) => {
      const der = bundles[`spiffe://${trustDomain}`]
      if (der === undefined || der.length === 0)
        throw new RingfenceError('IDENTITY', `there are no roots of the trust domain ${trustDomain}`)
      return keys.trustOutside(outsideRootsOf(pemOf(certificatesInDer(der))))
    },
    signal: stopped.signal,
    clock,
    random: Math.random,
    log,
  })
  return () => {
    stopped.abort()
    return followed
  }
}
