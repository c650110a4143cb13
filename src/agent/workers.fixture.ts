/** A worker for workers.test.ts: says what it knows through its report; traffic's rule `exit` is not its to make. */
import { pushedKinds } from '../mesh/pushed.ts'
import { connectWorker } from './worker-feed.ts'

const feed = await connectWorker()
feed.onAsk((what) => `${what}? ${process.pid}`)
let renewals = 0
let rows = 1
feed.credentials.observe(() => {
  renewals++
})
feed.setReporter(() => {
  const traffic = Array.from({ length: rows }, () => ({
    workload: feed.credentials.current.spiffeId,
    operation: 'SELECT',
    verdict: 'allow' as const,
    rule: feed.value(pushedKinds.policy).current.source,
    count: 1,
    errors: 0,
    p50Micros: 10,
    p99Micros: 20,
  }))
  const refusals = Array.from({ length: rows }, () => ({
    cause: 'expired',
    words: 'the token expired 5 s ago',
    count: 1,
    firstMs: 1,
    lastMs: 1,
    address: '192.0.2.7',
    claimed: 'corp/alice',
  }))
  rows = 0
  return {
    policyRevision: feed.value(pushedKinds.policy).current.revision,
    connections: 1,
    sessions: feed.value(pushedKinds.sidecars).current.length,
    upstreamConnections: renewals,
    advertise: feed.value(pushedKinds.gateways).current.map(({ address, port }) => ({ address, port })),
    dataCenter: 'dc1',
    // Each key as its id and its first byte.
    listeners: [
      {
        address: feed
          .value(pushedKinds.keys)
          .current.map(({ id, key }) => `${id}:${key[0]}`)
          .join(),
        port: 9042,
        tls: true,
        proxyProtocol: false,
      },
    ],
    traffic,
    refusals,
    refusalsMissed: 0,
  }
})
process.on('SIGTERM', () => void feed.stop().then(() => process.exit(0)))
