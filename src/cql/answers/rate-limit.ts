/** An ERROR with a custom payload, which v4 and above can carry (native_protocol_v4.spec §2.2, flag 0x04). */
import { errorEnvelope } from '../encode.ts'
import { Flag, Opcode, type ProtocolVersion, responseBit } from '../protocol.ts'
import { BodyWriter } from '../writer.ts'

export interface RateLimitAnswer {
  readonly code: number
  readonly message: string
  /** What stands behind the message of that code. */
  readonly extra: Uint8Array | undefined
  readonly payload: ReadonlyMap<string, string>
}

export function rateLimitEnvelope(
  version: ProtocolVersion,
  stream: number,
  { code, message, extra, payload }: RateLimitAnswer,
): Buffer {
  if (version < 4) return errorEnvelope(version, stream, code, message, extra)
  const body = new BodyWriter().short(payload.size)
  for (const [key, value] of payload) body.string(key).bytes(Buffer.from(value))
  body.int(code).cutString(message)
  if (extra !== undefined) body.raw(extra)
  return body.envelope(version | responseBit, stream, Opcode.ERROR, Flag.CUSTOM_PAYLOAD)
}
