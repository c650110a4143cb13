/** What the record has of one transaction: its row, and that of the log-in that its session began with. */
import { RingfenceError } from '../base/errors.ts'
import type { RecordDatabase, Row } from './database.ts'

/** A line of the record: the sidecar that wrote it, and its `seq`. */
export interface RecordId {
  /** Undefined where only one sidecar is asked about. */
  readonly proxy: string | undefined
  readonly seq: number
}

export interface StoryRows {
  readonly row: Row
  /** Undefined where it is not in what was read, or there was none. */
  readonly logIn: Row | undefined
}

/** So many are named where a number is that of more than one. */
const namedMax = 5

/** @throws RingfenceError INVALID where there is none, USAGE where the id is that of more than one */
export async function storyRows(database: RecordDatabase, { proxy, seq }: RecordId): Promise<StoryRows> {
  const [ofProxy, values] = proxy === undefined ? ['', [seq]] : [' AND proxy = $2', [seq, proxy]]
  const { rows } = await database.ask(`SELECT * FROM record WHERE seq = $1${ofProxy} ORDER BY time, proxy`, values)
  const [row, ...others] = rows
  if (row === undefined) {
    throw new RingfenceError('INVALID', `no record ${proxy === undefined ? '' : `${proxy}/`}${seq} of this time`, {
      hint: 'an id is written <sidecar>/<seq>; where it is older than a day, say so: --since 7d',
    })
  }
  if (others.length > 0) {
    const named = rows.slice(0, namedMax).map((one) => `${String(one.proxy)}/${seq} at ${String(one.time)}`)
    throw new RingfenceError('USAGE', `${rows.length} records have this number: ${named.join(', ')}`, {
      hint: 'name the sidecar: <sidecar>/<seq>; numbers of lines of JSON begin anew where a process does: --since, --until',
    })
  }
  return { row, logIn: await logInOf(database, row) }
}

/** The last one of that session before it. */
async function logInOf(database: RecordDatabase, row: Row): Promise<Row | undefined> {
  if (typeof row.session !== 'string' || row.operation === 'CONNECT') return undefined
  const sql = `SELECT * FROM record WHERE session = $1 AND proxy = $2 AND operation = 'CONNECT' AND time <= $3::TIMESTAMPTZ
    ORDER BY time DESC LIMIT 1`
  return (await database.ask(sql, [row.session, String(row.proxy), String(row.time)])).rows[0]
}
