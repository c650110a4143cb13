/** An answer about the schema or the topology as the client's version of the protocol has it (`cql3/ResultSet.java`, `ExecuteMessage.java`). */

import { withWarning } from '../answers/warning.ts'
import { wholeEnvelope } from '../envelope.ts'
import { MetadataFlag, Opcode, type ProtocolVersion, ResultKind, responseBit } from '../protocol.ts'
import { writeType } from '../type-options.ts'
import type { CqlType } from '../types.ts'
import { BodyWriter } from '../writer.ts'
import type { OutputColumn } from './plan.ts'

export interface RowsReply {
  readonly keyspace: string
  readonly table: string
  readonly columns: readonly OutputColumn[]
  readonly rowCount: number
  /** [bytes] behind [bytes]. */
  readonly rows: Buffer
  /** Sealed. */
  readonly pagingState: Buffer | undefined
  /** The client knows the columns. */
  readonly skipMetadata: boolean
  /** v5: the id of the columns, where the client has another. */
  readonly newMetadataId: Buffer | undefined
  readonly warning: string | undefined
}

export function replyEnvelope(version: ProtocolVersion, stream: number, reply: RowsReply): Buffer {
  const { columns, pagingState, newMetadataId } = reply
  const skip = reply.skipMetadata && newMetadataId === undefined
  const body = new BodyWriter()
    .int(ResultKind.ROWS)
    .int(
      (skip ? MetadataFlag.NO_METADATA : MetadataFlag.GLOBAL_TABLE_SPEC) |
        (pagingState === undefined ? 0 : MetadataFlag.HAS_MORE_PAGES) |
        (newMetadataId === undefined ? 0 : MetadataFlag.METADATA_CHANGED),
    )
    .int(columns.length)
  if (pagingState !== undefined) body.bytes(pagingState)
  if (newMetadataId !== undefined) body.shortBytes(newMetadataId)
  if (!skip) {
    body.string(reply.keyspace).string(reply.table)
    for (const { name, type } of columns) {
      body.string(name)
      writeType(body, typeIn(version, type))
    }
  }
  const envelope = body
    .int(reply.rowCount)
    .raw(reply.rows)
    .envelope(version | responseBit, stream, Opcode.RESULT)
  return reply.warning === undefined ? envelope : withWarning(wholeEnvelope(envelope), version, reply.warning)
}

/** Types that a version has no code for, as classes. */
const laterTypes: Readonly<Record<string, readonly [since: number, className: string]>> = {
  date: [4, 'SimpleDateType'],
  time: [4, 'TimeType'],
  smallint: [4, 'ShortType'],
  tinyint: [4, 'ByteType'],
  duration: [5, 'DurationType'],
}

function typeIn(version: ProtocolVersion, type: CqlType): CqlType {
  const [since, className] = laterTypes[type.kind] ?? [0, '']
  if (version < since) return { kind: 'custom', className: `org.apache.cassandra.db.marshal.${className}` }
  switch (type.kind) {
    case 'list':
    case 'set':
      return { kind: type.kind, element: typeIn(version, type.element) }
    case 'map':
      return { kind: 'map', key: typeIn(version, type.key), value: typeIn(version, type.value) }
    case 'tuple':
      return { kind: 'tuple', elements: type.elements.map((element) => typeIn(version, element)) }
    default:
      return type
  }
}
