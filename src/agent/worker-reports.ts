/** The reports of several workers as one. */
import type { ProxyReport, ReportedListener } from '../mesh/proxy-report.ts'

/** @param reports undefined of a worker that has not reported yet */
export function sumReports(
  reports: readonly (ProxyReport | undefined)[],
): Omit<ProxyReport, 'traffic' | 'refusals' | 'refusalsMissed'> {
  const present = reports.filter((report) => report !== undefined)
  const endpoint = present.find((report) => report.endpoint !== undefined)?.endpoint
  // Workers share their configuration, so each that can serve says the same.
  const serving = present.find(({ advertise = [] }) => advertise.length > 0)
  return {
    // A worker that has not reported runs nothing yet; it does not hold back what the others have applied.
    policyRevision: present.length === 0 ? 0 : Math.min(...present.map((report) => report.policyRevision)),
    ...sameOf(present, 'policyDigest'),
    ...sameOf(present, 'revocationsDigest'),
    connections: sum(present, 'connections'),
    sessions: sum(present, 'sessions'),
    upstreamConnections: sum(present, 'upstreamConnections'),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(serving === undefined
      ? {}
      : { advertise: serving.advertise, dataCenter: serving.dataCenter, rack: serving.rack }),
    listeners: distinct(present.flatMap((report) => report.listeners)),
  }
}

/** What is in force is said where all say the same. */
function sameOf<K extends 'policyDigest' | 'revocationsDigest'>(
  reports: readonly ProxyReport[],
  field: K,
): Partial<Pick<ProxyReport, K>> {
  const digest = reports[0]?.[field]
  const isSame = digest !== undefined && reports.every((report) => report[field] === digest)
  return (isSame ? { [field]: digest } : {}) as Partial<Pick<ProxyReport, K>>
}

function sum(reports: readonly ProxyReport[], field: 'connections' | 'sessions' | 'upstreamConnections'): number {
  return reports.reduce((total, report) => total + report[field], 0)
}

/** Workers share their ports (`reusePort`), so each names the same listeners. */
function distinct(listeners: readonly ReportedListener[]): ReportedListener[] {
  return [...new Map(listeners.map((listener) => [`${listener.address} ${listener.port}`, listener])).values()]
}
