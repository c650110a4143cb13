/**
 * Who is thrown out, and who is let in again.
 *
 * Rule: an order is carried out when it is stored. It is answered when every connected proxy has said that it is in force there, or after a second, with
 * those that have not: what happens to the control plane after the answer keeps nobody else from hearing of it.
 */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { nearest } from '../../base/words.ts'
import { parseRevoked, type Revoked, revokedKinds } from '../../identity/revoked/revocation.ts'
import { type CallerFacts, Revocations } from '../../identity/revoked/revocations.ts'
import { personOf } from '../../identity/spiffe.ts'
import { type Administrator, nameOf } from '../callers.ts'
import { reached, reachedAnswer, reachedNow } from '../reached.ts'
import { meansSidecar } from '../revocation-book.ts'
import type { RevocationRow } from '../store.ts'
import type { ControlParts } from './parts.ts'

export const words = z
  .string()
  .max(limits.revokedValueCharsMax)
  .refine((text) => !/\p{C}/u.test(text), 'one line of printable text')
const revokedAs = {
  /** `proxy`: a gateway or sidecar by its name. Of an authority see `authorities.ts`. */
  kind: z.enum([...revokedKinds.filter((kind) => kind !== 'authority'), 'proxy']),
  value: z.string().min(1).max(limits.revokedValueCharsMax),
  provider: z.string().max(253).optional(),
}
/** Who asks over the socket, as they say. */
export const by = words.max(256).optional()

export const revokeOrder = z.strictObject({
  ...revokedAs,
  reason: words.min(1),
  by,
  /** From now on; without it there is no end. */
  lifeMs: z.number().positive().optional(),
  dryRun: z.boolean().default(false),
})
export type RevokeOrder = z.input<typeof revokeOrder>

export const shownRow = z.object({
  id: z.int(),
  kind: z.enum(revokedKinds),
  value: z.string(),
  provider: z.string().optional(),
  reason: z.string(),
  by: z.string(),
  createdAtMs: z.number(),
  untilMs: z.number().optional(),
  ended: z.object({ atMs: z.number(), by: z.string(), reason: z.string() }).optional(),
})
export type ShownRevocation = Readonly<z.infer<typeof shownRow>>

export const revokedAnswer = z.object({
  /** 0 for a dry run. */
  revocation: shownRow,
  /** Names that are known here and are meant, and how many there are; undefined where what is revoked is no name. */
  meant: z.object({ names: z.array(z.string()).readonly(), count: z.int() }).optional(),
  /** Where nobody is meant: a name that is nearly the same. */
  nearest: z.string().optional(),
  /** Keys that sidecars share were made anew. */
  keysRotated: z.boolean(),
  /** Not of a dry run. */
  inForce: reachedAnswer.optional(),
})
export type RevokedAnswer = Readonly<z.infer<typeof revokedAnswer>>

const shownNamesMax = 20
/** Certificates among which a name is looked for. */
const issuancesMax = 10_000
const trafficSeconds = 60

export async function revoke(
  parts: ControlParts,
  caller: Administrator,
  order: z.infer<typeof revokeOrder>,
  /** As `RevocationRow.suspends`. */
  suspends?: string,
): Promise<z.infer<typeof revokedAnswer>> {
  const { revocations, clock } = parts
  const revoked = revokedOf(parts, order)
  const { reason, lifeMs, dryRun } = order
  const untilMs = lifeMs === undefined ? undefined : clock.now() + lifeMs
  refuseShorter(revocations.same(revoked), untilMs)
  const said = { ...revoked, reason, by: order.by ?? nameOf(caller), untilMs, suspends }
  const row = dryRun ? { ...said, id: 0, createdAtMs: clock.now(), ended: undefined } : revocations.revoke(said)
  // As it was when it was given.
  const answer = { revocation: row, ...meantBy(parts, revoked), keysRotated: !dryRun && meansSidecar(revoked) }
  return dryRun ? answer : { ...answer, inForce: await reached(parts.registry) }
}

/** Who is thrown out is let in earlier by `restore` only. @throws RingfenceError USAGE */
function refuseShorter(before: RevocationRow | undefined, untilMs: number | undefined): void {
  if (before === undefined || untilMs === undefined || (before.untilMs !== undefined && before.untilMs <= untilMs))
    return
  const until = before.untilMs === undefined ? 'for ever' : `until ${new Date(before.untilMs).toISOString()}`
  throw new RingfenceError('USAGE', `it is revoked ${until} already (revocation ${before.id})`, {
    hint: `for a shorter time, first: ringfence identity restore ${before.id}`,
  })
}

export const restoreOrder = z.union([
  z.strictObject({ id: z.int().positive(), reason: words.default(''), by }),
  z.strictObject({ ...revokedAs, reason: words.default(''), by }),
])
export type RestoreOrder = z.input<typeof restoreOrder>
export const restoredAnswer = z.object({ revocation: shownRow, inForce: reachedAnswer.optional() })
export type RestoredAnswer = Readonly<z.infer<typeof restoredAnswer>>

