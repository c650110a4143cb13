import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Consistency } from '../../cql/protocol.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { loadPolicy } from '../../policy/load.ts'
import { document, orders } from '../../policy/policy.fixture.ts'
import { batchFacts } from '../batch.ts'
import type { Judged } from '../judged.ts'
import { chargesOf, type Measured, unitsOf } from './charges.ts'
import { BatchKinds } from './kinds.ts'
import { RateLimits } from './rate-limits.ts'

const facts = (text: string): StatementFacts => resolveKeyspace(analyse(text), 'shop')
const message = (...texts: readonly string[]): StatementFacts => {
  const known = new Map(texts.map((text) => [text, { facts: facts(text) } as unknown as Judged]))
  return batchFacts(
    texts.map((text) => known.get(text)!),
    1,
  )
}
const schema = { partitionKey: () => ['k'], baseOf: () => undefined }
const measured: Measured = { bytesIn: 100, consistency: Consistency.QUORUM, listFactor: 1, partitions: 1 }

function limitsOf(...specs: readonly object[]): RateLimits {
  const limits = new RateLimits(() => 0)
  const documents = specs.map((spec, index) => document('RateLimitPolicy', `limit-${index}`, spec))
  limits.install(loadPolicy(documents.join('\n---\n'), 'p.yaml').rateLimits)
  return limits
}

const sessionOf = (limits: RateLimits) => limits.of({ limits: undefined }, { limits: undefined }, orders, '10.0.0.1')

/** What it takes of one limit, 0 where that does not concern it. */
function units(statement: StatementFacts, more: Partial<Measured> = {}, spec: object = {}, rows = 0): number {
  const { charges } = chargesOf(sessionOf(limitsOf({ perIdentity: '10/s', ...spec })).rules, statement, 0, schema)
  return charges.reduce((sum, charge) => sum + unitsOf(charge, { ...measured, ...more }, rows, 0), 0)
}

const deletes = 'DELETE FROM items WHERE k IN ?'
const most = 1_000_000

describe('what a request takes', () => {
  const far: readonly (readonly [string, StatementFacts, Partial<Measured>])[] = [
    ['partitions that cannot be counted', message(deletes, deletes), { partitions: Number.POSITIVE_INFINITY }],
    ['partitions that are no number', message(deletes, deletes), { partitions: Number.NaN }],
    ['lists whose product is no number any more', facts(deletes), { listFactor: Number.POSITIVE_INFINITY }],
    ['a thousand lists', facts(`SELECT v FROM items WHERE ${'k IN (1, 2) AND '.repeat(1100)}k = 1`), {}],
    [
      'many statements of a thousand lists',
      message(...Array(300).fill(`DELETE FROM items WHERE ${'k IN (1, 2) AND '.repeat(1100)}k = 1`)),
      {},
    ],
  ]
  for (const [what, statement, more] of far) {
    for (const unit of ['requests', 'rows', 'cost', 'bytes']) {
      it(`is a number that can be paid, by ${unit}: ${what}`, () => {
        const taken = units(statement, more, { unit, perIdentity: '10/s' })
        assert.ok(taken >= 0 && taken <= most, String(taken))
        if (unit === 'requests') assert.equal(taken, most)
      })
    }
  }

  it('is what it was where it is not much', () => {
    assert.equal(units(facts(deletes), { listFactor: 7 }), 7)
    assert.equal(units(facts('SELECT v FROM items WHERE k IN ()')), 1)
    assert.equal(units(facts('SELECT v FROM items WHERE k = 1'), {}, { unit: 'rows' }, 5), 5)
  })
})

describe('what a BATCH takes', () => {
  const ofItems = { keyspaces: ['shop'], tables: ['items'] }
  const write = (table: string): string => `INSERT INTO ${table} (k) VALUES (1)`
  const text = (...statements: readonly string[]): StatementFacts =>
    facts(`BEGIN BATCH ${statements.map((one) => `${one};`).join(' ')} APPLY BATCH`)
  const [one, many] = [write('items'), Array.from({ length: 9 }, () => write('orders'))]

  it('of a limit on one table is that of its statements to it, and of its partitions that part', () => {
    assert.equal(units(message(one, ...many), { partitions: 10 }, ofItems), 1)
    assert.equal(units(message(one, one, ...many.slice(1)), { partitions: 10 }, ofItems), 4)
    assert.equal(units(message(one, ...many), { partitions: 10 }), 20)
    assert.equal(units(message(one, one), { partitions: 1 }), 2)
  })

  it('is twice as much for several tables, once', () => {
    assert.equal(units(message(one, write('orders')), { partitions: 2 }), 4)
    assert.equal(units(text(one, write('orders'))), 4)
    assert.equal(units(text(one, one)), 2)
    assert.equal(units(text(one, write('orders')), {}, ofItems), 1)
  })

  it('is the same where its statements were weighed some at a time, also of more kinds than are looked at', () => {
    const limits = limitsOf({ perIdentity: '10/s', ...ofItems }, { total: '10/s' })
    const conditional = 'UPDATE items SET v = 1 WHERE k IN (1, 2) IF v = 2'
    for (const kinds of [3, 1500]) {
      const texts = Array.from({ length: 3000 }, (_, at) => `UPDATE orders SET v = 1 WHERE k = ${at % kinds}`)
      const whole = message(...texts, conditional, one)
      const counted = new BatchKinds(whole, schema.partitionKey)
      let steps = 1
      while (!counted.countSome(16)) steps++
      assert.equal(steps, Math.ceil(3002 / 16))
      const [piecemeal, atOnce] = [counted, undefined].map((known) =>
        chargesOf(sessionOf(limits).rules, whole, 0, schema, known).charges.map(({ requests, statements }) => [
          requests,
          statements,
        ]),
      )
      assert.deepEqual(piecemeal, atOnce)
      // Beyond a thousand kinds each counts for every limit.
      const others = kinds === 3 ? 0 : 1000
      assert.deepEqual(atOnce, [
        [9 + others, 2 + others],
        [3009, 3002],
      ])
    }
  })
})

