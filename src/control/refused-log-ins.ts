/** Who was refused last, of all proxies and of the exchange of tokens here. It is in memory: a control plane that starts knows of nobody. */
import { isIP } from 'node:net'
import { limits } from '../base/limits.ts'
import { parseSpiffeId, personOf } from '../identity/spiffe.ts'
import { addressBlock } from '../mesh/address-block.ts'
import { type NamedRefusal, RefusedLogIns, type RefusedPart } from '../mesh/refused-log-ins.ts'

/** What the control plane itself refused stands under this name. */
export const ownName = 'control plane'

export class RememberedRefusals {
  readonly #own: () => RefusedPart
  readonly #kept = new RefusedLogIns({
    rowsMax: limits.refusalsRememberedMax,
    bytesMax: limits.refusalsRememberedBytesMax,
    rowsPerAddressMax: limits.refusalsRememberedPerAddressMax,
  })

  /** @param own what was refused here since it was called before */
  constructor(own: () => RefusedPart = () => ({})) {
    this.#own = own
  }

  /** So many had no room: at a proxy, in a report, or here. */
  get missed(): number {
    return this.#kept.missed
  }

  /** @param proxy its name */
  take(part: RefusedPart, proxy: string): void {
    this.#kept.take(part, proxy)
  }

  /** What was refused here; called about once a second. */
  gather(): void {
    this.#kept.take(this.#own(), ownName)
  }

  /** Those of an address, of whom evidence claimed to be about, or of a session; the last first. */
  find(who: string): NamedRefusal[] {
    this.gather()
    const isWanted = isIP(who) === 0 ? isOf(who) : isAt(who)
    return [...this.#kept.rows()].filter(isWanted).sort((a, b) => b.lastMs - a.lastMs)
  }
}

/** One address in whatever way it is written. */
function isAt(who: string): (row: NamedRefusal) => boolean {
  const wanted = oneWriting(who)
  return ({ address }) => address !== undefined && (address === who || oneWriting(address) === wanted)
}

function oneWriting(address: string): string {
  const [bare = ''] = address.split('%')
  const block = addressBlock(bare)
  // An IPv4 address in an IPv6 one.
  if (isIP(block) === 4) return block
  return isIP(bare) === 6 ? new URL(`http://[${bare}]`).hostname : address
}

/** Nobody is found by a part of a name. */
function isOf(who: string): (row: NamedRefusal) => boolean {
  const person = personIn(who)
  return ({ address, claimed, session }) =>
    address === who || session === who || (claimed !== undefined && (claimed === who || personIn(claimed) === person))
}

/** `corp/alice`, also where it is written as a SPIFFE id. */
function personIn(name: string): string {
  if (!name.startsWith('spiffe://')) return name
  try {
    return personOf(parseSpiffeId(name)) ?? name
  } catch {
    // What was claimed need be nothing.
    return name
  }
}
