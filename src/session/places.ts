/**
 * How many may be here at once, and who goes first where there are more. Sessions have places by identity and by address. Connections that
 * have not proved an identity yet have places of their own, so that neither can take those of the other.
 *
 * Rule: one identity's or address's excess is only ever its own loss. At a bound of its own it is refused. Where all places are taken, a
 * newcomer takes one of the identity that has most, unless that is its own.
 */

export interface PlaceBounds {
  /** How the limits are called: `connections` for `connectionsMax`, `connectionsPerAddressMax`, `connectionsPerIdentityMax`. */
  readonly name: string
  readonly max: number
  readonly perAddressMax: number
  readonly perIdentityMax: number
}

export interface Newcomer {
  readonly identity: string
  /** An `addressBlock`. */
  readonly address: string
  /** What must not make room for others has none. */
  readonly displace: (() => void) | undefined
}

/** Gives a place back; a second call does nothing. */
export type Leave = () => void

export class Places {
  readonly #bounds: PlaceBounds
  readonly #identities = new Map<string, Set<Newcomer>>()
  readonly #addresses = new Map<string, Set<Newcomer>>()
  #taken = 0

  constructor(bounds: PlaceBounds) {
    this.#bounds = bounds
  }

  get taken(): number {
    return this.#taken
  }

  /** A place until the result is called; or the reason why there is none, for the client. */
  take(newcomer: Newcomer): Leave | string {
    const { name, max, perAddressMax, perIdentityMax } = this.#bounds
    const { identity, address } = newcomer
    if ((this.#addresses.get(address)?.size ?? 0) >= perAddressMax) return `${name}PerAddressMax reached`
    const own = this.#identities.get(identity)?.size ?? 0
    if (own >= perIdentityMax) return `${name}PerIdentityMax reached`
    if (this.#taken >= max && !this.#makeRoom(own)) return `${name}Max reached`
    this.#taken++
    join(this.#identities, identity, newcomer)
    join(this.#addresses, address, newcomer)
    return () => this.#leave(newcomer)
  }

  /** The identity with most places loses the newest of them, where it has more than the newcomer's will have. */
  #makeRoom(own: number): boolean {
    let most: Set<Newcomer> | undefined
    for (const members of this.#identities.values()) if (members.size > (most?.size ?? 0)) most = members
    if (most === undefined || most.size <= own + 1) return false
    let newest: Newcomer | undefined
    for (const member of most) if (member.displace !== undefined) newest = member
    if (newest === undefined) return false
    this.#leave(newest)
    newest.displace?.()
    return true
  }

  #leave(member: Newcomer): void {
    if (!part(this.#identities, member.identity, member)) return
    part(this.#addresses, member.address, member)
    this.#taken--
  }
}

/** Connections that have not proved an identity: the oldest go first, those of the address that has most. */
export class Handshakes {
  readonly #max: number
  readonly #perAddressMax: number
  readonly #addresses = new Map<string, Set<() => void>>()
  #open = 0

  constructor(max: number, perAddressMax: number) {
    this.#max = max
    this.#perAddressMax = perAddressMax
  }

  get open(): number {
    return this.#open
  }

  /**
   * Begins one; `drop` ends it where others need the room, and must not call the result. An undefined `address` is not known yet
   * and has no bound but that of all.
   */
  begin(address: string | undefined, drop: () => void): Leave {
    const key = address ?? ''
    // No LRU: of connections the oldest of one address goes.
    if (address !== undefined && (this.#addresses.get(key)?.size ?? 0) >= this.#perAddressMax) this.#dropOldest(key)
    else if (this.#open >= this.#max) this.#dropOldest(this.#heaviest())
    this.#open++
    join(this.#addresses, key, drop)
    return () => this.#end(key, drop)
  }

  #heaviest(): string {
    let most = ''
    let size = 0
    for (const [address, members] of this.#addresses) {
      if (members.size <= size) continue
      most = address
      size = members.size
    }
    return most
  }

  #dropOldest(key: string): void {
    for (const drop of this.#addresses.get(key) ?? []) {
      this.#end(key, drop)
      drop()
      return
    }
  }

  #end(key: string, drop: () => void): void {
    if (part(this.#addresses, key, drop)) this.#open--
  }
}

function join<T>(groups: Map<string, Set<T>>, key: string, member: T): void {
  const members = groups.get(key)
  if (members === undefined) groups.set(key, new Set([member]))
  else members.add(member)
}

/** False where it was no member. */
function part<T>(groups: Map<string, Set<T>>, key: string, member: T): boolean {
  const members = groups.get(key)
  if (members?.delete(member) !== true) return false
  if (members.size === 0) groups.delete(key)
  return true
}
