/**
 * The gateway's virtual topology: what a driver that comes through NGINX is told about the ring.
 *
 * The folder's one reason: drivers must find mesh addresses only, so that they do not go around the mesh; and a ring that is valid for any
 * replication factor, so that they do not drop its hosts. The rule one must not break: a statement that reads `system.local`,
 * `system.peers` or `system.peers_v2` is answered here or refused here; it never reaches a node, whose rows would name real addresses. No
 * sockets, no clock: everything arrives as a parameter.
 *
 *   model.ts     the hosts and their tokens          columns.ts  the three tables as Cassandra 5.0.9 defines them
 *   question.ts  recognises the statements           rows.ts     the tables in memory, values.ts their cells
 *   answer.ts    makes RESULT and PREPARED, by the executor of `cql/query`           events.ts   what passes of a node's EVENTs
 */
import { createHash } from 'node:crypto'
import { assert } from '../../base/errors.ts'
import { uuidText } from '../../cql/reader.ts'

/** One address that drivers may connect to, shown as one node of the ring. */
export interface VirtualHost {
  /** An IPv4 or IPv6 address without brackets. */
  readonly address: string
  readonly port: number
  /** A UUID in canonical form, the same on every gateway and after every restart. */
  readonly hostId: string
  readonly dataCenter: string
  readonly rack: string
  /** Murmur3 tokens as decimal strings, -2^63 < token < 2^63, ascending. */
  readonly tokens: readonly string[]
}

export interface TopologyModel {
  readonly clusterName: string
  /** The full class name, as `system.local` shows it. */
  readonly partitioner: string
  readonly releaseVersion: string
  readonly cqlVersion: string
  readonly nativeProtocolVersion: string
  /** The nodes' true schema version (a UUID); a constant would give false agreement after schema changes. */
  readonly schemaVersion: string
  /**
   * Another version seen at some node while the nodes do not agree yet. Peers show it, so that drivers go on waiting as
   * they would at a real ring. Absent when all nodes agree.
   */
  readonly dissentingSchemaVersion?: string
  readonly hosts: readonly VirtualHost[]
}

export const murmur3Partitioner = 'org.apache.cassandra.dht.Murmur3Partitioner'

/** Like a node with `num_tokens: 16`, Cassandra's default. */
export const tokensPerHost = 16

/**
 * One virtual host for each advertised address, in the order given, at its own place or else at `place`.
 *
 * Tokens split the whole ring evenly and go round the hosts in turn, so that the first `n` distinct hosts after any token
 * are all hosts for every replication factor `n`. Hosts take their turn by host id, not by place in the list: gateways that
 * list the same addresses in another order publish the same ring.
 */
export function virtualHosts(
  advertise: readonly {
    readonly address: string
    readonly port: number
    readonly dataCenter?: string
    readonly rack?: string
  }[],
  place: { readonly dataCenter: string; readonly rack: string; readonly clusterName: string },
): VirtualHost[] {
  const ids = advertise.map(({ address, port }) => hostIdOf(place.clusterName, address, port))
  assert(new Set(ids).size === ids.length, 'an address is advertised twice')
  const turns = [...ids].sort()
  return advertise.map(({ address, port, dataCenter = place.dataCenter, rack = place.rack }, index) => ({
    address,
    port,
    hostId: ids[index]!,
    dataCenter,
    rack,
    tokens: tokensOf(turns.indexOf(ids[index]!), turns.length),
  }))
}

/** A name-based UUID (RFC 9562 §5.8, version 8: the hash is SHA-256) of cluster, address and port. */
function hostIdOf(clusterName: string, address: string, port: number): string {
  const hash = createHash('sha256').update(`${clusterName}\0${address}\0${port}`).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x80
  hash[8] = (hash[8]! & 0x3f) | 0x80
  return uuidText(hash, 0)
}

function tokensOf(turn: number, hostCount: number): string[] {
  const slots = BigInt(tokensPerHost * hostCount)
  return Array.from({ length: tokensPerHost }, (_, round) => {
    const slot = BigInt(round * hostCount + turn)
    // Half a slot in, so that no token is the minimum, which Murmur3 keeps for "before everything".
    return String(-(1n << 63n) + ((2n * slot + 1n) << 63n) / slots)
  })
}
