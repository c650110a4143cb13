/**
 * From a token to the nodes that hold it.
 *
 *   Ring message ──▶ TokenRing: tokens in order, each with its node ──▶ Placement, one for each kind of replication:
 *                    a binary search for the range, and the range's ReplicaSet, chosen when it is first asked for
 *
 * Nothing here throws on what a message says. A token beyond 64 bits is no token. A node without tokens owns nothing. If two nodes claim
 * one token, the one with the smaller host id has it, on every gateway.
 */
import type { Ring } from '../../link/protocol.ts'
import { type Layout, ReplicaChooser, type Replication, readReplication } from './replication.ts'
import { TokenTable } from './token-table.ts'

/**
 * The nodes that hold one token range of a keyspace, in the ring's order; none where the keyspace keeps no copy.
 * Equal sets of one ring are one object, so that callers may remember things by it.
 */
export interface ReplicaSet {
  readonly hostIds: readonly string[]
  /** 0, 1, 2 … among all sets of this ring. */
  readonly index: number
}

export class TokenRing {
  /** `Ring.digest` of the message that this was made of. */
  readonly digest: string
  readonly #keyspaces: ReadonlyMap<string, Ring['keyspaces'][number]>
  readonly #tokens: TokenTable
  readonly #places: Places
  readonly #placements = new Map<string, Placement>()
  readonly #placementOf = new Map<string, Placement | undefined>()
  readonly #sets = new Map<string, ReplicaSet>()

  constructor(ring: Ring) {
    this.digest = ring.digest
    this.#keyspaces = new Map(ring.keyspaces.map((keyspace) => [keyspace.name, keyspace]))
    // By their ids, so that two messages that list the same nodes in other orders make the same ring.
    const nodes = [...ring.nodes].sort(compareNodes)
    const numbers = new Map<string, number>()
    for (const { hostId } of nodes) if (!numbers.has(hostId)) numbers.set(hostId, numbers.size)
    this.#tokens = new TokenTable(nodes, numbers)
    this.#places = placesOf(nodes, numbers, this.#tokens.owners)
  }

  /** How many different ReplicaSets there are now; grows when a range of a placement is first asked for. */
  get setCount(): number {
    return this.#sets.size
  }

