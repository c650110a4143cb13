/**
 * The addresses that drivers may connect to, and who is told when they change. They are always this gateway's own, and those of all other
 * live gateways as the control plane last knew them. Without the control plane the list stays as it is.
 *
 *   address comes            TOPOLOGY_CHANGE NEW_NODE, STATUS_CHANGE UP
 *   it leaves in order       STATUS_CHANGE DOWN; it answers what is in flight there, and what still comes
 *   it has ended             TOPOLOGY_CHANGE REMOVED_NODE
 *   it is gone at once       STATUS_CHANGE DOWN, TOPOLOGY_CHANGE REMOVED_NODE
 *
 * Rules: what NEW_NODE or REMOVED_NODE names is in the answers of `TopologyAnswers` already, or no longer, when the event leaves. REMOVED_NODE leaves
 * when nothing is in flight there any more, for some drivers drop their connections to the host with all that was asked on them.
 */

import { contain, nothingEnds } from '../base/contained.ts'
import { eventEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { CqlEvent } from '../cql/responses.ts'
import type { AdvertisedAddress, GatewayEndpoint } from '../mesh/endpoints.ts'
import type { Client } from '../session/backend.ts'
import { type HostTurn, hostTurnOf } from '../session/host-turn.ts'
import { Spread } from '../session/spread.ts'
import type { Localities, Site } from './locality.ts'

export type AdvertisedHost = AdvertisedAddress & Site

type HostEvent = Exclude<CqlEvent, { readonly type: 'SCHEMA_CHANGE' }>
type HostEventType = HostEvent['type']

/** Of an address: whether a gateway is there, or only such as are about to end. */
interface Standing extends AdvertisedAddress {
  readonly leaving: boolean
}

interface Registration {
  readonly version: ProtocolVersion
  readonly types: ReadonlySet<HostEventType>
}

const hostEventTypes: readonly HostEventType[] = ['TOPOLOGY_CHANGE', 'STATUS_CHANGE']

export class GatewayList {
  readonly localities: Localities
  readonly #own: readonly AdvertisedAddress[]
  readonly #spiffeId: string
  readonly #registered = new Map<Client, Registration>()
  readonly #spread = new Spread<Client>()
  #others: readonly GatewayEndpoint[] = []
  #leaving: 'no' | 'leaving' | 'left' = 'no'
  /** By address and port: what clients believe to be there. */
  #announced: ReadonlyMap<string, Standing>

  constructor(own: readonly AdvertisedAddress[], spiffeId: string, localities: Localities) {
    this.#own = own
    this.#spiffeId = spiffeId
    this.localities = localities
    this.#announced = this.#present()
  }

  /** Own addresses first, then those of others; each once. Own ones stay to the end: who asks here is connected to one of them. */
  get hosts(): AdvertisedHost[] {
    const hosts = new Map<string, AdvertisedHost>()
    const own = this.localities.own
    for (const place of this.#own) hosts.set(keyOf(place), { ...place, ...own })
    for (const endpoint of this.#others) {
      const { address, port } = endpoint
      const site = this.localities.of(endpoint)
      const before = hosts.get(keyOf(endpoint))
      // Gateways that share an address may stand apart; all of them must say the same of it.
      if (before === undefined || orderOf(site) < orderOf(before))
        hosts.set(keyOf(endpoint), { address, port, ...site })
    }
    return [...hosts.values()]
  }

  /** Which of the hosts that drivers see that address is, which is this gateway's; its first one where it is none that drivers are told of. */
  turnOf(address?: string, port?: number): HostTurn | undefined {
    const dialled = this.#own.find((place) => place.address === address && place.port === port) ?? this.#own[0]
    return dialled === undefined ? undefined : hostTurnOf(keyOf(dialled), this.hosts.map(keyOf))
  }

  /** All live gateways; the entries of this one are passed over. */
  setGateways(gateways: readonly GatewayEndpoint[]): void {
    this.#others = gateways.filter(({ spiffeId }) => spiffeId !== this.#spiffeId)
    this.#announce()
  }

  /**
   * This gateway is about to stop: clients that registered here are told that the addresses which no other gateway has are down.
   *
   * @returns whether drivers will go elsewhere, those too that hear of it from another gateway
   */
  leave(): boolean {
    const own = new Set(this.#own.map(keyOf))
    const others = new Set(this.#others.filter(({ leaving }) => leaving !== true).map(keyOf))
    const onlyHere = [...own].some((key) => !others.has(key))
    const onlyElsewhere = [...others].some((key) => !own.has(key))
    if (!onlyHere || !onlyElsewhere) return false
    this.#leaving = 'leaving'
    this.#announce()
    return true
  }

  /** After `leave`: nothing is in flight here but on the connections of those who registered, and they are told that it is gone. */
  left(): void {
    if (this.#leaving !== 'leaving') return
    this.#leaving = 'left'
    this.#announce()
  }

  /** Some have not heard yet what they were told. */
  get isTelling(): boolean {
    return this.#spread.waits
  }

  isRegistered(client: Client): boolean {
    return this.#registered.has(client)
  }

  /** Events of `types` are sent to the client from now on, instead of what was registered before. */
  register(client: Client, version: ProtocolVersion, types: readonly string[]): void {
    const wanted = hostEventTypes.filter((type) => types.includes(type))
    if (wanted.length > 0) this.#registered.set(client, { version, types: new Set(wanted) })
  }

  forget(client: Client): void {
    this.#registered.delete(client)
  }

  #present(): Map<string, Standing> {
    const own = this.#leaving === 'left' ? [] : this.#own
    const standing = new Map<string, Standing>()
    const add = ({ address, port }: AdvertisedAddress, leaving: boolean): void => {
      const key = keyOf({ address, port })
      // It is there while one gateway of it stays.
      standing.set(key, { address, port, leaving: leaving && standing.get(key)?.leaving !== false })
    }
    for (const place of own) add(place, this.#leaving !== 'no')
    for (const place of this.#others) add(place, place.leaving === true)
    return standing
  }

  #announce(): void {
    const before = this.#announced
    const now = this.#present()
    this.#announced = now
    // What came is told first, so that a driver is at no moment left with nothing.
    const events = [...[...now].flatMap(([key, place]) => arrival(before.get(key), place)), ...departures(before, now)]
    for (const event of events) this.#send(event)
  }

  #send(event: HostEvent): void {
    const envelopes = new Map<ProtocolVersion, Buffer>()
    this.#spread.tell([...this.#registered.keys()], (client) => {
      const registered = this.#registered.get(client)
      if (registered?.types.has(event.type) !== true) return
      const { version } = registered
      const envelope = envelopes.get(version) ?? eventEnvelope(version, event)
      envelopes.set(version, envelope)
      contain(nothingEnds, 'an event of the mesh', () => client.event(envelope, 0, envelope.length))
    })
  }
}

function arrival(before: Standing | undefined, { address, port, leaving }: Standing): HostEvent[] {
  // One that comes on its way out is not told: nobody should go there.
  if (leaving || before?.leaving === false) return []
  const up: HostEvent = { type: 'STATUS_CHANGE', change: 'UP', address, port }
  return before === undefined ? [{ type: 'TOPOLOGY_CHANGE', change: 'NEW_NODE', address, port }, up] : [up]
}

/** DOWN comes first: a driver stops using the host before it takes it apart. */
function departures(before: ReadonlyMap<string, Standing>, now: ReadonlyMap<string, Standing>): HostEvent[] {
  return [...before].flatMap(([key, { address, port, leaving }]): HostEvent[] => {
    const after = now.get(key)
    const events: HostEvent[] = []
    if (!leaving && after?.leaving !== false) events.push({ type: 'STATUS_CHANGE', change: 'DOWN', address, port })
    if (after === undefined) events.push({ type: 'TOPOLOGY_CHANGE', change: 'REMOVED_NODE', address, port })
    return events
  })
}

function keyOf({ address, port }: AdvertisedAddress): string {
  return `${address} ${port}`
}

function orderOf({ dataCenter, rack }: Site): string {
  return `${dataCenter}\0${rack}`
}
