/**
 * Which nodes Cassandra puts the copies of a range on: the rules of `SimpleStrategy` and `NetworkTopologyStrategy`
 * (Cassandra 5.0, `org.apache.cassandra.locator`; `test/oracle/ring.oracle.test.ts` holds the two equal).
 */

/** How many copies a keyspace keeps: of the whole ring, or of each data centre. */
export type Replication =
  | { readonly kind: 'simple'; readonly replicas: number }
  | { readonly kind: 'network'; readonly replicas: ReadonlyMap<string, number> }

/** Both spellings of a replication factor in `system_schema.keyspaces`, `3` and `3/1`, of numbers as Integer.parseInt takes them. */
const factorPattern = /^(\+?[0-9]+|-0+)(?:\/(\+?[0-9]+|-0+))?$/
/** Of one data centre and of all together: Cassandra adds them up in an int. */
const factorMax = 2 ** 31 - 1

/**
 * @param strategy the class without its package
 * @param options `system_schema.keyspaces.replication` without `class`; a default `replication_factor` of
 *   NetworkTopologyStrategy is not among them, because the node stores it as a factor for each data centre
 * @returns undefined for a strategy that says nothing of replicas, and for options that Cassandra would not take
 */
export function readReplication(
  strategy: string,
  options: readonly (readonly [string, string])[],
): Replication | undefined {
  const given = new Map(options)
  if (given.size !== options.length) return undefined
  if (strategy === 'SimpleStrategy') {
    const replicas = readFactor(given.get('replication_factor'))
    return replicas === undefined ? undefined : { kind: 'simple', replicas }
  }
  if (strategy !== 'NetworkTopologyStrategy') return undefined
  const byDataCenter = new Map<string, number>()
  let total = 0
  for (const [dataCenter, factor] of given) {
    const replicas = readFactor(factor)
    if (replicas === undefined || dataCenter.toLowerCase() === 'replication_factor') return undefined
    byDataCenter.set(dataCenter, replicas)
    total += replicas
  }
  if (total > factorMax) return undefined
  return { kind: 'network', replicas: byDataCenter }
}

/**
 * All replicas, transient ones too: a transient replica may coordinate like any other, and only a keyspace that turned on
 * an experimental option has them, on a ring without virtual nodes.
 */
function readFactor(text: string | undefined): number | undefined {
  const [, all, transient = '0'] = factorPattern.exec(text ?? '') ?? []
  if (all === undefined) return undefined
  const replicas = Number(all)
  const transients = Number(transient)
  return replicas > factorMax || (transients > 0 && transients >= replicas) ? undefined : replicas
}

/** Where the nodes of a ring stand, all as numbers: node → data centre, node → rack, data centre → counts. */
export interface Layout {
  readonly dataCenterOf: Int32Array
  /** Counted through all data centres: racks of one name in two data centres are two racks. */
  readonly rackOf: Int32Array
  readonly nodeCounts: Int32Array
  readonly rackCounts: Int32Array
}

/** Chooses the replicas of one range at a time; made once for each layout and number of copies. */
export class ReplicaChooser {
  readonly #layout: Layout
  readonly #wanted: Int32Array
  readonly #dataCentersWanted: number
  // Scratch, one entry for each data centre, rack or node; what holds another turn's number is not seen yet.
  readonly #left: Int32Array
  readonly #repeatsLeft: Int32Array
  readonly #rackSeen: Float64Array
  readonly #nodeSeen: Float64Array
  #turn = 0

  /** @param wanted copies in each data centre of the layout, at most as many as it has nodes */
  constructor(layout: Layout, wanted: Int32Array) {
    this.#layout = layout
    this.#wanted = wanted
    this.#dataCentersWanted = wanted.reduce((count, copies) => count + (copies > 0 ? 1 : 0), 0)
    this.#left = new Int32Array(wanted.length)
    this.#repeatsLeft = new Int32Array(wanted.length)
    this.#rackSeen = new Float64Array(layout.rackOf.length)
    this.#nodeSeen = new Float64Array(layout.rackOf.length)
  }

  /**
   * Walks the ring from one range on, once round at most. In each data centre a node is taken when its rack is new;
   * where there are fewer racks than copies, the first nodes of racks that were met already make up the difference.
   *
   * @param owners the node of each range, in the order of the ring
   * @returns nodes, in the ring's order
   */
  choose(owners: Int32Array, range: number): number[] {
    const { dataCenterOf, rackOf, rackCounts } = this.#layout
    this.#turn += 1
    const turn = this.#turn
    this.#left.set(this.#wanted)
    for (let at = 0; at < this.#wanted.length; at++) this.#repeatsLeft[at] = this.#wanted[at]! - rackCounts[at]!
    const chosen: number[] = []
    let dataCentersLeft = this.#dataCentersWanted
    for (let step = 0; dataCentersLeft > 0 && step < owners.length; step++) {
      const node = owners[(range + step) % owners.length]!
      const dataCenter = dataCenterOf[node]!
      const left = this.#left[dataCenter]!
      if (left === 0 || this.#nodeSeen[node] === turn) continue
      const rack = rackOf[node]!
      if (this.#rackSeen[rack] === turn) {
        // The copies that are left are for racks that were not met yet.
        if (this.#repeatsLeft[dataCenter]! <= 0) continue
        this.#repeatsLeft[dataCenter]! -= 1
      }
      this.#rackSeen[rack] = turn
      this.#nodeSeen[node] = turn
      this.#left[dataCenter] = left - 1
      if (left === 1) dataCentersLeft -= 1
      chosen.push(node)
    }
    return chosen
  }
}
