/**
 * What the limits of a draft would have done to the requests that sidecars audited: whom they would have refused, how much and when.
 *
 *   records, in any order ─▶ units of each key in each second ─▶ one limit over the mesh, second after second ─▶ what was over
 *
 * Rule: what the record does not hold counts as the least that it can be (lists that were bound, partitions of a BATCH), and the report says that
 * it is so. A second is the finest that is looked at.
 */
import { createCache } from '../../base/cache.ts'
import { Consistency } from '../../cql/protocol.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { CompiledPolicy } from '../../policy/policy.ts'
import type { Principal } from '../../policy/principal.ts'
import type { SchemaView } from '../../policy/request.ts'
import { limitWords } from '../../sidecar/limits/answer.ts'
import { type Charge, chargesOf, type SchemaWords, unitsOf } from '../../sidecar/limits/charges.ts'
import type { Meter } from '../../sidecar/limits/parts.ts'
import { RateLimits, type SessionLimits } from '../../sidecar/limits/rate-limits.ts'
import type { AuditLine } from './audit-line.ts'

/** What one key would have been refused. */
export interface OverLimit {
  readonly limit: string
  readonly observe: boolean
  /** `100/s requests for each identity`. */
  readonly words: string
  /** Whom it is about; empty where it is about all together. */
  readonly who: string
  /** Units in all, those that would have been refused, and in how many seconds. */
  readonly units: number
  readonly over: number
  readonly seconds: number
  readonly firstMs: number
  readonly worstMs: number
  /** Units that were wanted in the worst second. */
  readonly worst: number
}

/** What a statement takes, and of what. */
interface Metered {
  readonly charge: Charge
  readonly meter: Meter
}

interface Taken {
  readonly meter: Meter
  /** Units, by second. */
  readonly seconds: Map<number, number>
}

const remembered = 50_000
/** Of all keys together; what comes beyond is counted as left out. */
const secondsMax = 2_000_000

export class LimitReplay {
  readonly #limits = new RateLimits(() => 0)
  readonly #schema: SchemaView | undefined
  readonly #sessions = createCache<SessionLimits>(remembered)
  readonly #charges = createCache<readonly Metered[]>(remembered)
  /** No LRU: every key counts to the end. */
  readonly #taken = new Map<string, Taken>()
  #seconds = 0
  leftOut = 0

  constructor(policy: CompiledPolicy | undefined, schema: SchemaView | undefined) {
    this.#limits.install(policy?.rateLimits ?? [])
    this.#schema = schema
  }

  /** A request that policy lets through. */
  take(record: AuditLine, principal: Principal, facts: StatementFacts): void {
    if (this.#limits.idle || record.request === 'PREPARE') return
    const second = Math.floor(Date.parse(record.time) / 1000)
    const request = {
      bytesIn: record.bytesIn,
      consistency: Consistency[record.consistency as keyof typeof Consistency] ?? Consistency.LOCAL_QUORUM,
      listFactor: 1,
      partitions: 1,
    }
    for (const { charge, meter } of this.#chargesOf(record, principal, facts)) {
      // Equal statements of a BATCH stand in the record once.
      const repeats = facts.children.length === 0 ? 1 : Math.max(1, record.batchSize / facts.children.length)
      this.#add(meter, second, unitsOf(charge, request, record.rows, record.bytesOut) * repeats)
    }
  }

  report(): OverLimit[] {
    return [...this.#taken.values()].flatMap(overOf).sort((a, b) => b.over - a.over)
  }

  #chargesOf(
    { address, statement, keyspace }: AuditLine,
    principal: Principal,
    facts: StatementFacts,
  ): readonly Metered[] {
    const who = JSON.stringify([principal.spiffeId, principal.person, address])
    let session = this.#sessions.get(who)
    if (session === undefined) {
      session = this.#limits.of({ limits: undefined }, { limits: undefined }, principal, address)
      this.#sessions.set(who, session)
    }
    const key = JSON.stringify([who, keyspace, statement])
    let known = this.#charges.get(key)
    if (known === undefined) {
      known = meteredOf(session, facts, this.#schema)
      this.#charges.set(key, known)
    }
    return known
  }

  #add(meter: Meter, second: number, units: number): void {
    let taken = this.#taken.get(meter.key)
    if (taken === undefined) {
      taken = { meter, seconds: new Map() }
      this.#taken.set(meter.key, taken)
    }
    const before = taken.seconds.get(second)
    if (before === undefined && ++this.#seconds > secondsMax) {
      this.leftOut++
      return
    }
    taken.seconds.set(second, (before ?? 0) + units)
  }
}

/** What a statement takes of the limits that concern it. */
export function limitsOf(
  policy: CompiledPolicy | undefined,
  principal: Principal,
  address: string,
  facts: StatementFacts,
  schema?: SchemaView,
): readonly Metered[] {
  const limits = new RateLimits(() => 0)
  limits.install(policy?.rateLimits ?? [])
  const session = limits.of({ limits: undefined }, { limits: undefined }, principal, address)
  return meteredOf(session, facts, schema)
}

function meteredOf({ rules, meters }: SessionLimits, facts: StatementFacts, schema: SchemaView | undefined): Metered[] {
  return chargesOf(rules, facts, 0, schemaWords(schema)).charges.flatMap((charge) => {
    const meter = meters[charge.at]
    return meter === undefined ? [] : [{ charge, meter }]
  })
}

function schemaWords(schema: SchemaView | undefined): SchemaWords {
  return {
    partitionKey: ({ keyspace = '', table = '' }) => schema?.table(keyspace, table)?.partitionKey,
    baseOf: (keyspace, view) => schema?.table(keyspace, view)?.base,
  }
}

/** Second after second; what waits for up to `maxDelay` goes. */
function overOf({ meter, seconds }: Taken): OverLimit[] {
  const { rule, rate, who } = meter
  let [owed, last] = [0, 0]
  let [units, over, count, firstMs, worstMs, worst] = [0, 0, 0, 0, 0, 0]
  for (const [second, wanted] of [...seconds].sort(([a], [b]) => a - b)) {
    owed = Math.max(0, owed - (second - last) * 1_000_000)
    last = second
    units += wanted
    const room = (rate.burstMicros + 1_000_000 + rule.maxDelayMs * 1000 - owed) / rate.intervalMicros
    const goes = Math.min(wanted, Math.max(0, room))
    owed += goes * rate.intervalMicros
    const refused = wanted - goes
    if (refused < 0.5) continue
    over += refused
    count++
    firstMs ||= second * 1000
    if (wanted <= worst) continue
    worst = wanted
    worstMs = second * 1000
  }
  if (count === 0) return []
  const rounded = { units: Math.round(units), over: Math.round(over), worst: Math.round(worst) }
  return [
    {
      limit: rule.name,
      observe: rule.observe,
      words: limitWords(meter),
      who,
      ...rounded,
      seconds: count,
      firstMs,
      worstMs,
    },
  ]
}
