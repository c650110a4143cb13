import type { Envelope } from '../envelope.ts'
import type { ProtocolVersion } from '../protocol.ts'
import { type MaskOf, maskersBy, RowsChange } from './mask.ts'

/**
 * The same answer with the values of masked columns replaced.
 *
 * @param hashKey 32 bytes of the mesh; needed for hashes only
 * @throws RingfenceError INVALID, naming column and mask, where a type cannot be masked so; PROTOCOL where the answer is malformed;
 *   UPSTREAM where it came without metadata; UNAVAILABLE for a hash without a key
 */
export function maskRows(envelope: Envelope, version: ProtocolVersion, maskOf: MaskOf, hashKey: Buffer): Buffer {
  return new RowsChange(envelope, version, maskersBy(maskOf, hashKey)).whole()
}
