/**
 * The revocations of the mesh: kept in the store, pushed to all proxies, and in force here.
 *
 *   revoke ─▶ store ─▶ the part that it stands in ─▶ digest over all parts ─▶ what is open here ends
 *
 * Rule: what `revoke` returned is on stable storage, and was sent to every proxy that is connected.
 */
import type { Clock } from '../base/clock.ts'
import { contain, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type Revocation, type Revoked, revocation } from '../identity/revoked/revocation.ts'
import { isPattern, Revocations } from '../identity/revoked/revocations.ts'
import { digestOf, partOf, revocationKinds, revocationsAsOf } from '../mesh/revocations.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Publisher } from './publisher.ts'
import type { RevocationRow, Store } from './store.ts'

export interface RevocationOrder extends Revoked {
  readonly reason: string
  readonly by: string
  readonly untilMs: number | undefined
  /** As `RevocationRow.suspends`. */
  readonly suspends?: string | undefined
}

export interface BookParts {
  readonly store: Store
  readonly publisher: Publisher
  readonly clock: Clock
  readonly log: Pick<Logger, 'info'>
}

/** Who ends what had an end. */
const byTime = 'time'
/** A sidecar, or all of them, is meant. */
const sidecarId = /^spiffe:\/\/[^/]+\/ringfence\/(sidecar|\*)(\/|$)/

/** Each is written to disk, and has its part told to all proxies. */
const sweptMax = 32

export class RevocationBook {
  /** Those in force, for who asks here. */
  readonly current = new Revocations()
  readonly #parts: BookParts
  /** No LRU: at most `revocationsMax`. */
  readonly #rows = new Map<number, RevocationRow>()
  readonly #entries: (readonly Revocation[])[] = revocationKinds.map(() => [])
  readonly #onAdded = new Set<(added: readonly Revocation[]) => void>()
  #bytes = 0

  constructor(parts: BookParts) {
    this.#parts = parts
    const entries = this.#entries.map((): Revocation[] => [])
    for (const row of parts.store.revocations()) {
      const entry = entryOf(row)
      this.#rows.set(row.id, row)
      this.#bytes += bytesOf(entry)
      entries[partOf(row.id)]?.push(entry)
    }
    for (const [part, some] of entries.entries()) this.#setPart(part, some)
    this.#publishDigest()
    this.sweep()
  }

  get size(): number {
    return this.#rows.size
  }

