/** What a SCHEMA_CHANGE event is about, to tell who may hear of it (attack C20). */
import type { Envelope } from '../envelope.ts'
import { headerOpcode, Opcode } from '../protocol.ts'
import { readEvent } from '../responses.ts'

export interface SchemaTarget {
  /** KEYSPACE, TABLE, TYPE, FUNCTION or AGGREGATE. */
  readonly target: string
  readonly keyspace: string
  /** '' for a keyspace. */
  readonly name: string
}

/** Undefined for an envelope that is another event or none. PROTOCOL where it is malformed. */
export function readSchemaTarget(envelope: Envelope): SchemaTarget | undefined {
  if (headerOpcode(envelope.bytes, envelope.start) !== Opcode.EVENT) return undefined
  const event = readEvent(envelope)
  return event.type === 'SCHEMA_CHANGE' ? event : undefined
}
