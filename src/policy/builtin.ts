/**
 * What every authenticated principal may do without a policy's word: read the tables that drivers need to connect at all
 * (reference/data-access trap 46). The rest of `system…` is closed: it holds other people's statements and data (trap 51).
 */
import type { Access } from '../cql/statement/facts.ts'

export const driverMetadataRule = 'driver-metadata'

/** Tables by keyspace; undefined means every table of it. */
const driverTables: ReadonlyMap<string, ReadonlySet<string> | undefined> = new Map([
  ['system', new Set(['local', 'peers', 'peers_v2'])],
  ['system_schema', undefined],
  ['system_virtual_schema', undefined],
])

/** SELECT and DESCRIBE of the drivers' tables, and USE of their keyspaces. A deny may take it away. */
export function grantsDriverMetadata({ permission, resource }: Access): boolean {
  if (resource.kind === 'keyspace') {
    if (resource.keyspace === undefined || !driverTables.has(resource.keyspace)) return false
    if (permission === 'USE') return true
    return permission === 'DESCRIBE' && driverTables.get(resource.keyspace) === undefined
  }
  if (resource.kind !== 'table' || resource.keyspace === undefined) return false
  if (permission !== 'SELECT' && permission !== 'DESCRIBE') return false
  if (!driverTables.has(resource.keyspace)) return false
  return driverTables.get(resource.keyspace)?.has(resource.table) ?? true
}

/** No driver connects without this one, so a deny of it would only look like an outage. */
export function isUndeniable({ permission, resource }: Access): boolean {
  if (permission !== 'SELECT' || resource.kind !== 'table') return false
  return resource.keyspace === 'system' && resource.table === 'local'
}
