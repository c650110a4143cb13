/**
 * Decisions on the dearest statements under the dearest policies: each step is short, and the decision is the one that is taken in one go.
 * The statements are those of `cost.fixture.ts` that are read, and what would be quadratic.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { expensive } from '../cql/statement/cost.fixture.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { isLarge } from './deliberation.ts'
import type { Decision, PolicyEngine } from './engine.ts'
import type { Pace } from './pace.ts'
import { access, atNoon, document, engineOf, orders, schemaOf } from './policy.fixture.ts'
import type { RequestContext } from './request.ts'

/** Of CPU. One client's share of a turn is four milliseconds, and a step that began within it goes to its end. */
const stepMsMax = 8
/** What else the machine does makes a figure larger and never smaller. */
const runsMax = 6

const list = <T>(count: number, item: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => item(at))

const quadratic: readonly (readonly [what: string, text: string])[] = [
  ['nulls for many columns', `UPDATE ks.t SET ${list(4_000, (at) => `c${at}=null`).join()} WHERE k=1`],
  ['a null and many relations', `UPDATE ks.t SET v=null WHERE ${list(8_000, (at) => `c${at}=1`).join(' AND ')}`],
  [
    'many values on condition',
    `INSERT INTO ks.t (${list(8_000, (at) => `c${at}`).join()}) VALUES (${list(8_000, () => '1').join()}) IF NOT EXISTS`,
  ],
  [
    'many conditional INSERTs',
    `BEGIN BATCH ${list(1_500, (at) => `INSERT INTO ks.t (k,v) VALUES ('${at}','${at}') IF NOT EXISTS`).join(' ')} APPLY BATCH`,
  ],
]

const statements: readonly (readonly [what: string, facts: StatementFacts])[] = [
  ...expensive.flatMap(([what, text, outcome]) => (outcome === 'facts' ? [[what, text] as const] : [])),
  ...quadratic,
]
  .map(([what, text]) => [what, resolveKeyspace(analyse(text), 'ks')] as const)
  .filter(([, facts]) => isLarge(facts))

const all = access('all', { keyspaces: ['ks'], operations: ['ALL'] })
const names = (count: number): string[] => list(count, (at) => (at % 2 === 0 ? `c${at}` : `C${at}*`))

const policies: readonly (readonly [what: string, engine: PolicyEngine])[] = [
  ['one rule', engineOf(all)],
  ['nothing that speaks of it', engineOf(access('other', { keyspaces: ['other'], operations: ['ALL'] }))],
  [
    'rules that tell columns apart',
    engineOf(
      access('by-column', {
        keyspaces: ['ks'],
        operations: ['SELECT', 'MODIFY'],
        columns: ['v', 'k', 'c*', 'C*', 'a*'],
      }),
    ),
  ],
  [
    '200 masks',
    engineOf(
      all,
      ...list(200, (at) =>
        document('MaskingPolicy', `m${at}`, { keyspaces: ['ks'], columns: [`c${at}*`, 'x'], mask: 'full' }),
      ),
    ),
  ],
  [
    'a mask of 3,000 names',
    engineOf(all, document('MaskingPolicy', 'm', { keyspaces: ['ks'], columns: names(3_000), mask: 'full' })),
  ],
  [
    'a mask that is observed, retention and limits',
    engineOf(
      all,
      document('MaskingPolicy', 'm', { keyspaces: ['ks'], columns: ['c*', 'v'], mask: 'null', mode: 'observe' }),
      document('RetentionPolicy', 'r', { keyspaces: ['ks'], maxTtl: '90d', requireTtl: true, mode: 'observe' }),
      document('Guardrail', 'g', {
        keyspaces: ['ks'],
        inValuesMax: 100,
        partitionsPerBatchMax: 10,
        timestampFutureMax: '3600s',
        mode: 'observe',
      }),
    ),
  ],
  [
    'legal hold',
    engineOf(all, document('RetentionPolicy', 'h', { keyspaces: ['ks'], tables: ['t'], legalHold: true })),
  ],
]

const columns = ['k', 'v', ...list(1_000, (at) => `c${at}`)]
const schema = schemaOf({ 'ks.t': { partitionKey: ['k'], columns } })

/** One step in each turn. */
class Slow implements Pace {
  longestMs = 0
  turns = 1
  #depth = 0
  #mayBegin = true
  #before = process.threadCpuUsage()

