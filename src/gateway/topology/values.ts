/** The cells of the three tables. */
import type { CqlType } from '../../cql/types.ts'
import { type CqlValue, encodeValue } from '../../cql/values.ts'
import type { SystemTable } from './columns.ts'
import type { TopologyModel, VirtualHost } from './model.ts'

/** What nodes listen on between themselves by default; drivers show it and use it as part of a key only. */
const storagePort = 7000

/** The hosts that are rows of a table, as `self`, the host that the client is connected to, would list them. */
export function hostsOf(table: SystemTable, model: TopologyModel, self: VirtualHost): VirtualHost[] {
  if (table === 'local') return [self]
  const others = model.hosts.filter((host) => host.hostId !== self.hostId)
  if (table === 'peers_v2') return others
  // The older table has an address and no port: one row each, and none for the address of `self`.
  const seen = new Set([self.address])
  return others.filter(({ address }) => !seen.has(address) && seen.add(address))
}

/** One cell; null where a real node has null. */
export function cellOf(
  table: SystemTable,
  column: { readonly name: string; readonly type: CqlType },
  host: VirtualHost,
  model: TopologyModel,
): Buffer | null {
  return encodeValue(column.type, plainValueOf(table, column.name, host, model))
}

function plainValueOf(table: SystemTable, column: string, host: VirtualHost, model: TopologyModel): CqlValue {
  switch (column) {
    case 'key':
      return 'local'
    case 'bootstrapped':
      return 'COMPLETED'
    case 'broadcast_address':
    case 'listen_address':
    case 'rpc_address':
    case 'native_address':
    case 'peer':
      return host.address
    case 'broadcast_port':
    case 'listen_port':
    case 'peer_port':
      return storagePort + portRank(host, model)
    case 'rpc_port':
    case 'native_port':
      return host.port
    case 'cluster_name':
      return model.clusterName
    case 'cql_version':
      return model.cqlVersion
    case 'data_center':
      return host.dataCenter
    case 'gossip_generation':
      return 1
    case 'host_id':
      return host.hostId
    case 'native_protocol_version':
      return model.nativeProtocolVersion
    case 'partitioner':
      return model.partitioner
    case 'rack':
      return host.rack
    case 'release_version':
      return model.releaseVersion
    case 'schema_version':
      return table === 'local' ? model.schemaVersion : (model.dissentingSchemaVersion ?? model.schemaVersion)
    case 'tokens':
      // A set arrives in the order of its type, which for text is that of the letters.
      return [...host.tokens].sort()
    default:
      // preferred_ip, preferred_port, truncated_at
      return null
  }
}

/** Hosts that share an address need a peer_port of their own each, since both are the key of `peers_v2`. */
function portRank(host: VirtualHost, model: TopologyModel): number {
  return model.hosts.filter(({ address, port }) => address === host.address && port < host.port).length
}
