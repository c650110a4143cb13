/** Which of a node's EVENTs a client behind the gateway may see (native_protocol_v5.spec §4.2.6): events name objects and addresses of others (attack C20). */
import type { Envelope } from '../../cql/envelope.ts'
import { type CqlEvent, readEvent } from '../../cql/responses.ts'

export type SchemaChangeEvent = Extract<CqlEvent, { readonly type: 'SCHEMA_CHANGE' }>

/**
 * The event, where its bytes may go on to the client as they are: a SCHEMA_CHANGE, which names no address. Whether this
 * client may know of the keyspace is for the caller to say.
 *
 * `undefined` means drop it: TOPOLOGY_CHANGE and STATUS_CHANGE tell of real nodes, whose addresses drivers must not learn
 * and whose coming and going does not change the virtual hosts. Those have events of their own (`gateway-list.ts`).
 *
 * @param given an EVENT from a sidecar
 * @throws RingfenceError PROTOCOL when it is not well-formed or of an unknown type, which might hold an address
 */
export function eventForClient(given: Envelope): SchemaChangeEvent | undefined {
  const event = readEvent(given)
  return event.type === 'SCHEMA_CHANGE' ? event : undefined
}
