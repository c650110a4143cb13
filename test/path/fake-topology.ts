/**
 * What a fake node says of itself and of its peers: the rows of system.local, system.peers and system.peers_v2 that a sidecar asks for,
 * with the types of org.apache.cassandra.db.SystemKeyspace.
 */
import { errorEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { CqlErrorCode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { type CqlType, native, setOf } from '../../src/cql/types.ts'
import { type CqlValue, encodeValue } from '../../src/cql/values.ts'

/** One node of the ring. What is empty is null in its row, as of a node that has not joined yet. */
export interface FakePlace {
  readonly hostId: string
  readonly dataCenter: string
  readonly rack: string
  readonly tokens: readonly string[]
}

const text = native('text')
const types: Readonly<Record<string, CqlType>> = {
  cluster_name: text,
  data_center: text,
  rack: text,
  release_version: text,
  partitioner: text,
  host_id: native('uuid'),
  schema_version: native('uuid'),
  tokens: setOf(text),
}

export class FakeTopology {
  place: FakePlace
  /** The others, as this node sees them. */
  peers: readonly FakePlace[] = []
  /** False: a node before 4.0. */
  hasPeersV2 = true
  schemaVersion: Buffer = Buffer.alloc(16, 1)

  constructor(place: FakePlace) {
    this.place = place
  }

  /** Undefined for what is no SELECT of plain columns of these tables. */
  answer(version: ProtocolVersion, stream: number, statement: string): Buffer | undefined {
    const [, selection = '', table = ''] =
      /^SELECT ([\w, ]+) FROM system\.(local|peers|peers_v2)\b/.exec(statement) ?? []
    if (table === '') return undefined
    const names = selection.split(', ')
    if (table === 'peers_v2' && !this.hasPeersV2) {
      return errorEnvelope(version, stream, CqlErrorCode.INVALID, 'unconfigured table peers_v2')
    }
    const unknown = names.find((name) => types[name] === undefined)
    if (unknown !== undefined) {
      return errorEnvelope(version, stream, CqlErrorCode.INVALID, `Undefined column name ${unknown}`)
    }
    const columns = names.map((name) => ({ name, type: types[name]! }))
    const places = table === 'local' ? [this.place] : this.peers
    const rows = places.map((place) => columns.map(({ name, type }) => this.#cell(name, type, place)))
    return rowsEnvelope(version, stream, { keyspace: 'system', table, columns }, rows)
  }

  #cell(name: string, type: CqlType, { hostId, dataCenter, rack, tokens }: FakePlace): Buffer | null {
    if (name === 'schema_version') return this.schemaVersion
    const values: Readonly<Record<string, CqlValue>> = {
      cluster_name: 'fake',
      data_center: dataCenter,
      rack,
      release_version: '5.0.9',
      partitioner: 'org.apache.cassandra.dht.Murmur3Partitioner',
      host_id: hostId,
      // A set arrives in the order of its type, which for text is that of the letters.
      tokens: [...tokens].sort(),
    }
    const value = values[name] ?? null
    return value === '' || (Array.isArray(value) && value.length === 0) ? null : encodeValue(type, value)
  }
}

/** Tokens that go round `nodeCount` nodes in turn and split the whole ring evenly: `perNode` of them for node `turn`. */
export function evenTokens(turn: number, nodeCount: number, perNode: number): string[] {
  const slots = BigInt(perNode * nodeCount)
  return Array.from({ length: perNode }, (_, round) => {
    const slot = BigInt(round * nodeCount + turn)
    return String(-(1n << 63n) + ((2n * slot + 1n) << 63n) / slots)
  })
}
