/**
 * Which columns a refusal is about, for its text: "<table shop.orders> (column card)". They are named only for a table that the identity
 * may read in part: it may know its columns. For any other table the refusal is the same whether the table is there or not.
 */
import type { Access } from '../cql/statement/facts.ts'
import { type Asking, Questions } from './asking.ts'
import { printable } from './data/words.ts'
import { permissionsOf } from './policy.ts'
import type { Verdicts } from './verdicts.ts'

/** Classes of columns that are asked about, so that a refusal costs no more than a permit. */
const askedMax = 12
const namedMax = 3

/** Empty where the rules distinguish no columns. */
export function refusedColumns(verdicts: Verdicts, asking: Asking, access: Access): string {
  const { permission, resource, columns } = access
  if (resource.kind !== 'table' || !permissionsOf.columns.has(permission)) return ''
  const { keyspace, table } = resource
  if (keyspace === undefined || table === undefined) return ''
  const asked = columns === '*' ? (asking.schema?.table(keyspace, table)?.columns ?? []) : columns
  const refused: string[] = []
  let allowed = 0
  for (const column of oneOfEachClass(verdicts, asking, asked)) {
    const questions = new Questions(1)
    if (verdicts.judge({ ...asking, questions }, { ...access, columns: [column] }).outcome === 'allowed') allowed++
    else refused.push(column)
  }
  if (allowed === 0 || refused.length === 0) return ''
  const named = refused.slice(0, namedMax).map(printable).join(', ')
  const more = refused.length > namedMax ? ', …' : ''
  return ` (column${refused.length > 1 ? 's' : ''} ${named}${more})`
}

/** One column of each class. */
function oneOfEachClass(verdicts: Verdicts, asking: Asking, columns: readonly string[]): Iterable<string> {
  const byName = verdicts.policy.cedar.length > 0
  const classes = new Map<string, string>()
  for (const column of columns) {
    if (classes.size >= askedMax) break
    const of = byName ? column : asking.view.columnClass(column)
    if (!classes.has(of)) classes.set(of, column)
  }
  return classes.values()
}
