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
import { clockSkewMsMax } from '../../mesh/clock-skew.ts'
import { agentRoles } from '../../mesh/roles.ts'
import { type Administrator, nameOf } from '../callers.ts'
import { reached, reachedAnswer } from '../reached.ts'
import type { AgentRow, Issuance } from '../store.ts'
import type { ControlParts } from './parts.ts'
import { by, restore, revoke, shownRow, words } from './revocations.ts'

/** In an error. */
const namesShownMax = 5
/** A proxy whose clock is behind takes a certificate for longer: what revokes it does not end before, with as much again to spare. */
const behindMsMax = 2 * clockSkewMsMax

/** `suspended`: by `suspend`. `revoked`: by another revocation, of its id, its person, its last certificate, or of a pattern. `ended`: it must enrol again. */
const states = ['active', 'suspended', 'revoked', 'ended'] as const

const shownAgent = z.object({
  spiffeId: z.string(),
  role: z.enum(agentRoles),
  name: z.string(),
  state: z.enum(states),
  /** That it is thrown out by. */
  revocation: z.int().optional(),
  enrolledAtMs: z.number().optional(),
  /** How it proved who it is: `token` and the beginning of the join token's SHA-256, or `outside`: by a certificate of an authority beside the mesh's own. */
  attestedBy: z.string(),
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
export const changedAgent = z.object({ agent: shownAgent, revocation: shownRow, inForce: reachedAnswer.optional() })
export type ChangedAgent = Readonly<z.infer<typeof changedAgent>>

/** @throws RingfenceError USAGE */
export async function suspend(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, ...order }: z.infer<typeof suspendOrder>,
): Promise<ChangedAgent> {
  const agent = agentCalled(parts, name)
  const { spiffeId } = agent
  const before = revocationOf(parts, spiffeId)
  // What `resume` would end then is not ours to end.
  if (before !== undefined && !isPattern(before) && !suspends(parts, before, spiffeId))
    throw new RingfenceError('USAGE', `${spiffeId} is thrown out already, by revocation ${before.id}`, {
      hint: `to suspend it instead, first: ringfence identity restore ${before.id}`,
    })
  const meant = { kind: 'id', value: spiffeId, ...order, dryRun: false } as const
  const { revocation, inForce } = await revoke(parts, caller, meant, spiffeId)
  parts.log.info({ spiffeId: agent.spiffeId, revocation: revocation.id, by: revocation.by }, 'agent suspended')
  return { agent: shownOf(parts, agent), revocation, inForce }
}

export const resumeOrder = z.strictObject({ agent: which, reason: words.default(''), by })
export type ResumeOrder = z.input<typeof resumeOrder>

/** Ends what `suspend` made, and no revocation besides. @throws RingfenceError USAGE where it is not suspended */
export async function resume(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, reason, by: who }: z.infer<typeof resumeOrder>,
): Promise<ChangedAgent> {
  const agent = agentCalled(parts, name)
  const { spiffeId } = agent
  const found = revocationOf(parts, spiffeId)
  if (found === undefined) throw new RingfenceError('USAGE', `${spiffeId} is not suspended`)
  if (!suspends(parts, found, spiffeId)) {
    throw new RingfenceError('USAGE', `${spiffeId} is not suspended: it is meant by revocation ${found.id}`, {
      hint: `ringfence identity restore ${found.id} lets in all that it means`,
    })
  }
  const { revocation, inForce } = await restore(parts, caller, { id: found.id, reason, by: who })
  parts.log.info({ spiffeId, revocation: revocation.id, by: who ?? nameOf(caller) }, 'agent resumed')
  return { agent: shownOf(parts, agent), revocation, inForce }
}

export const deleteOrder = z.strictObject({ agent: which, by })
export type DeleteOrder = z.input<typeof deleteOrder>
export const deletedAgent = z.object({
  spiffeId: z.string(),
  /** So many certificates of it count no more. */
  certificates: z.int(),
  /** So many join tokens for it, which nobody had used, are good no more. */
  joinTokens: z.int().optional(),
  /** It is suspended, and stays so. */
  revocation: z.int().optional(),
  inForce: reachedAnswer.optional(),
})
export type DeletedAgent = Readonly<z.infer<typeof deletedAgent>>

/**
 * It must enrol again: it cannot renew, and what it has counts no more.
 * @throws RingfenceError USAGE; OVERLOADED, TOO_LARGE where its certificates could not be revoked: it is forgotten then
 */