  /** In force, the newest first. */
  *rows(): Iterable<RevocationRow> {
    yield* [...this.#rows.values()].reverse()
  }

  row(id: number): RevocationRow | undefined {
    return this.#rows.get(id)
  }

  /** The one in force that says the same. */
  same({ kind, value, provider }: Revoked): RevocationRow | undefined {
    for (const row of this.#rows.values())
      if (row.value === value && row.kind === kind && row.provider === provider) return row
    return undefined
  }

  /** `callback` is called with what comes in force, all of one order at once. */
  onAdded(callback: (added: readonly Revocation[]) => void): void {
    this.#onAdded.add(callback)
  }

  /** In the place of one that says the same. @throws RingfenceError OVERLOADED, TOO_LARGE where there is no room */
  revoke(order: RevocationOrder): RevocationRow {
    const before = this.same(order)
    this.#refuseBeyond([order], before)
    const row = this.#parts.store.addRevocation({ ...order, createdAtMs: this.#parts.clock.now() })
    this.#inForce([row], before)
    return row
  }

  /** All of them or none, told once. None of them says what another says, or one in force. @throws as `revoke` */
  revokeAll(orders: readonly RevocationOrder[]): void {
    if (orders.length === 0) return
    const { store, clock } = this.#parts
    this.#refuseBeyond(orders, undefined)
    const createdAtMs = clock.now()
    this.#inForce(store.addRevocations(orders.map((order) => ({ ...order, createdAtMs }))), undefined)
  }

  #inForce(rows: readonly RevocationRow[], before: RevocationRow | undefined): void {
    const added: Revocation[] = []
    const parts = new Map<number, Revocation[]>()
    for (const row of rows) {
      const { id, kind, value, provider, by, reason, untilMs } = row
      this.#parts.log.info({ revocation: id, kind, value, provider, by, reason, untilMs }, 'access revoked')
      const entry = entryOf(row)
      added.push(entry)
      this.#rows.set(id, row)
      this.#bytes += bytesOf(entry)
      const part = partOf(id)
      const entries = parts.get(part) ?? [...(this.#entries[part] ?? [])]
      entries.push(entry)
      parts.set(part, entries)
    }
    for (const [part, entries] of parts) this.#setPart(part, entries)
    const [row] = rows
    if (before !== undefined && row !== undefined) this.#end(before, row.by, `in its place: ${row.id}`)
    this.#publishDigest()
    // It is in force: what fails in one keeps no other from hearing of it.
    for (const callback of this.#onAdded) contain(nothingEnds, 'who is thrown out', () => callback(added))
  }

  /** False where it is not in force. */
  restore(id: number, by: string, reason: string): boolean {
    const row = this.#rows.get(id)
    if (row === undefined) return false
    this.#end(row, by, reason)
    this.#publishDigest()
    return true
  }

  ended(countMax: number): RevocationRow[] {
    return this.#parts.store.endedRevocations(countMax)
  }

  /** Ends those whose time is over, some at a time; called about once a second. They count no more by themselves, so there is no hurry. */
  sweep(): void {
    const nowMs = this.#parts.clock.now()
    const over: RevocationRow[] = []
    for (const row of this.#rows.values()) {
      if (row.untilMs !== undefined && nowMs >= row.untilMs) over.push(row)
      if (over.length >= sweptMax) break
    }
    for (const row of over) this.#end(row, byTime, 'its time is over')
    if (over.length > 0) this.#publishDigest()
  }

  /** When a sidecar was thrown out last, also where that is over: it knew the mesh keys of then. */
  get sidecarRevokedMs(): number | undefined {
    const times = [...this.#rows.values(), ...this.ended(limits.revocationsEndedMax)]
      .filter((row) => meansSidecar(row))
      .map(({ createdAtMs }) => createdAtMs)
    return times.length === 0 ? undefined : times.reduce((a, b) => Math.max(a, b))
  }

  #end(row: RevocationRow, by: string, reason: string): void {
    const { store, clock, log } = this.#parts
    const { id, kind, value, provider } = row
    store.endRevocation(id, { atMs: clock.now(), by, reason }, limits.revocationsEndedMax)
    log.info({ revocation: id, kind, value, provider, by, reason }, 'revocation ended')
    this.#rows.delete(id)
    this.#bytes -= bytesOf(entryOf(row))
    const part = partOf(id)
    this.#setPart(
      part,
      (this.#entries[part] ?? []).filter((entry) => entry.id !== id),
    )
  }

  #setPart(part: number, entries: readonly Revocation[]): void {
    this.#entries[part] = entries
    this.current.setPart(part, entries)
    const kind = revocationKinds[part]
    if (kind !== undefined) this.#parts.publisher.value(kind).set(entries)
  }

  #publishDigest(): void {
    const { publisher } = this.#parts
    publisher.value(revocationsAsOf).set({ revocationsDigest: digestOf((kind) => publisher.value(kind)) })
  }

  #refuseBeyond(orders: readonly RevocationOrder[], before: RevocationRow | undefined): void {
    const freed = before === undefined ? 0 : 1
    const hint = 'end some with ringfence identity restore, or revoke by a pattern, a person or a key'
    if (this.#rows.size - freed + orders.length > limits.revocationsMax)
      throw new RingfenceError('OVERLOADED', `revocationsMax ${limits.revocationsMax} reached`, { hint })
    const more = orders.filter(isPattern).length
    const patterns = more === 0 ? 0 : [...this.#rows.values()].filter(isPattern).length
    if (more > 0 && patterns - freed + more > limits.revocationPatternsMax)
      throw new RingfenceError('OVERLOADED', `revocationPatternsMax ${limits.revocationPatternsMax} reached`, { hint })
    let bytes = this.#bytes
    for (const order of orders) bytes += bytesOf(entryOf({ ...order, id: Number.MAX_SAFE_INTEGER }))
    if (bytes > limits.revocationsBytesMax)
      throw new RingfenceError('TOO_LARGE', `revocationsBytesMax ${limits.revocationsBytesMax} reached`, { hint })
  }
}

/** Whoever held a sidecar's identity has its mesh keys. */
export function meansSidecar({ kind, value }: Revoked): boolean {
  return kind === 'id' && sidecarId.test(value)
}

/** Always with its fields in one order, so that the digest is the same everywhere. */
function entryOf({ id, kind, value, provider, untilMs }: Revoked & Pick<RevocationRow, 'id' | 'untilMs'>): Revocation {
  return revocation.parse({ id, kind, value, provider, untilMs })
}

function bytesOf(entry: Revocation): number {
  return Buffer.byteLength(JSON.stringify(entry)) + 1
}
