/** Tables in memory, as the tests of this folder have them. */
import { mapOf, native } from '../types.ts'
import { shapeOf, type TableColumn, type TableShape } from './table.ts'

export const text = native('text')
export const int = native('int')
export const texts = mapOf(text, text)

export function regular(name: string, type: TableColumn['type']): TableColumn {
  return { name, type, kind: 'regular', position: -1 }
}

/** `ks.t` with the partition key `p`, the clustering column `c`, and these. */
export function shapeWith(...more: readonly TableColumn[]): TableShape {
  const key = { name: 'p', type: text, kind: 'partition_key', position: 0 } as const
  const clustering = { name: 'c', type: int, kind: 'clustering', position: 0 } as const
  return shapeOf('ks', 't', [key, clustering, ...more], 'murmur3')
}
