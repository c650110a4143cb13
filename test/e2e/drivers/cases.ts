/**
 * What every driver program must print: one `ok <case>` or `not ok <case>: why` for each name below, in this order.
 * A driver that has no means to do a case prints `ok <case> # skip <why>`, and only where `cannot` allows it; a name that is missing
 * from the output is a failure: no program can pass by doing less. Keep this list and the five programs (node, python, java, go, cqlsh) in step.
 */

/** The native types of CQL, each bound, written, read back and compared. */
export const nativeTypes = [
  'ascii',
  'bigint',
  'blob',
  'boolean',
  'date',
  'decimal',
  'double',
  'duration',
  'float',
  'inet',
  'int',
  'smallint',
  'text',
  'time',
  'timestamp',
  'timeuuid',
  'tinyint',
  'uuid',
  'varchar',
  'varint',
] as const

export const cases: readonly string[] = [
  'connect',
  'hosts',
  'schema change',
  'prepare and execute',
  ...nativeTypes.map((name) => `bind ${name}`),
  'bind counter',
  'bind null',
  'bind unset',
  'large value',
  'collection list',
  'collection set',
  'collection map',
  'collection nested frozen',
  'tuple',
  'udt',
  'vector',
  'paging 10000',
  'batch logged',
  'batch unlogged',
  'batch counter',
  'batch mixed',
  'lwt',
  'tracing',
  'use',
  'in flight 1000',
  'error syntax',
  'error unknown table',
  'refused reader',
  'refused nobody',
]

/** What a driver has no means to do, however it is used. */
export const cannot: ReadonlyMap<string, readonly string[]> = new Map([
  ['cqlsh', ['bind unset', 'batch mixed', 'in flight 1000']],
])
