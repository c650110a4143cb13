/** WHERE as a test of rows (`cql3/restrictions/*.java`). What may be asked at all is the node's to say; see `filtering`. */
import { BodyReader } from '../reader.ts'
import { type CqlType, listOf } from '../types.ts'
import { compareValues } from './compare.ts'
import type { Compiler } from './expressions.ts'
import { entriesOf } from './literals.ts'
import { checkRelations } from './restrictions.ts'
import type { RowView } from './table.ts'
import type { Expression, Operator, Relation } from './tree.ts'
import { invalid, unsupported } from './unsupported.ts'

export interface Where {
  /** Each of them must hold. */
  readonly tests: readonly ((row: RowView) => boolean)[]
  /** What testing a row costs. */
  readonly cost: number
  /** Each column of the partition key is given by = or IN, so that the partitions come in the order of their keys. */
  readonly keysGiven: boolean
  /** There are several of them. */
  readonly severalKeys: boolean
  /** Whether any column of the partition key is restricted, by its token too. */
  readonly keyRestricted: boolean
  /** Columns that are given one value by =. */
  readonly fixed: ReadonlySet<string>
  /** Values of each column of the partition key, where they are given. */
  readonly keys: readonly (readonly Buffer[])[]
  /** It restricts more than the key's order can find, so that Cassandra asks for ALLOW FILTERING. */
  readonly filtering: boolean
}

export function compileWhere(relations: readonly Relation[], compiler: Compiler): Where {
  const { shape } = compiler
  checkRelations(relations, compiler)
  const keys = new Map<number, readonly Buffer[]>()
  let severalKeys = false
  let cost = relations.length
  const tests = relations.map((relation) => {
    if (relation.token) return tokenTest(relation, compiler)
    if (relation.tuple) {
      const { test, tuples } = tupleTest(relation, compiler)
      cost += tuples
      return test
    }
    const index = compiler.columnAt(relation.columns[0]!)
    const { type, name, kind } = shape.columns[index]!
    if (relation.key !== undefined) return entryTest(relation.key, relation.value, index, type, name, compiler)
    if (relation.operator !== '=' && relation.operator !== 'IN')
      return columnTest(relation, index, type, name, compiler)
    const values =
      relation.operator === 'IN'
        ? listed(relation.value, type, name, compiler)
        : [given(relation.value, type, name, compiler)]
    if (kind === 'partition_key') {
      keys.set(index, values)
      severalKeys ||= values.length > 1
      if (!compiler.formOnly && values.some(({ length }) => length === 0)) throw invalid('Key may not be empty')
    }
    const wanted = new Set(values.map((bytes) => bytes.toString('latin1')))
    return (row: RowView): boolean => {
      const cell = row.cell(index)
      return cell !== null && wanted.has(cell.toString('latin1'))
    }
  })
  const keysGiven = shape.partitionKey.every((index) => keys.has(index))
  const keyRestricted = relations.some(
    ({ columns, token }) =>
      !token && columns.some((name) => shape.columns[compiler.columnAt(name)]?.kind === 'partition_key'),
  )
  return {
    tests,
    cost,
    keysGiven,
    severalKeys,
    keyRestricted: keyRestricted || relations.some(({ token }) => token),
    fixed: new Set(
      relations.flatMap(({ columns, operator, token, key }) =>
        operator === '=' && !token && key === undefined ? columns : [],
      ),
    ),
    keys: keysGiven ? shape.partitionKey.map((index) => keys.get(index) ?? []) : [],
    filtering: needsFiltering(relations, compiler, keysGiven, keyRestricted),
  }
}

