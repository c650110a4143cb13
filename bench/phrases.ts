/**
 * What the stub says in one protocol version, made once; `WireWriter.write` puts the stream id in. The first byte of a prepared id says
 * what its EXECUTE is answered with, so that the stub keeps nothing and looks nothing up.
 */
import { createHash } from 'node:crypto'
import {
  authSuccessEnvelope,
  preparedEnvelope,
  readyEnvelope,
  rowsEnvelope,
  setKeyspaceEnvelope,
  supportedEnvelope,
  voidEnvelope,
} from '../src/cql/encode.ts'
import type { ProtocolVersion } from '../src/cql/protocol.ts'
import { native } from '../src/cql/types.ts'
import { largeRowBytes } from './loads.ts'

const keyspace = 'bench'
const tables = { rows: 'rows', large: 'large' } as const
const key = { name: 'k', type: native('text') } as const
const value = { name: 'v', type: native('blob') } as const

const firstRowByte = 0x61
/** What an EXECUTE is answered with; an index into `Phrases.#answers`. */
const Answer = { ROW: 0, LARGE_ROW: 1, VOID: 2 } as const

/** Tables whose answers are as large as a client can ask for; see `Phrases.large`. */
export const largeAnswerTable = 'large_answer'
export const manyRowsTable = 'many_rows'
/** And one that is larger than any answer may be. */
export const oversizedAnswerTable = 'oversized_answer'
const largeAnswerBytes = 100 * 1024 * 1024
const manyRows = 1_000_000
const oversizedBytes = 290 * 1024 * 1024

export class Phrases {
  readonly supported: Buffer
  readonly ready: Buffer
  readonly authSuccess: Buffer
  /** Also what a QUERY gets that nobody here understands. */
  readonly row: Buffer
  readonly done: Buffer
  readonly #answers: readonly Buffer[]
  readonly #version: ProtocolVersion
  readonly #large = new Map<string, Buffer>()

  /** `rowBytes`: of the value in the rows of `bench.rows`. */
  constructor(version: ProtocolVersion, rowBytes: number) {
    this.#version = version
    this.supported = supportedEnvelope(
      version,
      0,
      new Map([
        ['CQL_VERSION', ['3.4.7']],
        ['COMPRESSION', []],
        ['PROTOCOL_VERSIONS', ['4/v4', '5/v5']],
      ]),
    )
    this.ready = readyEnvelope(version, 0)
    this.authSuccess = authSuccessEnvelope(version, 0)
    this.done = voidEnvelope(version, 0)
    const rowOf = (table: string, bytes: number): Buffer =>
      rowsEnvelope(version, 0, { keyspace, table, columns: [value] }, [[Buffer.alloc(bytes, firstRowByte)]])
    this.row = rowOf(tables.rows, rowBytes)
    this.#answers = [this.row, rowOf(tables.large, largeRowBytes), this.done]
  }

  /** As a node describes it: a SELECT of `v` by `k`, or an INSERT of both in either order, from or into either table. */
  prepared(text: string): Buffer {
    const inserted = /^\s*INSERT\s+INTO\s+[\w.]+\s*\(([^)]*)\)/i.exec(text)?.[1]
    const inserts = inserted !== undefined
    const bound = inserted?.split(',').map((name) => (name.trim() === key.name ? key : value)) ?? [key]
    const table = /\blarge\b/.test(text) ? tables.large : tables.rows
    const id = createHash('md5').update(text).digest()
    id[0] = inserts ? Answer.VOID : table === tables.large ? Answer.LARGE_ROW : Answer.ROW
    return preparedEnvelope(this.#version, 0, {
      id,
      resultMetadataId: id,
      bind: { keyspace, table, columns: bound, pkIndexes: [bound.indexOf(key)] },
      result: inserts ? undefined : { keyspace, table, columns: [value] },
    })
  }

  /** `idAt`: where the prepared id begins, behind its length. */
  executed(buf: Buffer, idAt: number): Buffer {
    return this.#answers[buf[idAt]!] ?? this.row
  }

  /** The answer to a SELECT from one of those tables, made when it is first asked for; undefined for any other text. */
  large(text: string): Buffer | undefined {
    const table = [largeAnswerTable, manyRowsTable, oversizedAnswerTable].find((name) =>
      text.includes(`FROM ${keyspace}.${name}`),
    )
    if (table === undefined) return undefined
    let rows = this.#large.get(table)
    if (rows === undefined) {
      const bytes = { [manyRowsTable]: 8, [oversizedAnswerTable]: oversizedBytes }[table] ?? largeAnswerBytes
      const one = [Buffer.alloc(bytes, firstRowByte)]
      const all = new Array<typeof one>(table === manyRowsTable ? manyRows : 1).fill(one)
      rows = rowsEnvelope(this.#version, 0, { keyspace, table, columns: [value] }, all)
      this.#large.set(table, rows)
    }
    return rows
  }

  keyspace(name: string): Buffer {
    return setKeyspaceEnvelope(this.#version, 0, name)
  }
}
