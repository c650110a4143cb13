/** The authorities: what there is, and how an operator has another take its place before its time. */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Authorities } from '../../mesh/authorities.ts'
import type { AuthorityKeys } from '../authorities/keys.ts'
import type { ShownAuthority } from '../authorities/shown.ts'
import { type Administrator, nameOf } from '../callers.ts'
import type { ControlParts } from './parts.ts'

const kind = z.enum(['root', 'issuing'])
const words = z.string().refine((text) => !/\p{C}/u.test(text), 'one line of printable text')
export const by = words.max(256).optional()

const shown = z.object({
  id: z.string(),
  kind,
  state: z.enum(['prepared', 'active', 'old', 'tainted', 'revoked']),
  signerId: z.string().optional(),
  notBeforeMs: z.number(),
  notAfterMs: z.number(),
  preparedMs: z.number(),
  activatedMs: z.number().optional(),
  taintedMs: z.number().optional(),
  revokedMs: z.number().optional(),
})

export const authoritiesAnswer = z.object({
  nowMs: z.number(),
  /** The newest first. */
  authorities: z.array(shown).readonly(),
  /** The active root's is; else the next issuing certificate is signed elsewhere. */
  rootKeyIsHere: z.boolean(),
  /** It is time for that. */
  awaitsSigned: z.boolean(),
  /** Proxies that are connected, and those of them that do not say that they trust the roots of now. */
  connected: z.int(),
  behind: z.array(z.string()).readonly(),
})
export type AuthoritiesAnswer = Readonly<z.infer<typeof authoritiesAnswer>>

export function list(parts: ControlParts): AuthoritiesAnswer {
  const { ca, clock } = parts
  const connected = connectedOf(parts)
  return {
    nowMs: clock.now(),
    authorities: ca.keys.shown(),
    rootKeyIsHere: ca.keys.hasRootKey,
    awaitsSigned: ca.keys.awaitsSigned,
    connected: connected.length,
    behind: behindOf(connected),
  }
}

/** For every member of the mesh: what it trusts, and whether it is to renew. */
export function told({ ca }: ControlParts): Authorities {
  return ca.keys.told
}

export const prepareOrder = z.strictObject({ kind, by })
export const changedAuthority = z.object({ authority: shown })
export type ChangedAuthority = Readonly<z.infer<typeof changedAuthority>>

export async function prepare(
  { ca, log }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof prepareOrder>,
): Promise<ChangedAuthority> {
  const authority = await ca.keys.prepare(order.kind)
  log.info({ ...idsOf(authority), by: order.by ?? nameOf(caller) }, 'authority prepared')
  return { authority }
}

export const requestOrder = z.strictObject({ by })
export const madeRequest = z.object({ requestPem: z.string() })

/** For a root whose key is kept elsewhere. @throws RingfenceError USAGE where an issuing key is prepared */
export async function request(
  { ca, log }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof requestOrder>,
): Promise<z.infer<typeof madeRequest>> {
  const requestPem = await ca.keys.request()
  log.info({ by: order.by ?? nameOf(caller) }, 'request for an issuing certificate made')
  return { requestPem }
}

export const importOrder = z.strictObject({ certificatePem: z.string().max(65_536), by })

/** @throws RingfenceError USAGE where it is not what was asked for */
export async function takeSigned(
  { ca, log }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof importOrder>,
): Promise<ChangedAuthority> {
  const authority = await ca.keys.takeSigned(order.certificatePem)
  log.info({ ...idsOf(authority), by: order.by ?? nameOf(caller) }, 'authority prepared, signed elsewhere')
  return { authority }
}

export const forgetOrder = z.strictObject({ id: z.string().min(4).max(64), by })

/** @throws RingfenceError USAGE where it is not the active root, or its key is elsewhere already */
export async function forgetRootKey(
  { ca, log }: ControlParts,
  caller: Administrator,
  { id, by: name }: z.infer<typeof forgetOrder>,
): Promise<ChangedAuthority> {
  const authority = await ca.keys.forgetRootKey(id)
  log.warn({ ...idsOf(authority), by: name ?? nameOf(caller) }, 'the key of the root is here no more')
  return { authority }
}

export const activateOrder = z.strictObject({ kind, by, force: z.boolean().default(false) })

