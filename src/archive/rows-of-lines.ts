/** SQL that makes rows of `src/audit/transaction-row.ts` of lines of the record. */
import { type RowColumn, rowColumns } from '../audit/transaction-row.ts'
import { sqlText } from './database.ts'

const withoutQuotes = (name: string): string => `replace(${name}, '"', '')`
/**
 * 1 where a statement touches more than the one table that its row names: others (views, the parts of a BATCH), or one where the row names none.
 * Without it the tables of each row were to be looked at, and no bounds of columns say what these are.
 */
export const beside = `coalesce(len(tables) > 1 OR (len(tables) = 1 AND ${withoutQuotes('tables[1]')}
  IS DISTINCT FROM ${withoutQuotes(`keyspace || '.' || table_name`)}), false)::INTEGER AS beside`

/** Far above `auditLineBytesMax`: what is longer was not written by a sidecar. */
const lineBytesMax = 1024 * 1024

/**
 * Rows of these files of lines. What is no line of the record is a row whose `time` is NULL: the caller counts it or leaves it out, and
 * nothing else is wrong with the others.
 */
export function rowsOfLines(files: readonly string[]): string {
  if (files.length === 0)
    return `(SELECT ${rowColumns.map(({ name, type }) => `NULL::${type} AS ${name}`).join(', ')} WHERE false)`
  const types = new Map<string, string>()
  for (const { from, type } of rowColumns) {
    for (const path of from) {
      const [outer = '', inner] = path.split('.')
      types.set(outer, inner === undefined ? type : structWith(types.get(outer), inner, type))
    }
  }
  types.set('time', 'VARCHAR')
  const columns = [...types].map(([name, type]) => `${sqlText(name)}: ${sqlText(type)}`)
  return `(SELECT ${rowColumns.map(projected).join(', ')} FROM read_json([${files.map(sqlText).join(', ')}], format = 'newline_delimited', ignore_errors = true, maximum_object_size = ${lineBytesMax}, columns = {${columns.join(', ')}}))`
}

function structWith(type: string | undefined, name: string, inner: string): string {
  return type === undefined ? `STRUCT("${name}" ${inner})` : `${type.slice(0, -1)}, "${name}" ${inner})`
}

function projected({ name, type, from }: RowColumn): string {
  const fields = from.map((path) =>
    path
      .split('.')
      .map((part) => `"${part}"`)
      .join('.'),
  )
  if (type === 'TIMESTAMPTZ') return `try_cast(${fields[0]} AS TIMESTAMPTZ) AS ${name}`
  return `${fields.length === 1 ? fields[0] : `coalesce(${fields.join(', ')})`} AS ${name}`
}
