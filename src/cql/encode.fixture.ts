/** Requests that Ringfence passes on and never makes itself: for tests. */
import { type QueryOptions, tailFlags, writeFlags, writeParams, writeTail } from './encode.ts'
import { Consistency, Opcode, type ProtocolVersion } from './protocol.ts'
import { BodyWriter } from './writer.ts'

export type BatchItem = { readonly values: readonly (Uint8Array | null)[] } & (
  | { readonly text: string }
  | { readonly id: Uint8Array }
)

export function optionsEnvelope(version: ProtocolVersion, stream: number): Buffer {
  return new BodyWriter().envelope(version, stream, Opcode.OPTIONS)
}

/** `resultMetadataId`: v5 only; needed there. */
export function executeEnvelope(
  version: ProtocolVersion,
  stream: number,
  id: Uint8Array,
  resultMetadataId: Uint8Array | undefined,
  values: readonly (Uint8Array | null)[],
  options: Omit<QueryOptions, 'values'> = {},
): Buffer {
  const body = new BodyWriter().shortBytes(id)
  if (version >= 5) body.shortBytes(resultMetadataId ?? new Uint8Array(0))
  writeParams(body, version, { ...options, values })
  return body.envelope(version, stream, Opcode.EXECUTE)
}

export function batchEnvelope(
  version: ProtocolVersion,
  stream: number,
  type: 0 | 1 | 2,
  items: readonly BatchItem[],
  options: Pick<QueryOptions, 'consistency' | 'serialConsistency' | 'timestamp' | 'keyspace' | 'nowInSeconds'> = {},
): Buffer {
  const body = new BodyWriter().byte(type).short(items.length)
  for (const item of items) {
    if ('text' in item) body.byte(0).longString(item.text)
    else body.byte(1).shortBytes(item.id)
    body.short(item.values.length)
    for (const value of item.values) body.bytes(value)
  }
  body.short(options.consistency ?? Consistency.LOCAL_ONE)
  writeFlags(body, version, tailFlags(options))
  writeTail(body, options)
  return body.envelope(version, stream, Opcode.BATCH)
}
