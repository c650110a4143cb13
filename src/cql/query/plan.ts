/** A tree made into what `run.ts` does: output columns, tests, groups, order and limits. */
import { type CqlType, native } from '../types.ts'
import { isUntyped } from './assignable.ts'
import type { Compiled, Frame } from './compiled.ts'
import { type BoundTo, Compiler } from './expressions.ts'
import type { Clock } from './functions.ts'
import { jsonName, jsonOf } from './json.ts'
import { columnsOf } from './stamps.ts'
import type { TableShape } from './table.ts'
import type { Expression, SelectTree } from './tree.ts'
import { invalid, unsupported } from './unsupported.ts'
import { compileWhere, type Where } from './where.ts'

export interface OutputColumn {
  readonly name: string
  readonly type: CqlType
}

/** What one row of the answer is made from. */
export type Unit = 'row' | 'partition' | 'group' | 'all'

export interface Plan {
  readonly shape: TableShape
  readonly compiler: Compiler
  readonly columns: readonly OutputColumn[]
  readonly outputs: readonly ((frame: Frame) => Buffer | null)[]
  readonly unit: Unit
  readonly where: Where
  /** Of GROUP BY: the place of its last column in partition key and clustering key together. */
  readonly groupPrefix: number
  readonly descending: boolean
  /** Rows of several partitions have to be put in the order of their clustering keys. */
  readonly sorted: boolean
  /** Rows; at most 2^31 − 1 where none is given. */
  readonly limit: number
  readonly perPartitionLimit: number
  /** What the node would warn of. */
  readonly warning: string | undefined
}

export const noLimit = 2_147_483_647
/** Names in a select list; more are not a question about a schema. */
const selectorsMax = 1000

/**
 * Made for `anyValues` it is the plan of a statement that is prepared: what Cassandra refuses only when the statement is executed is not
 * checked.
 *
 * @throws RingfenceError INVALID for what Cassandra would refuse, as far as it is looked at here, and for what is not done here
 */
export function planOf(tree: SelectTree, shape: TableShape, values: BoundTo, clock: Clock): Plan {
  const compiler = new Compiler(shape, values, clock)
  const outputs = outputsOf(tree, compiler)
  const aggregated = compiler.aggregates.length > 0
  const where = compileWhere(tree.where, compiler)
  if (where.filtering && !tree.allowFiltering && shape.order === 'murmur3') {
    throw invalid(
      'Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING',
    )
  }
  const unit = tree.groupBy.length > 0 ? 'group' : aggregated ? 'all' : tree.distinct ? 'partition' : 'row'
  if (tree.distinct && unit !== 'partition') throw unsupported('DISTINCT with aggregates or GROUP BY')
  const json = tree.json ? jsonOutput(outputs) : undefined
  if (tree.orderBy.length > 0 && !where.keysGiven) {
    throw invalid('ORDER BY is only supported when the partition key is restricted by an EQ or an IN.')
  }
  const sorted = tree.orderBy.length > 0 && where.severalKeys
  // `Selection.getOrderingIndex`: of `JSON *` it is 0, so the node orders by the texts of the rows. That would be all of them in one go.
  if (sorted && tree.json && tree.selectors === '*') throw unsupported('JSON * in an order over several partitions')
  if (tree.distinct) checkDistinct(tree, where, compiler)
  if (tree.perPartitionLimit !== undefined && aggregated && unit === 'all') {
    throw invalid('PER PARTITION LIMIT is not allowed with aggregate queries.')
  }
  const descending = isDescending(tree, compiler)
  return {
    shape,
    compiler,
    columns:
      json === undefined
        ? outputs.map(({ name, type }) => ({ name: name ?? '?', type }))
        : [{ name: '[json]', type: native('text') }],
    outputs: json === undefined ? outputs.map(({ evaluate }) => evaluate) : [json],
    unit,
    where,
    groupPrefix: groupPrefixOf(tree.groupBy, where, compiler),
    descending,
    sorted,
    limit: limitOf(tree.limit, compiler),
    perPartitionLimit: limitOf(tree.perPartitionLimit, compiler),
    warning: !aggregated && unit !== 'group' ? undefined : warningOf(where),
  }
}

function warningOf({ keyRestricted, severalKeys }: Where): string | undefined {
  if (!keyRestricted) return 'Aggregation query used without partition key'
  return severalKeys ? 'Aggregation query used on multiple partition keys (IN restriction)' : undefined
}

function outputsOf({ selectors }: SelectTree, compiler: Compiler): Compiled[] {
  const { columns, shown } = compiler.shape
  if (selectors === '*') {
    const indexes = Array.from({ length: shown }, (_, index) => index)
    return indexes.map((index) => compiler.compile({ kind: 'column', name: columns[index]!.name }))
  }
  if (selectors.length > selectorsMax) throw unsupported(`a list of more than ${selectorsMax}`)
  return selectors.map(({ expression, alias }) => {
    if (expression.kind === 'group' || isUntyped(expression)) throw invalid(untypedSelector(expression))
    const compiled = compiler.compile(expression)
    return alias === undefined ? compiled : { ...compiled, name: alias }
  })
}

