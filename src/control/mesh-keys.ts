/**
 * The secrets that sidecars share (`MeshKey`): made here, kept in the store, pushed to enrolled sidecars and shown to nobody else.
 *
 *   pages   newest: pushed, not used yet, so that every sidecar has it before anything is sealed with it
 *           second: seals        third: opens what was sealed with it the day before
 *   masks   the one in force since its `fromMs`, and a day before it ends the next, so that all change over at one moment.
 *           Nothing is read back with them: the one before is forgotten.
 *
 * When a sidecar is thrown out, all keys of before are *burnt*: it knew them. Others are made at once. Pages that were sealed before can be opened
 * for ten minutes more, so that whoever is in the middle of a result goes on; a mask key is in force two seconds later, when every sidecar has it.
 *
 * A mask key lives for 30 days. Hashes of a column can be joined and counted over a month. What somebody learnt about them, by a dictionary
 * or a stolen key, is of no use for longer.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { type MeshKey, type MeshKeyUse, meshKeyBytes } from '../mesh/mesh-keys.ts'
import type { MeshKeyRow, Store } from './store.ts'

const dayMs = 24 * 60 * 60 * 1000
const pagesKeyLifeMs = dayMs
const pagesKept = 3
const maskKeyLifeMs = 30 * dayMs
/** How long before it is in force a mask key is pushed. */
const maskKeyAheadMs = dayMs
const masksKept = 2
const burntOpensMs = 10 * 60 * 1000
/** For every sidecar to have it. */
const burntMaskAheadMs = 2_000

export class MeshKeys {
  readonly #store: Store
  readonly #clock: Clock
  #rows: readonly MeshKeyRow[] = []
  /** Keys that were made until then are known to somebody who is thrown out. */
  #burntMs = Number.NEGATIVE_INFINITY

  /** Makes the first keys where there are none, and the next where they are due. */
  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
    this.#rows = store.meshKeys()
    this.#burntMs = store.meshKeysBurntMs() ?? this.#burntMs
    this.rotateIfDue()
  }

  /** Newest first. */
  get keys(): readonly MeshKey[] {
    return this.#rows.map(({ id, key, use, fromMs }) => (use === 'masks' ? { id, key, use, fromMs } : { id, key, use }))
  }

  /** True when it made one. A key made while the clock was far ahead of now counts as old too. */
  rotateIfDue(): boolean {
    const nowMs = this.#clock.now()
    const replaced = this.#replaceBurnt(nowMs)
    const pages = this.#newest('pages')
    const masks = this.#newest('masks')
    let made = replaced
    if (pages === undefined || Math.abs(nowMs - pages.createdAtMs) >= pagesKeyLifeMs) {
      this.#add('pages', nowMs, 0, pagesKept)
      made = true
    }
    if (masks === undefined) {
      this.#add('masks', nowMs, nowMs, masksKept)
      made = true
    } else {
      // Of one that an older program made nothing but its making is known.
      const beganMs = Math.max(masks.fromMs, masks.createdAtMs)
      const endsMs = beganMs + maskKeyLifeMs
      if (nowMs >= endsMs - maskKeyAheadMs || beganMs > nowMs + maskKeyLifeMs) {
        this.#add('masks', nowMs, Math.min(Math.max(endsMs, nowMs), nowMs + maskKeyAheadMs), masksKept)
        made = true
      }
    }
    return made
  }

  /** True when there are others now. Called again after a restart it does nothing more. */
  burn(atMs: number): boolean {
    if (atMs <= this.#burntMs) return false
    this.#burntMs = atMs
    this.#store.burnMeshKeys(atMs)
    return this.rotateIfDue()
  }

  #replaceBurnt(nowMs: number): boolean {
    const burntMs = this.#burntMs
    const isFresh = ({ createdAtMs }: MeshKeyRow): boolean => createdAtMs > burntMs
    if (this.#rows.every(isFresh)) return false
    const before = this.#rows
    const createdAtMs = Math.max(nowMs, burntMs + 1)
    const of = (use: MeshKeyUse): MeshKeyRow[] => this.#rows.filter((row) => row.use === use)
    // The newest is not used yet, and the second seals.
    while (of('pages').filter(isFresh).length < 2) this.#add('pages', createdAtMs, 0, pagesKept + 2)
    if (!of('masks').some(isFresh)) this.#add('masks', createdAtMs, nowMs + burntMaskAheadMs, masksKept)
    for (const row of this.#rows.filter((one) => !isFresh(one))) {
      const isOver =
        row.use === 'pages'
          ? nowMs >= burntMs + burntOpensMs
          : of('masks').some((one) => isFresh(one) && nowMs >= one.fromMs)
      if (isOver) this.#store.removeMeshKey(row.id)
    }
    this.#rows = this.#store.meshKeys()
    return this.#rows.length !== before.length || this.#rows.some(({ id }, at) => id !== before[at]?.id)
  }

  #newest(use: MeshKeyUse): MeshKeyRow | undefined {
    return this.#rows.find((row) => row.use === use)
  }

  #add(use: MeshKeyUse, createdAtMs: number, fromMs: number, keptCount: number): void {
    this.#store.addMeshKey({ key: randomBytes(meshKeyBytes), use, createdAtMs, fromMs }, keptCount)
    this.#rows = this.#store.meshKeys()
  }
}
