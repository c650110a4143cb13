/**
 * `archive` keeps the record as Parquet and answers questions about it, by DuckDB.
 *
 * The rule one must not break: nothing here is loaded by a proxy or the control plane, and a question reads: it writes nothing, and it opens
 * no file but those of the record that it is about, nor the network.
 *
 * This file: the database, which is in memory and of one command.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance, DuckDBResultReader, Json } from '@duckdb/node-api'
import { type ErrorCode, RingfenceError } from '../base/errors.ts'

/** So much memory, then DuckDB goes on with files in its folder for temporary ones. */
const memoryBytesMax = '2GB'
/** `StatementType.SELECT` of DuckDB. */
const selectType = 1

export type Row = { readonly [column: string]: Json }

export interface Answer {
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

/** What a file or a name is in SQL. */
export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function sqlTime(ms: number): string {
  return `make_timestamptz(${Math.trunc(ms * 1000)}::BIGINT)`
}

export class RecordDatabase implements Disposable {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  readonly #temporary: string
  #cancelled = false

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, temporary: string) {
    this.#instance = instance
    this.#connection = connection
    this.#temporary = temporary
  }

  static async open(): Promise<RecordDatabase> {
    const { DuckDBInstance } = await import('@duckdb/node-api')
    const temporary = mkdtempSync(join(tmpdir(), 'ringfence-record-'))
    const instance = await DuckDBInstance.create(':memory:', {
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      memory_limit: memoryBytesMax,
      temp_directory: join(temporary, 'spilled'),
      preserve_insertion_order: 'false',
    })
    const database = new RecordDatabase(instance, await instance.connect(), temporary)
    await database.run(`SET TimeZone = 'UTC'`)
    return database
  }

  /** A folder of this command alone, which goes with it. */
  get temporary(): string {
    return this.#temporary
  }

  /** From 0 to 100; below 0 where it is not known. */
  get percentage(): number {
    return this.#connection.progress.percentage
  }

  /** From here on only these files are opened, and that can't be changed back. What is written over is written beside at first. */
  async confine(files: readonly string[], written: readonly string[] = []): Promise<void> {
    const beside = written.map((path) => join(dirname(path), `tmp_${basename(path)}`))
    await this.run(`SET allowed_paths = [${[...files, ...written, ...beside].map(sqlText).join(', ')}]`)
    await this.run('SET enable_external_access = false')
    await this.run('SET lock_configuration = true')
  }

  /** A statement of ours. */
  async run(sql: string): Promise<void> {
    await this.#told(() => this.#connection.run(sql))
  }

