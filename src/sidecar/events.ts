/**
 * Events of the node, handed to the sessions that registered for them and may see what they are about. There may be thousands of sessions, so
 * they hear of it turn by turn.
 *
 * Rule: each hears all events in their order. One whose rules are being gathered hears them when they are, and keeps nobody else waiting.
 */
import { contain, type Owner, settle } from '../base/contained.ts'
import { readSchemaTarget, type SchemaTarget } from '../cql/answers/schema-event.ts'
import { envelopeHeaderBytes, type ProtocolVersion, responseBit } from '../cql/protocol.ts'
import { Spread } from '../session/spread.ts'

/** A session that registered. */
export interface EventListener extends Owner {
  readonly version: ProtocolVersion
  /** Undefined where `sees` may be asked; else when it may. */
  ready(): Promise<void> | undefined
  /** Whether it may hear that something became of this object. */
  sees(about: SchemaTarget): boolean
  onEvent(envelope: Buffer): void
}

interface NodeEvent {
  readonly type: string
  /** Of a schema change. */
  readonly about: SchemaTarget | undefined
  readonly envelope: Buffer
}

export class EventHub {
  readonly #listeners = new Map<EventListener, ReadonlySet<string>>()
  readonly #spread = new Spread<EventListener>()
  /** What those have not heard whose rules are being gathered. */
  readonly #late = new Map<EventListener, NodeEvent[]>()

  add(listener: EventListener, types: readonly string[]): void {
    const known = this.#listeners.get(listener)
    this.#listeners.set(listener, new Set([...(known ?? []), ...types]))
  }

  remove(listener: EventListener): void {
    this.#listeners.delete(listener)
    this.#late.delete(listener)
  }

  /** `buffer[start..end)` is an EVENT envelope. Its body is the same in v3, v4 and v5, so only the version byte differs. */
  dispatch(buffer: Buffer, start: number, end: number): void {
    const typeBytes = buffer.readUInt16BE(start + envelopeHeaderBytes)
    const typeAt = start + envelopeHeaderBytes + 2
    const event: NodeEvent = {
      type: buffer.toString('latin1', typeAt, typeAt + typeBytes),
      about: readSchemaTarget({ bytes: buffer, start, end }),
      envelope: Buffer.from(buffer.subarray(start, end)),
    }
    this.#spread.tell(this.#listeners.keys(), (listener) => {
      if (this.#listeners.get(listener)?.has(event.type) !== true) return
      const late = this.#late.get(listener)
      if (late === undefined) this.#tell(listener, [event])
      else late.push(event)
    })
  }

  #tell(listener: EventListener, events: readonly NodeEvent[]): void {
    contain(listener, 'an event of the node', () => {
      for (const [at, event] of events.entries()) {
        const ready = event.about === undefined ? undefined : listener.ready()
        if (ready !== undefined) {
          this.#wait(listener, events.slice(at), ready)
          return
        }
        if (event.about === undefined || listener.sees(event.about)) listener.onEvent(this.#copy(event, listener))
      }
    })
  }

  #wait(listener: EventListener, events: NodeEvent[], ready: Promise<void>): void {
    this.#late.set(listener, events)
    settle(listener, 'rules that an event waits for', ready, () => {
      this.#spread.tell([listener], () => {
        const waited = this.#late.get(listener) ?? []
        this.#late.delete(listener)
        this.#tell(listener, waited)
      })
    })
  }

  #copy({ envelope }: NodeEvent, { version }: EventListener): Buffer {
    const copy = Buffer.from(envelope)
    copy[0] = responseBit | version
    return copy
  }
}