/** What Cassandra does without ALLOW FILTERING: the whole partition key by = or IN or its token, then a prefix of the clustering key. */
function needsFiltering(
  relations: readonly Relation[],
  compiler: Compiler,
  keysGiven: boolean,
  keyRestricted: boolean,
): boolean {
  const { columns, clusteringKey, partitionKey } = compiler.shape
  if (keyRestricted && !keysGiven) return true
  const rest = relations.filter(({ columns: of, token }) => !token && !partitionKey.includes(compiler.columnAt(of[0]!)))
  if (rest.length > 0 && !keysGiven) return true
  const found = new Map<number, 'exact' | 'slice' | 'other'>()
  for (const { columns: of, key, operator } of rest) {
    for (const name of of) {
      const index = compiler.columnAt(name)
      const kind =
        columns[index]!.kind !== 'clustering' || key !== undefined || operator.startsWith('CONTAINS')
          ? 'other'
          : operator === '=' || operator === 'IN'
            ? 'exact'
            : 'slice'
      found.set(index, kind)
    }
  }
  if ([...found.values()].includes('other')) return true
  // A slice may be over several columns; behind it nothing else may be restricted.
  const kinds = clusteringKey.map((index) => found.get(index))
  const last = kinds.findLastIndex((kind) => kind !== undefined)
  return kinds.slice(0, last + 1).includes(undefined)
}

function columnTest(
  { operator, value }: Relation,
  index: number,
  type: CqlType,
  name: string,
  compiler: Compiler,
): (row: RowView) => boolean {
  if (operator === 'CONTAINS' || operator === 'CONTAINS KEY') {
    const isMap = type.kind === 'map'
    if (!isMap && type.kind !== 'list' && type.kind !== 'set')
      throw invalid(`Cannot use ${operator} on non-collection column ${name}`)
    if (operator === 'CONTAINS KEY' && !isMap) throw invalid(`Cannot use CONTAINS KEY on non-map column ${name}`)
    const itemType = isMap ? (operator === 'CONTAINS KEY' ? type.key : type.value) : type.element
    const wanted = given(value, itemType, name, compiler)
    return (row) => {
      const cell = row.cell(index)
      if (cell === null) return false
      for (const [key, item] of entriesOf(isMap, cell)) {
        if (compareValues(itemType, operator === 'CONTAINS KEY' ? key : item, wanted) === 0) return true
      }
      return false
    }
  }
  const wanted = given(value, type, name, compiler)
  return (row) => {
    const cell = row.cell(index)
    return cell !== null && holds(operator, compareValues(type, cell, wanted))
  }
}

/** `column[key] = value` */
function entryTest(
  key: Expression,
  value: Expression,
  index: number,
  type: CqlType,
  name: string,
  compiler: Compiler,
): (row: RowView) => boolean {
  if (type.kind !== 'map') throw invalid(`Column ${name} cannot be used as a map`)
  const [wantedKey, wanted] = [given(key, type.key, name, compiler), given(value, type.value, name, compiler)]
  return (row) => {
    const cell = row.cell(index)
    if (cell === null) return false
    for (const [item, mapped] of entriesOf(true, cell)) {
      if (compareValues(type.key, item, wantedKey) === 0) return compareValues(type.value, mapped, wanted) === 0
    }
    return false
  }
}

/** −2^63 */
const smallestToken = Buffer.from('8000000000000000', 'hex')

function tokenTest({ columns, operator, value }: Relation, compiler: Compiler): (row: RowView) => boolean {
  const parts = columns.map((name): Expression => ({ kind: 'column', name }))
  const names = compiler.shape.partitionKey.map((index) => compiler.shape.columns[index]!.name)
  if (columns.join('\0') !== names.join('\0')) {
    throw invalid('The token function arguments must be in the partition key order')
  }
  const token = compiler.compile({ kind: 'call', keyspace: undefined, name: 'token', parts })
  const wanted = given(value, token.type, 'partition key token', compiler)
  // The smallest token stands for the end of the ring where it is an upper bound.
  const isSmallest = wanted.equals(token.type.kind === 'bigint' ? smallestToken : Buffer.alloc(0))
  if (isSmallest && (operator === '<' || operator === '<=')) return () => true
  return (row) => {
    const found = token.evaluate({ row, aggregates: [] })
    return found !== null && holds(operator, compareValues(token.type, found, wanted))
  }
}

