/**
 * `agent` is a process's side of the control plane: it enrols, renews, listens for policy and reports.
 *
 * The rule one must not break: what a proxy holds stays good while the control plane is away, and never goes back to an older
 * policy revision.
 *
 * This file: what a proxy sees of it (`Feed`), and the messages that travel between agent and control plane.
 */
import { isIP, SocketAddress } from 'node:net'
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { trafficTextMax } from '../telemetry/traffic.ts'

/** Roles that a join token can be for. */
export const agentRoles = ['gateway', 'sidecar', 'workload', 'node'] as const
export type AgentRole = (typeof agentRoles)[number]

export interface Credentials {
  readonly spiffeId: SpiffeId
  /** The leaf, then the issuing certificate. */
  readonly certificatePem: string
  /** PKCS #8. */
  readonly keyPem: string
  /** The trusted roots. */
  readonly bundlePem: string
  readonly leafDer: Buffer
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface PolicySnapshot {
  /**
   * 0 while nothing was ever received; then it never falls. It does not say what the text is: a control plane that was restored may give a
   * number to another text. That is told by the text's digest.
   */
  readonly revision: number
  /** YAML documents. Empty with revision 0, which permits nothing. */
  readonly source: string
}

/** Longest name of a proxy, a data centre or a rack. */
export const nameMax = 128
/** Sidecars that gateways are told of. */
export const sidecarEndpointsMax = 10_000

/** Where a live sidecar takes mesh links. */
export const sidecarEndpoint = z.object({
  name: z.string().min(1).max(nameMax),
  spiffeId: z.string().max(2048),
  address: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  dataCenter: z.string().max(nameMax).optional(),
  rack: z.string().max(nameMax).optional(),
})
export interface SidecarEndpoint {
  readonly name: string
  readonly spiffeId: string
  readonly address: string
  readonly port: number
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
}

/** An address that gateways tell drivers: NGINX's, or a listener of their own. IPv6 is brought to one way of writing. */
export const advertisedAddress = z.strictObject({
  address: z
    .string()
    .refine((text) => isIP(text) !== 0 && !text.includes('%'), 'expected an IP address')
    .transform((text) => new SocketAddress({ address: text, family: text.includes(':') ? 'ipv6' : 'ipv4' }).address),
  port: z.int().min(1).max(65_535),
})
export interface AdvertisedAddress {
  /** IPv4 or IPv6 without brackets. */
  readonly address: string
  readonly port: number
}

/** Addresses that one gateway may advertise. */
export const advertisedMax = 256
/** Entries of the list of gateways: each gateway's addresses, one entry for each. What would be beyond is left out of it. */
export const gatewayEndpointsMax = 1_024

/** An address of a live gateway. Several gateways may have the same address: it is there while one of them is. */
export const gatewayEndpoint = z.object({
  name: z.string().min(1).max(nameMax),
  spiffeId: z.string().max(2048),
  ...advertisedAddress.shape,
  dataCenter: z.string().max(nameMax).optional(),
  rack: z.string().max(nameMax).optional(),
})
export interface GatewayEndpoint extends AdvertisedAddress {
  /** As it enrolled. */
  readonly name: string
  readonly spiffeId: string
  /** Where its configuration says that it stands. */
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
}

/** What a mesh key is for; none is used for two things, and each rotates in its own time. */
export const meshKeyUses = ['pages', 'masks'] as const
export type MeshKeyUse = (typeof meshKeyUses)[number]

/**
 * A secret that all sidecars of the mesh share and nobody else has. What is sealed with one of them by one sidecar is
 * opened by any other. Never written to a log, a status or an error.
 */
export interface MeshKey {
  /** 1..2^32 − 1; later keys have greater ids. */
  readonly id: number
  /** 32 random bytes. */
  readonly key: Buffer
  /** `pages` where it is not said, as by a control plane of before. */
  readonly use?: MeshKeyUse | undefined
  /** Of `masks`: from when on it is the one in force, milliseconds since 1970. */
  readonly fromMs?: number | undefined
}

export const meshKeyBytes = 32

/** A `MeshKey` as it travels and as it is kept: the key in base64. */
export const wireMeshKey = z.object({
  id: z.int().min(1).max(0xffff_ffff),
  key: z.base64().refine((text) => Buffer.byteLength(text, 'base64') === meshKeyBytes, 'not a key'),
  use: z.enum(meshKeyUses).optional(),
  fromMs: z.number().optional(),
})
export type WireMeshKey = z.infer<typeof wireMeshKey>

/** One line of *who is talking to Cassandra*: everything since the last report, summed over equal keys. */
export const trafficRow = z.object({
  workload: z.string().max(trafficTextMax.workload),
  person: z.string().max(trafficTextMax.person).optional(),
  keyspace: z.string().max(trafficTextMax.keyspace).optional(),
  table: z.string().max(trafficTextMax.table).optional(),
  operation: z.string().max(trafficTextMax.operation),
  verdict: z.enum(['allow', 'deny', 'observe']),
  rule: z.string().max(trafficTextMax.rule),
  count: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  p50Micros: z.number().nonnegative(),
  p99Micros: z.number().nonnegative(),
})
export interface TrafficRow {
  readonly workload: string
  readonly person?: string | undefined
  readonly keyspace?: string | undefined
  readonly table?: string | undefined
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly count: number
  readonly errors: number
  readonly p50Micros: number
  readonly p99Micros: number
}

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

/** Rows beyond this are added up into one with the operation `OTHER`. */
export const trafficRowsMax = 2_000
export const listenersMax = 64
/** A report as JSON. Rows that have no room are added up like those beyond `trafficRowsMax`. */
export const reportBytesMax = 4 * 1024 * 1024

/** What a report is to hold; it is read part by part (report.ts), so that one part never costs the others. */
export const proxyReport = z.object({
  policyRevision: z.int().nonnegative(),
  policyDigest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
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
  listeners: z.array(reportedListener).max(listenersMax),
  traffic: z.array(trafficRow).max(trafficRowsMax),
})
export interface ProxyReport {
  /** The revision that is in force in every worker. */
  readonly policyRevision: number
  /** SHA-256 of the text that is in force in every worker; where workers differ, or there is none yet, it is not said. */
  readonly policyDigest?: string | undefined
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
  readonly listeners: readonly ReportedListener[]
  readonly traffic: readonly TrafficRow[]
}

/** What a proxy, or one of its workers, is fed with. Callbacks run after the property changed; the result unsubscribes. */
export interface Feed {
  readonly credentials: Credentials
  readonly policy: PolicySnapshot
  readonly sidecars: readonly SidecarEndpoint[]
  /** Of all live gateways that are not about to stop, itself included; the last known while the control plane is away. */
  readonly gateways: readonly GatewayEndpoint[]
  /** Of a sidecar only, newest first; empty while nothing was ever received. */
  readonly keys: readonly MeshKey[]
  onCredentials(callback: (credentials: Credentials) => void): () => void
  onPolicy(callback: (policy: PolicySnapshot) => void): () => void
  onSidecars(callback: (sidecars: readonly SidecarEndpoint[]) => void): () => void
  onGateways(callback: (gateways: readonly GatewayEndpoint[]) => void): () => void
  onKeys(callback: (keys: readonly MeshKey[]) => void): () => void
  /** `make` is called about once a second; its traffic rows are deltas since the call before. */
  setReporter(make: () => ProxyReport): void
  stop(): Promise<void>
}

/** A PEM of one certificate signing request; only its key and its proof of possession are used. */
const csrPem = z
  .string()
  .min(1)
  .max(8 * 1024)

export const enrolRequest = z.strictObject({
  token: z.string().min(1).max(256),
  csrPem,
  name: z.string().min(1).max(128),
  role: z.enum(agentRoles),
})
export type EnrolRequest = z.infer<typeof enrolRequest>

export const renewRequest = z.strictObject({ csrPem })
export type RenewRequest = z.infer<typeof renewRequest>

export const issuedCertificate = z.object({
  spiffeId: z.string(),
  certificatePem: z.string(),
  bundlePem: z.string(),
  /** The control plane's clock, to see skew by. */
  nowMs: z.number(),
})
export type IssuedCertificate = z.infer<typeof issuedCertificate>

/**
 * A list in a message, looked at entry by entry: what does not fit is left out and counted, so that one bad entry never costs
 * the good ones.
 */
export function fittingEntries<T>(entry: z.ZodType<T>, countMax: number) {
  return z.array(z.unknown()).transform((given) => {
    const entries: T[] = []
    for (const each of given) {
      if (entries.length >= countMax) break
      const read = entry.safeParse(each)
      if (read.success) entries.push(read.data)
    }
    return { entries, skipped: given.length - entries.length }
  })
}

/** Mesh keys that a proxy may be given. */
export const meshKeysMax = 16

/** Lines of the watch stream, one JSON object each. Kinds that an older agent does not know are skipped by it. */
export type WatchEvent =
  | { readonly kind: 'policy'; readonly revision: number; readonly source: string }
  | { readonly kind: 'sidecars'; readonly sidecars: readonly SidecarEndpoint[] }
  | { readonly kind: 'gateways'; readonly gateways: readonly GatewayEndpoint[] }
  | { readonly kind: 'keys'; readonly keys: readonly WireMeshKey[] }
  | { readonly kind: 'alive'; readonly nowMs: number }

/** A `WatchEvent` as the agent reads it. */
export const watchEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('policy'), revision: z.int().nonnegative(), source: z.string() }),
  z.object({ kind: z.literal('sidecars'), sidecars: fittingEntries(sidecarEndpoint, sidecarEndpointsMax) }),
  z.object({ kind: z.literal('gateways'), gateways: fittingEntries(gatewayEndpoint, gatewayEndpointsMax) }),
  z.object({ kind: z.literal('keys'), keys: fittingEntries(wireMeshKey, meshKeysMax) }),
  z.object({ kind: z.literal('alive'), nowMs: z.number() }),
])

/** A line of the watch stream: at most a policy, written as JSON. Lists that would be longer are sent as far as they fit. */
export const watchLineBytesMax = 6 * limits.policyBytesMax + 4096

/** The control plane sends an `alive` line this often; silence of three times as long is a dead stream. */
export const aliveIntervalMs = 2_000

export const wireError = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() })

/** The mesh's own ids, below `spiffe://<trust domain>/ringfence/`. */
export const meshPaths = {
  controlPlane: 'control-plane',
  gateway: 'gateway',
  sidecar: 'sidecar',
  node: 'node',
} as const
