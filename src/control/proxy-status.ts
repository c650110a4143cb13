/** What is shown of a proxy. */
import { z } from 'zod'
import { advertisedAddress, sidecarEndpoint } from '../mesh/endpoints.ts'
import { reportedListener } from '../mesh/proxy-report.ts'
import { droppedPart } from '../mesh/report.ts'
import { agentRoles } from '../mesh/roles.ts'

export const proxyStatus = z.object({
  spiffeId: z.string(),
  name: z.string(),
  role: z.enum(agentRoles),
  connected: z.boolean(),
  synced: z.boolean(),
  policyRevision: z.int().optional(),
  /** SHA-256 of the policy's text that it says is in force. */
  policyDigest: z.string().optional(),
  /** Of the newest policy that it was given; 0 where it is not said. */
  policyEpoch: z.int().optional(),
  /** It has the revocations in force; absent of one that does not say. */
  revocationsInForce: z.boolean().optional(),
  /** It trusts the roots of now; absent of one that does not say. */
  bundleInForce: z.boolean().optional(),
  /** The revocation that throws it out. */
  revoked: z.int().optional(),
  /** Why it does not run what was pushed last, where it said so. */
  policyFault: z.string().optional(),
  certificateNotAfterMs: z.number().optional(),
  connections: z.int(),
  sessions: z.int(),
  upstreamConnections: z.int(),
  lastReportMs: z.number().optional(),
  listeners: z.array(reportedListener).readonly(),
  endpoint: sidecarEndpoint.optional(),
  /** It said that it is about to stop. */
  draining: z.boolean(),
  /** What drivers at every gateway are told of it; nothing of a sidecar, nor of a gateway that is away, leaves or cannot serve yet. */
  advertise: z.array(advertisedAddress).readonly(),
  /** How far its clock is ahead of ours, negative when it is behind; only as good as the way of a report is short. */
  clockSkewMs: z.number().optional(),
  /** Of a sidecar: its node does not answer; its record cannot be written. */
  nodeAway: z.boolean(),
  recordFailed: z.boolean(),
  /** Of a sidecar: why nothing of its record is collected at present. */
  recordUncollected: z.string().optional(),
  /** Parts of its last report that were not understood. */
  dropped: z.array(droppedPart).readonly().optional(),
})
export type ProxyStatus = Readonly<z.infer<typeof proxyStatus>>

/** Proxies run a policy that this control plane does not know. */
export const policyConflict = z.object({
  /** Of the proxies. */
  names: z.array(z.string()).readonly(),
  /** What the next policy that is applied will be. */
  nextRevision: z.int(),
})
export type PolicyConflict = Readonly<z.infer<typeof policyConflict>>
