/**
 * Who enrolled: listed, suspended, let in again, forgotten.
 *
 * Rule: there is one way to throw somebody out. A suspension is a revocation of exactly that SPIFFE id, and what is forgotten has its certificates
 * revoked until they end, so both reach all proxies and hold while the control plane is away.
 */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { nearest } from '../../base/words.ts'
import { parseRevoked, type Revocation } from '../../identity/revoked/revocation.ts'
import { isPattern } from '../../identity/revoked/revocations.ts'
import { parseSpiffeId, personOf } from '../../identity/spiffe.ts'
import { agentRoles } from '../../mesh/roles.ts'
import { type Administrator, nameOf } from '../callers.ts'
import type { AgentRow } from '../store.ts'
import type { ControlParts } from './parts.ts'
import { by, restore, revoke, shownRow, words } from './revocations.ts'

/** In an error. */
const namesShownMax = 5

/** `revoked`: by something that means others too, such as a pattern. `ended`: it must enrol again. */
const states = ['active', 'suspended', 'revoked', 'ended'] as const

const shownAgent = z.object({
  spiffeId: z.string(),
  role: z.enum(agentRoles),
  name: z.string(),
  state: z.enum(states),
  /** That it is thrown out by. */
  revocation: z.int().optional(),
  enrolledAtMs: z.number().optional(),
  /** How it proved who it is: `token` and the beginning of the join token's SHA-256. */
  attestedBy: z.string().optional(),
  /** Absent where it has the certificate that it enrolled with. */
  renewedAtMs: z.number().optional(),
  /** When the last certificate that it was issued ends. */
  notAfterMs: z.number().optional(),
})
export type ShownAgent = Readonly<z.infer<typeof shownAgent>>

export const agentsQuery = z.object({ limit: z.coerce.number().int().min(1).max(10_000).default(1_000) })
export const agentsAnswer = z.object({
  nowMs: z.number(),
  /** In all. */
  count: z.int(),
  agents: z.array(shownAgent).readonly(),
})
export type AgentsAnswer = Readonly<z.infer<typeof agentsAnswer>>

/** Ordered by id. */
export function list(
  parts: ControlParts,
  _caller: Administrator,
  { limit }: z.infer<typeof agentsQuery>,
): z.infer<typeof agentsAnswer> {
  const all = parts.store.agents()
  return {
    nowMs: parts.clock.now(),
    count: all.length,
    agents: all.slice(0, limit).map((agent) => shownOf(parts, agent)),
  }
}

/** Its name, or its SPIFFE id. */
const which = z.string().min(1).max(limits.revokedValueCharsMax)

export const suspendOrder = z.strictObject({
  agent: which,
  reason: words.min(1),
  by,
  /** From now on; without it there is no end. */
  lifeMs: z.number().positive().optional(),
})
export type SuspendOrder = z.input<typeof suspendOrder>
export const changedAgent = z.object({ agent: shownAgent, revocation: shownRow })
export type ChangedAgent = Readonly<z.infer<typeof changedAgent>>

/** @throws RingfenceError USAGE */
export function suspend(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, ...order }: z.infer<typeof suspendOrder>,
): ChangedAgent {
  const agent = agentCalled(parts, name)
  const { revocation } = revoke(parts, caller, { kind: 'id', value: agent.spiffeId, ...order, dryRun: false })
  parts.log.info({ spiffeId: agent.spiffeId, revocation: revocation.id, by: revocation.by }, 'agent suspended')
  return { agent: shownOf(parts, agent), revocation }
}

export const resumeOrder = z.strictObject({ agent: which, reason: words.default(''), by })
export type ResumeOrder = z.input<typeof resumeOrder>

/** @throws RingfenceError USAGE where it is not suspended */
export function resume(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, reason, by: who }: z.infer<typeof resumeOrder>,
): ChangedAgent {
  const agent = agentCalled(parts, name)
  const { spiffeId } = agent
  const found = revocationOf(parts, spiffeId)
  if (found === undefined) throw new RingfenceError('USAGE', `${spiffeId} is not suspended`)
  if (!isOfOne(found)) {
    throw new RingfenceError('USAGE', `${spiffeId} is not suspended: it is meant by revocation ${found.id}`, {
      hint: `ringfence identity restore ${found.id} lets in all that it means`,
    })
  }
  const { revocation } = restore(parts, caller, { id: found.id, reason, by: who })
  parts.log.info({ spiffeId, revocation: revocation.id, by: who ?? nameOf(caller) }, 'agent resumed')
  return { agent: shownOf(parts, agent), revocation }
}

