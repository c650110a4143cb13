/** Policies, statements and requests as tests write them. */
import { problemsOf } from '../base/errors.fixture.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import type { Decision } from './engine.ts'
import { PolicyEngine } from './engine.ts'
import { loadPolicy } from './load.ts'
import type { Principal } from './principal.ts'
import type { RequestContext, SchemaView, TableInfo } from './request.ts'
import { neutralRequest } from './request.ts'

/** One document; `spec` is JSON, which is YAML too. */
export function document(kind: string, name: string, spec: unknown): string {
  return JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec })
}

const everyService = [{ spiffeId: 'spiffe://td/svc/*' }]

/** An AccessPolicy for every service of trust domain `td`. */
export function access(name: string, spec: object): string {
  return document('AccessPolicy', name, { subjects: everyService, ...spec })
}

export function cedar(name: string, text: string, more: object = {}): string {
  return document('CedarPolicy', name, { cedar: text, ...more })
}

/** An engine under revision 7 of these documents. */
export function engineOf(...documents: readonly string[]): PolicyEngine {
  const engine = new PolicyEngine()
  engine.install(loadPolicy(documents.join('\n---\n'), 'test.yaml'), 7)
  return engine
}

/** What is wrong with these documents, a line for each problem; empty where they load. */
export function refusal(...documents: readonly string[]): string {
  return problemsOf(() => loadPolicy(documents.join('\n---\n'), 'p.yaml')).join('\n')
}

export function principal(path: string): Principal {
  return { spiffeId: parseSpiffeId(`spiffe://td/${path}`) }
}

export const orders = principal('svc/orders')

/** A request of its own, at noon of Wednesday, 18 November 2026, UTC. */
export const atNoon: RequestContext = {
  ...neutralRequest,
  clientAddress: '10.1.2.3',
  preparing: false,
  consistency: 'LOCAL_QUORUM',
  nowMs: Date.UTC(2026, 10, 18, 12, 0),
}

/** Tables by `keyspace.table`, indexes by `keyspace.index`. */
export function schemaOf(
  tables: { readonly [name: string]: Partial<TableInfo> },
  indexes: { readonly [name: string]: string } = {},
): SchemaView {
  const known = new Map(Object.entries(tables))
  const indexed = new Map(Object.entries(indexes))
  const plain: TableInfo = {
    partitionKey: ['id'],
    clusteringKey: [],
    columns: ['id'],
    base: undefined,
    defaultTtlSeconds: 0,
  }
  return {
    table(keyspace, table) {
      const found = known.get(`${keyspace}.${table}`)
      return found === undefined ? undefined : { ...plain, ...found }
    },
    indexedTable: (keyspace, index) => indexed.get(`${keyspace}.${index}`),
  }
}

export interface Asked {
  readonly as?: Principal
  readonly request?: Partial<RequestContext>
  readonly schema?: SchemaView | undefined
  readonly keyspace?: string
}

export function decide(engine: PolicyEngine, text: string, asked: Asked = {}): Decision {
  const facts = resolveKeyspace(analyse(text), asked.keyspace)
  return engine.decide(asked.as ?? orders, facts, { ...atNoon, ...asked.request }, asked.schema)
}

/** `+rules` or `-rule`; what was only observed stands behind `~`. */
export function verdict(engine: PolicyEngine, text: string, asked: Asked = {}): string {
  const decision = decide(engine, text, asked)
  if (decision.kind === 'denial') return `-${decision.rule}`
  return `+${decision.rule}${decision.observed === undefined ? '' : `~${decision.observed}`}`
}