function tupleTest(
  { columns, operator, value }: Relation,
  compiler: Compiler,
): { readonly test: (row: RowView) => boolean; readonly tuples: number } {
  const indexes = columns.map((name) => compiler.columnAt(name))
  const types = indexes.map((index) => compiler.shape.columns[index]!.type)
  if (operator === 'IN') {
    const tuples = tuplesOf(value, types, columns, compiler)
    const test = (row: RowView): boolean => tuples.some((tuple) => compareTuple(row, indexes, types, tuple) === 0)
    return { test, tuples: tuples.length }
  }
  const tuple = tupleOf(value, types, columns, compiler)
  return { test: (row) => holds(operator, compareTuple(row, indexes, types, tuple)), tuples: 1 }
}

/** NaN where a cell is null: then no relation holds. A tuple that is shorter than the columns is compared by its own length. */
function compareTuple(
  row: RowView,
  indexes: readonly number[],
  types: readonly CqlType[],
  tuple: readonly Buffer[],
): number {
  for (const [i, wanted] of tuple.entries()) {
    const cell = row.cell(indexes[i]!)
    if (cell === null) return Number.NaN
    const difference = compareValues(types[i]!, cell, wanted)
    if (difference !== 0) return difference
  }
  return 0
}

function tuplesOf(
  value: Expression,
  types: readonly CqlType[],
  columns: readonly string[],
  compiler: Compiler,
): Buffer[][] {
  if (value.kind === 'list') return value.parts.map((part) => tupleOf(part, types, columns, compiler))
  if (value.kind !== 'marker') throw unsupported('this value of IN')
  const elements = { kind: 'tuple', elements: types } as const
  return listed(value, elements, columns.join(', '), compiler).map((tuple) => partsOf(tuple, types, columns))
}

function tupleOf(
  value: Expression,
  types: readonly CqlType[],
  columns: readonly string[],
  compiler: Compiler,
): Buffer[] {
  if (value.kind === 'marker') {
    const tuple = given(value, { kind: 'tuple', elements: types }, columns.join(', '), compiler)
    return partsOf(tuple, types, columns)
  }
  // `(a) = ('x')` is read as one value in parentheses.
  const parts = value.kind === 'tuple' ? value.parts : [value]
  if (parts.length > types.length)
    throw invalid(`Expected ${types.length} elements in value tuple, but got ${parts.length}`)
  return parts.map((part, i) => given(part, types[i]!, columns[i]!, compiler))
}

function partsOf(tuple: Buffer, types: readonly CqlType[], columns: readonly string[]): Buffer[] {
  const reader = new BodyReader().reset(tuple, 0, tuple.length)
  return types.map((_, i) => {
    const part = reader.remaining === 0 ? null : reader.bytes()
    if (part === null) throw invalid(`Invalid null value in condition for column ${columns[i]}`)
    return part
  })
}

function listed(value: Expression, type: CqlType, name: string, compiler: Compiler): Buffer[] {
  if (value.kind === 'list') return value.parts.map((part) => given(part, type, name, compiler))
  if (value.kind !== 'marker') throw unsupported('this value of IN')
  const list = given(value, listOf(type), name, compiler)
  return [...entriesOf(false, list)].map(([item]) => item)
}

const nothing = Buffer.alloc(0)

function given(value: Expression, type: CqlType, name: string, compiler: Compiler): Buffer {
  if (value.kind === 'marker' && compiler.unset(value.index)) throw invalid(`Invalid unset value for column ${name}`)
  const bytes = compiler.value(value, type)
  if (bytes === null && compiler.formOnly) return nothing
  if (bytes === null) throw invalid(`Invalid null value in condition for column ${name}`)
  return bytes
}

function holds(operator: Operator, difference: number): boolean {
  switch (operator) {
    case '=':
      return difference === 0
    case '<':
      return difference < 0
    case '<=':
      return difference <= 0
    case '>':
      return difference > 0
    case '>=':
      return difference >= 0
    default:
      return false
  }
}
