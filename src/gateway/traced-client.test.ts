/** The span of a gateway ends with the answer to its own request, by whatever way the client is told. */
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { errorEnvelope, queryEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode } from '../cql/protocol.ts'
import type { Client } from '../session/backend.ts'
import { SpanQueue } from '../telemetry/traces/queue.ts'
import type { Span } from '../telemetry/traces/span.ts'
import { Traces } from '../telemetry/traces/traces.ts'
import { TracedClient } from './traced-client.ts'
import { TracedRequests } from './traced-requests.ts'

const startup = { version: 4, driverName: undefined, driverVersion: undefined, applicationName: undefined } as const
const result = Buffer.from([0x84, 0, 0, 7, 8, 0, 0, 0, 4, 0, 0, 0, 1])

describe('a span of a gateway', () => {
  let spans: Span[]
  let told: string[]
  let traced: TracedRequests
  let client: TracedClient

  beforeEach(() => {
    spans = []
    told = []
    const queue = new SpanQueue({ send: () => Promise.resolve('taken') })
    queue.add = (span) => void spans.push(span)
    const info = { identity: { key: 'orders', subject: 'spiffe://x/orders' }, address: '10.0.0.1', port: 5 }
    const real = {
      info,
      answer: (_bytes: Buffer, _start: number, _end: number, stream: number) => void told.push(`answer ${stream}`),
      fault: (_reason: unknown, stream: number) => void told.push(`fault ${stream}`),
    } as unknown as Client
    traced = new TracedRequests(new Traces({ ratio: 1 }, queue), real, startup)
    client = new TracedClient(real, traced)
  })

  const ask = (stream: number) => traced.begin(wholeEnvelope(queryEnvelope(4, stream, 'SELECT v FROM shop.items')))
  const typeOf = ({ attributes }: Span) => attributes.find(([name]) => name === 'error.type')?.[1]

  const overloaded = new RingfenceError('OVERLOADED', 'no')
  const error = errorEnvelope(4, 7, CqlErrorCode.UNAUTHORIZED, 'no')
  const ways: readonly (readonly [string, () => void, string | undefined])[] = [
    ['an answer', () => client.answer(result, 0, result.length, 7), undefined],
    ['an error of the node or a sidecar', () => client.answer(error, 0, error.length, 7), '8448'],
    ['a fault that the gateway tells', () => client.fault(overloaded, 7), '4097'],
    ['a fault of ours', () => client.fault(new TypeError('x'), 7), '0'],
    ['what is thrown to the connection', () => traced.failed(7, overloaded), '4097'],
    ['the end of the client', () => traced.close(), 'lost'],
  ]
  for (const [name, end, type] of ways) {
    it(`ends with ${name}, once, and not with what comes later on its stream`, () => {
      ask(7)
      ask(8)
      end()
      const [first] = spans
      assert.deepEqual([first && typeOf(first), first?.failed], [type, type !== undefined])
      const count = spans.length
      client.answer(result, 0, result.length, 7)
      client.fault(overloaded, 7)
      traced.close()
      assert.equal(spans.filter((span) => span === first).length, 1)
      assert.ok(spans.length - count <= 1, 'the other request of the client')
      assert.equal(spans.length, 2)
    })
  }

  it('is lost where its stream is used again, by a request that is not traced too', () => {
    ask(7)
    traced.begin(wholeEnvelope(Buffer.from([4, 0, 0, 7, 0x0b, 0, 0, 0, 2, 0, 0])))
    assert.deepEqual(spans.map(typeOf), ['lost'])
    client.answer(result, 0, result.length, 7)
    assert.equal(spans.length, 1)
  })

  it('leaves what it tells to the client as it is', () => {
    ask(7)
    client.answer(result, 0, result.length, 7)
    client.fault(overloaded, 9)
    assert.deepEqual(told, ['answer 7', 'fault 9'])
  })
})
