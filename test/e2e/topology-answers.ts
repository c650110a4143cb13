/** One question about the topology, asked by QUERY and by PREPARE with EXECUTE, in a form in which two doors can be compared. */

import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, type QueryOptions, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Flag, headerFlags, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readError, readPrepared, readRows } from '../../src/cql/responses.ts'
import type { CqlType } from '../../src/cql/types.ts'
import type { TopologyForm } from '../../src/gateway/topology/forms.fixture.ts'
import type { RawClient } from '../path/client.ts'

export interface Told {
  /** Of an error; 0 where rows came. */
  readonly code: number
  readonly message: string
  /** The error was of its PREPARE. */
  readonly unprepared: boolean
  /** `name type` of each column. */
  readonly columns: readonly string[]
  /** `name type` of each marker, and which of them are the partition key; by PREPARE only. */
  readonly markers: string
  /** Cells in hex. */
  readonly rows: readonly string[]
  readonly warned: boolean
  readonly morePages: boolean
}

const nothing: Told = {
  code: 0,
  message: '',
  unprepared: false,
  columns: [],
  markers: '',
  rows: [],
  warned: false,
  morePages: false,
}

/** For what is written without them, as many nulls as there are markers. */
const valuesOf = ({ text, values }: TopologyForm): readonly (Buffer | null)[] =>
  values ?? Array.from(text.matchAll(/\?/g), () => null)

function pageOf({ pageSize, pagingState }: TopologyForm): QueryOptions {
  return {
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(pagingState === undefined ? {} : { pagingState }),
  }
}

export async function byQuery(client: RawClient, form: TopologyForm): Promise<Told> {
  const { names } = form
  const options = { values: valuesOf(form), ...(names === undefined ? {} : { names }), ...pageOf(form) }
  return toldBy(await client.ask(queryEnvelope(client.version, 1, form.text, options)), client, undefined)
}

export async function byExecute(client: RawClient, form: TopologyForm): Promise<Told> {
  const answer = await client.ask(prepareEnvelope(client.version, 2, form.text))
  if (headerOpcode(answer, 0) === Opcode.ERROR) return { ...faultOf(answer), unprepared: true }
  const prepared = readPrepared(wholeEnvelope(answer), client.version)
  const { columns, pkIndexes } = prepared.bind
  const markers = `${columns.map(described).join(', ')} key ${pkIndexes.join()}`
  const metadata = prepared.resultMetadataId ?? Buffer.alloc(0)
  const executed = await client.ask(
    executeEnvelope(client.version, 3, prepared.id, metadata, valuesOf(form), pageOf(form)),
  )
  return { ...toldBy(executed, client, prepared.result.columns), markers }
}

function toldBy(answer: Buffer, { version }: RawClient, known: readonly Named[] | undefined): Told {
  if (headerOpcode(answer, 0) === Opcode.ERROR) return faultOf(answer)
  const { columns, rows, pagingState } = readRows(wholeEnvelope(answer), version)
  return {
    ...nothing,
    columns: (columns.length > 0 ? columns : (known ?? [])).map(described),
    rows: rows.map((row) => row.map((cell) => cell?.toString('hex') ?? 'null').join()),
    warned: (headerFlags(answer, 0) & Flag.WARNING) !== 0,
    morePages: pagingState !== undefined && pagingState !== null,
  }
}

type Named = { readonly name: string; readonly type: CqlType }

/** Cassandra remembers one function for both names and each type of argument, so the name in its answer is the one that was asked for first. */
const described = ({ name, type }: Named): string => `${name.replaceAll('to_json', 'tojson')} ${JSON.stringify(type)}`

function faultOf(answer: Buffer): Told {
  const { code, message } = readError(wholeEnvelope(answer))
  return { ...nothing, code, message }
}

/** In what the mesh's answer differs from the node's; undefined where it does not. */
export function difference({ compare = 'values' }: TopologyForm, node: Told, ours: Told): string | undefined {
  if (node.code !== ours.code || node.unprepared !== ours.unprepared) return `node ${said(node)}, mesh ${said(ours)}`
  if (node.code !== 0) return undefined
  for (const part of ['columns', 'markers', 'warned'] as const) {
    if (String(node[part]) !== String(ours[part])) return `${part}: node ${node[part]}, mesh ${ours[part]}`
  }
  if (compare === 'columns') return undefined
  for (const part of ['rows', 'morePages'] as const) {
    if (String(node[part]) !== String(ours[part])) return `${part}: node ${node[part]}, mesh ${ours[part]}`
  }
  return undefined
}

const said = ({ code, message, unprepared, rows }: Told): string =>
  code === 0 ? `answers ${rows.length} rows` : `0x${code.toString(16)} ${message}${unprepared ? ' (PREPARE)' : ''}`