  /** A question; its values stand as $1, $2, … in it. Of its rows, in their order, at most so many are read. */
  async ask(sql: string, values: readonly (string | number)[] = [], rowsMax?: number): Promise<Answer> {
    return this.#told(async () => {
      if (rowsMax === undefined) return answerOf(await this.#connection.runAndReadAll(sql, [...values]))
      const reader = await this.#connection.streamAndReadUntil(sql, rowsMax, [...values])
      const { columns, rows } = answerOf(reader)
      return { columns, rows: rows.slice(0, rowsMax) }
    })
  }

  /** The answer becomes a Parquet file, which `confine` has allowed, of at most so many rows; how many there were. */
  async save(sql: string, values: readonly (string | number)[], path: string, rowsMax?: number): Promise<number> {
    return this.#told(async () => {
      await this.#connection.run(`CREATE OR REPLACE TEMP TABLE answer AS ${sql}`, [...values])
      const reader = await this.#connection.runAndReadAll('SELECT count(*)::BIGINT AS count FROM answer')
      const rows = rowsMax === undefined ? 'answer' : `(SELECT * FROM answer LIMIT ${rowsMax})`
      await this.#connection.run(`COPY ${rows} TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`)
      return Number(reader.getRowObjectsJson()[0]!.count)
    })
  }

  /** @throws RingfenceError USAGE for what is no single SELECT */
  async mustBeSelect(sql: string): Promise<void> {
    const isSelect = await this.#told(async () => {
      const statements = await this.#connection.extractStatements(sql)
      return statements.count === 1 && (await statements.prepare(0)).statementType === selectType
    }, 'USAGE')
    if (!isSelect) throw new RingfenceError('USAGE', 'only one statement is taken, and it is to be a SELECT')
  }

  /** What runs ends with an error at once, and nothing more begins. */
  cancel(): void {
    this.#cancelled = true
    this.#connection.interrupt()
  }

  /** For work of our own that is long: it ends here where it was cancelled. */
  mustGoOn(): void {
    if (this.#cancelled) throw new Cancelled()
  }

  /** @param unnamed what a fault is to which DuckDB gives no name, such as that there is no statement at all */
  async #told<T>(step: () => Promise<T>, unnamed: ErrorCode = 'UNAVAILABLE'): Promise<T> {
    this.mustGoOn()
    try {
      return await step()
    } catch (reason) {
      if (this.#cancelled) throw new Cancelled()
      throw faultOf(reason, unnamed)
    }
  }

  [Symbol.dispose](): void {
    this.#connection.closeSync()
    this.#instance.closeSync()
    rmSync(this.#temporary, { recursive: true, force: true })
  }
}

export class Cancelled extends RingfenceError {
  constructor() {
    super('UNAVAILABLE', 'cancelled')
  }
}

/** As JSON has it: numbers that fit are numbers, times are ISO 8601. */
function answerOf(reader: DuckDBResultReader): Answer {
  const columns = reader.deduplicatedColumnNames()
  const types = reader.columnTypes().map(String)
  const rows = reader.getRowsJson().map((row) => {
    const object: { [column: string]: Json } = Object.create(null)
    for (const [i, value] of row.entries()) object[columns[i]!] = jsonOf(types[i]!, value)
    return object
  })
  return { columns, rows }
}

function jsonOf(type: string, value: Json): Json {
  if (typeof value !== 'string') return value
  if (type === 'BIGINT' || type === 'HUGEINT' || type === 'UBIGINT') {
    const count = Number(value)
    return Number.isSafeInteger(count) ? count : value
  }
  return type === 'TIMESTAMP WITH TIME ZONE' ? value.replace(' ', 'T').replace(/\+00$/, 'Z') : value
}

/** A file of the record is not what it was, or no file of the record at all. */
export class DamagedRecord extends RingfenceError {
  readonly remedy: { readonly hint: string }

  constructor(message: string, hint: string, cause?: unknown) {
    super('UNAVAILABLE', message, { hint, cause })
    this.remedy = { hint }
  }
}

/** What whoever wrote the SQL can mend, by DuckDB's own names for it (`ExceptionTypeToString`). Of all else the question is not the cause. */
const askers =
  /^(Parser|Syntax|Binder|Catalog|Conversion|Invalid Input|Out of Range|Mismatch Type|Divide by Zero|Decimal|Object Size|Unknown Type|Invalid type|Not implemented|Expression|Constraint|Planner|Settings|Permission|Parameter Not Resolved|Parameter Not Allowed|Missing Extension|Autoload|Invalid Configuration|Dependency|Sequence) Error: /
/** How it says that a file is no Parquet, or not whole: in the footer, in a header, in what is compressed. */
const damage =
  /^Invalid Error: |^Invalid Input Error: (?:Failed to read file|File '.*' too small|No magic bytes)|TProtocolException|decompression failure/i

function faultOf(reason: unknown, unnamed: ErrorCode): RingfenceError {
  const message = messageOf(reason)
  if (damage.test(message))
    return new DamagedRecord(message, 'take the Parquet file from a copy of the archive', reason)
  const code = askers.test(message) ? 'USAGE' : /^[A-Z][\w ]* Error: /.test(message) ? 'UNAVAILABLE' : unnamed
  return new RingfenceError(code, message, { cause: reason })
}

/** DuckDB's, without the place of its own source. */
function messageOf(reason: unknown): string {
  const text = reason instanceof Error ? reason.message : String(reason)
  return text.split('\n\nStack Trace')[0]!.replace('Failed to extract statements: ', '').trim()
}
