/** What proxies tell and are told, and what is shown of them. */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { sidecarEndpoint } from '../../mesh/endpoints.ts'
import { refusedLogInRow } from '../../mesh/refused-log-ins.ts'
import { readReport, type reportAnswer } from '../../mesh/report.ts'
import { trafficRow } from '../../mesh/traffic.ts'
import type { ShownAuthority } from '../authorities/shown.ts'
import { type Administrator, nameOf, type ProxyCaller } from '../callers.ts'
import { policyConflict, proxyStatus } from '../proxy-status.ts'
import type { SendLine } from '../publisher.ts'
import type { ControlParts } from './parts.ts'

/** Whoever reports is there, whether or not the report can be read. */
export function heard({ registry }: ControlParts, { agent, peer }: ProxyCaller): void {
  registry.heard(agent, peer.notAfterMs)
}

/** @param given whatever the proxy sent; it is read part by part */
export function report(
  { registry, keySets, refusals, log }: ControlParts,
  { agent, peer }: ProxyCaller,
  given: unknown,
): z.infer<typeof reportAnswer> {
  const { spiffeId } = peer
  const { report: read, dropped } = readReport(given)
  if (read.endpoint !== undefined && (agent.role !== 'sidecar' || read.endpoint.spiffeId !== spiffeId)) {
    throw new RingfenceError('IDENTITY', `${spiffeId} may not report an endpoint of another`)
  }
  if (read.advertise !== undefined && agent.role !== 'gateway') {
    throw new RingfenceError('IDENTITY', `${spiffeId} is no gateway and advertises nothing`)
  }
  registry.takeReport(agent, peer.notAfterMs, read, dropped)
  refusals.take(read, agent.name)
  if (read.keysWanted !== undefined) keySets.want(read.keysWanted)
  if (dropped.length === 0) return undefined
  log.warn({ spiffeId, dropped }, 'part of a report is not understood')
  return { dropped }
}

/** Everything that is pushed to the caller's role. */
export function watch({ publisher }: ControlParts, { agent }: ProxyCaller, send: SendLine): () => void {
  return publisher.watch(send, agent.role)
}

export const statusAnswer = z.object({
  control: z.object({
    name: z.string(),
    listen: z.string(),
    startedMs: z.number(),
    version: z.string(),
    trustDomain: z.string(),
    svidTtlMs: z.number(),
    /** Of its own certificate. */
    ownNotBeforeMs: z.number().optional(),
    ownNotAfterMs: z.number().optional(),
    issuingNotBeforeMs: z.number().optional(),
    issuingNotAfterMs: z.number(),
    /** False where the root's key is kept elsewhere and no issuing key is prepared. */
    issuingRenewsItself: z.boolean().optional(),
    rootNotBeforeMs: z.number().optional(),
    rootNotAfterMs: z.number(),
  }),
  policyRevision: z.int(),
  /** SHA-256 of its text. */
  policyDigest: z.string().optional(),
  /** In which it was given; 0 where it is not said. */
  policyEpoch: z.int().optional(),
  policyConflict: policyConflict.optional(),
  pushLatency: z.object({ count: z.int(), p99Ms: z.number(), maxMs: z.number() }).optional(),
  proxies: z.array(proxyStatus).readonly(),
  sidecars: z.array(sidecarEndpoint).readonly(),
})
export type StatusAnswer = Readonly<z.infer<typeof statusAnswer>>

export function status({ registry, revocations, clock, ca, instance, svidTtlMs }: ControlParts): StatusAnswer {
  const { trustDomain, issuingNotBeforeMs, issuingNotAfterMs, rootNotBeforeMs, rootNotAfterMs } = ca
  const issuingRenewsItself = ca.keys.hasRootKey || ca.keys.shown().some(isPreparedIssuing)
  const authorities = { issuingRenewsItself, issuingNotBeforeMs, issuingNotAfterMs, rootNotBeforeMs, rootNotAfterMs }
  const { policies } = registry
  return {
    control: { ...instance, trustDomain, svidTtlMs, ...authorities },
    policyRevision: policies.current.revision,
    policyDigest: policies.digest,
    policyEpoch: policies.current.epoch,
    policyConflict: registry.conflict,
    pushLatency: policies.pushes.summary(),
    proxies: registry.status().map((proxy) => {
      const revoked = revocations.current.find({ subject: proxy.spiffeId }, clock.now())
      return revoked === undefined ? proxy : { ...proxy, revoked: revoked.id }
    }),
    sidecars: registry.sidecars,
  }
}

function isPreparedIssuing({ kind, state }: ShownAuthority): boolean {
  return kind === 'issuing' && state === 'prepared'
}

export const removeOrder = z.strictObject({ name: z.string().min(1).max(2048) })
export const removedProxy = z.object({ spiffeId: z.string() })

export function removeProxy(
  { enrolment, registry, log }: ControlParts,
  caller: Administrator,
  { name }: z.infer<typeof removeOrder>,
): z.infer<typeof removedProxy> {
  const spiffeId = registry.removeProxy(name)
  enrolment.forget(spiffeId)
  log.info({ spiffeId, by: nameOf(caller) }, 'proxy removed')
  return { spiffeId }
}

export const trafficQuery = z.object({ seconds: z.coerce.number().int().min(1).max(60).default(60) })
export const trafficAnswer = z.object({
  seconds: z.int(),
  lines: z.array(trafficRow.extend({ rate: z.number() })).readonly(),
})

export function traffic(
  { registry }: ControlParts,
  _caller: Administrator,
  { seconds }: z.infer<typeof trafficQuery>,
): z.infer<typeof trafficAnswer> {
  return { seconds, lines: registry.traffic(seconds) }
}

export const refusalsQuery = z.object({ who: z.string().min(1).max(2048) })
export const refusalsAnswer = z.object({
  /** Since when refusals are remembered: the control plane started. */
  sinceMs: z.number(),
  nowMs: z.number(),
  /** So many refusals, of whomever, are known by their number only. */
  missed: z.int(),
  refusals: z.array(refusedLogInRow.extend({ proxy: z.string() })).readonly(),
})
export type RefusalsAnswer = Readonly<z.infer<typeof refusalsAnswer>>

/** Why somebody was refused: of an address, of a person or SPIFFE id as it was claimed, or of a session. */
export function refusedLogIns(
  { refusals, instance, clock }: ControlParts,
  _caller: Administrator,
  { who }: z.infer<typeof refusalsQuery>,
): RefusalsAnswer {
  const found = refusals.find(who).map((row) => ({ ...row, proxy: row.proxy ?? '' }))
  return { sinceMs: instance.startedMs, nowMs: clock.now(), missed: refusals.missed, refusals: found }
}
