/** The keyspace in force, put into facts whose statement named none. */
import { RingfenceError } from '../../base/errors.ts'
import type { Access, Resource, StatementFacts } from './facts.ts'

/** DESCRIBE statements that list a keyspace's objects, or the whole cluster's where no keyspace is in force. */
const clusterWide = new Set(['DESCRIBE TABLES', 'DESCRIBE TYPES', 'DESCRIBE FUNCTIONS', 'DESCRIBE AGGREGATES'])

/**
 * Facts without an undefined keyspace.
 * @param keyspace the one in force: the message's own, else the connection's USE, else none
 * @throws RingfenceError INVALID where one is needed and none is in force, with Cassandra's words
 */
export function resolveKeyspace(facts: StatementFacts, keyspace: string | undefined): StatementFacts {
  if (!facts.unqualified) return facts
  return resolveOnce(facts, keyspace, new Map())
}

/** @param known lists that were resolved; statements of a BATCH that share one go on sharing it */
function resolveOnce(
  facts: StatementFacts,
  keyspace: string | undefined,
  known: Map<readonly Access[], readonly Access[]>,
): StatementFacts {
  if (!facts.unqualified) return facts
  let accesses = known.get(facts.accesses)
  if (accesses === undefined) {
    accesses = resolveAll(facts, keyspace)
    known.set(facts.accesses, accesses)
  }
  // Statements of a BATCH that are one object stay one.
  const resolved = new Map<StatementFacts, StatementFacts>()
  for (const child of facts.children) {
    if (!resolved.has(child)) resolved.set(child, resolveOnce(child, keyspace, known))
  }
  return {
    ...facts,
    accesses,
    keyspace: facts.keyspace ?? (facts.table === undefined && !namesWithin(facts) ? undefined : keyspace),
    unqualified: false,
    children: facts.children.map((child) => resolved.get(child)!),
  }
}

function resolveAll(facts: StatementFacts, keyspace: string | undefined): readonly Access[] {
  const accesses: Access[] = []
  for (const access of facts.accesses) {
    const resource = resolve(access.resource, keyspace, facts.verb)
    if (resource !== undefined) accesses.push(resource === access.resource ? access : { ...access, resource })
  }
  return accesses
}

/** Undefined where the access falls away. */
function resolve(resource: Resource, keyspace: string | undefined, verb: string): Resource | undefined {
  if (!('keyspace' in resource) || resource.keyspace !== undefined) return resource
  if (keyspace !== undefined) return { ...resource, keyspace }
  if (clusterWide.has(verb)) return { kind: 'cluster' }
  // `DESCRIBE a` without a keyspace in force can only mean the keyspace a, which is an access of its own.
  if (verb === 'DESCRIBE') return undefined
  throw new RingfenceError(
    'INVALID',
    'No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename',
  )
}

/** Whether the statement is about something in the keyspace in force although it names no table. */
function namesWithin(facts: StatementFacts): boolean {
  return facts.verb !== 'BATCH' && facts.verb !== 'DESCRIBE'
}