export const deleteOrder = z.strictObject({ agent: which, by })
export type DeleteOrder = z.input<typeof deleteOrder>
export const deletedAgent = z.object({
  spiffeId: z.string(),
  /** So many certificates of it count no more. */
  certificates: z.int(),
  /** It is suspended, and stays so. */
  revocation: z.int().optional(),
})
export type DeletedAgent = Readonly<z.infer<typeof deletedAgent>>

/** It must enrol again: it cannot renew, and what it has counts no more. @throws RingfenceError USAGE, OVERLOADED */
export function remove(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, by: who = nameOf(caller) }: z.infer<typeof deleteOrder>,
): DeletedAgent {
  const { ca, clock, log, registry, revocations, store } = parts
  const { spiffeId } = agentCalled(parts, name)
  const open = store.openIssuances(spiffeId, clock.now())
  for (const { serial, notAfterMs } of open) {
    const revoked = parseRevoked('one-certificate', serial, ca.trustDomain)
    if (revocations.same(revoked) !== undefined) continue
    revocations.revoke({ ...revoked, reason: `the agent ${spiffeId} was deleted`, by: who, untilMs: notAfterMs })
  }
  registry.forget(spiffeId)
  log.info({ spiffeId, certificates: open.length, by: who }, 'agent deleted')
  const revocation = revocationOf(parts, spiffeId)?.id
  return { spiffeId, certificates: open.length, ...(revocation === undefined ? {} : { revocation }) }
}

function shownOf(parts: ControlParts, { spiffeId, role, name }: AgentRow): ShownAgent {
  const { store, clock } = parts
  const enrolled = store.lastIssuance(spiffeId, 'enrol')
  const renewed = store.lastIssuance(spiffeId, 'renew')
  // It may have enrolled again since.
  const isRenewed = renewed !== undefined && renewed.issuedAtMs >= (enrolled?.issuedAtMs ?? 0)
  const last = isRenewed ? renewed : enrolled
  const revocation = revocationOf(parts, spiffeId)
  const hasEnded = last !== undefined && last.notAfterMs <= clock.now()
  return {
    spiffeId,
    role,
    name,
    state: revocation !== undefined ? (isOfOne(revocation) ? 'suspended' : 'revoked') : hasEnded ? 'ended' : 'active',
    ...(revocation === undefined ? {} : { revocation: revocation.id }),
    ...(enrolled === undefined ? {} : { enrolledAtMs: enrolled.issuedAtMs, attestedBy: enrolled.caller }),
    ...(isRenewed ? { renewedAtMs: renewed.issuedAtMs } : {}),
    ...(last === undefined ? {} : { notAfterMs: last.notAfterMs }),
  }
}

/** Of its id, or of the person of that id; not of one of its certificates. */
function revocationOf({ revocations, clock }: ControlParts, spiffeId: string): Revocation | undefined {
  return revocations.current.find({ subject: spiffeId, person: personOf(parseSpiffeId(spiffeId)) }, clock.now())
}

function isOfOne(revocation: Revocation): boolean {
  return !isPattern(revocation)
}

function agentCalled({ store }: ControlParts, text: string): AgentRow {
  const byId = store.agent(text)
  if (byId !== undefined) return byId
  const all = store.agents()
  const found = all.filter(({ name }) => name === text)
  const [one, ...others] = found
  if (one !== undefined && others.length === 0) return one
  if (one === undefined) {
    const near = nearest(
      text,
      all.flatMap(({ name, spiffeId }) => [name, spiffeId]),
    )
    throw new RingfenceError('USAGE', `no agent is called ${text}`, {
      hint: near === undefined ? 'ringfence agent list shows who enrolled' : `did you mean ${near}`,
    })
  }
  const ids = found.slice(0, namesShownMax).map(({ spiffeId }) => spiffeId)
  throw new RingfenceError('USAGE', `${found.length} agents are called ${text}`, {
    hint: `give the SPIFFE id: ${ids.join(', ')}${found.length > ids.length ? ', …' : ''}`,
  })
}
