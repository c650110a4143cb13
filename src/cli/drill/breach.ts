/**
 * The drill of a breach: a certificate is taken to be stolen and is revoked, and each door is timed until who holds it is out.
 *
 *   mint two certificates ─ a session of each at every door ─ revoke the first ─ refused, closed, refused again ─ restore ─ let in again
 *                                    └ the second is the neighbour: it is never to be refused ─────────────────────────────┘
 *
 * Rule: whatever happens behind the revocation, it is ended before the drill is. Where that cannot be done it ends by itself, soon.
 */
import { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../../base/errors.ts'
import type { StatusAnswer } from '../../control/services/proxies.ts'
import type { SpiffeId } from '../../identity/spiffe.ts'
import type { AdminClient } from '../admin-client.ts'
import type { Door } from '../check/doors.ts'
import { type ProbeCertificate, type ProbeResult, probe } from '../check/probe.ts'
import { question } from '../check/way-through.ts'
import { inForceAt, type Reached } from '../identity/reached.ts'
import { formatHostPort } from '../options.ts'
import { AskingSession } from './asking-session.ts'

/** What a revocation promises. */
export const boundsMs = { refused: 1_000, closed: 2_000 } as const
/** What did not happen within that time is not waited for. */
const waitMsMaxDefault = 5_000
const lookEveryMs = 10
/** So that nothing is left of a drill that is killed. */
const certificateTtlMs = 180_000
const revocationLifeMs = 120_000
const restoreMsMax = 10_000
const restoreAgainMs = 250

export type DrillAdmin = Pick<AdminClient, 'mint' | 'revoke' | 'restore' | 'status'>

export interface BreachOrder {
  readonly identity: SpiffeId
  readonly doors: readonly Door[]
  readonly status: Pick<StatusAnswer, 'proxies' | 'control'>
  /** Who does it. */
  readonly by: string
  readonly reason: string
  readonly say: (line: string) => void
  /** Ends the drill; the revocation is ended first. */
  readonly signal: AbortSignal
  readonly waitMsMax?: number
}

export interface DoorOutcome {
  readonly door: string
  readonly kind: Door['kind']
  /** The gateway or sidecar that ended its TLS. */
  readonly proxy: string | undefined
  /** Since the command; undefined where it did not come. A socket that was closed in the place of an answer is a refusal. */
  readonly refusedMs: number | undefined
  readonly closedMs: number | undefined
  /** What a new connection by the revoked certificate came to. */
  readonly comesAgain: 'refused' | 'let in' | undefined
  /** Questions of the other certificate that were answered while the first was revoked. */
  readonly neighbourAnswered: number
  /** Since the end of the revocation. */
  readonly letInMs: number | undefined
  readonly faults: readonly string[]
}

export interface BreachOutcome {
  readonly identity: SpiffeId
  /** Serial number of the certificate that was revoked. */
  readonly certificate: string
  readonly revocation: number
  readonly inForce: Reached
  readonly boundsMs: typeof boundsMs
  readonly doors: readonly DoorOutcome[]
  readonly faults: readonly string[]
}

/** A door with both sessions. */
interface Site {
  readonly door: Door
  readonly thief: AskingSession
  readonly neighbour: AskingSession
}

type Closed = { readonly door: Door; readonly why: string }

/** @throws RingfenceError UNAVAILABLE where nothing could be tried, and where it was cancelled; nobody is revoked then */
export async function drillBreach(admin: DrillAdmin, order: BreachOrder): Promise<BreachOutcome> {
  const { identity, doors, say, signal } = order
  const mint = (): Promise<ProbeCertificate> => admin.mint({ spiffeId: identity, ttlMs: certificateTtlMs })
  const [stolen, kept] = await Promise.all([mint(), mint()])
  const tried = await Promise.all(doors.map((door) => openSite(door, stolen, kept, order)))
  const sites = tried.filter((one): one is Site => 'thief' in one)
  const closed = tried.filter((one): one is Closed => 'why' in one)
  try {
    if (signal.aborted) throw cancelled()
    if (sites.length === 0) throw nothingTried(closed)
    say(`${sites.length * 2} sessions of two certificates at ${sites.length} doors`)
    return await new Breach(admin, order, stolen, sites).run(closed)
  } finally {
    for (const { thief, neighbour } of sites) {
      thief.close()
      neighbour.close()
    }
  }
}

async function openSite(
  door: Door,
  stolen: ProbeCertificate,
  kept: ProbeCertificate,
  { status, waitMsMax = waitMsMaxDefault }: BreachOrder,
): Promise<Site | Closed> {
  const { trustDomain } = status.control
  const { target } = door
  const opened = await Promise.allSettled(
    [stolen, kept].map((certificate) => AskingSession.open({ target, certificate, trustDomain, openMsMax: waitMsMax })),
  )
  const [thief, neighbour] = opened.map((one) => (one.status === 'fulfilled' ? one.value : undefined))
  if (thief !== undefined && neighbour !== undefined) return { door, thief, neighbour }
  thief?.close()
  neighbour?.close()
  const refused = opened.find((one) => one.status === 'rejected')
  return { door, why: refused === undefined ? 'it is closed' : wordsOf(refused.reason) }
}

class Breach {
  readonly #admin: DrillAdmin
  readonly #order: BreachOrder
  readonly #stolen: ProbeCertificate
  readonly #serial: string
  readonly #sites: readonly Site[]
  readonly #waitMsMax: number

  constructor(admin: DrillAdmin, order: BreachOrder, stolen: ProbeCertificate, sites: readonly Site[]) {
    this.#admin = admin
    this.#order = order
    this.#stolen = stolen
    this.#serial = new X509Certificate(stolen.certificatePem).serialNumber
    this.#sites = sites
    this.#waitMsMax = order.waitMsMax ?? waitMsMaxDefault
  }

  async run(closed: readonly Closed[]): Promise<BreachOutcome> {
    const { identity, by, reason, say } = this.#order
    const before = this.#sites.map(({ neighbour }) => neighbour.answered)
    let isEnded = false
    try {
      const beganMs = performance.now()
      const value = { kind: 'one-certificate', value: this.#serial } as const
      const { revocation } = await this.#admin.revoke({ ...value, reason, by, lifeMs: revocationLifeMs })
      say(`revocation ${revocation.id}: certificate ${this.#serial} of ${identity}`)
      const [inForce] = await Promise.all([inForceAt(this.#admin, beganMs), this.#untilClosed(beganMs)])
      const again = await Promise.all(this.#sites.map(({ door }) => this.#comesAgain(door)))
      this.#refuseCancelled()
      // What the neighbour is told while the other one is out.
      const answered = this.#sites.map(({ neighbour }, i) => neighbour.answered - before[i]!)
      const restoredMs = performance.now()
      await this.#restore()
      isEnded = true
      say('the revocation is over')
      const letIn = await Promise.all(this.#sites.map(({ door }) => this.#untilLetIn(door, restoredMs)))
      this.#refuseCancelled()
      const outcomes = this.#sites.map((site, i) =>
        outcomeOf(site, beganMs, this.#waitMsMax, {
          proxy: this.#nameOf(site.thief.serverId),
          comesAgain: again[i],
          neighbourAnswered: answered[i]!,
          letInMs: letIn[i],
        }),
      )
      const faults = inForce.missing.map((name) => `${name} has not said that it has the revocation`)
      return {
        identity,
        certificate: this.#serial,
        revocation: revocation.id,
        inForce,
        boundsMs,
        doors: [...outcomes, ...closed.map(untried)],
        faults,
      }
    } finally {
      if (!isEnded) await this.#restore()
    }
  }

  async #untilClosed(beganMs: number): Promise<void> {
    let isSaid = false
    while (performance.now() - beganMs < this.#waitMsMax) {
      this.#refuseCancelled()
      if (this.#sites.every(({ thief }) => thief.closedAtMs !== undefined)) return
      if (!isSaid && this.#sites.every(({ thief }) => refusedAt(thief) !== undefined)) {
        this.#order.say('refused at every door')
        isSaid = true
      }
      await sleep(lookEveryMs)
    }
  }

  async #comesAgain({ target }: Door): Promise<DoorOutcome['comesAgain']> {
    return isIn(await probe({ target, way: this.#stolen, query: question })) ? 'let in' : 'refused'
  }

  async #untilLetIn({ target }: Door, fromMs: number): Promise<number | undefined> {
    for (;;) {
      const result = await probe({ target, way: this.#stolen, query: question })
      const ms = performance.now() - fromMs
      if (isIn(result)) return ms
      if (ms > this.#waitMsMax || this.#order.signal.aborted) return undefined
      await sleep(lookEveryMs)
    }
  }

  /** Tries until the control plane has said that it is over. It may never have begun, where the answer to `revoke` was lost. */
  async #restore(): Promise<void> {
    const { by, reason } = this.#order
    const value = { kind: 'one-certificate', value: this.#serial } as const
    const untilMs = performance.now() + restoreMsMax
    for (;;) {
      try {
        await this.#admin.restore({ ...value, reason, by })
        return
      } catch (cause) {
        const fault = RingfenceError.from(cause, 'UNAVAILABLE')
        // It is not revoked.
        if (fault.code === 'USAGE') return
        if (performance.now() > untilMs) throw notEnded(this.#serial, fault)
        await sleep(restoreAgainMs)
      }
    }
  }

  #nameOf(id: SpiffeId | undefined): string | undefined {
    const { proxies } = this.#order.status
    return proxies.find(({ spiffeId }) => spiffeId === id)?.name ?? id
  }

  #refuseCancelled(): void {
    if (this.#order.signal.aborted) throw cancelled()
  }
}

function refusedAt({ refusedAtMs, closedAtMs }: AskingSession): number | undefined {
  return refusedAtMs ?? closedAtMs
}

function outcomeOf(
  { door, thief, neighbour }: Site,
  beganMs: number,
  waitMsMax: number,
  seen: Pick<DoorOutcome, 'proxy' | 'comesAgain' | 'neighbourAnswered' | 'letInMs'>,
): DoorOutcome {
  const since = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs - beganMs)
  const refusedMs = since(refusedAt(thief))
  const closedMs = since(thief.closedAtMs)
  const faults = [
    lateness('refused', refusedMs, boundsMs.refused, waitMsMax),
    lateness('closed', closedMs, boundsMs.closed, waitMsMax),
    seen.comesAgain === 'let in' ? 'a new connection was let in while it was revoked' : undefined,
    neighbour.refusedAtMs !== undefined || neighbour.closedAtMs !== undefined
      ? 'the other certificate of the same identity was cut off, which nobody revoked'
      : undefined,
    seen.neighbourAnswered === 0 ? 'the other certificate of the same identity had no answer' : undefined,
    seen.letInMs === undefined
      ? `not let in again within ${waitMsMax / 1000} s of the end of the revocation`
      : undefined,
  ]
  const target = formatHostPort(door.target)
  return {
    door: target,
    kind: door.kind,
    ...seen,
    refusedMs,
    closedMs,
    faults: faults.filter((one) => one !== undefined),
  }
}

function lateness(what: string, ms: number | undefined, msMax: number, waitMsMax: number): string | undefined {
  if (ms === undefined) return `not ${what} within ${waitMsMax / 1000} s`
  return ms <= msMax ? undefined : `${what} after ${(ms / 1000).toFixed(2)} s, and ${msMax / 1000} s is promised`
}

function untried({ door, why }: Closed): DoorOutcome {
  return {
    door: formatHostPort(door.target),
    kind: door.kind,
    proxy: undefined,
    refusedMs: undefined,
    closedMs: undefined,
    comesAgain: undefined,
    neighbourAnswered: 0,
    letInMs: undefined,
    faults: [`not tried: ${why}`],
  }
}

function isIn({ answer, rows, queryError }: ProbeResult): boolean {
  return answer.kind === 'ready' && (rows !== undefined || !/\brevoked\b/.test(queryError?.text ?? ''))
}

function cancelled(): RingfenceError {
  return new RingfenceError('UNAVAILABLE', 'cancelled; nobody is revoked by this drill any more')
}

function nothingTried(closed: readonly Closed[]): RingfenceError {
  const whys = closed.map(({ door, why }) => `${formatHostPort(door.target)}: ${why}`)
  return new RingfenceError('UNAVAILABLE', `nothing was tried and nobody revoked\n${whys.join('\n')}`, {
    hint: 'name doors that this host reaches and that take a certificate: --door <address:port>; ringfence check looks at them',
  })
}

function notEnded(serial: string, cause: RingfenceError): RingfenceError {
  return new RingfenceError('UNAVAILABLE', `the drill's revocation could not be ended: ${cause.message}`, {
    cause,
    hint: `it ends by itself within ${revocationLifeMs / 60_000} minutes, or: ringfence identity restore --certificate ${serial}`,
  })
}

function wordsOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}