export async function remove(
  parts: ControlParts,
  caller: Administrator,
  { agent: name, by: who = nameOf(caller) }: z.infer<typeof deleteOrder>,
): Promise<DeletedAgent> {
  const { ca, clock, enrolment, log, registry, store } = parts
  const { spiffeId, role } = agentCalled(parts, name)
  const isProxy = role === 'gateway' || role === 'sidecar'
  const isOutsideTrusted = ca.keys.outside.idsAt(clock.now()).length > 0
  if (isProxy && isOutsideTrusted && store.lastIssuance(spiffeId, 'enrol') === undefined) {
    throw new RingfenceError('USAGE', `${spiffeId} has its certificates from another authority, and would come back`, {
      hint: 'delete its entry there, and ringfence proxy remove; or ringfence agent suspend',
    })
  }
  const nowMs = clock.now()
  const open = store.openIssuances(spiffeId, nowMs - behindMsMax)
  // First of all: whatever fails behind this, it gets no other certificate.
  enrolment.forget(spiffeId)
  const joinTokens = store.removeTokens(spiffeId, nowMs)
  registry.forget(spiffeId)
  log.info({ spiffeId, certificates: open.length, joinTokens, by: who }, 'agent deleted')
  revokeCertificates(parts, spiffeId, open, who)
  // When it is connected no more: else it would be told the keys that come.
  if (role === 'sidecar') registry.burnMeshKeys(clock.now())
  const revocation = revocationOf(parts, spiffeId)?.id
  return {
    spiffeId,
    certificates: open.length,
    ...(joinTokens === 0 ? {} : { joinTokens }),
    ...(revocation === undefined ? {} : { revocation }),
    inForce: await reached(registry),
  }
}

/** At once, however many there are. @throws RingfenceError OVERLOADED, TOO_LARGE */
function revokeCertificates(
  { ca, revocations }: ControlParts,
  spiffeId: string,
  open: readonly Issuance[],
  who: string,
): void {
  const revoked = new Set<string>()
  for (const { kind, value } of revocations.rows()) if (kind === 'one-certificate') revoked.add(value)
  const reason = `the agent ${spiffeId} was deleted`
  const orders = open
    .map(({ serial, notAfterMs }) => ({
      ...parseRevoked('one-certificate', serial, ca.trustDomain),
      reason,
      by: who,
      untilMs: notAfterMs + behindMsMax,
    }))
    .filter(({ value }) => !revoked.has(value))
  try {
    revocations.revokeAll(orders)
  } catch (cause) {
    if (!(cause instanceof RingfenceError)) throw cause
    const still = `${spiffeId} is deleted, but its certificates count until they end`
    throw new RingfenceError(cause.code, `${still}: ${cause.message}`, {
      cause,
      hint: `ringfence identity revoke ${spiffeId} throws it out by one revocation`,
    })
  }
}

function shownOf(parts: ControlParts, { spiffeId, role, name }: AgentRow): ShownAgent {
  const { store, clock } = parts
  const enrolled = store.lastIssuance(spiffeId, 'enrol')
  const renewed = store.lastIssuance(spiffeId, 'renew')
  // It may have enrolled again since.
  const isRenewed = renewed !== undefined && renewed.issuedAtMs >= (enrolled?.issuedAtMs ?? 0)
  const last = isRenewed ? renewed : enrolled
  const revocation = revocationOf(parts, spiffeId, last)
  const isSuspended = revocation !== undefined && suspends(parts, revocation, spiffeId)
  // It enrolled at another authority.
  const attestedBy = enrolled?.caller ?? 'outside'
  const hasEnded = last !== undefined && last.notAfterMs <= clock.now()
  return {
    spiffeId,
    role,
    name,
    state: revocation !== undefined ? (isSuspended ? 'suspended' : 'revoked') : hasEnded ? 'ended' : 'active',
    ...(revocation === undefined ? {} : { revocation: revocation.id }),
    attestedBy,
    ...(enrolled === undefined ? {} : { enrolledAtMs: enrolled.issuedAtMs }),
    ...(isRenewed ? { renewedAtMs: renewed.issuedAtMs } : {}),
    ...(last === undefined ? {} : { notAfterMs: last.notAfterMs }),
  }
}

/** Of its id, or of the person of that id; and of a certificate where one is given. */
function revocationOf(
  { revocations, clock }: ControlParts,
  spiffeId: string,
  of?: Pick<Issuance, 'serial'>,
): Revocation | undefined {
  // Of its key, and of who signed it, nothing is kept.
  const certificate = of === undefined ? undefined : { serial: of.serial, key: '', authority: '' }
  const person = personOf(parseSpiffeId(spiffeId))
  return revocations.current.find({ subject: spiffeId, person, certificate }, clock.now())
}

/** What `suspend` made of it, and nobody has put another in its place. */
function suspends({ revocations }: ControlParts, { id }: Revocation, spiffeId: string): boolean {
  return revocations.row(id)?.suspends === spiffeId
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
