/**
 * The connections to the node, by protocol version and keyspace (and identity, where sharing is switched off): a connection's
 * keyspace never changes after it is open, so one session's USE is never seen by another (attack B11).
 */

import type { ByteAccount } from '../base/bytes-budget.ts'
import { containOwnFault, every, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import type { UpstreamTarget } from './upstream.ts'
import { Upstream } from './upstream.ts'

export interface PoolOptions {
  readonly target: UpstreamTarget
  readonly connections: number
  readonly turn: Turn
  readonly log: Logger
  readonly inForce: (permit: Permit) => boolean
}

interface Group {
  readonly connections: Upstream[]
  opening: Promise<Upstream> | undefined
  lastUse: number
  /** No further one could be opened a moment ago. */
  noSpareUntil: number
}

/** An identity that has more in flight leaves the connection that is there beyond `connections` to others. */
export const spareStreamsPerIdentityMax = 1_024

/** Who asks: a client's account. */
export type Asking = Pick<ByteAccount, 'identity' | 'inFlight'>

const idleMsMax = 300_000
const sweepMs = 30_000
const spareRetryMs = 5_000

export class UpstreamPool {
  readonly #options: PoolOptions
  #credentials: Credentials
  readonly #groups = new Map<string, Group>()
  readonly #sweep: NodeJS.Timeout
  #stopped = false

  constructor(options: PoolOptions, credentials: Credentials) {
    this.#options = options
    this.#credentials = credentials
    this.#sweep = every(nothingEnds, 'idle connections to the node', sweepMs, () => this.#retireIdle())
    this.#sweep.unref()
  }

  get connectionsOpen(): number {
    let count = 0
    for (const group of this.#groups.values()) count += group.connections.length
    return count
  }

  /** Requests that the node has not answered. */
  get inFlight(): number {
    let count = 0
    for (const group of this.#groups.values()) for (const each of group.connections) count += each.inFlight
    return count
  }

  get groupsOpen(): number {
    return this.#groups.size
  }

  /**
   * The least busy connection that is open already. `owner` is empty where connections are shared. Whoever has long answers coming stays where
   * they come, and others go elsewhere; where they come everywhere there is one connection more, and undefined until it is open. So there is where
   * all are full, for whoever has few requests in flight.
   * @param asking undefined for a question of our own
   */
  pick(version: ProtocolVersion, keyspace: string, owner: string, asking?: Asking): Upstream | undefined {
    const group = this.#groups.get(groupKey(version, keyspace, owner))
    if (group === undefined) return undefined
    group.lastUse = Date.now()
    let best: Upstream | undefined
    let clear: Upstream | undefined
    let own: Upstream | undefined
    const who = asking?.identity
    const hasMany = asking !== undefined && asking.inFlight >= spareStreamsPerIdentityMax
    let usable = 0
    for (const each of group.connections) {
      if (!each.usable) continue
      each.isSpare = usable++ >= this.#options.connections
      if (hasMany && each.isSpare) continue
      best = lessBusy(best, each)
      if (!each.crowdedFor(who)) clear = lessBusy(clear, each)
      if (who !== undefined && each.crowdedBy(who)) own = lessBusy(own, each)
    }
    const chosen = own ?? clear
    const { connections } = this.#options
    if (chosen === undefined && best !== undefined) {
      const mayOpen = group.connections.length <= connections && Date.now() > group.noSpareUntil
      if (!mayOpen) return best
      this.#grow(group, version, keyspace)
      return undefined
    }
    if (group.connections.length < connections && chosen !== undefined && chosen.inFlight > 0) {
      this.#grow(group, version, keyspace)
    }
    return chosen
  }

  /** All that are open are full, and there may be one more: `get` opens it. */
  mayGrow(version: ProtocolVersion, keyspace: string, owner: string, asking?: Asking): boolean {
    const group = this.#groups.get(groupKey(version, keyspace, owner))
    if (group === undefined) return false
    const isOne = asking !== undefined && asking.inFlight < spareStreamsPerIdentityMax
    return group.connections.length < this.#options.connections + Number(isOne)
  }

  /** An open connection, opened if need be; a full one only where there may be no more. Throws `UPSTREAM`, or `NodeError` with what the node said of the keyspace. */
  async get(version: ProtocolVersion, keyspace: string, owner: string, asking?: Asking): Promise<Upstream> {
    const open = this.pick(version, keyspace, owner, asking)
    if (open !== undefined && !(open.full && this.mayGrow(version, keyspace, owner, asking))) return open
    const key = groupKey(version, keyspace, owner)
    let group = this.#groups.get(key)
    if (group === undefined) {
      // No LRU: one that opens is awaited, so it stays.
      if (this.#groups.size >= limits.upstreamPoolsMax) this.#retireOldest()
      group = { connections: [], opening: undefined, lastUse: Date.now(), noSpareUntil: 0 }
      this.#groups.set(key, group)
    }
    group.opening ??= this.#open(group, version, keyspace)
    try {
      return await group.opening
    } catch (reason) {
      // A crowded connection is better than none.
      group.noSpareUntil = Date.now() + spareRetryMs
      const other = this.pick(version, keyspace, owner, asking)
      if (other === undefined || other.full) throw reason
      return other
    }
  }

  /**
   * New connections show the new certificate; the old ones take no more requests and close when they are idle. Where only the roots are others, those that
   * are there stay.
   */
  setCredentials(credentials: Credentials): void {
    const { certificatePem } = this.#credentials
    this.#credentials = credentials
    if (credentials.certificatePem === certificatePem) return
    for (const group of this.#groups.values()) {
      for (const each of group.connections) each.retire()
    }
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#sweep)
    for (const group of this.#groups.values()) {
      for (const each of group.connections) each.destroy('the sidecar stops')
    }
  }

  #grow(group: Group, version: ProtocolVersion, keyspace: string): void {
    if (group.opening !== undefined) return
    group.opening = this.#open(group, version, keyspace)
    group.opening.catch((reason: unknown) => {
      containOwnFault('a further connection to the node', reason)
      this.#options.log.info({ reason: String(reason) }, 'a further connection to the node did not open')
    })
  }

  async #open(group: Group, version: ProtocolVersion, keyspace: string): Promise<Upstream> {
    try {
      if (this.#stopped) throw new RingfenceError('UPSTREAM', 'the sidecar stops')
      const credentials = this.#credentials
      const upstream = await Upstream.open({
        target: this.#options.target,
        credentials,
        version,
        keyspace,
        turn: this.#options.turn,
        inForce: this.#options.inForce,
        onClosed: (closed, reason) => {
          const at = group.connections.indexOf(closed)
          if (at >= 0) group.connections.splice(at, 1)
          if (reason !== 'retired') this.#options.log.warn({ version, keyspace, reason }, 'connection to the node lost')
        },
      })
      group.connections.push(upstream)
      if (credentials === this.#credentials) return upstream
      // It was opened with a certificate that has been renewed since: nobody is given it.
      upstream.retire()
      return await this.#open(group, version, keyspace)
    } finally {
      group.opening = undefined
    }
  }

  #retireIdle(): void {
    const before = Date.now() - idleMsMax
    for (const [key, group] of this.#groups) {
      if (group.lastUse < before && group.opening === undefined) this.#retireGroup(key, group)
    }
  }

  #retireOldest(): void {
    let oldest: [string, Group] | undefined
    for (const entry of this.#groups) {
      if (entry[1].opening === undefined && (oldest === undefined || entry[1].lastUse < oldest[1].lastUse))
        oldest = entry
    }
    if (oldest !== undefined) this.#retireGroup(...oldest)
  }

  #retireGroup(key: string, group: Group): void {
    this.#groups.delete(key)
    for (const each of group.connections) each.retire()
  }
}

function lessBusy(best: Upstream | undefined, each: Upstream): Upstream {
  return best === undefined || each.inFlight < best.inFlight ? each : best
}

function groupKey(version: ProtocolVersion, keyspace: string, owner: string): string {
  return `${version}\0${keyspace}\0${owner}`
}
