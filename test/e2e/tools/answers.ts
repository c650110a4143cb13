/** Sends one step of a tool and brings what is answered into a form that can be compared between a node and a door. */

import { batchEnvelope, executeEnvelope } from '../../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import { Consistency, headerOpcode, Opcode, ResultKind } from '../../../src/cql/protocol.ts'
import {
  type Column,
  readError,
  readPrepared,
  readRows,
  readSchemaChange,
  readSetKeyspace,
  resultKind,
} from '../../../src/cql/responses.ts'
import type { RawClient } from '../../path/client.ts'
import type { Differs, Step } from './corpus.ts'

/** What drivers ask for by default. */
const pageRows = 5000
/** Above the node's own for any kind of request. */
const rowsMsMax = 70_000
/** What one statement wrote, the next one reads, at whichever node. */
const consistency = Consistency.LOCAL_QUORUM

export interface Answer {
  /** `0x2200`, `rows`, `void`, `use app`, `CREATED TABLE app.users`, `prepared`. */
  readonly kind: string
  /** An error's words; for a message only, they are not compared. */
  readonly words?: string
  /** `keyspace.table.name type` of each column; for PREPARE also of each marker and which of them are the partition key. */
  readonly columns: readonly string[]
  /** Cells in hex; of several pages together. */
  readonly rows: readonly (readonly string[])[]
}

/** Set anew with each table that is made and each change of the schema, so never the same twice. */
const ownToEachRun = new Set(['id', 'base_table_id', 'schema_version', 'truncated_at'])

/** The visible keyspaces of everybody (src/policy/visibility.ts). */
const everybodys = ['system', 'system_schema', 'system_virtual_schema', 'system_views']

export async function answersOf(client: RawClient, step: Step): Promise<Answer[]> {
  const { version } = client
  const values = step.values ?? []
  if (step.form === undefined) {
    return [
      await allPages(client, (pagingState) =>
        queryEnvelope(version, 1, step.cql, { consistency, values, pageSize: pageRows, ...pagingState }),
      ),
    ]
  }
  const prepared = await client.ask(prepareEnvelope(version, 1, step.cql), rowsMsMax)
  if (headerOpcode(prepared, 0) !== Opcode.RESULT) return [read(prepared, version).answer]
  const { id, resultMetadataId, bind, result } = readPrepared(wholeEnvelope(prepared), version)
  const columns = [...bind.columns.map(named), `key ${bind.pkIndexes.join()}`, ...result.columns.map(named)]
  const first: Answer = { kind: 'prepared', columns, rows: [] }
  if (step.form === 'batch') {
    const answer = await client.ask(batchEnvelope(version, 1, 1, [{ id, values }], { consistency }), rowsMsMax)
    return [first, read(answer, version).answer]
  }
  const options = { consistency, pageSize: pageRows }
  const second = await allPages(client, (pagingState) =>
    executeEnvelope(version, 1, id, resultMetadataId, values, { ...options, ...pagingState }),
  )
  return [first, second]
}

async function allPages(client: RawClient, request: (state: { pagingState?: Buffer }) => Buffer): Promise<Answer> {
  let page = read(await client.ask(request({}), rowsMsMax), client.version)
  const rows = [...page.answer.rows]
  const { kind, columns } = page.answer
  while (page.pagingState !== undefined) {
    page = read(await client.ask(request({ pagingState: page.pagingState }), rowsMsMax), client.version)
    rows.push(...page.answer.rows)
  }
  return { ...page.answer, kind, columns, rows }
}

function read(answer: Buffer, version: number): { answer: Answer; pagingState?: Buffer } {
  const none = { columns: [], rows: [] }
  const [start, end] = [0, answer.length]
  if (headerOpcode(answer, 0) !== Opcode.RESULT) {
    const { code, message } = readError({ bytes: answer, start, end })
    return { answer: { kind: `0x${code.toString(16).padStart(4, '0')}`, words: message, ...none } }
  }
  switch (resultKind({ bytes: answer, start, end })) {
    case ResultKind.ROWS: {
      const { columns, rows, pagingState } = readRows({ bytes: answer, start, end }, version)
      const cells = rows.map((row) =>
        row.map((cell, i) => (ownToEachRun.has(columns[i]!.name) ? '' : (cell?.toString('hex') ?? 'null'))),
      )
      const found: Answer = { kind: 'rows', columns: columns.map(named), rows: cells }
      return pagingState === null ? { answer: found } : { answer: found, pagingState }
    }
    case ResultKind.SET_KEYSPACE:
      return { answer: { kind: `use ${readSetKeyspace({ bytes: answer, start, end })}`, ...none } }
    case ResultKind.SCHEMA_CHANGE: {
      const { change, target, keyspace, name } = readSchemaChange({ bytes: answer, start, end })
      return { answer: { kind: `${change} ${target} ${keyspace}.${name}`, ...none } }
    }
    default:
      return { answer: { kind: 'void', ...none } }
  }
}