function untypedSelector(expression: Expression): string {
  const words =
    expression.kind === 'marker'
      ? '?'
      : expression.kind === 'constant'
        ? 'a constant'
        : expression.kind === 'null'
          ? 'NULL'
          : `a ${expression.kind}`
  return `Cannot infer type for term ${words} in selection clause (try using a cast to force a type)`
}

function checkDistinct(tree: SelectTree, { keysGiven }: Where, compiler: Compiler): void {
  const { selectors, where, perPartitionLimit } = tree
  if (perPartitionLimit !== undefined) {
    throw invalid('PER PARTITION LIMIT is not allowed with SELECT DISTINCT queries')
  }
  const isKey = (name: string): boolean => compiler.shape.columns[compiler.columnAt(name)]!.kind === 'partition_key'
  const { columns, shown, partitionKey } = compiler.shape
  const all = columns.slice(0, shown).map(({ name }) => name)
  const named = selectors === '*' ? all : selectors.flatMap(({ expression }) => columnsOf(expression))
  const other = named.find((name) => !isKey(name))
  if (other !== undefined) {
    throw invalid(
      `SELECT DISTINCT queries must only request partition key columns and/or static columns (not ${other})`,
    )
  }
  const missing = keysGiven ? undefined : partitionKey.find((index) => !named.includes(columns[index]!.name))
  if (missing !== undefined) {
    throw invalid(
      `SELECT DISTINCT queries must request all the partition key columns (missing ${columns[missing]!.name})`,
    )
  }
  if (where.some(({ columns: of }) => !of.every(isKey))) {
    throw invalid('SELECT DISTINCT with WHERE clause only supports restriction by partition key and/or static columns.')
  }
}

/** `Selection.rowToJson` */
function jsonOutput(outputs: readonly Compiled[]): (frame: Frame) => Buffer {
  const keys = outputs.map(({ name }) => {
    if (name === undefined) throw unsupported('JSON of an expression without an alias')
    return jsonName(name)
  })
  return (frame) => {
    const parts = outputs.map(({ type, evaluate }, i) => {
      const value = evaluate(frame)
      return `${keys[i]}: ${value === null ? 'null' : value.length === 0 ? '""' : jsonOf(type, value)}`
    })
    return Buffer.from(`{${parts.join(', ')}}`)
  }
}

function groupPrefixOf(groupBy: readonly Expression[], { fixed }: Where, compiler: Compiler): number {
  const { partitionKey, clusteringKey, columns } = compiler.shape
  const key = [...partitionKey, ...clusteringKey]
  let last = -1
  for (const expression of groupBy) {
    if (expression.kind !== 'column') throw unsupported('GROUP BY of an expression')
    const at = key.indexOf(compiler.columnAt(expression.name))
    if (at <= last || key.slice(last + 1, at).some((skipped) => !fixed.has(columns[skipped]!.name)))
      throw invalid(
        'Group by currently only support groups of columns following their declared order in the PRIMARY KEY',
      )
    last = at
  }
  if (last >= 0 && last < partitionKey.length - 1) {
    throw invalid(
      `Group by is currently only supported on the columns of the PRIMARY KEY, got ${columns[key[last]!]!.name}`,
    )
  }
  return last
}

function isDescending({ orderBy }: SelectTree, compiler: Compiler): boolean {
  const { clusteringKey, columns } = compiler.shape
  let reversed: boolean | undefined
  for (const [i, { column, descending }] of orderBy.entries()) {
    const index = compiler.columnAt(column)
    if (clusteringKey[i] !== index) {
      throw invalid(
        'Order by currently only supports the ordering of columns following their declared order in the PRIMARY KEY',
      )
    }
    const against = descending !== (columns[index]!.descending === true)
    if (reversed !== undefined && reversed !== against) throw invalid('Unsupported order by relation')
    reversed = against
  }
  return reversed === true
}

function limitOf(limit: Expression | undefined, compiler: Compiler): number {
  if (limit === undefined) return noLimit
  if (limit.kind === 'marker' && compiler.unset(limit.index)) return noLimit
  const bytes = compiler.value(limit, native('int'))
  if (compiler.formOnly) return noLimit
  if (bytes === null) throw invalid('Invalid null value of limit')
  if (bytes.length !== 4) throw invalid('Invalid limit value')
  const rows = bytes.readInt32BE(0)
  if (rows <= 0) throw invalid('LIMIT must be strictly positive')
  return rows
}
