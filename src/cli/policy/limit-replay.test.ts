import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../../policy/load.ts'
import { document } from '../../policy/policy.fixture.ts'
import { auditLine, type Sent, sentMs } from './audit-lines.fixture.ts'
import { limitsOf } from './limit-replay.ts'
import { Replay, type Report } from './replay.ts'
import { readSchema } from './schema-file.ts'
import { questionDefaults, Trial, understand } from './trial.ts'

const [orders, billing] = ['spiffe://demo.local/svc/orders', 'spiffe://demo.local/svc/billing']
const schema = readSchema('CREATE TABLE shop.orders (id int PRIMARY KEY, card text);', 'shop.cql')
const access = document('AccessPolicy', 'all', {
  subjects: [{ spiffeId: 'spiffe://demo.local/svc/*' }],
  keyspaces: ['shop'],
  operations: ['READ', 'WRITE', 'SCAN'],
})
const limit = (spec: object): string => document('RateLimitPolicy', 'slow', spec)
const sent = (as: string, timeMs: number, text = 'SELECT card FROM shop.orders WHERE id = 7'): Sent => {
  return { as, text, rule: 'all', timeMs }
}

function replay(spec: object, lines: readonly (Sent | string)[]): Report {
  const one = new Replay(
    new Trial(loadPolicy(`${access}\n---\n${limit(spec)}`, 'p.yaml'), 0, schema),
    sentMs - 3_600_000,
  )
  for (const line of lines) one.line(typeof line === 'string' ? line : auditLine(line))
  return one.report()
}

/** So many requests of one second. */
const many = (count: number, as: string, timeMs: number, text?: string): Sent[] =>
  Array.from({ length: count }, () => sent(as, timeMs, text))

describe('a replay of the audit against limits', () => {
  it('says whom a limit would have refused, how much and when, whatever the order of the lines', () => {
    const lines = [...many(100, billing, sentMs), ...many(50, orders, sentMs + 60_000), ...many(10, orders, sentMs)]
    const { overLimits, requests, unchanged } = replay({ perIdentity: '20/s', maxDelay: '0ms' }, lines)
    assert.deepEqual([requests, unchanged], [160, 160])
    const [first, second] = overLimits
    assert.deepEqual(
      overLimits.map(({ who, units, over, seconds }) => ({ who, units, over, seconds })),
      [
        { who: billing, units: 100, over: 60, seconds: 1 },
        { who: orders, units: 60, over: 10, seconds: 1 },
      ],
    )
    assert.deepEqual([first?.firstMs, second?.worstMs, second?.worst], [sentMs, sentMs + 60_000, 50])
    assert.equal(first?.words, '20/s requests for each identity')
  })

  it('is silent where nobody is over it, and where it concerns nobody', () => {
    assert.deepEqual(replay({ perIdentity: '200/s' }, many(100, orders, sentMs)).overLimits, [])
    const others = { perIdentity: '1/s', subjects: [{ spiffeId: billing }] }
    assert.deepEqual(replay(others, many(100, orders, sentMs)).overLimits, [])
    const writes = { perIdentity: '1/s', operations: ['WRITE'] }
    assert.deepEqual(replay(writes, many(100, orders, sentMs)).overLimits, [])
  })

  it('counts weights, and what was over a limit that is in force', () => {
    const scans = many(5, orders, sentMs, 'SELECT card FROM shop.orders')
    assert.equal(replay({ total: '10/s', maxDelay: '0ms' }, scans).overLimits[0]?.over, 30)
    const refused = auditLine({ ...sent(orders, sentMs), verdict: 'deny', rule: 'slow' }).replace(
      /"outcome":"[a-z]+"/,
      '"outcome":"error","error":{"code":8960,"message":"over"}',
    )
    const { overLimits, unjudged, changed } = replay({ total: '1/s', maxDelay: '0ms' }, Array(10).fill(refused))
    assert.deepEqual([overLimits[0]?.over, changed.length, unjudged[0]?.count], [8, 0, 10])
    assert.match(unjudged[0]!.why, /over the rate limit slow/)
  })
})

describe('the limits of a statement', () => {
  it('are those that concern it, with what it weighs', () => {
    const policy = loadPolicy(limit({ perIdentity: '20/s', keyspaces: ['shop'] }), 'p.yaml')
    const of = (statement: string) => {
      const as = { spiffeId: orders } as const
      const { facts } = understand({
        ...questionDefaults,
        ...{ as: as as never, keyspace: undefined, statement, values: undefined, nowMs: 0 },
      })
      return limitsOf(policy, as as never, '10.0.0.1', facts, schema).map(({ meter, charge }) => [
        meter.rule.name,
        charge.requests,
      ])
    }
    assert.deepEqual(of('SELECT card FROM shop.orders'), [['slow', 10]])
    assert.deepEqual(of('SELECT card FROM shop.orders WHERE id = 1'), [['slow', 1]])
    assert.deepEqual(of('SELECT card FROM play.orders'), [])
  })
})