  /**
   * Undefined for a keyspace that is not in the ring's list, and for one whose strategy says nothing of replicas:
   * LocalStrategy, EverywhereStrategy, classes that are not Cassandra's, options that Cassandra would not take. Made when
   * first asked for; keyspaces with equal replication share one.
   */
  placement(keyspace: string): Placement | undefined {
    const known = this.#placementOf.get(keyspace)
    if (known !== undefined || this.#placementOf.has(keyspace)) return known
    const listed = this.#keyspaces.get(keyspace)
    // Names that are not in the list are not remembered: callers could think of any number.
    if (listed === undefined) return undefined
    const replication = readReplication(listed.strategy, listed.options)
    const placement = replication === undefined ? undefined : this.#place(replication)
    this.#placementOf.set(keyspace, placement)
    return placement
  }

  #place(replication: Replication): Placement {
    const simple = replication.kind === 'simple'
    const layout = simple ? this.#places.placeless : this.#places.layout
    const wanted = new Int32Array(layout.nodeCounts.length)
    if (simple) wanted[0] = replication.replicas
    else {
      for (const [dataCenter, copies] of replication.replicas) {
        const number = this.#places.dataCenters.get(dataCenter)
        if (number !== undefined) wanted[number] = copies
      }
    }
    // More copies than nodes mean a copy on each node. Cut here, so that what works out the same is the same placement.
    for (let at = 0; at < wanted.length; at++) wanted[at] = Math.min(wanted[at]!, layout.nodeCounts[at]!)
    const key = `${replication.kind} ${wanted.join(' ')}`
    let placement = this.#placements.get(key)
    if (placement === undefined) {
      const chooser = new ReplicaChooser(layout, wanted)
      const { owners } = this.#tokens
      placement = new Placement(this.#tokens, (range) => this.#setOf(chooser.choose(owners, range)))
      this.#placements.set(key, placement)
    }
    return placement
  }

  #setOf(nodes: readonly number[]): ReplicaSet {
    const key = nodes.join(' ')
    let set = this.#sets.get(key)
    if (set === undefined) {
      set = { hostIds: nodes.map((node) => this.#places.hostIds[node]!), index: this.#sets.size }
      this.#sets.set(key, set)
    }
    return set
  }
}

/** The replicas of every token for one kind of replication. */
export class Placement {
  readonly #tokens: TokenTable
  /** By range; a range is chosen when it is first asked for, because choosing all of a large ring at once would block. */
  readonly #sets: (ReplicaSet | undefined)[]
  readonly #choose: (range: number) => ReplicaSet

  /** Made by `TokenRing.placement` only. */
  constructor(tokens: TokenTable, choose: (range: number) => ReplicaSet) {
    this.#tokens = tokens
    this.#sets = new Array(tokens.owners.length).fill(undefined)
    this.#choose = choose
  }

  /**
   * Allocates only when a range is asked for first. Both halves of the token are int32, the upper one signed, the lower one
   * meant without its sign (`token` of `cql/murmur3.ts`).
   */
  replicasOf(high: number, low: number): ReplicaSet {
    const range = this.#tokens.rangeOf(high, low)
    return this.#sets[range] ?? this.#chooseFirst(range)
  }

  #chooseFirst(range: number): ReplicaSet {
    const set = this.#choose(range)
    this.#sets[range] = set
    return set
  }
}

type RingNode = Ring['nodes'][number]

/** Where the nodes stand. As in Cassandra, only nodes that own a token count: for the racks of a data centre too. */
interface Places {
  /** By node number. */
  readonly hostIds: readonly string[]
  readonly dataCenters: ReadonlyMap<string, number>
  readonly layout: Layout
  /** The same nodes as if all stood in one rack, for SimpleStrategy. */
  readonly placeless: Layout
}

function placesOf(nodes: readonly RingNode[], numbers: ReadonlyMap<string, number>, owners: Int32Array): Places {
  const owning = new Set(owners)
  const dataCenterOf = new Int32Array(numbers.size)
  const rackOf = new Int32Array(numbers.size)
  const dataCenters = new Map<string, number>()
  const racks: Map<string, number>[] = []
  const nodeCounts: number[] = []
  let rackCount = 0
  let previous: RingNode | undefined
  for (const node of nodes) {
    const number = numbers.get(node.hostId)!
    // A host id that is listed twice stands where it is listed first.
    const repeated = previous?.hostId === node.hostId
    previous = node
    if (repeated || !owning.has(number)) continue
    let dataCenter = dataCenters.get(node.dataCenter)
    if (dataCenter === undefined) {
      dataCenter = dataCenters.size
      dataCenters.set(node.dataCenter, dataCenter)
      racks.push(new Map())
      nodeCounts.push(0)
    }
    let rack = racks[dataCenter]!.get(node.rack)
    if (rack === undefined) {
      rack = rackCount
      rackCount += 1
      racks[dataCenter]!.set(node.rack, rack)
    }
    dataCenterOf[number] = dataCenter
    rackOf[number] = rack
    nodeCounts[dataCenter]! += 1
  }
  const one = new Int32Array(numbers.size)
  return {
    hostIds: [...numbers.keys()],
    dataCenters,
    layout: {
      dataCenterOf,
      rackOf,
      nodeCounts: Int32Array.from(nodeCounts),
      rackCounts: Int32Array.from(racks, (each) => each.size),
    },
    placeless: { dataCenterOf: one, rackOf: one, nodeCounts: Int32Array.of(owning.size), rackCounts: Int32Array.of(1) },
  }
}

function compareNodes(a: RingNode, b: RingNode): number {
  return compareTexts(a.hostId, b.hostId) || compareTexts(a.dataCenter, b.dataCenter) || compareTexts(a.rack, b.rack)
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
