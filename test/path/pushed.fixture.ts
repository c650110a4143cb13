/** For pushed.test.ts: kinds that `src` does not know. Run as a program it is a worker that reports what it was pushed. */
import { z } from 'zod'
import { connectWorker } from '../../src/agent/worker-feed.ts'
import { allPushedKinds, pushedKinds } from '../../src/mesh/pushed.ts'
import { pushedList } from '../../src/mesh/pushed-kind.ts'

export const revocations = pushedList({
  name: 'revocations',
  roles: ['gateway', 'sidecar'],
  kept: 'cache',
  entry: z.object({ spiffeId: z.string(), untilMs: z.number() }),
  countMax: 100_000,
})

export const shares = pushedList({ name: 'shares', roles: ['gateway'], kept: 'no', entry: z.string(), countMax: 10 })

export const salts = pushedList({ name: 'salts', roles: ['sidecar'], kept: 'secret', entry: z.string(), countMax: 10 })

export const kinds = [...allPushedKinds, revocations, shares, salts]

if (process.env.RINGFENCE_WORKER !== undefined) {
  const feed = await connectWorker(undefined, kinds)
  const revoked = feed.value(revocations)
  feed.setReporter(() => ({
    policyRevision: feed.value(pushedKinds.policy).current.revision,
    connections: revoked.current.length,
    sessions: feed.value(shares).current.length,
    upstreamConnections: feed.value(salts).current.length,
    dataCenter: revoked.current.map(({ spiffeId }) => spiffeId).join(),
    advertise: [{ address: '10.0.0.1', port: 9042 }],
    listeners: [],
    traffic: [],
  }))
  process.on('SIGTERM', () => void feed.stop().then(() => process.exit(0)))
}