/** @throws RingfenceError USAGE where somebody may not know the root yet */
export async function activate(
  parts: ControlParts,
  caller: Administrator,
  { kind: which, by: name, force }: z.infer<typeof activateOrder>,
): Promise<ChangedAuthority> {
  const { ca, log } = parts
  if (which === 'root' && !force) refuseUnknown(parts, ca.keys)
  const authority = await ca.keys.activate(which)
  log.info({ ...idsOf(authority), by: name ?? nameOf(caller), force }, 'authority activated')
  return { authority }
}

/** Whoever meets a certificate of the new root must trust that before. */
function refuseUnknown(parts: ControlParts, keys: AuthorityKeys): void {
  const { clock, store, svidTtlMs } = parts
  const { id, preparedMs } = keys.prepared('root')
  const nowMs = clock.now()
  const behind = behindOf(connectedOf(parts))
  if (behind.length > 0)
    throw early(`${behind.join(', ')} do not say that they trust the root ${id.slice(0, 8)}`, 'their logs say why')
  const knownMs = preparedMs + svidTtlMs
  if (nowMs < knownMs)
    throw early(`not everybody has been told of the root ${id.slice(0, 8)}`, `at ${timeOf(knownMs)} all have renewed`)
  const tokensMs = store.tokensOpenUntil(preparedMs, nowMs)
  if (tokensMs !== undefined)
    throw early(
      'join tokens that were made before the root was prepared are not used yet',
      `they end at ${timeOf(tokensMs)}`,
    )
}

export const taintOrder = z.strictObject({ id: z.string().min(4).max(64), by })

export async function taint(
  { ca, log }: ControlParts,
  caller: Administrator,
  order: z.infer<typeof taintOrder>,
): Promise<ChangedAuthority> {
  const authority = await ca.keys.taint(order.id)
  log.warn({ ...idsOf(authority), by: order.by ?? nameOf(caller) }, 'authority tainted')
  return { authority }
}

export const dropOrder = taintOrder.extend({
  reason: words.max(limits.revokedValueCharsMax).default(''),
  force: z.boolean().default(false),
})
export const revokedAuthority = changedAuthority.extend({
  /** Numbers of the revocations by which proxies refuse what it signed. */
  revocations: z.array(z.int()).readonly(),
})
export type RevokedAuthority = Readonly<z.infer<typeof revokedAuthority>>

/** Once an authority is tainted: all have renewed, and what they had open on certificates of it has left. */
const taintedMsMax = limits.taintedLeafMsMax + limits.taintedSpreadMsMax + limits.leaveToldMsMax

/** @throws RingfenceError USAGE where it is not tainted, or those who have certificates of it have had no time to renew and to connect anew */
export async function revoke(
  { ca, log, clock, revocations }: ControlParts,
  caller: Administrator,
  { id, by: name, reason, force }: z.infer<typeof dropOrder>,
): Promise<RevokedAuthority> {
  const authority = ca.keys.find(id)
  const { taintedMs, state } = authority
  const leftMs = (taintedMs ?? 0) + taintedMsMax
  if (state === 'tainted' && clock.now() < leftMs && !force)
    throw early('those who have certificates of it are renewing and connect anew', `at ${timeOf(leftMs)} they have`)
  const who = name ?? nameOf(caller)
  const numbers: number[] = []
  await ca.keys.revoke(authority.id, (signed) => {
    for (const { id: value, notAfterMs: untilMs } of signed) {
      const said = { kind: 'authority', value, reason: reason === '' ? 'ringfence ca revoke' : reason } as const
      numbers.push(revocations.revoke({ ...said, by: who, untilMs }).id)
    }
  })
  log.warn({ ...idsOf(authority), by: who, force }, 'authority revoked')
  const after = ca.keys.shown().find((one) => one.id === authority.id)
  return { authority: after ?? authority, revocations: numbers }
}

function connectedOf({ registry }: ControlParts) {
  return registry.status().filter(({ connected }) => connected)
}

function behindOf(connected: ReturnType<typeof connectedOf>): string[] {
  return connected.filter(({ bundleInForce }) => bundleInForce !== true).map(({ name }) => name)
}

function idsOf({ id, kind: which }: ShownAuthority): { authority: string; kind: string } {
  return { authority: id, kind: which }
}

function early(message: string, when: string): RingfenceError {
  return new RingfenceError('USAGE', message, { hint: `${when}; --force does it now, and connections may be refused` })
}

function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}
