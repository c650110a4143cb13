/** Flags taken out of a request, so that the node answers what the mesh can read and keeps no trace of it. */
import { copyOf, type Envelope } from '../envelope.ts'
import { Flag, headerFlags, QueryFlag } from '../protocol.ts'
import type { ParamsView } from '../requests.ts'

const consistencyBytes = 2
const flagsOffset = 1

/**
 * The same QUERY or EXECUTE, asking for the columns of the answer. In v5 the node still compares the request's result metadata id:
 * it answers with all columns, and with METADATA_CHANGED and a new id where the id was old, as the client expects either way
 * (`transport/messages/ExecuteMessage.java`).
 */
export function withoutSkipMetadata(given: Envelope, params: ParamsView): Buffer {
  const request = copyOf(given)
  const flagsAt = params.paramsStart - given.start + consistencyBytes
  // The low byte: the only one in v3 and v4, the last of four in v5.
  const lowAt = params.version >= 5 ? flagsAt + 3 : flagsAt
  request[lowAt] = request[lowAt]! & ~QueryFlag.SKIP_METADATA
  return request
}

/** The same request without the wish to be traced, any opcode: a trace shows the text and the values to who reads `system_traces` (attack C12). */
export function withoutTracing(given: Envelope): Buffer {
  const request = copyOf(given)
  request[flagsOffset] = headerFlags(request, 0) & ~Flag.TRACING
  return request
}
