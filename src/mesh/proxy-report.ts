/** What a proxy says of itself, about once a second. */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import {
  type AdvertisedAddress,
  advertisedAddress,
  advertisedMax,
  type SidecarEndpoint,
  sidecarEndpoint,
} from './endpoints.ts'
import { epochMax } from './pushed.ts'
import { type RefusedPart, refusedLogInRow } from './refused-log-ins.ts'
import { nameMax } from './roles.ts'
import { type TrafficRow, trafficRow, trafficRowsMax } from './traffic.ts'

export const reportedListener = z.object({
  address: z.string().max(255),
  port: z.int().min(0).max(65_535),
  tls: z.boolean(),
  proxyProtocol: z.boolean(),
})

export interface ReportedListener {
  readonly address: string
  readonly port: number
  readonly tls: boolean
  readonly proxyProtocol: boolean
}

export const listenersMax = 64
export const keysWantedMax = 64
export const policyFaultMax = 512

/** A report as JSON. Rows that have no room are added up like those beyond `trafficRowsMax`. */
export const reportBytesMax = 4 * 1024 * 1024

/** What a report is to hold; it is read part by part (report.ts), so that one part never costs the others. */
export const proxyReport = z.object({
  policyRevision: z.int().nonnegative(),
  policyDigest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Of the newest policy that it was given. */
  policyEpoch: z.int().min(0).max(epochMax).optional(),
  /** Of the roots that it trusts, see `Authorities`. */
  bundleSequence: z.int().nonnegative().optional(),
  /** Of the revocations that every worker has, see `RevocationsAsOf`. */
  revocationsDigest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Why the revision that was pushed last is not in force. */
  policyFault: z.string().max(policyFaultMax).optional(),
  connections: z.int().nonnegative(),
  sessions: z.int().nonnegative(),
  upstreamConnections: z.int().nonnegative(),
  /** A sidecar only: where gateways reach it. */
  endpoint: sidecarEndpoint.optional(),
  /** A gateway only: what drivers are told of it, and where it stands; nothing while it cannot serve yet. */
  advertise: z.array(advertisedAddress).max(advertisedMax).optional(),
  dataCenter: z.string().max(nameMax).optional(),
  rack: z.string().max(nameMax).optional(),
  /** It is about to stop: nobody should be sent to it. */
  draining: z.boolean().optional(),
  /** The proxy's clock when it made the report. */
  nowMs: z.number().optional(),
  /** A sidecar only: its node does not answer. */
  nodeAway: z.boolean().optional(),
  /** A sidecar only: its record cannot be written, so it lets nothing pass. */
  recordFailed: z.boolean().optional(),
  /** A sidecar only: why the control plane takes nothing of its record at present; nothing is lost meanwhile. */
  recordUncollected: z.string().max(policyFaultMax).optional(),
  /** Identity providers of whom a token named a key that is not known, since the report before. */
  keysWanted: z.array(z.string().max(nameMax)).max(keysWantedMax).optional(),
  /** Log-ins that were refused since the report before, and how many more there was no room for. */
  refusals: z.array(refusedLogInRow).max(limits.refusalsReportedMax).optional(),
  refusalsMissed: z.int().nonnegative().optional(),
  listeners: z.array(reportedListener).max(listenersMax),
  traffic: z.array(trafficRow).max(trafficRowsMax),
})

export interface ProxyReport extends RefusedPart {
  /** The revision that is in force in every worker. */
  readonly policyRevision: number
  /** SHA-256 of the text that is in force in every worker; where workers differ, or there is none yet, it is not said. */
  readonly policyDigest?: string | undefined
  readonly policyEpoch?: number | undefined
  readonly bundleSequence?: number | undefined
  readonly revocationsDigest?: string | undefined
  readonly policyFault?: string | undefined
  readonly connections: number
  readonly sessions: number
  readonly upstreamConnections: number
  readonly endpoint?: SidecarEndpoint | undefined
  readonly advertise?: readonly AdvertisedAddress[] | undefined
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
  readonly draining?: boolean | undefined
  readonly nowMs?: number | undefined
  readonly nodeAway?: boolean | undefined
  readonly recordFailed?: boolean | undefined
  readonly recordUncollected?: string | undefined
  readonly keysWanted?: readonly string[] | undefined
  readonly listeners: readonly ReportedListener[]
  readonly traffic: readonly TrafficRow[]
}
