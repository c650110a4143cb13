/**
 * The rules for one principal are gathered in pieces: a policy may have thousands of them, of any shape. What comes of it is what comes of
 * gathering them in one go.
 */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { warmUpCedar } from './cedar/sets.ts'
import { type Decision, PolicyEngine } from './engine.ts'
import { loadPolicy } from './load.ts'
import { type Pace, unpaced } from './pace.ts'
import type { CompiledPolicy, Principal } from './policy.ts'
import { neutralRequest } from './request.ts'

const spiffeId = 'spiffe://many.test/workload/orders' as Principal['spiffeId']
const person = 'corp/ann'
const rules = 400
/** Two or three, and the rest for code that is not compiled yet and for a busy machine. At once they take 50 to 1,000. */
const pieceMsMax = 20

const document = (kind: string, name: string, spec: object): string =>
  JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec })
const list = <T>(count: number, item: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => item(at))
const ofSubject = (subject: object) => (more: object, at: number) =>
  document('AccessPolicy', `a${at}`, { subjects: [subject], operations: ['READ'], ...more })
const exact = ofSubject({ spiffeId })
const aPattern = ofSubject({ spiffeId: 'spiffe://many.test/workload/*' })

/** Policies with many rules for one principal, each with statements of which some are permitted. */
const shapes: Readonly<Record<string, () => string[]>> = {
  'a keyspace each': () => list(rules, (at) => exact({ keyspaces: [`ks${at}`] }, at)),
  'a table each': () => list(rules, (at) => exact({ keyspaces: ['ks1'], tables: [`t${at}`] }, at)),
  'a beginning each': () => list(rules, (at) => exact({ keyspaces: [`ks${at}*`] }, at)),
  'columns each': () =>
    list(rules, (at) => exact({ keyspaces: [`ks${at}`], columns: ['k', 'v'], operations: ['SELECT'] }, at)),
  'functions each': () =>
    list(rules, (at) => exact({ keyspaces: undefined, functions: [`ks${at}.f`], operations: ['EXECUTE'] }, at)),
  'hours each': () => list(rules, (at) => exact({ keyspaces: [`ks${at}`], when: { hours: '00:00-23:59' } }, at)),
  'a pattern of subjects': () => list(rules, (at) => aPattern({ keyspaces: [`ks${at}`] }, at)),
  'denies of others': () => [
    exact({ keyspaces: ['ks1'] }, rules),
    ...list(rules, (at) => exact({ effect: 'deny', keyspaces: [`other${at}`] }, at)),
  ],
  'of nobody here': () => [
    exact({ keyspaces: ['ks1'] }, rules),
    ...list(rules, (at) => ofSubject({ spiffeId: `spiffe://many.test/workload/w${at}` })({ keyspaces: ['ks2'] }, at)),
  ],
  'one rule of many names': () => [exact({ keyspaces: ['ks1'], tables: ['t1', ...list(rules, (at) => `u${at}`)] }, 1)],
  'one rule of many subjects': () => [
    document('AccessPolicy', 'many', {
      subjects: [...list(rules, (at) => ({ spiffeId: `spiffe://many.test/workload/w${at}` })), { spiffeId }],
      keyspaces: ['ks1'],
      operations: ['READ'],
    }),
  ],
  'a role of many rules, bound to many': () => [
    document('Role', 'reader', {
      rules: list(rules, (at) => ({ keyspaces: [`ks${at}`], operations: ['READ'] })),
    }),
    document('RoleBinding', 'readers', {
      role: 'reader',
      subjects: [...list(100, (at) => ({ spiffeId: `spiffe://many.test/workload/w${at}` })), { spiffeId }],
    }),
  ],
}

const texts = [
  'SELECT k FROM ks1.t1 WHERE k=1',
  'SELECT * FROM nothing.t WHERE k=1',
  'SELECT ks1.f(v) FROM ks1.t1 WHERE k=1',
  'SELECT * FROM system_schema.tables',
  'USE ks1',
]

/** One piece at each time it is asked, and how long each took. */
class Stopwatch implements Pace {
  readonly pieces: number[] = []
  #left = 0
  #since = 0

  begin(): boolean {
    if (this.#left === 0) {
      this.#left = 1
      return false
    }
    this.#left--
    this.#since = performance.now()
    return true
  }

  end(): void {
    this.pieces.push(performance.now() - this.#since)
  }
}

interface Decided {
  readonly decision: Decision
  /** Of the longest piece, each as long as in the quickest of some runs: what else the machine does is no piece's. */
  readonly longestMs: number
  readonly pieces: number
}

function decideInPieces(policy: CompiledPolicy, principal: Principal, text: string, runs: number): Decided {
  const facts = analyse(text)
  const least: number[] = []
  let decision: Decision | undefined
  for (let run = 0; run < runs; run++) {
    const engine = new PolicyEngine()
    engine.install(policy, 1)
    const watch = new Stopwatch()
    decision = undefined
    for (let tries = 0; decision === undefined; tries++) {
      assert.ok(tries < 10_000, 'it comes to no end')
      if (!engine.readyWithin(watch, principal)) continue
      if (engine.visibilityWithin(watch, principal) === undefined) continue
      decision = engine.decideWithin(watch, principal, facts, neutralRequest, undefined, 0)
    }
    for (const [at, ms] of watch.pieces.entries()) least[at] = Math.min(ms, least[at] ?? ms)
  }
  return { decision: decision!, longestMs: Math.max(...least), pieces: least.length }
}

describe('the rules for a principal are looked at in pieces', () => {
  before(warmUpCedar)
  for (const [shape, documents] of Object.entries(shapes)) {
    it(shape, () => {
      const policy = loadPolicy(documents().join('\n---\n'), 'many.yaml')
      for (const principal of [{ spiffeId }, { spiffeId, person, groups: [] }]) {
        const plain = new PolicyEngine()
        plain.install(policy, 1)
        for (const text of texts) {
          const { kind, rule } = plain.decide(principal, analyse(text), neutralRequest, undefined)
          // The second of a pair costs what the first does.
          const runs = 'person' in principal ? 1 : 8
          const { decision, longestMs, pieces } = decideInPieces(policy, principal, text, runs)
          assert.deepEqual([decision.kind, decision.rule], [kind, rule], text)
          assert.ok(runs === 1 || longestMs < pieceMsMax, `${text}: ${longestMs} ms`)
          if (process.env.COST_PRINT !== undefined) console.log(`${shape}: ${text}: ${pieces} pieces, ${longestMs} ms`)
        }
      }
    })
  }

  it('and for several at once', () => {
    const policy = loadPolicy(shapes['a keyspace each']!().join('\n---\n'), 'many.yaml')
    const engine = new PolicyEngine()
    engine.install(policy, 1)
    const watch = new Stopwatch()
    const waiting = new Set(list(20, (at) => ({ spiffeId, key: `k${at}` })))
    for (let turn = 0; waiting.size > 0; turn++) {
      assert.ok(turn < 1_000)
      for (const principal of waiting) if (engine.readyWithin(watch, principal)) waiting.delete(principal)
    }
    for (const at of [0, 19]) assert.ok(engine.readyWithin(unpaced, { spiffeId, key: `k${at}` }))
  })
})
