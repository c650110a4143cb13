/**
 * Java classes that a statement may have a node load (attack C6). Each is code that runs inside the node with all its rights. So the list
 * binds everyone, administrators too. Cassandra's own are on it; others are admitted by a Guardrail.
 */
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { Findings } from './findings.ts'
import type { DataRules, Rule } from './rules.ts'
import { printable, tableName } from './words.ts'

const unlistedClassRule = 'unlisted-class'

const unlisted: Rule = { name: unlistedClassRule, observe: false }

/**
 * What Cassandra 5.0 brings for users: read out of its jar by package and interface. `LocalStrategy` is not among them, since Cassandra keeps
 * it for itself; no trigger comes with it.
 */
export const ownClasses: ReadonlySet<string> = new Set([
  ...['SizeTiered', 'Leveled', 'TimeWindow', 'Unified'].map(
    (name) => `org.apache.cassandra.db.compaction.${name}CompactionStrategy`,
  ),
  ...['LZ4', 'Snappy', 'Deflate', 'Zstd', 'Noop'].map((name) => `org.apache.cassandra.io.compress.${name}Compressor`),
  ...['Simple', 'NetworkTopology'].map((name) => `org.apache.cassandra.locator.${name}Strategy`),
  'org.apache.cassandra.index.sai.StorageAttachedIndex',
  'org.apache.cassandra.index.sasi.SASIIndex',
  ...['Standard', 'NonTokenizing', 'Delimiter', 'NoOp'].map(
    (name) => `org.apache.cassandra.index.sasi.analyzer.${name}Analyzer`,
  ),
])

export function judgeClasses(findings: Findings, rules: DataRules, { classes, keyspace, table }: StatementFacts): void {
  for (const name of classes) {
    if (ownClasses.has(name)) continue
    if (keyspace !== undefined && rules.allowsClass(name, keyspace, table)) continue
    // The name itself is a literal, which refusals and records do not hold.
    const where = table === undefined ? printable(keyspace ?? '?') : tableName(keyspace ?? '?', table)
    findings.refuse(unlisted, `a statement on ${where} names a class that is not on the list of classes`)
    return
  }
}
