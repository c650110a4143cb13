/**
 * This sidecar's part of each limit.
 *
 *   no control plane was heard      an equal part
 *   it is heard                     short bursts: the part that it gave, else the spare part; long ones: all, for what others took is charged here too
 *   it is lost                      as before, and after a while an equal part at most
 *
 * Rule: a part that grows brings nothing with it that was not there before, so that a limit is not given twice where parts move.
 */
import { createHash } from 'node:crypto'
import { after, nothingEnds } from '../../base/contained.ts'
import type { RateTable } from '../../base/rate-table.ts'
import { type LimitShares, type LimitSharesAnswer, limitKeysAskedMax, partReservedMs } from '../../mesh/limit-shares.ts'
import type { Rate, RateLimitRule } from '../../policy/limits/rules.ts'
import type { Scope } from '../../policy/limits/words.ts'

/** From here on a burst is a quota, which is counted for all together. */
const longBurstMicros = 10_000_000

/** What one key may have by one rule. */
export interface Meter {
  readonly rule: RateLimitRule
  readonly scope: Scope
  readonly rate: Rate
  /** Whom it is about; empty where it is about all together. */
  readonly who: string
  /** With the rates in it: what is owed by one rate is not owed by another. */
  readonly key: string
  slot: number
  generation: number
  /** When somebody was last told that it is near its limit. */
  toldMicros: number
}

type Asked = Pick<LimitShares, 'parts' | 'debts'>

export class Parts {
  readonly #table: RateTable
  /** By slot. */
  readonly #meters: Meter[] = []
  readonly #wanted: number[] = []
  readonly #hashes: string[] = []
  /** Over their spare part, and never given another. */
  readonly #urgent = new Set<number>()
  #state: 'alone' | 'shared' | 'lost' = 'alone'
  #equal = 1
  #equalSoon = 1
  #fewer: NodeJS.Timeout | undefined
  #spare = 1
  #askedMicros = 0
  /** What was taken when it was asked, by slot. */
  #takenThen = new Map<string, { slot: number; taken: number }>()
  #next = 0
  /** There is a limit. */
  inUse = false
  /** Called when somebody waits for a part. */
  onUrgent: () => void = () => {}

  constructor(table: RateTable) {
    this.#table = table
  }

