/** What a request counts for, however often it is served. That limits hold is tested on the whole path (`test/path/rate-limits.test.ts`). */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { queryEnvelope } from '../../cql/encode.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { loadPolicy } from '../../policy/load.ts'
import { document, orders } from '../../policy/policy.fixture.ts'
import { RateLimits } from '../limits/rate-limits.ts'
import { type Request, takeRequest } from '../request.ts'
import { limit } from './limit.ts'
import { type Session, Step } from './stage.ts'

const text = 'SELECT v FROM shop.items WHERE k = 1'
const facts = resolveKeyspace(analyse(text), undefined)
const envelope = queryEnvelope(4, 1, text)
const secondMicros = 1_000_000

/** One of two sidecars, and a session there. */
function start(spec: object) {
  const clock = { nowMicros: secondMicros }
  const rateLimits = new RateLimits(() => clock.nowMicros)
  rateLimits.install(loadPolicy(document('RateLimitPolicy', 'slow', spec), 'p.yaml').rateLimits)
  rateLimits.parts.sidecars = 2
  rateLimits.parts.toAsk(clock.nowMicros)
  const share = { exhausted: false, charge() {}, later() {} }
  const session = {
    shared: {
      rateLimits,
      turn: { nowMicros: () => clock.nowMicros },
      judge: { epoch: 1, partitionKey: () => ['k'], refusal: () => ({ kind: 'denial', reason: '' }) },
      schema: { baseOf: () => undefined },
      log: { warn() {} },
    },
    identity: { limits: undefined, principal: orders, share },
    context: { limits: undefined, clientAddress: '10.0.0.1' },
    waiting: { beginHalted() {}, letGo() {} },
    limitAnswers: { rateLimitError: false, throwOnOverload: false },
    onFault: assert.fail,
  }
  const judged = { facts, charges: undefined }
  return {
    share,
    request: (): Request => {
      const request = takeRequest().arrive({} as never, {} as never, envelope, 0, envelope.length)
      request.judged = judged as never
      request.permit = {} as never
      return request
    },
    serve: (request: Request): Step => {
      request.restart()
      request.judged = judged as never
      request.permit = {} as never
      return limit(request, session as unknown as Session)
    },
    /** Requests that were wanted in the second that ends now, of ten that may go in one. */
    wanted: (): number => {
      clock.nowMicros += secondMicros
      const { parts } = rateLimits.parts.toAsk(clock.nowMicros) ?? assert.fail('nothing is asked')
      return Math.round((parts[0]?.[1] ?? 0) * 10)
    },
  }
}

describe('what is wanted of a limit', () => {
  const spec = { perIdentity: '10/s', maxDelay: '50ms' }

  it('is every request that came, whether or not it waited behind another', () => {
    const { request, serve, wanted } = start(spec)
    const [first, second] = [request(), request()]
    second.heldMicros = secondMicros
    assert.deepEqual([serve(first), serve(second)], [Step.NEXT, Step.NEXT])
    assert.equal(wanted(), 2)
  })

  it('is a request once, however often it is put off and served again', () => {
    const { share, request, serve, wanted } = start(spec)
    share.exhausted = true
    for (let gone = 0; gone < 10; gone++) serve(request())
    const over = request()
    for (let time = 0; time < 5; time++) assert.equal(serve(over), Step.WAIT)
    assert.equal(wanted(), 11)
  })

  it('is nothing of a request before, whose object is used again', () => {
    const { request, serve, wanted } = start(spec)
    for (let time = 0; time < 3; time++) {
      const one = request()
      serve(one)
      one.over()
    }
    assert.equal(wanted(), 3)
  })
})