  begin(): boolean {
    if (this.#depth === 0) {
      if (!this.#mayBegin) return false
      this.#mayBegin = false
    }
    this.#depth++
    return true
  }

  end(): void {
    this.#depth--
  }

  turn(decide: () => Decision | undefined): Decision | undefined {
    this.#before = process.threadCpuUsage()
    const decision = decide()
    const { user, system } = process.threadCpuUsage(this.#before)
    this.longestMs = Math.max(this.longestMs, (user + system) / 1000)
    this.#mayBegin = true
    this.turns++
    return decision
  }
}

/** @param request as a session has one */
function slowly(
  engine: PolicyEngine,
  facts: StatementFacts,
  request: RequestContext = { ...atNoon },
): { decision: Decision; pace: Slow } {
  const pace = new Slow()
  for (;;) {
    const decision = pace.turn(() => engine.decideWithin(pace, orders, facts, request, schema, 1))
    if (decision !== undefined) return { decision, pace }
    assert.ok(pace.turns < 20_000, 'it comes to its end')
  }
}

describe('a decision on a large statement', () => {
  for (const [under, engine] of policies) {
    it(`is taken in short steps under ${under}`, () => {
      const tooLong: string[] = []
      for (const [what, facts] of statements) {
        const wanted = engine.decide(orders, facts, atNoon, schema, 1)
        let longestMs = Infinity
        for (let run = 0; run < runsMax && longestMs > stepMsMax; run++) {
          const { decision, pace } = slowly(engine, facts)
          assert.deepEqual({ ...decision }, { ...wanted }, what)
          longestMs = Math.min(longestMs, pace.longestMs)
        }
        if (longestMs > stepMsMax) tooLong.push(`${what}: ${longestMs.toFixed(1)} ms`)
      }
      assert.deepEqual(tooLong, [])
    })
  }

  it('goes on only where the same request asks about the same statement, by the same policy and schema', () => {
    const [, engine] = policies[0]!
    const facts = statements.find(([, { children }]) => children.length > 1_000)![1]
    const first = { ...atNoon }
    const other = { ...atNoon }
    const ask = (request: typeof first, epoch: number): Decision | undefined => {
      const pace = new Slow()
      return engine.decideWithin(pace, orders, facts, request, schema, epoch)
    }
    let turns = 0
    while (ask(first, 1) === undefined) turns++
    assert.ok(turns > 3)
    for (let turn = 0; turn < turns; turn++) assert.equal(ask(first, 1), undefined)
    // Another session with the same statement, and the same session in another epoch, begin at the beginning.
    for (let turn = 0; turn < turns; turn++) assert.equal(ask(other, 1), undefined)
    for (let turn = 0; turn < turns; turn++) assert.equal(ask(other, 2), undefined)
    assert.equal(ask(other, 2)?.kind, 'permit')
    assert.equal(ask(first, 1)?.kind, 'permit')
    assert.equal(ask(first, 1), undefined)
  })

  it('does not end another of the same session: all that are asked in turn come to their end', () => {
    const [, engine] = policies[3]!
    const request = { ...atNoon }
    const many = statements.slice(0, 3)
    const decisions = many.map(() => undefined as Decision | undefined)
    for (let turn = 0; decisions.includes(undefined); turn++) {
      assert.ok(turn < 20_000, 'they come to their end')
      for (const [at, [, facts]] of many.entries())
        decisions[at] ??= engine.decideWithin(new Slow(), orders, facts, request, schema, 1)
    }
    for (const [at, [what, facts]] of many.entries())
      assert.deepEqual({ ...decisions[at]! }, { ...engine.decide(orders, facts, atNoon, schema, 1) }, what)
  })

  const conditions = { hours: '08:00-18:00', days: ['wed'], consistency: ['LOCAL_QUORUM'], rowsMax: 100 }
  const changes: readonly (readonly [what: string, change: Partial<RequestContext>])[] = [
    ['the hours end', { nowMs: Date.UTC(2026, 10, 18, 18, 0) }],
    ['the day ends', { nowMs: Date.UTC(2026, 10, 19, 12, 0) }],
    ['it is asked at another consistency', { consistency: 'ONE' }],
    ['more rows are asked for', { rows: 101 }],
    ['it is asked while it is executed', { preparing: false }],
  ]
  for (const [what, change] of changes) {
    it(`begins at the beginning where meanwhile ${what}`, () => {
      const engine = engineOf(access('in-hours', { keyspaces: ['ks'], operations: ['ALL'], when: conditions }))
      const facts = statements.find(([, { children }]) => children.length > 1_000)![1]
      const before = { ...atNoon, rows: 100, preparing: change.preparing !== undefined }
      const wanted = engine.decide(orders, facts, { ...before, ...change }, schema, 1)
      const whole = slowly(engine, facts, { ...before }).pace.turns
      // After each number of steps, in the one context of the session.
      for (let turns = 0; turns < whole - 1; turns += Math.ceil(whole / 8)) {
        const request = { ...before }
        for (let turn = 0; turn < turns; turn++)
          assert.equal(engine.decideWithin(new Slow(), orders, facts, request, schema, 1), undefined)
        Object.assign(request, change)
        assert.deepEqual({ ...slowly(engine, facts, request).decision }, { ...wanted }, `after ${turns}`)
      }
    })
  }

  it('and a small one is decided on at once', () => {
    const facts = resolveKeyspace(analyse('SELECT v FROM ks.t WHERE k = 1'), undefined)
    assert.equal(isLarge(facts), false)
    const [, engine] = policies[0]!
    assert.equal(slowly(engine, facts).pace.turns, 2)
  })
})
