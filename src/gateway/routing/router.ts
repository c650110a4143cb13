/**
 * `routing` answers one question: which sidecar should a request go to? To a replica of the row that it is about where that can be found out,
 * of the gateway's own data centre; else to the least loaded sidecar.
 *
 * Rule: it is about cost, never about access. A wrong answer here makes a request slower and nothing else; the sidecar that gets it
 * judges it as any other would.
 *
 *   router.ts      this            ring.ts, replication.ts   token → replicas, as Cassandra places them
 *   balance.ts     how busy        routing-key.ts            request → token
 *   statements.ts  prepared ids    texts.ts                  text → table and key markers
 */

import { createCache } from '../../base/cache.ts'
import { nothingEnds, settle } from '../../base/contained.ts'
import type { Envelope } from '../../cql/envelope.ts'
import { token } from '../../cql/murmur3.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import type { BatchView, ParamsView } from '../../cql/requests.ts'
import { RoutingRules } from '../../policy/routing.ts'
import type { GatewayLink } from '../link.ts'
import type { MeshLinks } from '../links.ts'
import { cheapest, type RemoteSidecar } from '../remote-sidecar.ts'
import { type Placement, type ReplicaSet, TokenRing } from './ring.ts'
import { tokenOfExecute, tokenOfParams, tokenOfPart } from './routing-key.ts'
import { type Keyed, type Statement, StatementTables } from './statements.ts'
import { TextRoutes } from './texts.ts'

/** Tables whose key is remembered. */
const tablesMax = 10_000

export interface RouterOptions {
  readonly links: MeshLinks
  readonly nowMicros: () => number
}

/** The key of a table; while it is not known, those who wait for it. */
type TableKey =
  | { readonly columns: readonly string[] }
  | { readonly columns: undefined; readonly waiting: ((columns: readonly string[]) => void)[] }

