/** Names of tables and columns in flags, as CQL reads them: in lower case, unless they stand in quotes. */
import { InvalidArgumentError } from 'commander'

export interface TableName {
  readonly keyspace: string
  readonly table: string | undefined
}

/** In quotes, or not. */
const namePattern = '(?:"((?:[^"]|"")+)"|([A-Za-z]\\w*))'
const tablePattern = new RegExp(`^${namePattern}(?:\\.${namePattern})?$`)
const columnPattern = new RegExp(`^${namePattern}$`)

export function parseTable(text: string): TableName {
  const match = tablePattern.exec(text)
  if (match === null) throw new InvalidArgumentError('a table is written shop.orders, or shop."Orders"')
  const [, quotedKeyspace, keyspace, quotedTable, table] = match
  return { keyspace: nameOf(quotedKeyspace, keyspace)!, table: nameOf(quotedTable, table) }
}

export function parseColumn(text: string): string {
  const match = columnPattern.exec(text)
  if (match === null) throw new InvalidArgumentError('a column is written email, or "eMail"')
  return nameOf(match[1], match[2])!
}

function nameOf(quoted: string | undefined, plain: string | undefined): string | undefined {
  return quoted?.replaceAll('""', '"') ?? plain?.toLowerCase()
}
