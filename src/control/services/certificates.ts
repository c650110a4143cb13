/** Join tokens and certificates. */
import { z } from 'zod'
import { listenerIdentitiesMax } from '../../identity/certificate.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import {
  type EnrolRequest,
  type IssuedCertificate,
  issuedCertificate,
  type renewRequest,
} from '../../mesh/enrolment.ts'
import type { ExchangeAnswer, ExchangeRequest } from '../../mesh/exchange.ts'
import { agentRoles } from '../../mesh/roles.ts'
import { type Administrator, addressOf, type Caller, type Member, nameOf } from '../callers.ts'
import { tokenTtlMsDefault } from '../enrolment.ts'
import type { ControlParts } from './parts.ts'

const ttlMs = z.number().positive()
const altNames = {
  ipAddresses: z.array(z.string()).max(16).default([]),
  dnsNames: z.array(z.string()).max(16).default([]),
}

export const tokenOrder = z.strictObject({
  spiffeId: z.string(),
  role: z.enum(agentRoles),
  ttlMs: ttlMs.default(tokenTtlMsDefault),
  ...altNames,
  listenerIdentities: z.array(z.string()).max(listenerIdentitiesMax).default([]),
})
export const madeToken = z.object({ token: z.string(), expiresAtMs: z.number() })

export function makeToken(
  { enrolment, log }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof tokenOrder>,
): z.infer<typeof madeToken> {
  const made = enrolment.makeToken({ ...order, spiffeId: parseSpiffeId(order.spiffeId) })
  const { spiffeId, role, listenerIdentities } = order
  const by = nameOf(caller)
  log.info({ spiffeId, role, listenerIdentities, expiresAtMs: made.expiresAtMs, by }, 'join token made')
  return made
}

export const mintOrder = z.strictObject({ spiffeId: z.string(), ttlMs: ttlMs.optional(), ...altNames })
export const mintedCertificate = issuedCertificate.extend({ keyPem: z.string() })

export function mint(
  { enrolment, log, svidTtlMs }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof mintOrder>,
): Promise<z.infer<typeof mintedCertificate>> {
  const spiffeId = parseSpiffeId(order.spiffeId)
  const by = nameOf(caller)
  log.info({ spiffeId, by }, 'certificate minted')
  return enrolment.mint({ ...order, spiffeId, ttlMs: order.ttlMs ?? svidTtlMs }, by)
}

export async function enrol(
  { enrolment, log }: ControlParts,
  _caller: Caller,
  request: EnrolRequest,
): Promise<IssuedCertificate> {
  const issued = await enrolment.enrol(request)
  log.info({ spiffeId: issued.spiffeId, role: request.role, name: request.name }, 'enrolled')
  return issued
}

export function exchange(
  { exchange: tokens }: ControlParts,
  caller: Caller,
  request: ExchangeRequest,
): Promise<ExchangeAnswer> {
  return tokens.exchange(request, addressOf(caller))
}

export async function renew(
  { enrolment, log }: ControlParts,
  { peer, renewed }: Member,
  { csrPem }: z.infer<typeof renewRequest>,
): Promise<IssuedCertificate> {
  const issued = await enrolment.renew(peer, csrPem)
  renewed?.(issued.certificatePem)
  log.debug({ spiffeId: peer.spiffeId }, 'renewed')
  return issued
}

export const issuancesQuery = z.object({ limit: z.coerce.number().int().min(1).max(10_000).default(100) })
export const issuancesAnswer = z.object({
  issuances: z
    .array(
      z.object({
        serial: z.string(),
        spiffeId: z.string(),
        reason: z.string(),
        caller: z.string(),
        issuedAtMs: z.number(),
        notAfterMs: z.number(),
      }),
    )
    .readonly(),
})

export function issuances(
  { store }: ControlParts,
  _caller: Administrator,
  { limit }: z.infer<typeof issuancesQuery>,
): z.infer<typeof issuancesAnswer> {
  return { issuances: store.issuances(limit) }
}

export const bundleAnswer = z.object({ bundlePem: z.string(), rootFingerprint: z.string() })

export function bundle({ ca }: ControlParts): z.infer<typeof bundleAnswer> {
  return { bundlePem: ca.bundlePem, rootFingerprint: ca.rootFingerprint }
}
