import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { executeEnvelope } from '../cql/encode.fixture.ts'
import { prepareEnvelope } from '../cql/encode.ts'
import { type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import { FirstPrepare } from './first-prepare.ts'
import type { GatewayLink } from './link.ts'
import { Statement } from './routing/statements.ts'
import type { UpstreamSession } from './upstream-session.ts'

const link = { sidecarIndex: 0, serial: 7 } as GatewayLink
const keyed = { keyspace: 'shop', table: 'items', reads: true, key: undefined }
const id = Buffer.alloc(16, 1)
const request = wholeEnvelope(executeEnvelope(4, 9, id, undefined, []))

function make(send: (stream: number) => void) {
  const budget = new BytesBudget()
  const upstream = {
    link,
    keyspace: '',
    send: (_request: Envelope, stream: number) => send(stream),
  }
  return {
    budget,
    upstream: upstream as unknown as UpstreamSession,
    statement: new Statement(id, prepareEnvelope(4, 1, 'SELECT * FROM shop.items'), undefined, keyed),
    waiting: new FirstPrepare({ account: budget.open('a', 'b'), version: 4, nowMicros: () => 0 }),
  }
}

describe('a session that ends while it prepares a statement somewhere', () => {
  it('leaves the statement to others: it may be prepared there again', () => {
    const sent: number[] = []
    const { budget, upstream, statement, waiting } = make((stream) => sent.push(stream))
    assert.equal(waiting.begin(upstream, [statement], request, 9), true)
    assert.deepEqual(sent, [9])
    assert.equal(statement.mayPrepare(link, '', 0), false)
    waiting.close()
    assert.equal(statement.mayPrepare(link, '', 0), true)
    assert.equal(waiting.size, 0)
    assert.equal(budget.heldBytes, 0)
  })
})

describe('a PREPARE for which there is no room', () => {
  it('leaves nothing behind, and the statement to others', () => {
    const { budget, upstream, statement, waiting } = make(() => {
      throw new RingfenceError('OVERLOADED', 'full')
    })
    assert.throws(() => waiting.begin(upstream, [statement], request, 9), { code: 'OVERLOADED' })
    assert.equal(waiting.size, 0)
    assert.equal(statement.mayPrepare(link, '', 0), true)
    assert.equal(budget.heldBytes, 0)
  })
})