/** @throws RingfenceError USAGE where it is not revoked */
export async function restore(
  parts: ControlParts,
  caller: Administrator,
  order: z.infer<typeof restoreOrder>,
): Promise<z.infer<typeof restoredAnswer>> {
  const { revocations, registry } = parts
  const row = 'id' in order ? revocations.row(order.id) : revocations.same(revokedOf(parts, order))
  if (row === undefined) {
    const what = 'id' in order ? `there is no revocation ${order.id} in force` : `${order.value} is not revoked`
    throw new RingfenceError('USAGE', what, { hint: hintFor(parts, order) })
  }
  if (row.kind === 'authority')
    throw new RingfenceError('USAGE', 'an authority that is revoked stays so', { hint: 'ringfence ca show' })
  revocations.restore(row.id, order.by ?? nameOf(caller), order.reason)
  return { revocation: row, inForce: await reached(registry) }
}

export const revocationsQuery = z.object({
  ended: z.enum(['true', 'false']).default('false'),
  limit: z.coerce.number().int().min(1).max(limits.revocationsMax).default(1_000),
})
export const revocationsAnswer = z.object({
  nowMs: z.number(),
  /** In force. */
  count: z.int(),
  revocations: z.array(shownRow).readonly(),
  /** Which proxies have them all. */
  inForce: reachedAnswer.optional(),
})
export type RevocationsAnswer = Readonly<z.infer<typeof revocationsAnswer>>

/** The newest first; with `ended` those that are over as well, behind them. */
export function listed(
  { revocations, registry, clock }: ControlParts,
  _caller: Administrator,
  { ended, limit }: z.infer<typeof revocationsQuery>,
): z.infer<typeof revocationsAnswer> {
  const rows: RevocationRow[] = []
  for (const row of revocations.rows()) if (rows.push(row) >= limit) break
  if (ended === 'true' && rows.length < limit) rows.push(...revocations.ended(limit - rows.length))
  return { nowMs: clock.now(), count: revocations.size, revocations: rows, inForce: reachedNow(registry) }
}

type Said = Pick<RevokeOrder, 'kind' | 'value' | 'provider'>

/** @throws RingfenceError USAGE */
function revokedOf({ registry, ca }: ControlParts, { kind, value, provider }: Said): Revoked {
  if (kind !== 'proxy') return parseRevoked(kind, value, ca.trustDomain, provider)
  const found = registry.status().filter(({ name }) => name === value)
  const [one, ...others] = found
  if (one === undefined || others.length > 0) {
    const names = registry.status().map(({ name }) => name)
    const meant = nearest(value, names)
    const hint = meant === undefined ? 'ringfence status shows their names' : `did you mean ${meant}`
    const ids = found.map(({ spiffeId }) => spiffeId).join(', ')
    throw one === undefined
      ? new RingfenceError('USAGE', `no gateway or sidecar is called ${value}`, { hint })
      : new RingfenceError('USAGE', `several proxies are called ${value}`, { hint: `give the SPIFFE id: ${ids}` })
  }
  return parseRevoked('id', one.spiffeId, ca.trustDomain)
}

/** Whom of those that are known here it means; where that is nobody, who has nearly that name. */
function meantBy(parts: ControlParts, revoked: Revoked): Pick<RevokedAnswer, 'meant' | 'nearest'> {
  const { kind, value } = revoked
  if (kind !== 'id' && kind !== 'person') return {}
  const known = [...namesKnown(parts)]
  const only = Revocations.of([{ ...revoked, id: 1 }])
  const names = known.filter((name) => only.find(callerNamed(name), 0) !== undefined)
  const prefix = `spiffe://${parts.ca.trustDomain}/`
  const near = names.length > 0 ? undefined : nearest(bare(value), known.map(bare))
  return {
    meant: { names: names.slice(0, shownNamesMax), count: names.length },
    ...(near === undefined ? {} : { nearest: known.find((name) => bare(name) === near) }),
  }

  function bare(name: string): string {
    return name.startsWith(prefix) ? name.slice(prefix.length) : name
  }
}

/** SPIFFE ids that enrolled, have certificates or were seen, and persons that were. */
function namesKnown({ store, registry }: ControlParts): Set<string> {
  const names = new Set(store.agents().map(({ spiffeId }) => spiffeId))
  for (const { spiffeId } of store.issuances(issuancesMax)) names.add(spiffeId)
  for (const { workload, person } of registry.traffic(trafficSeconds)) {
    names.add(workload)
    if (person !== undefined) names.add(person)
  }
  return names
}

function callerNamed(name: string): CallerFacts {
  if (!name.startsWith('spiffe://')) return { subject: '', person: name }
  return { subject: name, person: personOf(name as Parameters<typeof personOf>[0]) }
}

function hintFor({ revocations }: ControlParts, order: z.infer<typeof restoreOrder>): string {
  const meant =
    'id' in order
      ? undefined
      : nearest(
          order.value,
          [...revocations.rows()].map(({ value }) => value),
        )
  return meant === undefined ? 'ringfence identity revocations lists those in force' : `did you mean ${meant}`
}
