/**
 * Without a mesh: the policy of the corpus decides each attack as the catalogue wants it. What is judged by the values of a request is
 * permitted here, with checks to be made; the suites against Cassandra see those made.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { consistencyNames } from '../../../src/cql/protocol.ts'
import { analyse } from '../../../src/cql/statement/analyse.ts'
import { resolveKeyspace } from '../../../src/cql/statement/resolve.ts'
import { parseSpiffeId } from '../../../src/identity/spiffe.ts'
import { type Decision, PolicyEngine } from '../../../src/policy/engine.ts'
import { loadPolicy } from '../../../src/policy/load.ts'
import type { SchemaView, TableInfo } from '../../../src/policy/request.ts'
import { neutralRequest } from '../../../src/policy/request.ts'
import { policyFile } from '../held.ts'
import { attacks } from './catalogue.ts'
import { attackPolicyFile } from './schema.ts'
import { idOf } from './sender.ts'
import { type Variant, variantsOf } from './variants.ts'

const sources = [policyFile, attackPolicyFile].map((file) => readFileSync(file, 'utf8'))
const engine = new PolicyEngine()
engine.install(loadPolicy(sources.join('---\n'), join('test', 'policy.yaml')), 1)

const keyed = (columns: readonly string[], base?: string): TableInfo => ({
  partitionKey: columns.slice(0, 1),
  clusteringKey: [],
  columns,
  base,
  defaultTtlSeconds: 0,
})
const people = ['k', 'c', 'name', 'ssn', 'age', 'tags', 'phones', 'home', 'face']

/** What `schema.ts` makes, as far as decisions look at it. */
const tables = new Map<string, TableInfo>([
  ...['open', 'shifting', 'secret', 'kept', 'held'].map((name): [string, TableInfo] => [
    `e2e_attacks.${name}`,
    keyed(['k', 'v']),
  ]),
  ['e2e_attacks.guarded', { ...keyed(['k', 'c', 'v']), clusteringKey: ['c'] }],
  ['e2e_attacks.secret_view', { ...keyed(['v', 'k'], 'secret'), clusteringKey: ['k'] }],
  ['e2e_attacks.people', { ...keyed(people), clusteringKey: ['c'] }],
  ['e2e_attacks.people_view', { ...keyed(['ssn', 'k', 'c', 'name'], 'people'), clusteringKey: ['k', 'c'] }],
  ['e2e_attacks.json', keyed(['key', 'json', 'distinct', 'ttl'])],
  ['e2e_attacks.__proto__', keyed(['toString', '__proto__', 'constructor'])],
  ['e2e_attacks_other.open', keyed(['k', 'v'])],
  ['e2e_attacks_other.door', keyed(['k', 'v'])],
  ['e2e_attacks_hidden.secret', keyed(['k', 'v'])],
  ['system_traces.events', { ...keyed(['session_id', 'event_id', 'activity']), clusteringKey: ['event_id'] }],
])
const schema: SchemaView = {
  table: (keyspace, table) => tables.get(`${keyspace}.${table}`),
  indexedTable: (keyspace, index) => (`${keyspace}.${index}` === 'e2e_attacks.people_ssn' ? 'people' : undefined),
}

function decisionOn({ attack, text }: Variant): Decision {
  const principal = { spiffeId: parseSpiffeId(idOf(attack.who)) }
  const consistency = consistencyNames[attack.options?.consistency ?? 10] ?? assert.fail('no such consistency')
  return engine.decide(
    principal,
    resolveKeyspace(analyse(text), undefined),
    { ...neutralRequest, preparing: false, consistency, nowMs: Date.now() },
    schema,
  )
}

function wrong(variant: Variant): string | undefined {
  const { wanted, judged, rule, options } = variant.attack
  const decision = decisionOn(variant)
  const said = decision.kind === 'denial' ? decision.reason : `permit by ${decision.rule}`
  if (judged === 'execution') {
    // A consistency is of the request, and known here; values are not.
    return decision.kind === (options?.consistency === undefined ? 'permit' : 'denial') ? undefined : said
  }
  if (wanted === 'PASS') return decision.kind === 'permit' ? undefined : said
  return decision.kind === 'denial' && (rule === undefined || decision.rule === rule) ? undefined : said
}

const variants = variantsOf(4, 'offline')

describe('the policy of the corpus decides', () => {
  for (const attack of attacks.filter(({ wanted }) => wanted !== 'INVALID')) {
    it(`${attack.row} ${attack.name} (${attack.who}, ${attack.wanted})`, () => {
      const others = variants
        .filter((variant) => variant.attack === attack && variant.form !== 'batch')
        .flatMap((variant) => {
          const said = wrong(variant)
          return said === undefined ? [] : [`${JSON.stringify(variant.text)}: ${said}`]
        })
      assert.deepEqual(others, [])
    })
  }
})
