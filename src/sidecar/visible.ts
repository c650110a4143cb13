/**
 * Rows of DESCRIBE, and what of them an identity may see. The node answers; rows about objects that the identity may not see are taken out
 * of its answer, so that what is hidden and what does not exist look alike (attack C9). Tables about the schema: see `catalog/`.
 */
import type { Visibility } from '../policy/engine.ts'

/**
 * Whether a row may be seen. `read` gives the text of a column of the row by its name. A row says of what kind its object is; the text of
 * a keyspace names none of its tables.
 */
export function isVisible(visibility: Visibility, read: (column: string) => string | null): boolean {
  const keyspace = read('keyspace_name')
  const object = read('name')
  if (keyspace === null || object === null || !visibility.keyspace(keyspace)) return false
  switch (read('type')) {
    case 'table':
    case 'materialized_view':
    case 'view':
      return visibility.table(keyspace, object)
    case 'function':
    case 'aggregate':
      return visibility.function(keyspace, object)
    case 'keyspace':
    case 'type':
      return true
    default:
      // An index, or what a newer node describes.
      return visibility.all
  }
}
