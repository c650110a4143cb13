/**
 * What every authenticated principal may do without a policy's word: read the tables that drivers need to connect at
 * all. The rest of `system…` is closed: it holds other people's statements and data (attack C11).
 */
import type { Access } from '../cql/statement/facts.ts'

export const driverMetadataRule = 'driver-metadata'

/** Keyspaces of which every table may be read. */
export const driverKeyspaces: ReadonlySet<string> = new Set(['system_schema', 'system_virtual_schema'])

/** Single tables, keyspace first. */
export const driverTables: readonly (readonly [string, string])[] = [
  ['system', 'local'],
  ['system', 'peers'],
  ['system', 'peers_v2'],
]

/** SELECT, SCAN and DESCRIBE of the drivers' tables, and USE of their keyspaces. A deny may take it away. Cedar has it from `compile.ts`. */
export function grantsDriverMetadata({ permission, resource }: Access): boolean {
  if (!('keyspace' in resource) || resource.keyspace === undefined) return false
  const { keyspace } = resource
  if (resource.kind === 'keyspace') {
    if (permission === 'USE') return keyspace === 'system' || driverKeyspaces.has(keyspace)
    return permission === 'DESCRIBE' && driverKeyspaces.has(keyspace)
  }
  if (resource.kind !== 'table') return false
  if (permission !== 'SELECT' && permission !== 'SCAN' && permission !== 'DESCRIBE') return false
  return driverKeyspaces.has(keyspace) || driverTables.some((one) => one[0] === keyspace && one[1] === resource.table)
}

/** No driver connects without this one, so a deny of it would only look like an outage. */
export function isUndeniable({ permission, resource }: Access): boolean {
  if (permission !== 'SELECT' && permission !== 'SCAN') return false
  return resource.kind === 'table' && resource.keyspace === 'system' && resource.table === 'local'
}
