import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { RequestCheck, RequestTest } from '../obligations.ts'
import { checkRequest } from './check.ts'
import type { Given } from './data.fixture.ts'
import { nowMs, valuesOf } from './data.fixture.ts'

const checkOf = (test: RequestTest, rule = 'r', observe = false): RequestCheck => ({
  rule,
  observe,
  text: 'what must be',
  test,
})
const holds = (test: RequestTest, given: Given): boolean =>
  checkRequest([checkOf(test)], valuesOf(given)).denial === undefined

describe('checkRequest', () => {
  const page: RequestTest = { kind: 'pageSize', max: 10, limitMarker: undefined }

  it('gives the same object each time that all is well', () => {
    const checks = [checkOf(page), checkOf({ kind: 'nowInSeconds' })]
    const verdict = checkRequest(checks, valuesOf({ pageSize: 10 }))
    assert.deepEqual(verdict, { denial: undefined, observed: undefined })
    assert.equal(verdict, checkRequest(undefined, valuesOf()))
  })

  it('names the first rule in force that is not met, and each observed one once', () => {
    const checks = [checkOf(page, 'a', true), checkOf(page, 'a', true), checkOf(page, 'b', true)]
    assert.deepEqual(checkRequest(checks, valuesOf()), { denial: undefined, observed: 'a,b' })
    assert.deepEqual(checkRequest([...checks, checkOf(page, 'c'), checkOf(page, 'd')], valuesOf()), {
      denial: { rule: 'c', text: 'what must be' },
      observed: 'a,b',
    })
  })

  it('refuses now_in_seconds where the permit asks nothing, and not where it asks for nothing', () => {
    assert.equal(checkRequest(undefined, valuesOf({ now: 0 })).denial?.rule, 'now-in-seconds')
    assert.equal(checkRequest(undefined, valuesOf({ now: 1_700_000_000 })).denial?.rule, 'now-in-seconds')
    assert.equal(checkRequest([], valuesOf({ now: 1_700_000_000 })).denial, undefined)
  })
})

describe('a bound TTL', () => {
  const ttl = (required: boolean, maxSeconds: number | undefined = 60): RequestTest => {
    return { kind: 'ttl', marker: 0, minSeconds: 1, maxSeconds, required }
  }
  it('holds from 1 to the bound', () => {
    for (const seconds of [1n, 60n]) assert.equal(holds(ttl(true), { integers: [seconds] }), true)
    for (const seconds of [-1n, 0n, 61n]) assert.equal(holds(ttl(true), { integers: [seconds] }), false)
    assert.equal(
      holds({ ...ttl(true), kind: 'ttl', maxSeconds: undefined } as RequestTest, { integers: [2n ** 31n] }),
      true,
    )
  })

  it('that is null never expires, and one that is unset is the default of the table', () => {
    assert.equal(holds(ttl(false), { integers: [null] }), false)
    assert.equal(holds(ttl(false), {}), false)
    assert.equal(holds(ttl(false), { integers: [undefined] }), true)
    assert.equal(holds(ttl(true), { integers: [undefined] }), false)
    const held: RequestTest = { kind: 'ttl', marker: 0, minSeconds: 0, maxSeconds: 0, required: true }
    assert.equal(holds(held, { integers: [null] }), true)
    assert.equal(holds(held, { integers: [0n] }), true)
    assert.equal(holds(held, { integers: [1n] }), false)
    assert.equal(holds(held, { integers: [undefined] }), false)
  })
})

describe('a timestamp', () => {
  const nowMicros = BigInt(nowMs) * 1000n
  const within = (literalMicros?: bigint, marker?: number): RequestTest => {
    return { kind: 'timestamp', literalMicros, marker, futureMs: 1000, pastMs: 5000 }
  }

  it('holds up to its bounds, wherever it comes from', () => {
    for (const [offset, expected] of [
      [0n, true],
      [1_000_000n, true],
      [1_000_001n, false],
      [-5_000_000n, true],
      [-5_000_001n, false],
      [2n ** 62n, false],
    ] as const) {
      const micros = nowMicros + offset
      assert.equal(holds(within(micros), {}), expected, `literal ${offset}`)
      assert.equal(holds(within(undefined, 0), { integers: [micros] }), expected, `bound ${offset}`)
      assert.equal(holds(within(), { timestamp: micros }), expected, `default ${offset}`)
    }
    assert.equal(holds(within(-(2n ** 63n)), {}), false)
  })

  it('that is unset is the request’s own, and without that the node’s', () => {
    assert.equal(holds(within(undefined, 0), { integers: [undefined], timestamp: nowMicros * 2n }), false)
    assert.equal(holds(within(undefined, 0), { integers: [undefined] }), true)
    assert.equal(holds(within(), {}), true)
    assert.equal(holds(within(nowMicros), { timestamp: nowMicros * 2n }), true)
  })

  it('has no bound on a side that the rule does not name', () => {
    const future: RequestTest = {
      kind: 'timestamp',
      literalMicros: 0n,
      marker: undefined,
      futureMs: 0,
      pastMs: undefined,
    }
    assert.equal(holds(future, {}), true)
    assert.equal(holds({ ...future, futureMs: undefined, literalMicros: 2n ** 62n }, {}), true)
  })
})

describe('page sizes, limits, lists and partitions', () => {
  it('hold from 1 to the bound, and a page that is missing does not', () => {
    const page = (limitMarker?: number): RequestTest => ({ kind: 'pageSize', max: 10, limitMarker })
    for (const pageSize of [1, 10]) assert.equal(holds(page(), { pageSize }), true)
    for (const pageSize of [-1, 0, 11, 2 ** 31 - 1]) assert.equal(holds(page(), { pageSize }), false)
    assert.equal(holds(page(), {}), false)
    assert.equal(holds(page(0), { integers: [10n] }), true)
    assert.equal(holds(page(0), { integers: [11n] }), false)
    assert.equal(holds(page(0), { integers: [11n], pageSize: 10 }), true)
    assert.equal(holds(page(0), { integers: [undefined] }), false)
  })

  it('refuse a bound LIMIT above the bound or unset', () => {
    const limit: RequestTest = { kind: 'limit', marker: 0, max: 10 }
    assert.equal(holds(limit, { integers: [10n] }), true)
    for (const value of [11n, 0n, -1n, null, undefined]) assert.equal(holds(limit, { integers: [value] }), false)
  })

  it('multiply bound lists with each other and with those written', () => {
    const lists: RequestTest = { kind: 'inSize', markers: [0, 1], times: 2, max: 12 }
    assert.equal(holds(lists, { lists: [2, 3] }), true)
    assert.equal(holds(lists, { lists: [0, 1000] }), true)
    assert.equal(holds(lists, { lists: [2, 4] }), false)
    assert.equal(holds(lists, { lists: [2, null] }), false)
    assert.equal(holds(lists, { lists: [2 ** 31 - 1, 2 ** 31 - 1] }), false)
  })

  it('count partitions', () => {
    assert.equal(holds({ kind: 'partitions', max: 2 }, { partitions: 2 }), true)
    assert.equal(holds({ kind: 'partitions', max: 2 }, { partitions: 3 }), false)
  })
})
