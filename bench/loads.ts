/** The loads that the bench knows, by their names on the command line. */
import { RingfenceError } from '../src/base/errors.ts'

/** Who makes the requests: the bench's own load maker, or a process with the unmodified `cassandra-driver`. */
export type LoadMaker = 'own' | 'driver'

export interface Load {
  /** As `--loads` names it. */
  readonly key: string
  /** As the table shows it. */
  readonly name: string
  readonly maker: LoadMaker
  /** For the driver: of its pool. */
  readonly connections: number
  /** Requests in flight on each connection. */
  readonly inFlight: number
  /** Rows of `largeRowBytes` instead of the usual ones. */
  readonly large: boolean
  /** TLS with a client certificate from the load maker to the first hop. */
  readonly tls: boolean
}

/** Bytes of the value in the rows of `bench.large`. */
export const largeRowBytes = 10_000

/** The driver's pool; its requests in flight are spread over it. */
const driverConnectionsMax = 4
const driverInFlight = 64

const shapes = [
  [16, 1],
  [128, 1],
  [16, 32],
  [1000, 1],
] as const

export const basicLoads: readonly Load[] = shapes.map(([connections, inFlight]) => own(connections, inFlight))

/** A plain run measures these too, but seldom. */
export const otherLoads: readonly Load[] = [
  own(16, 1, { large: true }),
  own(16, 32, { large: true }),
  own(16, 1, { tls: true }),
  own(128, 1, { tls: true }),
  driver(driverInFlight),
]

export const allLoads: readonly Load[] = [...basicLoads, ...otherLoads]

/**
 * `16x1`, `128x1`, `16x32`, `1000x1`, each also with `-10k` and `-tls` behind it, and `driver` or `driverN` with N requests in flight.
 *
 * @throws RingfenceError USAGE for a name that is none of these
 */
export function parseLoad(key: string): Load {
  const asDriver = /^driver([1-9]\d{0,3})?$/.exec(key)
  if (asDriver !== null) return driver(Number(asDriver[1] ?? driverInFlight))
  const [shape = '', ...features] = key.split('-')
  const known = shapes.find(([connections, each]) => shape === `${connections}x${each}`)
  const large = features.includes('10k')
  const tls = features.includes('tls')
  const load = known === undefined ? undefined : own(known[0], known[1], { large, tls })
  if (load !== undefined && load.key === key) return load
  throw new RingfenceError('USAGE', `no load "${key}"; there are ${allLoads.map((each) => each.key).join(', ')}`)
}

function own(connections: number, inFlight: number, { large = false, tls = false } = {}): Load {
  const shape = { connections, inFlight, large, tls, maker: 'own' as const }
  return {
    ...shape,
    key: `${connections}x${inFlight}${large ? '-10k' : ''}${tls ? '-tls' : ''}`,
    name: `${connections} × ${inFlight}${large ? ', 10 kB' : ''}${tls ? ', TLS' : ''}`,
  }
}

function driver(inFlight: number): Load {
  const connections = Math.min(driverConnectionsMax, inFlight)
  const each = Math.ceil(inFlight / connections)
  return {
    key: inFlight === driverInFlight ? 'driver' : `driver${inFlight}`,
    name: `driver, ${connections} × ${each}`,
    maker: 'driver',
    connections,
    inFlight: each,
    large: false,
    tls: false,
  }
}
