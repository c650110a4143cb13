/** Who owns which tokens, out of a node's own tables (org.apache.cassandra.db.SystemKeyspace). */
import { wholeEnvelope } from '../../cql/envelope.ts'
import { CqlErrorCode } from '../../cql/protocol.ts'
import { uuidText } from '../../cql/reader.ts'
import { errorCode } from '../../cql/responses.ts'
import { native, setOf } from '../../cql/types.ts'
import { decodeValue } from '../../cql/values.ts'
import type { Ring } from '../../link/protocol.ts'
import { NodeError } from '../node-error.ts'
import { type Ask, type Row, rowsOf } from '../schema/load.ts'

const columns = 'SELECT host_id, data_center, rack, tokens FROM'
const localQuery = `${columns} system.local`
const peersQuery = `${columns} system.peers_v2`
/** Of nodes before 4.0, which have no `peers_v2`. */
const peersBeforeV2 = `${columns} system.peers`

const tokensType = setOf(native('text'))

export type RingNode = Ring['nodes'][number]

/** The node's own row first, then those of the others, as they came. Throws `UPSTREAM`. */
export async function readNodes(ask: Ask): Promise<Row[]> {
  const [local, peers] = await Promise.all([rowsOf(ask, localQuery), readPeers(ask)])
  return [...local, ...peers]
}

async function readPeers(ask: Ask): Promise<Row[]> {
  try {
    return await rowsOf(ask, peersQuery)
  } catch (reason) {
    if (!(reason instanceof NodeError) || codeOf(reason) !== CqlErrorCode.INVALID) throw reason
    return await rowsOf(ask, peersBeforeV2)
  }
}

function codeOf({ envelope }: NodeError): number {
  return errorCode(wholeEnvelope(envelope))
}

/**
 * Rows by host id, in its order. A row without an id belongs to no node that has joined. A node that is named twice (its address
 * changed, or it is its own peer) is what its first row says.
 */
export function byHostId(rows: readonly Row[]): [string, Row][] {
  const byId = new Map<string, Row>()
  for (const row of rows) {
    const id = row[0]
    if (id?.length !== 16) continue
    const text = uuidText(id, 0)
    if (!byId.has(text)) byId.set(text, row)
  }
  return [...byId].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Tokens in the order of their letters. Undefined for a node that has not joined: something of it is not known yet. */
export function nodeOf(hostId: string, [, dataCenter, rack, tokens]: Row): RingNode | undefined {
  const owned = decodeValue(tokensType, tokens ?? null) as string[] | null
  if (!dataCenter?.length || !rack?.length || owned === null || owned.length === 0) return undefined
  return { hostId, dataCenter: dataCenter.toString(), rack: rack.toString(), tokens: owned.sort() }
}
