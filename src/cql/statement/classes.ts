/**
 * Java classes that a statement would have the node load (attack C6), by their full names as Cassandra 5.0 makes them out of what is
 * written. Column types by class name are another matter: `marshal-types.ts`.
 */

/**
 * Where a name without a package is looked for, by property (`CompactionParams.classFromName`, `CompressionParams.parseCompressorClass`,
 * `AbstractReplicationStrategy.getClass`).
 */
const packages: ReadonlyMap<string, string> = new Map([
  ['compaction', 'org.apache.cassandra.db.compaction.'],
  ['compression', 'org.apache.cassandra.io.compress.'],
  ['replication', 'org.apache.cassandra.locator.'],
])

/**
 * Keys whose value is a class. In any property: what Cassandra has no class for it refuses or passes over, so that no harm is done by taking
 * it for one. `sstable_compression` is what Cassandra up to 4.1 also understands, `analyzer_class` an option of SASI (`IndexMode`).
 */
const classKeys: ReadonlySet<string> = new Set(['class', 'class_name', 'sstable_compression', 'analyzer_class'])

/** Whether `key` in the map of a property names a class. */
export function namesClass(key: string): boolean {
  return classKeys.has(key)
}

/** The class that `WITH property = {key: value}` names; undefined for no compression. */
export function classOfProperty(property: string, value: string): string | undefined {
  if (property === 'compression' && value === '') return undefined
  return value.includes('.') ? value : (packages.get(property) ?? '') + value
}

const storageAttached = 'org.apache.cassandra.index.sai.StorageAttachedIndex'

/** The class of `CREATE INDEX … USING 'name'` (`IndexMetadata.getIndexClassName`). */
export function classOfIndex(name: string): string {
  return /^(sai|storageattachedindex)$/i.test(name) ? storageAttached : name
}
