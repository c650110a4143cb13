/**
 * Log-ins that were refused, for who asks why: remembered by a proxy until its next report, and then by the control plane.
 *
 *   door ─▶ RefusedLogIns of its process ─▶ that of the supervisor ─▶ report ─▶ that of the control plane ─▶ `ringfence identity why`
 *
 * Rule: what strangers can make it hold is bounded, in all and for each address; what has no room is counted. No row has anything of a
 * token but its hash and what it says of whose it is.
 */
import { z } from 'zod'
import { type Cache, createWeighedCache } from '../base/cache.ts'
import { limits } from '../base/limits.ts'
import { cutText } from '../base/text.ts'
import { addressBlock } from './address-block.ts'

/** Longest texts of a row, in UTF-16 units; all of them may be a stranger's. */
const textMax = {
  cause: 32,
  words: 256,
  listener: 128,
  address: 64,
  claimed: 1024,
  driver: 128,
  gateway: 2048,
  session: 128,
  provider: 128,
  issuer: 512,
  tokenId: 256,
  tokenHash: 64,
} as const
type Text = keyof typeof textMax
const texts = Object.keys(textMax) as Text[]

const text = (name: Text) => z.string().max(textMax[name])

/** Refusals that are alike but for their times; what else differs is of the last one. */
export const refusedLogInRow = z.object({
  /** A word of `identity/refusal.ts`, or one that only a newer proxy knows. */
  cause: text('cause'),
  /** Why, for who runs the mesh; the client may have heard less. */
  words: text('words'),
  count: z.int().min(1),
  /** By the clock of who refused. */
  firstMs: z.number(),
  lastMs: z.number(),
  listener: text('listener').optional(),
  /** Of the client: as NGINX saw it, or as its gateway says. */
  address: text('address').optional(),
  /** `<provider>/<subject>` or a SPIFFE id. Nobody need be behind it. */
  claimed: text('claimed').optional(),
  driver: text('driver').optional(),
  /** SPIFFE id of the gateway that opened the session at who refused it. */
  gateway: text('gateway').optional(),
  /** Its name for the client's connection. */
  session: text('session').optional(),
  provider: text('provider').optional(),
  issuer: text('issuer').optional(),
  tokenId: text('tokenId').optional(),
  tokenHash: text('tokenHash').optional(),
})
export type RefusedLogInRow = Readonly<z.infer<typeof refusedLogInRow>>

/** With the name of who refused it, where rows of several are together. */
export interface NamedRefusal extends RefusedLogInRow {
  readonly proxy?: string | undefined
}

/** Of a report; a field that would say nothing is left out. */
export interface RefusedPart {
  readonly refusals?: readonly RefusedLogInRow[] | undefined
  /** So many were refused without room for a row. */
  readonly refusalsMissed?: number | undefined
}

export interface RefusedBounds {
  readonly rowsMax: number
  readonly bytesMax: number
  readonly rowsPerAddressMax: number
}

/** Between two reports. */
export const reportedBounds: RefusedBounds = {
  rowsMax: limits.refusalsReportedMax,
  bytesMax: limits.refusalsReportedBytesMax,
  rowsPerAddressMax: limits.refusalsReportedPerAddressMax,
}

interface Kept {
  readonly key: string
  readonly row: NamedRefusal
  readonly bytes: number
}

export class RefusedLogIns {
  readonly #bounds: RefusedBounds
  /** By the client's address; an IPv6 address counts with its /64. The oldest first. */
  readonly #byAddress: Cache<readonly Kept[]>
  #missed = 0

  constructor(bounds: RefusedBounds) {
    this.#bounds = bounds
    // A row counts for its bytes, and never for less than so many that `rowsMax` of them take all.
    const bytesMin = bounds.bytesMax / bounds.rowsMax
    const weigh = (rows: readonly Kept[]): number =>
      Math.ceil(rows.reduce((sum, { bytes }) => sum + Math.max(bytes, bytesMin), 0))
    this.#byAddress = createWeighedCache(bounds.bytesMax, weigh, (rows, _address, why) => {
      if (why === 'evict') for (const { row } of rows) this.#missed += row.count
    })
  }

  get missed(): number {
    return this.#missed
  }

  /** Those of the address that was silent longest first, so that whoever takes them knows who was. */
  *rows(): Iterable<NamedRefusal> {
    for (const rows of this.#byAddress.rvalues()) for (const { row } of rows ?? []) yield row
  }

  add(given: NamedRefusal): void {
    const { bytesMax, rowsPerAddressMax } = this.#bounds
    const cut = cutRow(given)
    const address = cut.address === undefined ? `by ${cut.gateway ?? ''}` : addressBlock(cut.address)
    const key = keyOf(cut)
    const before = this.#byAddress.get(address) ?? []
    const same = before.find((kept) => kept.key === key)
    const row = same === undefined ? cut : together(same.row, cut)
    const rows = [
      ...before.filter((kept) => kept !== same),
      { key, row, bytes: Buffer.byteLength(JSON.stringify(row)) },
    ]
    // One address has a quarter of it all at most.
    let bytes = rows.reduce((sum, kept) => sum + kept.bytes, 0)
    while (rows.length > rowsPerAddressMax || (bytes > bytesMax / 4 && rows.length > 1)) {
      const oldest = rows.shift()!
      bytes -= oldest.bytes
      this.#missed += oldest.row.count
    }
    this.#byAddress.set(address, rows)
  }

  take({ refusals = [], refusalsMissed = 0 }: RefusedPart, proxy?: string): void {
    for (const row of refusals) this.add(proxy === undefined ? row : { ...row, proxy })
    this.#missed += refusalsMissed
  }

  /** All of it, for a report; it is empty then. */
  drain(): RefusedPart {
    const refusals = [...this.rows()]
    const refusalsMissed = this.#missed
    this.#byAddress.clear()
    this.#missed = 0
    return {
      ...(refusals.length === 0 ? {} : { refusals }),
      ...(refusalsMissed === 0 ? {} : { refusalsMissed }),
    }
  }
}

/** Brought to the bounds of a report. */
export function cutRefusals(part: RefusedPart): RefusedPart {
  const fitting = new RefusedLogIns(reportedBounds)
  fitting.take(part)
  return fitting.drain()
}

/** What may differ between refusals of one row: driver, token, words and times. */
function keyOf({ proxy, cause, listener, address, claimed, gateway, session }: NamedRefusal): string {
  return JSON.stringify([proxy, cause, listener, address, claimed, gateway, session])
}

function together(one: NamedRefusal, other: NamedRefusal): NamedRefusal {
  const last = other.lastMs >= one.lastMs ? other : one
  return {
    ...last,
    count: one.count + other.count,
    firstMs: Math.min(one.firstMs, other.firstMs),
  }
}

function cutRow(row: NamedRefusal): NamedRefusal {
  let cut = row
  for (const name of texts) {
    const given = row[name]
    if (given === undefined || (given.length <= textMax[name] && given.isWellFormed())) continue
    cut = { ...cut, [name]: cutText(given, textMax[name]) }
  }
  return cut
}