function named({ keyspace, table, name, type }: Column): string {
  return `${keyspace}.${table}.${name} ${JSON.stringify(type)}`
}

/** In what the answers at a door are not what they must be, given those of the node; undefined where they are. */
export function wrongIn(
  step: Step,
  atNode: readonly Answer[],
  atDoor: readonly Answer[],
  door: 'nginx' | 'sidecar',
  keyspaces: readonly string[],
): string | undefined {
  const { differs } = step
  if (differs !== undefined && 'refused' in differs) return refusalWrong(differs.refused, atDoor)
  const refused = step.error === undefined ? undefined : `0x${step.error.toString(16)}`
  if (refused !== (/^0x/.test(atNode.at(-1)!.kind) ? atNode.at(-1)!.kind : undefined))
    return `the node itself ${inWords(atNode)}`
  if (atNode.length !== atDoor.length) return `the node ${inWords(atNode)}, here ${inWords(atDoor)}`
  for (const [i, theirs] of atNode.entries()) {
    const ours = atDoor[i]!
    if (theirs.kind !== ours.kind) return `the node ${inWords(atNode)}, here ${inWords(atDoor)}`
    if (theirs.columns.join() !== ours.columns.join()) return `columns: ${theirs.columns}, here ${ours.columns}`
    const rows = rowsWrong(differs, theirs, ours, door, keyspaces)
    if (rows !== undefined) return rows
  }
  return undefined
}

function refusalWrong(code: number, atDoor: readonly Answer[]): string | undefined {
  const wanted = `0x${code.toString(16)}`
  const last = atDoor.at(-1)!
  return atDoor.length === 1 && last.kind === wanted ? undefined : `${wanted} is wanted, here ${inWords(atDoor)}`
}

function rowsWrong(
  differs: Differs | undefined,
  theirs: Answer,
  ours: Answer,
  door: 'nginx' | 'sidecar',
  keyspaces: readonly string[],
): string | undefined {
  if (theirs.kind !== 'rows') return undefined
  if (differs !== undefined && 'varies' in differs) return undefined
  if (differs !== undefined && 'gatewayRows' in differs && door === 'nginx') {
    const { gatewayRows } = differs
    return ours.rows.length === gatewayRows ? undefined : `${ours.rows.length} rows instead of ${gatewayRows}`
  }
  let wanted = theirs.rows
  if (differs !== undefined && 'hides' in differs) {
    const at = theirs.columns.findIndex((column) => column.split(' ')[0]!.endsWith('.keyspace_name'))
    if (at < 0) return 'what is hidden is told by the column keyspace_name, which the question does not ask for'
    const visible = new Set([...keyspaces, ...everybodys].map((name) => Buffer.from(name).toString('hex')))
    wanted = theirs.rows.filter((row) => visible.has(row[at]!))
    // What is hidden is there, or this would show nothing.
    const mayBeEmpty = theirs.rows.length === 0 || /system_virtual_schema/.test(theirs.columns[0]!)
    if (wanted.length === theirs.rows.length && !mayBeEmpty) return 'the node has nothing that is hidden here'
  }
  const text = (rows: Answer['rows']): string[] => rows.map((row) => row.join())
  const [expected, came] = [text(wanted), text(ours.rows)]
  if (expected.join('\n') === came.join('\n')) return undefined
  const readable = (row: string | undefined): string =>
    row === undefined
      ? 'no row'
      : row
          .split(',')
          .map((cell) =>
            cell === 'null'
              ? cell
              : Buffer.from(cell, 'hex')
                  .toString('latin1')
                  .replaceAll(/[^ -~]/g, '.'),
          )
          .join(' | ')
  const at = expected.findIndex((row, i) => row !== came[i])
  const first = at < 0 ? expected.length : at
  return `${came.length} rows instead of ${expected.length}; row ${first} is ${readable(came[first])} instead of ${readable(expected[first])}`
}

function inWords(answers: readonly Answer[]): string {
  return answers
    .map(
      ({ kind, words, rows }) =>
        `${kind}${words === undefined ? '' : ` ${words}`}${kind === 'rows' ? ` (${rows.length})` : ''}`,
    )
    .join(', then ')
}
