/** Questions about the record: who asked for what, and which ways there are between identities and tables. */
import { AssertionError } from '../base/errors.ts'
import { methodByMutualTls, methodWithoutProof } from '../identity/proofs/secured.ts'
import { sqlText, sqlTime } from './database.ts'
import { isAccess } from './requests.ts'

/** What transactions a question is about. */
export interface Wanted {
  readonly keyspace?: string | undefined
  readonly table?: string | undefined
  /** `*` stands for any letters; a part of the name's end is enough, from a `/` on. */
  readonly person?: string | undefined
  readonly workload?: string | undefined
  readonly denied?: boolean | undefined
  /** Of these texts only. */
  readonly statements?: readonly string[] | undefined
}

export type Values = (string | number)[]

/** SQL, and what stands as $1, $2, … in it. */
export interface Question {
  readonly sql: string
  readonly values: Values
}

/**
 * The rows about what is named, each once: those whose own table it is, which the bounds of row groups find; those that touch it beside another;
 * and of the lines that are not packed both.
 */
export function rowsAbout({ keyspace, table }: Wanted): string {
  if (keyspace === undefined) return 'record'
  const own = [
    `keyspace = ${sqlText(keyspace)}`,
    ...(table === undefined ? [] : [`table_name = ${sqlText(table)}`]),
  ].join(' AND ')
  const touched = table === undefined ? touchesKeyspace(keyspace) : touchesTable(keyspace, table)
  const others = `(${own}) IS NOT TRUE AND ${touched}`
  // NULL: packed before there was such a column. Two branches, for an OR of both is not answered by bounds.
  return `(SELECT * EXCLUDE (beside) FROM packed WHERE ${own}
    UNION ALL SELECT * EXCLUDE (beside) FROM packed WHERE beside > 0 AND ${others}
    UNION ALL SELECT * EXCLUDE (beside) FROM packed WHERE beside IS NULL AND ${others}
    UNION ALL SELECT * FROM unpacked WHERE (${own}) OR ${touched})`
}

function touchesTable(keyspace: string, table: string): string {
  const names = new Set([`${keyspace}.${table}`, `${cqlName(keyspace)}.${cqlName(table)}`])
  return `list_has_any(tables, [${[...names].map(sqlText).join(', ')}])`
}

function touchesKeyspace(keyspace: string): string {
  const starts = [...new Set([`${keyspace}.`, `${cqlName(keyspace)}.`])].map(
    (start) => `starts_with(each_table, ${sqlText(start)})`,
  )
  return `len(list_filter(tables, lambda each_table: ${starts.join(' OR ')})) > 0`
}

/** The condition beside `rowsAbout`; its values are added to `values`. */
function condition(wanted: Wanted, values: Values): string {
  const bound = (value: string | number): string => `$${values.push(value)}`
  const { person, workload, denied, statements } = wanted
  const parts = [isAccess]
  if (person !== undefined) parts.push(named('person', person, bound))
  if (workload !== undefined) parts.push(named('workload', workload, bound))
  if (denied === true) parts.push(`verdict = 'deny'`)
  if (statements !== undefined) {
    parts.push(statements.length === 0 ? 'false' : `statement IN (${statements.map(bound).join(', ')})`)
  }
  return parts.join(' AND ')
}

function named(column: string, name: string, bound: (value: string) => string): string {
  const pattern = name.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%')
  const like = (text: string): string => `${column} LIKE ${bound(text)} ESCAPE '\\'`
  return `(${like(pattern)} OR ${like(`%/${pattern}`)})`
}

