/** How a person names people, workloads and tables, of the record and of what happens now: one meaning for `who`, `audit tail` and `tap`. */

/** `alice` and `corp/alice` name `corp/alice`: a part of the end is enough, from a `/` on; `*` stands for any letters. */
export function isNamed(value: unknown, name: string): boolean {
  if (typeof value !== 'string') return false
  const starts = [0, ...[...value.matchAll(/\//g)].map(({ index }) => index + 1)]
  return starts.some((start) => isLike(value.slice(start), name.split('*')))
}

/** Without a regular expression of somebody's making: a name is matched part by part. */
function isLike(text: string, parts: readonly string[]): boolean {
  const [first = '', ...rest] = parts
  if (!text.startsWith(first)) return false
  const last = rest.pop()
  if (last === undefined) return text === first
  let at = first.length
  for (const part of rest) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}

/** What a line says that it touches; nothing in a file need be what it should be. */
export interface Touched {
  readonly keyspace?: unknown
  readonly table?: unknown
  /** As `keyspace.table`, with quotes where CQL needs them. */
  readonly tables?: unknown
}

/** @param wantedTable all of the keyspace where it is left out */
export function touches(
  { keyspace, table, tables }: Touched,
  wantedKeyspace: string,
  wantedTable: string | undefined,
): boolean {
  if (keyspace === wantedKeyspace && (wantedTable === undefined || table === wantedTable)) return true
  if (!Array.isArray(tables)) return false
  const starts = [wantedKeyspace, inQuotes(wantedKeyspace)].map((name) => `${name}.`)
  return tables.some((each) => {
    const start = starts.find((one) => String(each).startsWith(one))
    if (start === undefined) return false
    const rest = String(each).slice(start.length)
    return wantedTable === undefined || rest === wantedTable || rest === inQuotes(wantedTable)
  })
}

function inQuotes(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
