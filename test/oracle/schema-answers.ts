/** The same question to a node and to the executor over rows of a node: both answers in a form that can be compared. */

import { RingfenceError } from '../../src/base/errors.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerFlags, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { planOf } from '../../src/cql/query/plan.ts'
import { readSelect } from '../../src/cql/query/read.ts'
import { type Page, run } from '../../src/cql/query/run.ts'
import { stampsOf } from '../../src/cql/query/stamps.ts'
import type { Table } from '../../src/cql/query/table.ts'
import { readError, readRows } from '../../src/cql/responses.ts'
import type { Visibility } from '../../src/policy/engine.ts'
import type { SchemaTables } from '../../src/sidecar/catalog/tables.ts'
import { existing, schemaTable } from '../../src/sidecar/catalog/visible.ts'
import type { RawClient } from '../path/client.ts'
import type { Question } from './schema-questions.ts'

export interface Answer {
  /** `0x2200 message`, or undefined where rows came. */
  readonly error: string | undefined
  /** `name type` of each column. */
  readonly columns: string
  /** For each page its rows, cells in hex. */
  readonly pages: readonly (readonly string[])[]
  readonly warned: boolean
}

/** Pages of one question; more are not asked for. */
const pagesMax = 400
const version = 4

export async function askNode(client: RawClient, { text, values, pageSize }: Question): Promise<Answer> {
  const pages: string[][] = []
  let columns = ''
  let warned = false
  let pagingState: Buffer | undefined
  do {
    const options = {
      values,
      ...(pageSize === undefined ? {} : { pageSize }),
      ...(pagingState === undefined ? {} : { pagingState }),
    }
    const answer = await client.ask(queryEnvelope(version, 1, text, options))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) {
      const { code, message } = readError(wholeEnvelope(answer))
      return { error: `0x${code.toString(16)} ${message}`, columns: '', pages: [], warned: false }
    }
    warned ||= (headerFlags(answer, 0) & 8) !== 0
    const rows = readRows(wholeEnvelope(answer), version)
    columns = rows.columns.map(({ name, type }) => `${name} ${JSON.stringify(type)}`).join('; ')
    pages.push(rows.rows.map((row) => row.map((cell) => cell?.toString('hex') ?? 'null').join()))
    pagingState = rows.pagingState ?? undefined
  } while (pagingState !== undefined && pages.length < pagesMax)
  // Where rows end with a page, the node finds out with one more, which is empty.
  if (pages.length > 1 && pages.at(-1)!.length === 0) pages.pop()
  return { error: undefined, columns, pages, warned }
}

/** In what the two differ; undefined where they do not, or where the node's answer is not one to be like. */
export function difference({ text }: Question, theirs: Answer, ours: Answer): string | undefined {
  if (theirs.error !== undefined || ours.error !== undefined) {
    // It refuses the page that it announced itself, after GROUP BY with PER PARTITION LIMIT.
    if (theirs.error?.startsWith('0xa ') === true) return undefined
    if (theirs.error !== undefined && ours.error !== undefined) return undefined
    return `error: the node ${theirs.error ?? 'answers'}, here ${ours.error ?? 'it is answered'}`
  }
  // Cassandra remembers one function for both names and each type of argument, so the name in its answer is the one that was asked for first.
  const names = (columns: string): string => columns.replaceAll('to_json', 'tojson')
  if (names(theirs.columns) !== names(ours.columns)) return `columns: ${theirs.columns}, here ${ours.columns}`
  if (theirs.warned !== ours.warned) return `warning: ${theirs.warned}, here ${ours.warned}`
  // Virtual tables are not divided into pages where partitions are small: the rows count, and the bound of a page.
  const isVirtual = text.includes('system_virtual_schema')
  const shape = (pages: Answer['pages']): string => JSON.stringify(isVirtual ? pages.flat() : pages)
  return shape(theirs.pages) === shape(ours.pages) ? undefined : `rows: ${readable(theirs)}, here ${readable(ours)}`
}

function readable({ pages }: Answer): string {
  const cell = (hex: string): string =>
    hex === 'null'
      ? hex
      : Buffer.from(hex, 'hex')
          .toString('latin1')
          .replaceAll(/[^ -~]/g, '.')
  const text = JSON.stringify(pages.map((page) => page.map((row) => row.split(',').map(cell).join('|'))))
  return text.slice(0, 600)
}

/** What the executor says where only what `visibility` shows is there. */
export async function askOurs(
  tables: SchemaTables,
  visibility: Visibility,
  { text, values, pageSize }: Question,
): Promise<Answer> {
  try {
    const tree = readSelect(text)
    const known = schemaTable(tree.keyspace, tree.table)
    if (known === undefined) throw new RingfenceError('INVALID', `table ${tree.table} does not exist`)
    const table: Table = await tables.read({ table: known, stamps: stampsOf(tree), keys: undefined })
    const baseOf = await tables.bases(known, undefined)
    const bound = { bytes: (marker: number) => values[marker] ?? null, unset: () => false }
    const plan = planOf(tree, table.shape, bound, Date.now)
    const pages: string[][] = []
    let state: Buffer | undefined
    do {
      const exists = existing(known, table.shape, visibility, baseOf)
      const steps = run(plan, table, exists, { rows: pageSize ?? 0, state, bytesMax: 2 ** 30 })
      let step = steps.next()
      while (step.done !== true) step = steps.next()
      pages.push(rowsOf(step.value, plan.columns.length))
      state = step.value.state
    } while (state !== undefined && pages.length < pagesMax)
    const columns = plan.columns.map(({ name, type }) => `${name} ${JSON.stringify(type)}`).join('; ')
    return { error: undefined, columns, pages, warned: plan.warning !== undefined }
  } catch (reason) {
    if (!(reason instanceof RingfenceError)) throw reason
    const code = reason.code === 'SYNTAX' ? '0x2000' : reason.code === 'INVALID' ? '0x2200' : reason.code
    return { error: `${code} ${reason.message}`, columns: '', pages: [], warned: false }
  }
}

function rowsOf({ rows, rowCount }: Page, columnCount: number): string[] {
  const texts: string[] = []
  let at = 0
  for (let row = 0; row < rowCount; row++) {
    const cells: string[] = []
    for (let i = 0; i < columnCount; i++) {
      const bytes = rows.readInt32BE(at)
      at += 4
      cells.push(bytes < 0 ? 'null' : rows.toString('hex', at, at + bytes))
      if (bytes > 0) at += bytes
    }
    texts.push(cells.join())
  }
  return texts
}
