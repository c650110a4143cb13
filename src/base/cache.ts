/**
 * What is remembered within a bound; the least recently used go first. Every cache that forgets one by one is made here; the exception is
 * `cql/prepared-ids.ts`, which finds an id in bytes without making a key of it.
 */
import { LRUCache } from 'lru-cache'

export type Cache<V extends {}> = LRUCache<string, V>

/** At most `entriesMax`. Takes memory for what is held, and none for the bound. */
export function createCache<V extends {}>(entriesMax: number): Cache<V> {
  return new LRUCache({ maxSize: entriesMax, sizeCalculation: () => 1 })
}

/** At most `weightMax`, each entry as heavy as `weigh` says and 1 at least. What is heavier than all may be is not kept. */
export function createWeighedCache<V extends {}>(
  weightMax: number,
  weigh: (value: V, key: string) => number,
): Cache<V> {
  return new LRUCache({ maxSize: weightMax, sizeCalculation: (value, key) => Math.max(1, weigh(value, key)) })
}
