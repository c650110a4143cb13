/**
 * What is remembered within a bound; the least recently used go first. Every cache that forgets one by one is made here
 * (`scripts/caches.test.ts` looks); the exception is `cql/prepared-ids.ts`, which finds an id in bytes without making a key of it.
 */
import { LRUCache } from 'lru-cache'

export type Cache<V extends {}> = LRUCache<string, V>

/** Called for what is in the cache no more: `evict` for want of room, `set` where another took its key, `delete` otherwise. Must not change the cache. */
export type Gone<V extends {}> = (value: V, key: string, why: LRUCache.DisposeReason) => void

/** At most `entriesMax`. Takes memory for what is held, and none for the bound. */
export function createCache<V extends {}>(entriesMax: number, gone?: Gone<V>): Cache<V> {
  return createWeighedCache(entriesMax, () => 1, gone)
}

/** At most `weightMax`, each entry as heavy as `weigh` says and 1 at least. What is heavier than all may be is not kept. */
export function createWeighedCache<V extends {}>(
  weightMax: number,
  weigh: (value: V, key: string) => number,
  gone?: Gone<V>,
): Cache<V> {
  return new LRUCache({
    maxSize: weightMax,
    sizeCalculation: (value, key) => Math.max(1, weigh(value, key)),
    ...(gone === undefined ? {} : { dispose: gone }),
  })
}

/** What sessions use together. */
export interface Shared {
  readonly key: string
  /** Changed by `SharedCache` only. */
  sessions: number
}

/** What has a session stays. Of the rest at most `idleMax` are kept. */
export class SharedCache<V extends Shared> {
  readonly #used = new Map<string, V>()
  readonly #idle: Cache<V>

  /** @param forgotten called for each that had to go */
  constructor(idleMax: number, forgotten: (value: V) => void) {
    this.#idle = createCache(idleMax, (value, _key, why) => {
      if (why === 'evict') forgotten(value)
    })
  }

  get(key: string): V | undefined {
    return this.#used.get(key) ?? this.#idle.get(key)
  }

  /** It has no session yet. */
  add(value: V): void {
    this.#idle.set(value.key, value)
  }

  enter(value: V): void {
    if (value.sessions++ > 0) return
    this.#idle.delete(value.key)
    this.#used.set(value.key, value)
  }

  leave(value: V): void {
    if (--value.sessions > 0) return
    if (this.#used.get(value.key) === value) this.#used.delete(value.key)
    this.#idle.set(value.key, value)
  }

  *values(): Iterable<V> {
    yield* this.#used.values()
    yield* this.#idle.values()
  }
}
