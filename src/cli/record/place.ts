/**
 * Where a record stands in its log, with the proof of it.
 *
 * Rule: a number alone names no record: a log may be begun anew, and another one may say the same name. Only what a block says itself is its.
 */
import { basename, dirname } from 'node:path'
import type { Row } from '../../archive/database.ts'
import type { RecordFile } from '../../archive/record-file.ts'
import { logsOf } from '../../archive/segments.ts'
import { type BlocksOfRecord, blocksOf, toldBy } from '../../audit/sealed/blocks-of-record.ts'
import { proofOfBlocks, type RecordProof } from '../../audit/sealed/proof.ts'
import { type RowColumn, rowColumns } from '../../audit/transaction-row.ts'
import { RingfenceError } from '../../base/errors.ts'

export interface Place {
  readonly segment: string
  readonly proof: RecordProof
}

export type PlaceFound = Place | RingfenceError | undefined

/** Undefined where no sealed log of this sidecar was read. @throws RingfenceError INVALID where nothing proves it */
function placeOf(row: Row, files: readonly RecordFile[]): Place | undefined {
  const logs = logsOf(files).filter((log) => log.some(({ start }) => start.head?.proxy === row.proxy))
  if (logs.length === 0) return undefined
  let why = `record ${String(row.seq)} is in no sealed block of what was read`
  for (const log of logs) {
    const segments = log.map(({ path, bytes, start }) => ({ path, bytes, head: start.head }))
    const blocks = blocksOf(segments, Number(row.seq))
    if (blocks === undefined) continue
    if (isOf(row, blocks)) {
      const folders = [blocks.begun.path, ...segments.map(({ path }) => path)].map((path) => dirname(path))
      return { segment: basename(blocks.begun.path), proof: proofOfBlocks(blocks, [...new Set(folders)]) }
    }
    why = `the record of this number in the sealed log ${basename(dirname(segments[0]!.path))} is another one`
  }
  throw new RingfenceError('INVALID', why)
}

/** What `placeOf` finds, or why it finds nothing. */
export function tryPlaceOf(row: Row, files: readonly RecordFile[]): PlaceFound {
  try {
    return placeOf(row, files)
  } catch (reason) {
    if (reason instanceof RingfenceError) return reason
    // Old tiles, or segments, may have been removed.
    if (reason instanceof Error && 'syscall' in reason) return new RingfenceError('INVALID', reason.message)
    throw reason
  }
}

/** What an intent says. The sidecar's name stands at the beginning of a segment, and not in each block. */
const ofIntent: ReadonlySet<string> = new Set([
  ...['event', 'session', 'workload', 'person', 'statement', 'request', 'tables'],
  ...['verdict', 'rule', 'policy_revision', 'client_address', 'client_port', 'bytes_in'],
])
/** The archive may be older than a column: then it has nothing there. */
const always: ReadonlySet<string> = new Set([...ofIntent, 'time', 'seq', 'outcome'])

function isOf(row: Row, blocks: BlocksOfRecord): boolean {
  const told = toldBy(blocks)
  if (told === undefined) return false
  return rowColumns
    .filter(({ name }) => name !== 'proxy' && (blocks.ended !== undefined || ofIntent.has(name)))
    .every((column) => isSame(column, row[column.name], column.from.map((path) => valueAt(told, path)).find(has)))
}

function isSame({ name, type }: RowColumn, ofRow: unknown, ofBlock: unknown): boolean {
  if (!has(ofRow)) return !has(ofBlock) || !always.has(name)
  if (!has(ofBlock)) return false
  if (type === 'TIMESTAMPTZ') return Date.parse(String(ofRow)) === Date.parse(String(ofBlock))
  return textOf(ofRow) === textOf(ofBlock)
}

function has(value: unknown): boolean {
  return value !== null && value !== undefined
}

/** Half a character is U+FFFD in the row. */
function textOf(value: unknown): string {
  return Array.isArray(value) ? JSON.stringify(value.map(textOf)) : String(value).toWellFormed()
}

function valueAt(line: unknown, path: string): unknown {
  return path.split('.').reduce((value, name) => {
    const isObject = typeof value === 'object' && value !== null
    return isObject ? (value as { readonly [name: string]: unknown })[name] : undefined
  }, line)
}
