/**
 * GRACEFUL_DISCONNECT (CEP-59): an event that tells a client that this connection is about to end. A client registers for it on each connection; then
 * it sends nothing more there when the event comes, and closes the connection when its last answer has come.
 */
import { registerEnvelope } from '../cql/encode.ts'
import type { Envelope } from '../cql/envelope.ts'
import { gracefulDisconnect, headerStream, type ProtocolVersion } from '../cql/protocol.ts'
import { readRegister } from '../cql/requests.ts'

/**
 * Whether a REGISTER asks for it; undefined where it does not. `others` is a REGISTER of the other events that it asks for, if there are any.
 * @throws RingfenceError PROTOCOL
 */
export function asksToBeTold(
  envelope: Envelope,
  version: ProtocolVersion,
): { readonly others: Buffer | undefined } | undefined {
  const types = readRegister(envelope, version, gracefulDisconnect)
  const others = types.filter((type) => type !== gracefulDisconnect)
  if (others.length === types.length) return undefined
  const stream = headerStream(envelope.bytes, envelope.start)
  return { others: others.length === 0 ? undefined : registerEnvelope(version, stream, others) }
}
