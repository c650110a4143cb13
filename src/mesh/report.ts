/**
 * A report on both of its ends: the agent cuts it to the bounds of `proxyReport`, the control plane reads it part by part.
 *
 * Rule: what one part of a report says, or how, is never the loss of another, and never says that the proxy is away.
 */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import { cutText } from '../base/text.ts'
import { advertisedMax, type SidecarEndpoint } from './endpoints.ts'
import { fittingEntries } from './entries.ts'
import {
  keysWantedMax,
  listenersMax,
  type ProxyReport,
  policyFaultMax,
  proxyReport,
  reportBytesMax,
} from './proxy-report.ts'
import { cutRefusals } from './refused-log-ins.ts'
import { nameMax } from './roles.ts'
import { foldTraffic, mergeTraffic, type TrafficRow } from './traffic.ts'

const addressMax = 255

/** What of a report was not understood: a field, and how many entries of it where it is a list. */
export const droppedPart = z.object({ field: z.string(), count: z.int() })
export type DroppedPart = z.infer<typeof droppedPart>

/** The answer to a report; nothing at all where all of it was taken. */
export const reportAnswer = z.object({ dropped: z.array(droppedPart) }).optional()

/** Every part that was understood. A list is there, empty, where it was not. */
export type ReadReport = Partial<ProxyReport> & Pick<ProxyReport, 'listeners' | 'traffic'>

const { shape } = proxyReport
/** Lists are read entry by entry. Rows that are too many are added up below rather than lost. */
const lists = {
  advertise: fittingEntries(shape.advertise.unwrap().element, advertisedMax),
  keysWanted: fittingEntries(shape.keysWanted.unwrap().element, keysWantedMax),
  refusals: fittingEntries(shape.refusals.unwrap().element, limits.refusalsReportedMax),
  listeners: fittingEntries(shape.listeners.element, listenersMax),
  traffic: fittingEntries(shape.traffic.element, Number.POSITIVE_INFINITY),
}

/** Reads whatever a proxy sent. Never throws. Fields that only a newer agent knows are left alone. */
export function readReport(given: unknown): { report: ReadReport; dropped: DroppedPart[] } {
  const report: Record<string, unknown> = { listeners: [], traffic: [] }
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given)
  if (!isObject) return { report: report as ReadReport, dropped: [{ field: 'report', count: 1 }] }
  const dropped: DroppedPart[] = []
  for (const [field, schema] of Object.entries(shape)) {
    const value = (given as Record<string, unknown>)[field]
    if (Array.isArray(value) && field in lists) {
      const { entries, skipped } = lists[field as keyof typeof lists].parse(value)
      report[field] = entries
      if (skipped > 0) dropped.push({ field, count: skipped })
      continue
    }
    const read = schema.safeParse(value)
    if (!read.success) dropped.push({ field, count: 1 })
    else if (read.data !== undefined) report[field] = read.data
  }
  report.traffic = mergeTraffic(report.traffic as TrafficRow[])
  return { report: report as ReadReport, dropped }
}

/** The report with names cut and lists no longer than its reader takes. */
export function cutReport(report: ProxyReport): ProxyReport {
  const {
    policyFault,
    recordUncollected,
    endpoint,
    advertise,
    dataCenter,
    rack,
    keysWanted,
    listeners,
    traffic,
    refusals,
    refusalsMissed,
    ...rest
  } = report
  return {
    ...rest,
    ...(policyFault === undefined ? {} : { policyFault: cutText(policyFault, policyFaultMax) }),
    ...(recordUncollected === undefined ? {} : { recordUncollected: cutText(recordUncollected, policyFaultMax) }),
    ...cutRefusals({ refusals, refusalsMissed }),
    ...(endpoint === undefined ? {} : { endpoint: cutEndpoint(endpoint) }),
    ...(advertise === undefined ? {} : { advertise: advertise.slice(0, advertisedMax) }),
    ...(dataCenter === undefined ? {} : { dataCenter: cutText(dataCenter, nameMax) }),
    ...(rack === undefined ? {} : { rack: cutText(rack, nameMax) }),
    ...(keysWanted === undefined
      ? {}
      : { keysWanted: keysWanted.slice(0, keysWantedMax).map((name) => cutText(name, nameMax)) }),
    listeners: listeners
      .slice(0, listenersMax)
      .map((listener) => ({ ...listener, address: cutText(listener.address, addressMax) })),
    traffic: mergeTraffic(traffic),
  }
}

function cutEndpoint(endpoint: SidecarEndpoint): SidecarEndpoint {
  const { name, dataCenter, rack } = endpoint
  return {
    ...endpoint,
    name: cutText(name, nameMax),
    dataCenter: dataCenter === undefined ? undefined : cutText(dataCenter, nameMax),
    rack: rack === undefined ? undefined : cutText(rack, nameMax),
  }
}

/** The report as JSON of at most `bytesMax`; where rows have no room, the busiest stay and the others are added up. */
export function reportText(report: ProxyReport, bytesMax: number = reportBytesMax): string {
  const text = JSON.stringify(report)
  const bytes = Buffer.byteLength(text)
  if (bytes <= bytesMax) return text
  const rows = report.traffic.toSorted((a, b) => b.count - a.count)
  const withRows = (kept: number): string => JSON.stringify({ ...report, traffic: foldTraffic(rows, kept) })
  let left = bytesMax - Buffer.byteLength(withRows(0))
  let kept = 0
  for (const row of rows) {
    left -= Buffer.byteLength(JSON.stringify(row)) + 1
    if (left < 0) break
    kept++
  }
  return withRows(kept)
}