  /** Of how many sidecars this is one. What one had that is no more is nobody's for a while: perhaps only the control plane does not hear it. */
  set sidecars(count: number) {
    const equal = 1 / Math.max(1, count)
    if (this.#fewer !== undefined && equal === this.#equalSoon) return
    clearTimeout(this.#fewer)
    this.#fewer = undefined
    this.#equalSoon = equal
    if (equal <= this.#equal) this.#equal = equal
    else this.#fewer = after(nothingEnds, 'fewer sidecars', partReservedMs, () => this.#takeEqual()).unref()
  }

  #takeEqual(): void {
    this.#fewer = undefined
    this.#equal = this.#equalSoon
  }

  of({ slot, rate }: Meter): number {
    if (this.#state === 'alone' || this.#equal === 1) return this.#equal
    const given = this.#table.part(slot)
    if (isLong(rate)) return this.#state === 'shared' && given > 0 ? 1 : this.#equal
    if (this.#state === 'lost') return given > 0 ? Math.min(given, this.#equal) : this.#equal
    return given > 0 ? given : this.#spare
  }

  /** True where its part is about to be given. */
  isComing(meter: Meter): boolean {
    if (this.#state !== 'shared' || this.#equal === 1 || isLong(meter.rate) || this.#table.part(meter.slot) > 0)
      return false
    if (!this.#urgent.has(meter.slot)) {
      this.#urgent.add(meter.slot)
      this.onUrgent()
    }
    return true
  }

  found(meter: Meter): void {
    const { slot, key } = meter
    if (this.#meters[slot]?.key !== key) {
      this.#wanted[slot] = 0
      this.#hashes[slot] = ''
      this.#urgent.delete(slot)
    }
    this.#meters[slot] = meter
    // A process of before may have taken it all.
    if (isLong(meter.rate) && this.#table.part(slot) === 0) this.onUrgent()
  }

  /** No control plane was heard for long. */
  lose(): void {
    if (this.#state === 'shared') this.#state = 'lost'
  }

  /** What is to be asked; undefined where nothing is. */
  toAsk(nowMicros: number): Asked | undefined {
    const elapsed = Math.max(1000, nowMicros - this.#askedMicros)
    this.#askedMicros = nowMicros
    this.#takenThen = new Map()
    const asked: { parts: Asked['parts']; debts: Asked['debts'] } = { parts: [], debts: [] }
    const count = this.#meters.length
    // Where there are too many, the next question begins where this one ended.
    for (let step = 0; step < count; step++) {
      const slot = (this.#next + step) % count
      if (asked.parts.length >= limitKeysAskedMax || asked.debts.length >= limitKeysAskedMax) {
        this.#next = slot
        break
      }
      this.#askOf(slot, elapsed, nowMicros, asked)
    }
    this.#urgent.clear()
    const isToLearn = this.inUse && this.#equal < 1 && this.#state !== 'shared'
    return isToLearn || asked.parts.length + asked.debts.length > 0 ? asked : undefined
  }

  #askOf(slot: number, elapsed: number, nowMicros: number, asked: Asked): void {
    const table = this.#table
    const { rate } = this.#meters[slot]!
    const now = table.wanted(slot) / elapsed
    const before = this.#wanted[slot]!
    // A part follows where requests go at once, and leaves where they may come again.
    const wanted = before === 0 ? now : now > before ? (before + 3 * now) / 4 : (before + now) / 2
    this.#wanted[slot] = wanted < 1e-6 ? 0 : wanted
    const given = table.part(slot)
    if (isLong(rate)) {
      // Who takes nothing need not know what others take.
      if (wanted < 1e-6 && given > 0) return
      const taken = table.taken(slot)
      if (taken === 0) return
      this.#takenThen.set(this.#hash(slot), { slot, taken })
      const owed = Math.max(0, table.owedMicros(slot, nowMicros)) * this.of(this.#meters[slot]!)
      asked.debts.push([this.#hash(slot), taken / 1000, owed / 1000, given > 0])
      return
    }
    if (this.#equal === 1) return
    const isUrgent = this.#urgent.has(slot)
    // Until it is known that there is a control plane, this sidecar has an equal part, which others may have been given.
    if (given === 0 && !isUrgent && wanted < (this.#state === 'shared' ? this.#spare / 2 : 1e-6)) return
    this.#takenThen.set(this.#hash(slot), { slot, taken: 0 })
    const isOver = given > 0 && wanted < this.#spare / 8
    asked.parts.push([this.#hash(slot), isOver ? 0 : Math.max(wanted, isUrgent ? this.#spare : 0), given])
  }

  /** The answer to what was asked last. */
  take({ spare, parts, debts }: LimitSharesAnswer, nowMicros: number): void {
    // A control plane that has just begun may know of fewer sidecars than this one does.
    const spareNow = Math.min(spare, this.#equal)
    // Else only those of which something was asked have another part now, and there may be very many.
    const isOther = this.#state !== 'shared' || this.#spare !== spareNow
    const meters = isOther ? this.#meters : [...this.#takenThen.values()].map(({ slot }) => this.#meters[slot]!)
    // What was charged by an equal part is to be worth the same by another.
    const before = new Map(meters.map((meter) => [meter.slot, this.of(meter)]))
    this.#state = 'shared'
    this.#spare = spareNow
    const whole = new Set<number>()
    for (const [key, part, isWhole] of parts) {
      const asked = this.#takenThen.get(key)
      // Another limit may have its place by now.
      if (asked === undefined || this.#hashes[asked.slot] !== key) continue
      this.#table.setPart(asked.slot, part)
      if (isWhole) whole.add(asked.slot)
    }
    for (const [slot, part] of before) this.#move(slot, part, whole.has(slot), nowMicros)
    for (const [key, owed] of debts) {
      const asked = this.#takenThen.get(key)
      if (asked === undefined || this.#hashes[asked.slot] !== key) continue
      const { slot, taken } = asked
      this.#table.setPart(slot, 1)
      this.#table.set(slot, owed * 1000 + (this.#table.taken(slot) - taken), nowMicros)
    }
  }

  /** What is left stays the same number of units; of a whole part what is taken. */
  #move(slot: number, before: number, isWhole: boolean, nowMicros: number): void {
    const meter = this.#meters[slot]!
    const now = this.of(meter)
    if (now === before || isLong(meter.rate)) return
    const owed = Math.max(0, this.#table.owedMicros(slot, nowMicros))
    const { burstMicros } = meter.rate
    const moved = isWhole ? (owed * before) / now : burstMicros - ((burstMicros - owed) * before) / now
    this.#table.set(slot, Math.max(0, moved), nowMicros)
  }

  #hash(slot: number): string {
    if (this.#hashes[slot] === '') {
      const digest = createHash('sha256').update(this.#meters[slot]!.key).digest('base64url')
      this.#hashes[slot] = digest.slice(0, 22)
    }
    return this.#hashes[slot]!
  }
}

function isLong({ burstMicros }: Rate): boolean {
  return burstMicros >= longBurstMicros
}
