/**
 * What a decision costs where a statement is as large as it may be: with four times as much of anything it takes about four times as
 * long, whatever the verdict. A list that is looked through for each of its elements takes sixteen times as long.
 */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { warmUpCedar } from './cedar/sets.ts'
import { PolicyEngine } from './engine.ts'
import { loadPolicy } from './load.ts'
import type { Principal } from './policy.ts'
import type { SchemaView } from './request.ts'
import { neutralRequest } from './request.ts'

const principal: Principal = { spiffeId: 'spiffe://cost.test/workload/bob' as Principal['spiffeId'] }
const list = (count: number, item: (at: number) => string, separator = ','): string =>
  Array.from({ length: count }, (_, at) => item(at)).join(separator)

/** Statements that can be made as large as one likes. */
const shapes: readonly (readonly [what: string, text: (count: number) => string])[] = [
  ['different columns', (count) => `SELECT ${list(count, (at) => `"C${at}"`)} FROM ks.t`],
  ['one column again and again', (count) => `SELECT ${list(count, () => 'v')} FROM ks.t`],
  ['different columns in functions', (count) => `SELECT ${list(count, (at) => `min(c${at})`)} FROM ks.t`],
  ['columns as JSON', (count) => `SELECT JSON ${list(count, (at) => `c${at}`)} FROM ks.t`],
  ['columns of a view', (count) => `SELECT ${list(count, (at) => `c${at}`)} FROM ks.mv`],
  ['columns through an index', (count) => `SELECT ${list(count, (at) => `c${at}`)} FROM ks.t WHERE expr(i, 'x')`],
  ['relations on one column', (count) => `SELECT c1 FROM ks.t WHERE ${list(count, () => 'c1=?', ' AND ')}`],
  ['relations on many columns', (count) => `SELECT c1 FROM ks.t WHERE ${list(count, (at) => `c${at}=?`, ' AND ')}`],
  ['a long IN', (count) => `SELECT c1 FROM ks.t WHERE k IN (${list(count, (at) => `'${at}'`)})`],
  [
    'inserted columns',
    (count) => `INSERT INTO ks.t (${list(count, (at) => `c${at}`)}) VALUES (${list(count, () => '?')})`,
  ],
  ['conditions', (count) => `UPDATE ks.t SET v=1 WHERE k=1 IF ${list(count, (at) => `c${at}=1`, ' AND ')}`],
  ['assignments', (count) => `UPDATE ks.t SET ${list(count, (at) => `c${at}=?`)} WHERE k=1`],
  ['functions', (count) => `SELECT ${list(Math.min(count / 4, 1_000), (at) => `f${at}(v)`)} FROM ks.t`],
  ['added columns', (count) => `ALTER TABLE ks.t ADD (${list(count, (at) => `c${at} int`)})`],
  ['dropped columns', (count) => `ALTER TABLE ks.t DROP (${list(count, (at) => `c${at}`)})`],
  ['a BATCH of equal statements', (count) => batchOf(count, (at) => `INSERT INTO ks.t (k,v) VALUES (${at},?)`)],
  ['a BATCH of keys', (count) => batchOf(count, (at) => `INSERT INTO ks.t (k,v) VALUES ('${at}',1)`)],
  ['a BATCH of TTLs', (count) => batchOf(count / 2, (at) => `UPDATE ks.t USING TTL ${at} SET v=1 WHERE k=1`)],
  ['a BATCH of tables', (count) => batchOf(count / 5, (at) => `DELETE FROM ks.t${at} WHERE k=1`)],
]

function batchOf(count: number, statement: (at: number) => string): string {
  return `BEGIN BATCH ${list(count, statement, ' ')} APPLY BATCH`
}

const document = (kind: string, name: string, spec: object): string =>
  JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec })
const subjects = [{ spiffeId: principal.spiffeId }]
const allow = document('AccessPolicy', 'allow', { subjects, keyspaces: ['*'], operations: ['ALL'] })
const byColumn = document('AccessPolicy', 'by-column', {
  subjects,
  keyspaces: ['ks'],
  columns: ['c*', 'C*', 'v', 'k', ...Array.from({ length: 30 }, (_, at) => `c${at}`)],
  operations: ['SELECT', 'MODIFY'],
})
const masks = document('MaskingPolicy', 'masks', { keyspaces: ['*'], columns: ['c1*', 'C1*', 'v'], mask: 'full' })
const guard = document('Guardrail', 'guard', { keyspaces: ['*'], partitionsPerBatchMax: 60_000, inValuesMax: 60_000 })
const hold = document('RetentionPolicy', 'retention', { keyspaces: ['*'], maxTtl: '1h', requireTtl: true })

const verdicts: readonly (readonly [what: string, policy: readonly string[]])[] = [
  ['permitted', [allow]],
  ['refused', [document('AccessPolicy', 'other', { subjects, keyspaces: ['other'], operations: ['ALL'] })]],
  ['permitted by column', [byColumn]],
  ['masked', [allow, masks]],
  ['bound by data rules', [allow, guard, hold]],
  [
    'observed',
    [document('AccessPolicy', 'trial', { subjects, mode: 'observe', keyspaces: ['*'], operations: ['ALL'] })],
  ],
]

/** A table and a view of it, each with the columns that the statements name. */
function schemaOf(count: number): SchemaView {
  const columns = Array.from({ length: count }, (_, at) => [`c${at}`, `C${at}`]).flat()
  const table = { partitionKey: ['k'], clusteringKey: [], columns: ['k', 'v', ...columns], defaultTtlSeconds: 0 }
  const known = new Map([
    ['t', { ...table, base: undefined }],
    ['mv', { ...table, base: 't' }],
  ])
  return { table: (_, name) => known.get(name), indexedTable: () => 't' }
}

/**
 * Milliseconds of the quickest of some decisions, each by an engine that has decided nothing before. The collector of garbage and other
 * processes come in between now and then, so the quickest of many is what tells. It is not CPU time: Linux may count that in ticks of 4 ms.
 */
function costOf(
  facts: StatementFacts,
  policy: ReturnType<typeof loadPolicy>,
  schema: SchemaView,
  runs: number,
): number {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < runs; run++) {
    const engine = new PolicyEngine()
    engine.install(policy, 1)
    const start = performance.now()
    engine.decide(principal, facts, neutralRequest, schema)
    least = Math.min(least, performance.now() - start)
  }
  return least
}

const small = 1_500
const large = 4 * small
/** What is this quick need not be held to anything. */
const freeMs = 8
const timesMax = 8

describe('a decision on four times as much takes about four times as long', () => {
  before(warmUpCedar)
  for (const [verdict, documents] of verdicts) {
    it(verdict, () => {
      const policy = loadPolicy(documents.join('\n---\n'), 'cost.yaml')
      for (const [what, text] of shapes) {
        const costs = (runs: number): number[] =>
          [small, large].map((count) => costOf(analyse(text(count)), policy, schemaOf(count), runs))
        let [few, many] = costs(2)
        if (many! >= freeMs && many! >= timesMax * few!) [few, many] = costs(12)
        const said = `${what}: ${few!.toFixed(1)} ms, then ${many!.toFixed(1)} ms`
        assert.ok(many! < freeMs || many! < timesMax * few!, said)
        if (process.env.COST_PRINT !== undefined) console.log(`${verdict}: ${said}`)
      }
    })
  }
})
