import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Decision, PolicyEngine } from '../policy/engine.ts'
import { loadPolicy } from '../policy/load.ts'
import type { Pace } from '../policy/pace.ts'
import { access, atNoon, document, orders, schemaOf } from '../policy/policy.fixture.ts'
import type { RequestContext } from '../policy/request.ts'
import type { IdentityState } from './identity-state.ts'
import { Judge } from './judged.ts'
import type { Judged } from './statement.ts'

const list = (count: number, item: (at: number) => string, between = ','): string =>
  Array.from({ length: count }, (_, at) => item(at)).join(between)

/** Statements about a table in its place that are decided on in many steps. */
const large: readonly (readonly [what: string, textOf: (table: string) => string])[] = [
  ['relations', (table) => `SELECT v FROM ${table} WHERE ${list(3_000, (at) => `c${at}=1`, ' AND ')}`],
  ['columns', (table) => `SELECT ${list(3_000, (at) => `c${at}`)} FROM ${table}`],
  ['values', (table) => `INSERT INTO ${table} (${list(3_000, (at) => `c${at}`)}) VALUES (${list(3_000, () => '1')})`],
  [
    'statements of a BATCH',
    (table) =>
      `BEGIN BATCH ${list(600, (at) => `INSERT INTO ${table} (k, v) VALUES (${at}, 1) USING TTL ${at + 1}`, ' ')} APPLY BATCH`,
  ],
]

const masks = document('MaskingPolicy', 'm', {
  keyspaces: ['ks'],
  columns: Array.from({ length: 200 }, (_, at) => `x${at}*`),
  mask: 'full',
})
const ofView = access('view', { keyspaces: ['ks'], tables: ['by_v', 'plain'], operations: ['ALL'] })
const hidden = [ofView, masks]
const visible = [...hidden, access('base', { keyspaces: ['ks'], tables: ['t'], operations: ['ALL'] })]
const table = { partitionKey: ['k'], columns: ['k', 'v'] }
const view = schemaOf({ 'ks.t': table, 'ks.by_v': { ...table, base: 't' }, 'ks.plain': table })

function judgeOf(documents: readonly string[]) {
  const engine = new PolicyEngine()
  const install = (all: readonly string[]): void => engine.install(loadPolicy(all.join('\n---\n'), 'test.yaml'), 7)
  install(documents)
  const schema = { view, epoch: 0 }
  const judge = new Judge(engine, schema, () => atNoon.nowMs)
  return { judge, schema, install, identity: judge.identity(orders) }
}

/** So many pieces may begin in a turn. */
class Turns implements Pace {
  pieces = 0
  readonly #aTurn: number
  #left = 0
  #depth = 0

  constructor(aTurn: number) {
    this.#aTurn = aTurn
  }

  begin(): boolean {
    if (this.#depth === 0) {
      if (this.#left === 0) return false
      this.#left--
      this.pieces++
    }
    this.#depth++
    return true
  }

  end(): void {
    this.#depth--
  }

  next(): void {
    this.#left = this.#aTurn
  }
}

interface Deciding {
  readonly judge: Judge
  readonly identity: IdentityState
}

const piecesMax = 1_000

function decideIn(pace: Turns, { judge, identity }: Deciding, judged: Judged, request: RequestContext): Decision {
  for (;;) {
    pace.next()
    const decision = judge.currentWithin(pace, identity, judged, request)
    if (decision !== undefined) return decision
    assert.ok(pace.pieces < piecesMax, 'it comes to its end')
  }
}

const told = ({ kind, rule, ...more }: Decision): string[] => [kind, rule, 'reason' in more ? more.reason : '']

describe('a large statement on a view', () => {
  for (const [what, textOf] of large) {
    for (const aTurn of [1, 2, 5]) {
      it(`with many ${what} is decided on once in each way, ${aTurn} steps a turn, where the view is hidden`, () => {
        const piecesOf = (documents: readonly string[], name: string): number => {
          const deciding = judgeOf(documents)
          const pace = new Turns(aTurn)
          const judged = deciding.judge.read(deciding.identity, textOf(name), '')
          const decision = decideIn(pace, deciding, judged, atNoon)
          const other = judgeOf(documents)
          const atOnce = other.judge.current(other.identity, other.judge.read(other.identity, textOf(name), ''), atNoon)
          assert.deepEqual(told(decision), told(atOnce))
          if (documents === visible || name === 'ks.plain') assert.notEqual(decision.rule, 'nothing-there')
          else assert.match(told(decision)[2]!, /by_v does not exist/)
          return pace.pieces
        }
        const plain = piecesOf(hidden, 'ks.plain')
        assert.ok(plain > 1, 'it is large')
        assert.ok(piecesOf(visible, 'ks.by_v') <= 2 * plain + 10)
        const ofHidden = piecesOf(hidden, 'ks.by_v')
        assert.ok(ofHidden <= 2 * plain + 10, `${ofHidden} pieces, and ${plain} for a table`)
      })
    }
  }

  it('is decided on anew where the policy or the schema comes to say otherwise meanwhile', () => {
    const [, textOf] = large[0]!
    for (const change of ['policy', 'schema']) {
      const { judge, identity, install, schema } = judgeOf(hidden)
      const judged = judge.read(identity, textOf('ks.by_v'), '')
      const pace = new Turns(1)
      for (let turn = 0; turn < 10; turn++) {
        pace.next()
        assert.equal(judge.currentWithin(pace, identity, judged, atNoon), undefined)
      }
      if (change === 'policy') install(visible)
      else {
        schema.view = schemaOf({ 'ks.t': table, 'ks.by_v': table })
        schema.epoch++
      }
      const decision = decideIn(pace, { judge, identity }, judged, atNoon)
      assert.deepEqual(told(decision), told(judge.current(identity, judge.read(identity, judged.text, ''), atNoon)))
      assert.notEqual(decision.rule, 'nothing-there')
    }
  })

  it('comes to its end for several sessions at a time whose requests differ to the rules', () => {
    const [, textOf] = large[0]!
    const when = { clientAddresses: ['10.0.0.0/8', '192.0.2.0/24'] }
    const { judge, identity } = judgeOf([
      access('view', { keyspaces: ['ks'], tables: ['by_v'], operations: ['ALL'], when }),
      masks,
    ])
    const judged = judge.read(identity, textOf('ks.by_v'), '')
    const requests = ['10.1.2.3', '192.0.2.7', '203.0.113.9'].map((clientAddress) => ({ ...atNoon, clientAddress }))
    const decisions = new Map<RequestContext, Decision>()
    const pace = new Turns(1)
    while (decisions.size < requests.length) {
      for (const request of requests) {
        pace.next()
        const decision = decisions.has(request) ? undefined : judge.currentWithin(pace, identity, judged, request)
        if (decision !== undefined) decisions.set(request, decision)
      }
      assert.ok(pace.pieces < piecesMax, 'all come to their end')
    }
    const rules = requests.map((request) => decisions.get(request)!.rule)
    assert.deepEqual(rules, ['nothing-there', 'nothing-there', 'default-deny'])
  })
})
