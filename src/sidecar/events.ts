/**
 * Events of the node, handed to the sessions that registered for them and may see what they are about.
 */
import { readSchemaTarget } from '../cql/answers/schema-event.ts'
import { HEADER_BYTES, RESPONSE_BIT } from '../cql/protocol.ts'
import type { EnforcedSession } from './session.ts'

export class EventHub {
  readonly #sessions = new Map<EnforcedSession, ReadonlySet<string>>()

  add(session: EnforcedSession, types: readonly string[]): void {
    const known = this.#sessions.get(session)
    this.#sessions.set(session, new Set([...(known ?? []), ...types]))
  }

  remove(session: EnforcedSession): void {
    this.#sessions.delete(session)
  }

  /** `buffer[start..end)` is an EVENT envelope. Its body is the same in v3, v4 and v5, so only the version byte differs. */
  dispatch(buffer: Buffer, start: number, end: number): void {
    const typeBytes = buffer.readUInt16BE(start + HEADER_BYTES)
    const typeAt = start + HEADER_BYTES + 2
    const type = buffer.toString('latin1', typeAt, typeAt + typeBytes)
    const about = readSchemaTarget(buffer, start, end)
    for (const [session, types] of this.#sessions) {
      if (!types.has(type)) continue
      if (about !== undefined && !session.sees(about)) continue
      const envelope = Buffer.from(buffer.subarray(start, end))
      envelope[0] = RESPONSE_BIT | session.version
      session.onEvent(envelope)
    }
  }
}
