/** A worker for workers.test.ts: says what it knows through its report; traffic's rule `exit` is not its to make. */
import { connectWorker } from './workers.ts'

const feed = await connectWorker()
let renewals = 0
let rows = 1
feed.onCredentials(() => {
  renewals++
})
feed.setReporter(() => {
  const traffic = Array.from({ length: rows }, () => ({
    workload: feed.credentials.spiffeId,
    operation: 'SELECT',
    verdict: 'allow' as const,
    rule: feed.policy.source,
    count: 1,
    errors: 0,
    p50Micros: 10,
    p99Micros: 20,
  }))
  rows = 0
  return {
    policyRevision: feed.policy.revision,
    connections: 1,
    sessions: feed.sidecars.length,
    upstreamConnections: renewals,
    advertise: feed.gateways.map(({ address, port }) => ({ address, port })),
    dataCenter: 'dc1',
    // Each key as its id and its first byte.
    listeners: [
      {
        address: feed.keys.map(({ id, key }) => `${id}:${key[0]}`).join(),
        port: 9042,
        tls: true,
        proxyProtocol: false,
      },
    ],
    traffic,
  }
})
process.on('SIGTERM', () => void feed.stop().then(() => process.exit(0)))
