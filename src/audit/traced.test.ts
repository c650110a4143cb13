/** What spans say of how a request ended, and of a statement whose names are long. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CqlErrorCode, Opcode } from '../cql/protocol.ts'
import type { Decision } from '../policy/engine.ts'
import { SpanQueue } from '../telemetry/traces/queue.ts'
import { newSpanId, newTraceId, type Span } from '../telemetry/traces/span.ts'
import { type TransactionEvent, timedOut } from './event.ts'
import { Traced } from './traced.ts'

const who = {
  workload: 'spiffe://x/orders',
  session: 's',
  authentication: 'x509',
  client: { address: '10.0.0.1', port: 5 },
}
const denial = { kind: 'denial', rule: 'r', reason: 'no', revision: 3 } as unknown as Decision
const permit = { kind: 'permit', rule: 'r', revision: 3 } as unknown as Decision

function spansOf(more: Partial<TransactionEvent>): Span[] {
  const spans: Span[] = []
  const queue = new SpanQueue({ send: () => Promise.resolve('taken') })
  queue.add = (span) => void spans.push(span)
  const trace = { traceId: newTraceId(), spanId: newSpanId(), parentId: undefined, link: undefined, startMicros: 1 }
  const event = {
    ...{ kind: 'request', session: { who }, opcode: Opcode.QUERY, decision: permit, rule: '', consistency: 1, trace },
    ...{ outcome: 'ok', code: -1, message: '', messageIsOurs: true, rows: -1, latencyMicros: 0, waitedMicros: 0 },
    ...more,
  } as unknown as TransactionEvent
  new Traced(queue, { address: '10.0.0.9', port: 9042 }).ended(event)
  return spans
}

function said(more: Partial<TransactionEvent>, name: string): unknown {
  return spansOf(more)[0]?.attributes.find(([key]) => key === name)?.[1]
}

describe('a span says', () => {
  it('that the node did not answer in time, or that it is not known what became of a request', () => {
    assert.equal(said({ outcome: 'lost', message: timedOut }, 'error.type'), 'timeout')
    assert.equal(said({ outcome: 'lost', message: 'connection to the node lost' }, 'error.type'), 'lost')
    assert.equal(said({ outcome: 'error', code: CqlErrorCode.UNAUTHORIZED }, 'error.type'), '8448')
    assert.equal(said({}, 'error.type'), undefined)
  })

  it('that a limit refused it, by whichever code', () => {
    const decided = (decision: Decision | undefined, code: number): unknown =>
      said({ decision, outcome: 'error', code }, 'ringfence.policy.decision')
    assert.equal(decided(denial, CqlErrorCode.CONFIG_ERROR), 'rate_limited')
    assert.equal(decided(denial, CqlErrorCode.RATE_LIMIT_ERROR), 'rate_limited')
    assert.equal(decided(denial, CqlErrorCode.UNAUTHORIZED), 'deny')
    assert.equal(decided(undefined, CqlErrorCode.INVALID), 'deny')
    // The node's own word.
    assert.equal(decided(permit, CqlErrorCode.CONFIG_ERROR), 'allow')
  })

  it('what it does to what, or no name at all, but none in part', () => {
    for (const [table, wanted] of [
      ['items', 'SELECT shop.items'],
      ['x'.repeat(300), 'SELECT'],
    ]) {
      const facts = { verb: 'SELECT', keyspace: 'shop', table, children: [], redacted: '' }
      const statement = { facts, tables: [], notes: undefined } as unknown as TransactionEvent['statement']
      assert.equal(said({ statement }, 'db.query.summary'), wanted)
    }
  })
})
