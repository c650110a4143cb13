/**
 * Events of the node, handed to the sessions that registered for them and may see what they are about.
 */
import { contain, type Owner } from '../base/contained.ts'
import { readSchemaTarget, type SchemaTarget } from '../cql/answers/schema-event.ts'
import { envelopeHeaderBytes, type ProtocolVersion, responseBit } from '../cql/protocol.ts'

/** A session that registered. */
export interface EventListener extends Owner {
  readonly version: ProtocolVersion
  /** Whether it may hear that something became of this object. */
  sees(about: SchemaTarget): boolean
  onEvent(envelope: Buffer): void
}

export class EventHub {
  readonly #listeners = new Map<EventListener, ReadonlySet<string>>()

  add(listener: EventListener, types: readonly string[]): void {
    const known = this.#listeners.get(listener)
    this.#listeners.set(listener, new Set([...(known ?? []), ...types]))
  }

  remove(listener: EventListener): void {
    this.#listeners.delete(listener)
  }

  /** `buffer[start..end)` is an EVENT envelope. Its body is the same in v3, v4 and v5, so only the version byte differs. */
  dispatch(buffer: Buffer, start: number, end: number): void {
    const typeBytes = buffer.readUInt16BE(start + envelopeHeaderBytes)
    const typeAt = start + envelopeHeaderBytes + 2
    const type = buffer.toString('latin1', typeAt, typeAt + typeBytes)
    const about = readSchemaTarget(buffer, start, end)
    for (const [listener, types] of this.#listeners) {
      if (!types.has(type)) continue
      contain(listener, 'an event of the node', () => {
        if (about !== undefined && !listener.sees(about)) return
        const envelope = Buffer.from(buffer.subarray(start, end))
        envelope[0] = responseBit | listener.version
        listener.onEvent(envelope)
      })
    }
  }
}