export class Router {
  readonly statements = new StatementTables()
  readonly texts = new TextRoutes((keyspace, table, found) => this.#partitionKey(keyspace, table, found))
  readonly #links: MeshLinks
  readonly #nowMicros: () => number
  #rules = new RoutingRules([])
  #ring: TokenRing | undefined
  /** The digest that is being asked for. */
  #asking = ''
  /** The sidecars of each replica set, by its index in `#ring`; made when first asked. */
  #sidecarsOf: (readonly RemoteSidecar[])[] = []
  readonly #tables = createCache<TableKey>(tablesMax)
  /** The last link and schema epoch that each sidecar was seen with. */
  #schemaSeen = new Map<RemoteSidecar, string>()

  constructor({ links, nowMicros }: RouterOptions) {
    this.#links = links
    this.#nowMicros = nowMicros
    links.onChange((link) => this.#changed(link))
  }

  /** The one sidecar there is to go, where there is no choice. */
  get only(): RemoteSidecar | undefined {
    const { sidecars } = this.#links
    return sidecars.length === 1 ? sidecars[0] : undefined
  }

  /** Where an EXECUTE of `statement` should go. Undefined when no sidecar can be asked. */
  sidecarOfExecute(statement: Statement, version: ProtocolVersion, execute: Envelope): RemoteSidecar | undefined {
    return this.replicaOfExecute(statement, version, execute) ?? this.leastLoaded()
  }

  /** The replica for an EXECUTE, of those that are not `except`; undefined where there is none, or none can be found. */
  replicaOfExecute(
    statement: Statement,
    version: ProtocolVersion,
    execute: Envelope,
    except?: RemoteSidecar,
  ): RemoteSidecar | undefined {
    const { key } = statement.keyed
    if (key === undefined || !tokenOfExecute(key, version, execute)) return undefined
    return this.#replica(this.#placementOf(statement), except)
  }

  /** After how many milliseconds an EXECUTE of `statement` may be asked of another replica too; 0: never. */
  hedgeAfterMs(statement: Statement): number {
    if (statement.hedgeRules !== this.#rules) {
      const { keyspace, table, reads, key } = statement.keyed
      statement.hedgeRules = this.#rules
      statement.hedgeAfterMs = reads && key !== undefined ? this.#rules.hedgeAfterMs(keyspace, table) : 0
    }
    return statement.hedgeAfterMs
  }

  /** The rules of another policy revision. */
  setRules(rules: RoutingRules): void {
    this.#rules = rules
  }

  /** Where a request whose values may have names should go; undefined where no replica can be found. */
  sidecarOfParams({ key, keyspace }: Keyed, params: ParamsView): RemoteSidecar | undefined {
    if (key === undefined || !tokenOfParams(key, params)) return undefined
    return this.#replica(this.#ring?.placement(keyspace))
  }

  /** Where a BATCH should go whose statements are all about one partition; undefined for any other. `parts` are those of `batch`. */
  sidecarOfBatch(batch: BatchView, parts: readonly Keyed[]): RemoteSidecar | undefined {
    let high = 0
    let low = 0
    let keyspace: string | undefined
    for (const [index, keyed] of parts.entries()) {
      if (keyed.key === undefined || !tokenOfPart(keyed.key, batch, batch.parts[index]!)) return undefined
      if (keyspace === undefined) {
        ;({ high, low } = token)
        keyspace = keyed.keyspace
      } else if (token.high !== high || token.low !== low || keyed.keyspace !== keyspace) return undefined
    }
    return keyspace === undefined ? undefined : this.#replica(this.#ring?.placement(keyspace))
  }

  /** The least loaded sidecar that can be asked. */
  leastLoaded(): RemoteSidecar | undefined {
    return cheapest(this.#links.sidecars, this.#nowMicros())
  }

  /** The replica of the token in `token` that costs least; undefined where none of this data centre can be asked. */
  #replica(placement: Placement | undefined, except?: RemoteSidecar): RemoteSidecar | undefined {
    if (placement === undefined) return undefined
    const set = placement.replicasOf(token.high, token.low)
    const sidecars = this.#sidecarsOf[set.index] ?? this.#findSidecars(set)
    return cheapest(sidecars, this.#nowMicros(), except)
  }

  #placementOf(statement: Statement): Placement | undefined {
    if (statement.placementRing !== this.#ring) {
      statement.placementRing = this.#ring
      statement.placement = this.#ring?.placement(statement.keyed.keyspace)
    }
    return statement.placement
  }

  #findSidecars(set: ReplicaSet): readonly RemoteSidecar[] {
    const sidecars = this.#links.sidecars.filter(({ hostId }) => hostId !== '' && set.hostIds.includes(hostId))
    this.#sidecarsOf[set.index] = sidecars
    return sidecars
  }

  #changed(link: GatewayLink | undefined): void {
    this.#sidecarsOf = []
    const hello = link?.hello
    if (link === undefined || hello === undefined) return
    this.#noticeSchema(link, hello.schemaEpoch)
    // Other partitioners have other tokens; a cluster has one for all its life.
    if (!hello.partitioner.endsWith('.Murmur3Partitioner')) return
    if (hello.ring === '' || hello.ring === this.#ring?.digest || hello.ring === this.#asking) return
    this.#asking = hello.ring
    settle(nothingEnds, 'the ring of a sidecar', link.questions.ring(), (ring) => {
      this.#asking = ''
      // None is known there any more, or none yet: what is known here is better.
      if (ring === undefined || ring.digest === '') return
      this.#ring = new TokenRing(ring)
      this.#sidecarsOf = []
    })
  }

  /** Each sidecar counts its own epochs, from one again when it is started again: only a change on one link says something. */
  #noticeSchema(link: GatewayLink, epoch: number): void {
    const sidecar = this.#links.sidecars.find((each) => each.link === link)
    const seen = `${link.serial} ${epoch}`
    if (sidecar === undefined || this.#schemaSeen.get(sidecar) === seen) return
    this.#schemaSeen = new Map([...this.#schemaSeen].filter(([each]) => this.#links.sidecars.includes(each)))
    this.#schemaSeen.set(sidecar, seen)
    this.#tables.clear()
    this.texts.forget()
  }

  #partitionKey(
    keyspace: string,
    table: string,
    found: (columns: readonly string[]) => void,
  ): readonly string[] | undefined {
    const name = `${keyspace}\0${table}`
    const known = this.#tables.get(name)
    if (known?.columns !== undefined) return known.columns
    if (known !== undefined) {
      known.waiting.push(found)
      return undefined
    }
    const link = this.leastLoaded()?.link
    if (link === undefined) return undefined
    const asked = { columns: undefined, waiting: [found] }
    this.#tables.set(name, asked)
    settle(nothingEnds, 'the key of a table', link.questions.partitionKey(keyspace, table), (columns) => {
      const current = this.#tables.get(name) === asked
      if (columns === undefined) {
        if (current) this.#tables.delete(name)
        return
      }
      // The schema may have changed since it was asked: then this is about the table that was.
      if (!current) return
      this.#tables.set(name, { columns })
      for (const each of asked.waiting) each(columns)
    })
    return undefined
  }
}
