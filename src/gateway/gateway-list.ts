/**
 * The addresses that drivers may connect to, and who is told when they change: this gateway's own always, and those of all other live
 * gateways as the control plane last knew them. Without the control plane the list stays as it is.
 *
 *   address comes   TOPOLOGY_CHANGE NEW_NODE, STATUS_CHANGE UP
 *   address goes    STATUS_CHANGE DOWN, TOPOLOGY_CHANGE REMOVED_NODE
 *
 * Rule: what an event names is in the answers of the desk already, or no longer, when the event leaves.
 */

import { eventEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { CqlEvent } from '../cql/responses.ts'
import type { AdvertisedAddress, GatewayEndpoint } from '../mesh/endpoints.ts'
import type { Client } from '../session/backend.ts'
import type { Site, Whereabouts } from './whereabouts.ts'

export type AdvertisedHost = AdvertisedAddress & Site

type HostEvent = Exclude<CqlEvent, { readonly type: 'SCHEMA_CHANGE' }>
type HostEventType = HostEvent['type']

interface Registration {
  readonly version: ProtocolVersion
  readonly types: ReadonlySet<HostEventType>
}

const hostEventTypes: readonly HostEventType[] = ['TOPOLOGY_CHANGE', 'STATUS_CHANGE']

export class GatewayList {
  readonly whereabouts: Whereabouts
  readonly #own: readonly AdvertisedAddress[]
  readonly #spiffeId: string
  readonly #registered = new Map<Client, Registration>()
  #others: readonly GatewayEndpoint[] = []
  #leaving = false
  /** By address and port: what clients believe to be there. */
  #announced: ReadonlyMap<string, AdvertisedAddress>

  constructor(own: readonly AdvertisedAddress[], spiffeId: string, whereabouts: Whereabouts) {
    this.#own = own
    this.#spiffeId = spiffeId
    this.whereabouts = whereabouts
    this.#announced = this.#present()
  }

  /** Own addresses first, then those of others; each once. Own ones stay to the end: who asks here is connected to one of them. */
  get hosts(): AdvertisedHost[] {
    const hosts = new Map<string, AdvertisedHost>()
    const own = this.whereabouts.own
    for (const place of this.#own) hosts.set(keyOf(place), { ...place, ...own })
    for (const endpoint of this.#others) {
      const { address, port } = endpoint
      const site = this.whereabouts.of(endpoint)
      const before = hosts.get(keyOf(endpoint))
      // Gateways that share an address may stand apart; all of them must say the same of it.
      if (before === undefined || orderOf(site) < orderOf(before))
        hosts.set(keyOf(endpoint), { address, port, ...site })
    }
    return [...hosts.values()]
  }

  /** All live gateways; the entries of this one are passed over. */
  setGateways(gateways: readonly GatewayEndpoint[]): void {
    this.#others = gateways.filter(({ spiffeId }) => spiffeId !== this.#spiffeId)
    this.#announce()
  }

  /**
   * This gateway is about to stop: clients that registered here are told that the addresses which no other gateway has are gone.
   *
   * @returns whether drivers will go elsewhere, those too that hear of it from another gateway
   */
  leave(): boolean {
    const own = new Set(this.#own.map(keyOf))
    const others = new Set(this.#others.map(keyOf))
    const onlyHere = [...own].some((key) => !others.has(key))
    const onlyElsewhere = [...others].some((key) => !own.has(key))
    if (!onlyHere || !onlyElsewhere) return false
    this.#leaving = true
    this.#announce()
    return true
  }

  /** Events of `types` are sent to the client from now on, instead of what was registered before. */
  register(client: Client, version: ProtocolVersion, types: readonly string[]): void {
    const wanted = hostEventTypes.filter((type) => types.includes(type))
    if (wanted.length > 0) this.#registered.set(client, { version, types: new Set(wanted) })
  }

  forget(client: Client): void {
    this.#registered.delete(client)
  }

  #present(): Map<string, AdvertisedAddress> {
    const places = this.#leaving ? this.#others : [...this.#own, ...this.#others]
    return new Map(places.map((place) => [keyOf(place), place]))
  }

  #announce(): void {
    const before = this.#announced
    const now = this.#present()
    this.#announced = now
    // What came is told first, so that a driver is at no moment left with nothing.
    const events = [...missingFrom(before, now).flatMap(arrivalOf), ...missingFrom(now, before).flatMap(departureOf)]
    for (const event of events) this.#send(event)
  }

  #send(event: HostEvent): void {
    const envelopes = new Map<ProtocolVersion, Buffer>()
    for (const [client, { version, types }] of [...this.#registered]) {
      if (!types.has(event.type)) continue
      const envelope = envelopes.get(version) ?? eventEnvelope(version, event)
      envelopes.set(version, envelope)
      client.event(envelope, 0, envelope.length)
    }
  }
}

function missingFrom(
  some: ReadonlyMap<string, AdvertisedAddress>,
  all: ReadonlyMap<string, AdvertisedAddress>,
): AdvertisedAddress[] {
  return [...all].filter(([key]) => !some.has(key)).map(([, place]) => place)
}

function arrivalOf({ address, port }: AdvertisedAddress): HostEvent[] {
  return [
    { type: 'TOPOLOGY_CHANGE', change: 'NEW_NODE', address, port },
    { type: 'STATUS_CHANGE', change: 'UP', address, port },
  ]
}

/** DOWN comes first: a driver stops using the host before it takes it apart. */
function departureOf({ address, port }: AdvertisedAddress): HostEvent[] {
  return [
    { type: 'STATUS_CHANGE', change: 'DOWN', address, port },
    { type: 'TOPOLOGY_CHANGE', change: 'REMOVED_NODE', address, port },
  ]
}

function keyOf({ address, port }: AdvertisedAddress): string {
  return `${address} ${port}`
}

function orderOf({ dataCenter, rack }: Site): string {
  return `${dataCenter}\0${rack}`
}
