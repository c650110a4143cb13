/**
 * One limit over all sidecars. Each says what is wanted of it there, and is given a part.
 *
 * Rule: all parts of a limit together are never more than the limit. A part grows only by what nobody holds, and a sidecar that is silent holds its part
 * until it has given it up by itself.
 */
import { type Cache, createCache } from '../base/cache.ts'
import { type LimitShares, type LimitSharesAnswer, partReservedMs } from '../mesh/limit-shares.ts'

/** Limits of one key each that are remembered. */
const keysMax = 65_536
/** After a start: what sidecars hold is learned first. */
const learningMs = 3000
/** What one has that asks for the first time, and what is kept for those that may. */
const sparePartMax = 0.015
const sparePartsMax = 0.045
/** A part stays where it is nearly right. */
const nearly = 0.05

interface Holder {
  process: string
  wanted: number
  part: number
  askedMs: number
}

interface Shared {
  readonly holders: Map<string, Holder>
  /** When nobody held anything. */
  freeSinceMs: number
}

interface Debt {
  /** When all that was taken is paid for. */
  paidMs: number
  /** Of each sidecar's process, what it said that it took. */
  readonly taken: Map<string, { process: string; taken: number }>
}

export class SharedLimits {
  readonly #startedMs: number
  readonly #shared: Cache<Shared> = createCache(keysMax)
  readonly #debts: Cache<Debt> = createCache(keysMax)
  /** When each sidecar was last among those that there are. */
  readonly #listedMs = new Map<string, number>()

  constructor(nowMs: number) {
    this.#startedMs = nowMs
  }

  /** @param listed all that there are; who asks is one of them */
  ask(who: string, asked: LimitShares, listed: ReadonlySet<string>, nowMs: number): LimitSharesAnswer {
    const sidecars = this.#withSilent(listed, nowMs)
    const count = Math.max(1, sidecars.size)
    const spare = count === 1 ? 1 : Math.min(sparePartMax, sparePartsMax / count)
    return {
      term: this.#startedMs,
      spare,
      parts: asked.parts.map(([key, wanted, held]) => {
        const { part, isWhole } = this.#part(
          key,
          who,
          { process: asked.process, wanted, held },
          { sidecars, count, spare, nowMs },
        )
        return [key, part, isWhole]
      }),
      debts: asked.debts.map(([key, ...said]) => [key, this.#owed(key, who, asked.process, said, nowMs)]),
    }
  }

  /** One that is not heard is off the list after seconds. It may give all that it has, until it has given it up by itself. */
  #withSilent(listed: ReadonlySet<string>, nowMs: number): ReadonlySet<string> {
    for (const name of listed) this.#listedMs.set(name, nowMs)
    const all = new Set<string>()
    for (const [name, listedMs] of this.#listedMs) {
      if (nowMs - listedMs > partReservedMs) this.#listedMs.delete(name)
      else all.add(name)
    }
    return all
  }

  #part(
    key: string,
    who: string,
    { process, wanted, held }: { process: string; wanted: number; held: number },
    { sidecars, count, spare, nowMs }: { sidecars: ReadonlySet<string>; count: number; spare: number; nowMs: number },
  ): { part: number; isWhole: boolean } {
    let shared = this.#shared.get(key)
    if (shared === undefined) {
      shared = { holders: new Map(), freeSinceMs: nowMs }
      this.#shared.set(key, shared)
    }
    const { holders } = shared
    let others = 0
    const wants = [wanted]
    for (const [name, one] of holders) {
      if (name === who) continue
      if (!sidecars.has(name)) {
        holders.delete(name)
        continue
      }
      // It has an equal part at most by now.
      const part = nowMs - one.askedMs > partReservedMs ? Math.min(one.part, 1 / count) : one.part
      others += part
      wants.push(one.wanted)
    }
    const holding = wants.length - 1
    const before = holders.get(who)
    const isNew = before === undefined || before.process !== process
    if (wanted === 0) {
      holders.delete(who)
      if (holders.size === 0) shared.freeSinceMs = nowMs
      return { part: 0, isWhole: false }
    }
    // Those that hold nothing have their spare part.
    const free = Math.max(0, 1 - others - spare * Math.max(0, count - holding - 1))
    const isLearning = nowMs - this.#startedMs < learningMs
    const own = isNew && !isLearning ? 0 : held
    let part: number
    let isWhole = false
    if (isLearning && held > 0) part = Math.min(held, free)
    else if (own === 0) {
      part = Math.min(free, Math.max(spare, 1 / count))
      // All that is given in the first second after a rest is given with its burst: together it is one burst.
      isWhole = holding === 0 || nowMs - shared.freeSinceMs < 1000
      if (holding === 0) shared.freeSinceMs = nowMs
    } else part = targetOf(wants, own, 1 - spare * Math.max(0, count - holding - 1))
    const now = Math.max(Math.min(part, free), Math.min(spare, free))
    holders.set(who, { process, wanted, part: now, askedMs: nowMs })
    return { part: now, isWhole }
  }

  /** What all together owe. */
  #owed(
    key: string,
    who: string,
    process: string,
    [taken, owed, isAnswered]: readonly [number, number, boolean],
    nowMs: number,
  ): number {
    let debt = this.#debts.get(key)
    if (debt === undefined) {
      debt = { paidMs: 0, taken: new Map() }
      this.#debts.set(key, debt)
    }
    const before = debt.taken.get(who)
    const isKnown = before?.process === process
    // What was said to a control plane before this one is in what is owed.
    if (!isKnown && isAnswered) debt.paidMs = Math.max(debt.paidMs, nowMs + owed)
    else debt.paidMs = Math.max(debt.paidMs, nowMs) + Math.max(0, taken - (isKnown ? before.taken : 0))
    debt.taken.set(who, { process, taken })
    return Math.max(0, debt.paidMs - nowMs)
  }
}

/**
 * What the first of these is to have: all that is wanted by who wants little, and an equal part of the rest for the others. Where less is wanted than
 * there is, what is over is shared evenly.
 */
function targetOf(wants: readonly number[], own: number, available: number): number {
  const [wanted = 0] = wants
  let left = available
  let level = Infinity
  for (const [index, one] of [...wants].sort((a, b) => a - b).entries()) {
    level = left / (wants.length - index)
    if (one >= level) break
    left -= one
    level = Infinity
  }
  const target = level === Infinity ? wanted + left / wants.length : Math.min(wanted, level)
  // What it has and is nearly right it keeps, or parts would go to and fro with every wave of requests.
  return target < own && own - target <= nearly * own ? own : target
}
