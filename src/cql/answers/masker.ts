/**
 * How one value is masked, by its type. What can be done is decided once for each column, before a value is read:
 *
 *     full     every type but custom ones: '****', 0, false, nothing, an address or date that is always the same
 *     partial  text, ascii and blob: at most half is kept; collections and vectors of them by element
 *     hash     text, ascii, blob, uuid, integers; collections and vectors of them by element
 *
 * A masked value is always a value of its type. Elements of a set, and keys of a map, that are equal once masked become one; the value of
 * the first stays. They are sorted by their masked bytes, because the old order would show which is the greater.
 */
import { RingfenceError } from '../../base/errors.ts'
import type { Column } from '../responses.ts'
import type { CqlType } from '../types.ts'
import { byElement } from './masking/elements.ts'
import { fullOf } from './masking/full.ts'
import { hashOf } from './masking/hash.ts'
import type { KeyedHash } from './masking/keyed-hash.ts'
import { partialOf } from './masking/partial.ts'
import type { ValueMasker } from './masking/value-masker.ts'

/** How a column is hidden. */
export type Mask =
  /** A fixed value of its type. */
  | { readonly kind: 'full' }
  /** Some characters (or bytes of a blob) at the ends stay, never more than half. */
  | { readonly kind: 'partial'; readonly keepStart: number; readonly keepEnd: number }
  /** Keyed: equal values of a column stay equal. `name` where the column goes by another name in this answer. */
  | { readonly kind: 'hash'; readonly name?: string }
  | { readonly kind: 'null' }

/**
 * @param keyed needed for a hash
 * @throws RingfenceError INVALID where values of the column's type cannot be masked so
 */
export function maskerOf(
  { name, type }: Pick<Column, 'name' | 'type'>,
  mask: Exclude<Mask, { readonly kind: 'null' }>,
  keyed: KeyedHash | undefined,
): ValueMasker {
  let masker: ValueMasker | undefined
  switch (mask.kind) {
    case 'full':
      masker = fullOf(type)
      break
    case 'partial':
      masker = byElement(type, partialOf(Math.max(0, mask.keepStart), Math.max(0, mask.keepEnd)))
      break
    case 'hash':
      masker = keyed && byElement(type, hashOf(keyed, Buffer.from(mask.name ?? name, 'utf8')))
  }
  if (masker !== undefined) return masker
  throw new RingfenceError('INVALID', `column ${name} cannot be masked by ${mask.kind}: its type is ${typeText(type)}`)
}

/** Of a type in an error: the outermost kind says enough. */
function typeText(type: CqlType): string {
  switch (type.kind) {
    case 'list':
    case 'set':
      return `${type.kind}<${typeText(type.element)}>`
    case 'map':
      return `map<${typeText(type.key)}, ${typeText(type.value)}>`
    case 'vector':
      return `vector<${typeText(type.element)}, ${type.dimension}>`
    default:
      return type.kind
  }
}
