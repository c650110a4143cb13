/** The status of a mesh that is well. */
import type { StatusAnswer } from '../../control/services/proxies.ts'

export const nowMs = Date.UTC(2026, 0, 1)
const hourMs = 3_600_000
type Proxy = StatusAnswer['proxies'][number]

export const proxy: Proxy = {
  spiffeId: 'spiffe://d/ringfence/gateway/g',
  name: 'g',
  role: 'gateway',
  connected: true,
  synced: true,
  policyRevision: 3,
  certificateNotAfterMs: nowMs + hourMs / 2,
  connections: 0,
  sessions: 0,
  upstreamConnections: 0,
  lastReportMs: nowMs,
  listeners: [],
  endpoint: undefined,
  draining: false,
  nodeAway: false,
  recordFailed: false,
  advertise: [{ address: '203.0.113.7', port: 9042 }],
}
export const sidecar: Proxy = {
  ...proxy,
  spiffeId: 'spiffe://d/ringfence/sidecar/s',
  name: 's',
  role: 'sidecar',
  advertise: [],
}
export const status: StatusAnswer = {
  control: {
    name: 'c',
    listen: '127.0.0.1:1',
    startedMs: nowMs,
    version: '1',
    trustDomain: 'd',
    svidTtlMs: hourMs,
    ownNotAfterMs: nowMs + hourMs,
    issuingNotBeforeMs: nowMs - 20 * hourMs,
    issuingNotAfterMs: nowMs + 700 * hourMs,
    rootNotBeforeMs: nowMs - 100 * hourMs,
    rootNotAfterMs: nowMs + 9_000 * hourMs,
  },
  policyRevision: 3,
  proxies: [proxy, sidecar],
  sidecars: [{ name: 's', spiffeId: sidecar.spiffeId, address: '127.0.0.1', port: 1 }],
}
