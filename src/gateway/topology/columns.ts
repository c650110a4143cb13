/**
 * `system.local`, `system.peers` and `system.peers_v2` as a Cassandra 5.0.9 node describes them: same columns, same order,
 * same types (`SELECT *` of a real node; org.apache.cassandra.db.SystemKeyspace).
 */
import { type CqlType, mapOf, native, setOf } from '../../cql/types.ts'

export type SystemTable = 'local' | 'peers' | 'peers_v2'

export interface SystemColumn {
  readonly name: string
  readonly type: CqlType
  readonly role: 'partition' | 'clustering' | 'regular'
}

const text = native('text')
const int = native('int')
const uuid = native('uuid')
const inet = native('inet')
const setOfText = setOf(text)

const regular = (name: string, type: CqlType): SystemColumn => ({ name, type, role: 'regular' })

const local: readonly SystemColumn[] = [
  { name: 'key', type: text, role: 'partition' },
  regular('bootstrapped', text),
  regular('broadcast_address', inet),
  regular('broadcast_port', int),
  regular('cluster_name', text),
  regular('cql_version', text),
  regular('data_center', text),
  regular('gossip_generation', int),
  regular('host_id', uuid),
  regular('listen_address', inet),
  regular('listen_port', int),
  regular('native_protocol_version', text),
  regular('partitioner', text),
  regular('rack', text),
  regular('release_version', text),
  regular('rpc_address', inet),
  regular('rpc_port', int),
  regular('schema_version', uuid),
  regular('tokens', setOfText),
  regular('truncated_at', mapOf(uuid, native('blob'))),
]

const peers: readonly SystemColumn[] = [
  { name: 'peer', type: inet, role: 'partition' },
  regular('data_center', text),
  regular('host_id', uuid),
  regular('preferred_ip', inet),
  regular('rack', text),
  regular('release_version', text),
  regular('rpc_address', inet),
  regular('schema_version', uuid),
  regular('tokens', setOfText),
]

const peersV2: readonly SystemColumn[] = [
  { name: 'peer', type: inet, role: 'partition' },
  { name: 'peer_port', type: int, role: 'clustering' },
  regular('data_center', text),
  regular('host_id', uuid),
  regular('native_address', inet),
  regular('native_port', int),
  regular('preferred_ip', inet),
  regular('preferred_port', int),
  regular('rack', text),
  regular('release_version', text),
  regular('schema_version', uuid),
  regular('tokens', setOfText),
]

export const systemColumns: Readonly<Record<SystemTable, readonly SystemColumn[]>> = { local, peers, peers_v2: peersV2 }

export function isSystemTable(name: string | undefined): name is SystemTable {
  return name !== undefined && Object.hasOwn(systemColumns, name)
}
