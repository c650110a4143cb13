/** The ids of prepared questions about the topology, which gateways answer: both ends of a mesh link make them of the text alone. */
import { createHash } from 'node:crypto'

/**
 * 16 bytes, the same on every gateway, and no node's: a node's id is an MD5 of other words. A sidecar takes no other id from a gateway:
 * with the id of a statement that the node knows, the node would run that statement.
 */
export function givenId(text: string): Buffer {
  return createHash('sha256').update(`ringfence system select statement\0${text}`).digest().subarray(0, 16)
}
