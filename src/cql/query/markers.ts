/** The markers of a statement as PREPARE tells of them, before any value is known (`cql3/VariableSpecifications.java`). */
import { type CqlType, fixedBytes } from '../types.ts'
import { encodeValue } from '../values.ts'
import type { BoundTo } from './expressions.ts'
import type { OutputColumn, Plan } from './plan.ts'
import type { Expression, SelectTree } from './tree.ts'
import { invalid } from './unsupported.ts'

/** A value of each type that is asked for: a plan can be made with it where only its form is wanted. */
export const anyValues: BoundTo = {
  bytes: (_, type) => anyOf(type),
  unset: () => false,
  formOnly: true,
}

function anyOf(type: CqlType): Buffer {
  switch (type.kind) {
    case 'ascii':
    case 'text':
      return Buffer.from('x')
    case 'list':
    case 'set':
    case 'map':
      return Buffer.alloc(4)
    case 'tuple':
      return encodeValue(
        { kind: 'tuple', elements: type.elements.map(() => ({ kind: 'blob' })) },
        type.elements.map(anyOf),
      )!
    case 'inet':
      return Buffer.from([127, 0, 0, 1])
    case 'duration':
      return encodeValue(type, { months: 0, days: 1, nanoseconds: 0n })!
    case 'decimal':
      return encodeValue(type, { unscaled: 1n, scale: 0 })!
    case 'timeuuid':
      return Buffer.from('00000000000010008000000000000000', 'hex')
    default: {
      const bytes = Buffer.alloc(fixedBytes(type) ?? 1)
      if (bytes.length > 0 && bytes.length <= 8) bytes[bytes.length - 1] = 1
      return bytes
    }
  }
}

/** Each marker's name and type; `plan` was made of `tree`. */
export function markersOf(tree: SelectTree, { compiler }: Plan): OutputColumn[] {
  const names = new Map<number, string>()
  const name = (value: Expression | undefined, its: string): void => {
    if (value?.kind === 'marker') names.set(value.index, its)
    if (value?.kind === 'hint' || value?.kind === 'group') name(value.part, its)
    if (value?.kind === 'list') for (const part of value.parts) name(part, its)
  }
  for (const { columns, token, tuple, key, operator, value } of tree.where) {
    const all = columns.join(',')
    if (key !== undefined) {
      name(key, `key(${all})`)
      name(value, `value(${all})`)
      continue
    }
    if (token) name(value, 'partition key token')
    else if (tuple && value.kind === 'tuple')
      for (const [i, part] of value.parts.entries()) name(part, columns[i] ?? all)
    else if (tuple) name(value, operator === 'IN' ? `in(${all})` : `(${all})`)
    else if (operator === 'CONTAINS') name(value, `value(${all})`)
    else if (operator === 'CONTAINS KEY') name(value, `key(${all})`)
    else name(value, operator === 'IN' && value.kind === 'marker' ? `in(${all})` : all)
  }
  name(tree.limit, '[limit]')
  name(tree.perPartitionLimit, '[per_partition_limit]')
  return tree.markers.map((own, index) => {
    const type = compiler.markerTypes[index]
    if (type === undefined) throw invalid('a marker needs a type here: put one in front, as in (text) ?')
    return { name: own ?? names.get(index) ?? '[selection]', type }
  })
}

/** The markers that make up the partition key, in its order, where they do: of several for a column the last, as in Cassandra. */
export function keyMarkersOf({ where }: SelectTree, { shape }: Plan): number[] {
  const found = shape.partitionKey.map((index) => {
    const { name } = shape.columns[index]!
    const values = where.flatMap(({ columns, token, tuple, key, operator, value }): readonly Expression[] => {
      if (token || tuple || key !== undefined || columns[0] !== name) return []
      return operator === 'IN' ? (value.kind === 'list' ? value.parts : []) : [value]
    })
    return values.findLast((value) => value.kind === 'marker')?.index
  })
  return found.includes(undefined) ? [] : found.filter((index) => index !== undefined)
}