/** As CQL writes it: in quotes where it needs them. */
function cqlName(name: string): string {
  return /^[a-z][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/** One line for each identity, verdict and rule. */
export function whoAsked(wanted: Wanted): Question {
  const values: Values = []
  const where = condition(wanted, values)
  const sql = `SELECT workload, person, verdict, rule, list_sort(list(DISTINCT operation)) AS operations,
      count(*) AS requests, sum(rows_answered)::BIGINT AS rows_answered, count(*) FILTER (outcome <> 'ok') AS failed,
      list_sort(list(DISTINCT client_address)) AS addresses, min(time) AS first, max(time) AS last
    FROM ${rowsAbout(wanted)} WHERE ${where}
    GROUP BY workload, person, verdict, rule
    ORDER BY requests DESC, workload, person, verdict, rule`
  return { sql, values }
}

/** From when on a zone is so far ahead of UTC. */
export interface Offset {
  readonly fromMs: number
  readonly micros: number
  /** `+02:00`. */
  readonly text: string
}

/**
 * One line for each hour of a zone and identity, in the order of time. An hour has its offset, for there are two of one name where clocks go back.
 * @param offsets of the range, at least one, in the order of time
 */
export function whoByHour(wanted: Wanted, offsets: readonly Offset[]): Question {
  const values: Values = []
  const where = condition(wanted, values)
  const micros = byTime(offsets, (offset) => String(offset.micros))
  const text = byTime(offsets, (offset) => sqlText(offset.text))
  const sql = `SELECT strftime(local_hour, '%Y-%m-%d %H:00') || offset_text AS hour, workload, person, verdict, count(*) AS requests,
      sum(rows_answered)::BIGINT AS rows_answered, count(*) FILTER (outcome <> 'ok') AS failed
    FROM (SELECT *, ${text} AS offset_text, ${micros}::BIGINT AS offset_micros,
        date_trunc('hour', make_timestamp(epoch_us(time) + ${micros}::BIGINT)) AS local_hour
      FROM ${rowsAbout(wanted)} WHERE ${where})
    GROUP BY local_hour, offset_micros, offset_text, workload, person, verdict
    ORDER BY epoch_us(local_hour) - offset_micros, workload, person, verdict`
  return { sql, values }
}

function byTime([first, ...changes]: readonly Offset[], sqlOf: (offset: Offset) => string): string {
  if (first === undefined) throw new AssertionError('a range has an offset')
  if (changes.length === 0) return sqlOf(first)
  const later = changes.toReversed().map((offset) => `WHEN time >= ${sqlTime(offset.fromMs)} THEN ${sqlOf(offset)}`)
  return `(CASE ${later.join(' ')} ELSE ${sqlOf(first)} END)`
}

/** How many there are of all lines together. */
export function whoTotals(wanted: Wanted): Question {
  const values: Values = []
  const where = condition(wanted, values)
  const sql = `SELECT count(*) AS requests, count(*) FILTER (verdict = 'deny') AS refused FROM ${rowsAbout(wanted)} WHERE ${where}`
  return { sql, values }
}

/** Texts of statements with the keyspace that they were about, so that somebody can look which columns they name. */
export function statementsOf(wanted: Wanted): Question {
  const values: Values = []
  const where = condition(wanted, values)
  const sql = `SELECT statement, any_value(keyspace) AS keyspace, count(*) AS requests
    FROM ${rowsAbout(wanted)} WHERE ${where} AND statement IS NOT NULL GROUP BY statement`
  return { sql, values }
}

/**
 * One line for each identity and table, with how the way there is secured. Every hop between processes of the mesh is mutual TLS; what
 * differs is what the client proved. A BATCH, or what touches a view, goes to each of its tables.
 */
export function edgesOf(seconds: number): Question {
  const values: Values = []
  const [none, mutual] = [methodWithoutProof, methodByMutualTls]
  // The first method is that of the connection; behind it stands what came with the request.
  const secured = `CASE WHEN split_part(authentication, '+', 1) = '${none}' THEN 'no proof'
      WHEN authentication LIKE '%${mutual}%' THEN 'mTLS' ELSE 'TLS' END || CASE WHEN authentication IN ('${none}', '${mutual}') THEN '' ELSE ', ' || authentication END`
  const destinations = `CASE WHEN len(tables) > 0 THEN list_distinct(tables) ELSE [concat_ws('.', keyspace, table_name)] END`
  const sql = `SELECT workload, person, destination, ${secured} AS secured,
      list_sort(list(DISTINCT gateway) FILTER (gateway IS NOT NULL)) AS gateways, list_sort(list(DISTINCT proxy)) AS proxies,
      count(*) FILTER (verdict <> 'deny') AS allowed, count(*) FILTER (verdict = 'observe') AS observed,
      count(*) FILTER (verdict = 'deny') AS refused, count(*) / $${values.push(Math.max(1, seconds))}::DOUBLE AS rate
    FROM (SELECT *, unnest(${destinations}) AS destination FROM record
      WHERE ${condition({}, values)} AND (keyspace IS NOT NULL OR len(tables) > 0))
    GROUP BY workload, person, destination, secured
    ORDER BY count(*) DESC, workload, person, destination, secured`
  return { sql, values }
}
