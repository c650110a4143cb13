/** Events of a session that are no request: its beginning and end, and that its client asked to be told of the node's events. */
import type { EventKind, EventSession, TransactionEvent } from '../audit/event.ts'

const sessionKind = 'session'

export function sessionEvent(kind: Exclude<EventKind, 'request'>, session: EventSession): TransactionEvent {
  return {
    kind,
    session,
    opcode: 0,
    statement: undefined,
    decision: undefined,
    rule: sessionKind,
    consistency: -1,
    bytesIn: 0,
    outcome: 'ok',
    code: -1,
    message: '',
    messageIsOurs: true,
    rows: -1,
    bytesOut: 0,
    latencyMicros: 0,
    waitedMicros: 0,
  }
}
