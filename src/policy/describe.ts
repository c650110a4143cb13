/** Questions about names, by one who may not see all: which may be asked, and whose answer is cut down to what may be seen. */
import type { Access, StatementFacts } from '../cql/statement/facts.ts'
import { driverKeyspaces } from './builtin.ts'
import type { Verdict } from './verdict.ts'
import type { Visibility } from './visibility.ts'

/** Lists of names; each row can be left out by itself. */
const listVerbs: ReadonlySet<string> = new Set([
  'DESCRIBE KEYSPACES',
  'DESCRIBE TABLES',
  'DESCRIBE TYPES',
  'DESCRIBE FUNCTIONS',
  'DESCRIBE AGGREGATES',
])

/** Whether the answer tells names of the schema: whoever may not see all of them sees fewer. */
export function tellsNames({ verb }: StatementFacts, { permission, resource }: Access): boolean {
  if (permission === 'DESCRIBE' && verb.startsWith('DESCRIBE')) return true
  return permission === 'SELECT' && resource.kind === 'table' && driverKeyspaces.has(resource.keyspace ?? '')
}

/** DESCRIBE of what may be seen, where no rule gives DESCRIBE of all that it asks about. */
export function mayDescribe(
  { verb }: StatementFacts,
  { permission, resource }: Access,
  verdict: Verdict,
  visibility: Visibility,
): boolean {
  if (permission !== 'DESCRIBE' || !verb.startsWith('DESCRIBE') || verdict.outcome === 'unknown') return false
  switch (resource.kind) {
    case 'keyspace':
      // What names one thing whose visibility is not known here would tell by its answer whether the thing exists (attack C19).
      if (verb === 'DESCRIBE' || verb === 'DESCRIBE INDEX') return false
      return resource.keyspace !== undefined && visibility.keyspace(resource.keyspace)
    case 'table':
      return resource.keyspace !== undefined && visibility.table(resource.keyspace, resource.table)
    case 'function':
      return resource.keyspace !== undefined && visibility.function(resource.keyspace, resource.name)
    case 'role':
      return false
    case 'cluster': {
      if (!listVerbs.has(verb)) return false
      // A deny of some part is met by leaving the part out; a deny of the cluster is not.
      return verdict.outcome === 'unspoken' || verdict.rules.every((rule) => 'cluster' in rule && !rule.cluster)
    }
  }
}