describe('a request that takes more than ever goes at once', () => {
  const person = { ...orders, person: 'corp/alice' }
  const tooMuch = (spec: object, units: number): boolean => {
    const limits = limitsOf(spec)
    const [meter] = limits.of({ limits: undefined }, { limits: undefined }, person, '10.0.0.1').meters
    return limits.isTooMuch(meter!, units)
  }

  for (const scope of ['total', 'perAddress', 'perPerson']) {
    it(`is none that others pay for: ${scope}`, () => {
      assert.deepEqual(
        [100, 101].map((units) => tooMuch({ [scope]: '100/s' }, units)),
        [false, true],
      )
      assert.deepEqual(
        [200, 201].map((units) => tooMuch({ [scope]: '100/s', burst: '2s' }, units)),
        [false, true],
      )
      assert.deepEqual(
        [1_000_000, 1_000_001].map((units) => tooMuch({ [scope]: '1000000/d' }, units)),
        [false, true],
      )
    })
  }

  it('is a debt where it is of one identity only', () => {
    assert.equal(tooMuch({ perIdentity: '100/s' }, 1_000_000), false)
  })
})

describe('the key of a limit', () => {
  const keys = (spec: object): string[] => sessionOf(limitsOf(spec)).meters.map((meter) => meter!.key)
  const override = { subjects: [{ spiffeId: 'spiffe://td/svc/orders' }], perIdentity: '7/s' }

  it('is another where a rate is another, so that no debt outlives it', () => {
    const specs = [
      { perIdentity: '5/s' },
      { perIdentity: '6/s' },
      { perIdentity: '5/s', burst: '2s' },
      { perIdentity: '5/s', overrides: [override] },
      { perIdentity: '5/s', overrides: [{ ...override, perIdentity: '8/s' }] },
    ]
    assert.equal(new Set(specs.flatMap(keys)).size, specs.length)
  })

  it('is the same where something else is', () => {
    assert.deepEqual(keys({ perIdentity: '5/s', maxDelay: '1s' }), keys({ perIdentity: '5/s', mode: 'observe' }))
  })
})

describe('limits that look at the address', () => {
  const limits = limitsOf(
    { perIdentity: '1/s' },
    { total: '2/s', perAddress: '3/s', clientAddresses: ['10.0.0.0/24'] },
    { perAddress: '4/s' },
  )
  const identity = { limits: undefined }
  const at = (address: string) => limits.of(identity, { limits: undefined }, orders, address)
  const whoms = (address: string) => at(address).meters.map((meter) => meter && `${meter.rate.text} ${meter.who}`)

  it('count where they say, and are found once for a statement at whatever address', () => {
    assert.deepEqual(whoms('10.0.0.1'), ['1/s spiffe://td/svc/orders', '2/s ', '3/s 10.0.0.1', '4/s 10.0.0.1'])
    assert.deepEqual(whoms('10.0.1.1'), ['1/s spiffe://td/svc/orders', undefined, undefined, '4/s 10.0.1.1'])
    assert.equal(at('10.0.0.1').rules, at('10.0.1.1').rules)
    const { charges } = chargesOf(at('10.0.0.1').rules, facts(deletes), 0, schema)
    assert.deepEqual(
      charges.map(({ at: place, rule }) => at('10.0.0.1').meters[place]?.rule === rule),
      [true, true, true, true],
    )
  })
})

describe('what a limit was charged', () => {
  const meters = (limits: RateLimits) => sessionOf(limits).meters

  for (const wrong of [Number.POSITIVE_INFINITY, Number.NaN, Number.MAX_VALUE]) {
    it(`stays a number, and is paid one day: ${wrong}`, () => {
      let nowMicros = 0
      const limits = new RateLimits(() => nowMicros)
      limits.install(loadPolicy(document('RateLimitPolicy', 'slow', { total: '1000/s' }), 'p.yaml').rateLimits)
      limits.parts.sidecars = 2
      const [meter] = meters(limits)
      limits.charge(meter!, wrong)
      assert.ok(limits.waitMicros(meter!, 1) > 0)
      limits.charge(meter!, -wrong)
      nowMicros += 1e15
      assert.ok(limits.waitMicros(meter!, 1) <= 0)
      limits.want(meter!, wrong)
      const { parts } = limits.parts.toAsk(nowMicros) ?? assert.fail('nothing is asked')
      assert.ok(parts.length === 1 && parts.every(([, wanted]) => Number.isFinite(wanted)))
    })
  }
})
