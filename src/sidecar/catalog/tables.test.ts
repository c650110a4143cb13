import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { rowsEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { RowView, type Table } from '../../cql/query/table.ts'
import { QueryView, readQuery } from '../../cql/requests.ts'
import { native } from '../../cql/types.ts'
import { SchemaTables } from './tables.ts'
import { schemaTable } from './visible.ts'

const tables = schemaTable('system_schema', 'tables')!
const text = native('text')

/** A node whose tables and schema version can be changed, and which says what it was asked. */
function node() {
  const state = {
    version: 1,
    rows: [
      ['a', 't1'],
      ['a', 't2'],
      ['b', 't3'],
    ] as [string, string][],
    asked: [] as string[],
  }
  const ask = async (envelope: Buffer): Promise<Buffer> => {
    const view = new QueryView()
    readQuery(view, wholeEnvelope(envelope), 4)
    if (view.text.includes('system.local')) {
      const columns = [{ name: 'schema_version', type: native('uuid') }]
      return rowsEnvelope(4, 0, { keyspace: 'system', table: 'local', columns }, [[Buffer.alloc(16, state.version)]])
    }
    const { params } = view
    const only =
      params.valueCount > 0 && params.valueAt(0) >= 0
        ? params.buffer.toString('utf8', params.valueStart, params.valueEnd)
        : undefined
    state.asked.push(only ?? 'all')
    const columns = ['keyspace_name', 'table_name'].map((name) => ({ name, type: text }))
    const rows = state.rows.filter(([keyspace]) => only === undefined || keyspace === only)
    return rowsEnvelope(
      4,
      0,
      { keyspace: 'system_schema', table: 'tables', columns },
      rows.map((row) => row.map((cell) => Buffer.from(cell))),
    )
  }
  return { state, tables: new SchemaTables(ask) }
}

function namesOf(table: Table): string[] {
  const view = new RowView(2)
  return table.partitions.flatMap(({ from, to }) =>
    Array.from({ length: to - from }, (_, i) => String(table.view(view, from + i).cell(1))),
  )
}

describe('the node’s tables', () => {
  it('are read once for a schema version, and anew for the next', async () => {
    const { state, tables: kept } = node()
    const whole = { table: tables, stamps: [], keys: undefined }
    const all = await Promise.all([kept.read(whole), kept.read(whole)])
    assert.deepEqual(namesOf(all[0]).sort(), ['t1', 't2', 't3'])
    await kept.read(whole)
    await kept.read({ ...whole, keys: [Buffer.from('a')] })
    assert.deepEqual(state.asked, ['all'])
    state.rows.push(['b', 't4'])
    state.version = 2
    assert.deepEqual(namesOf(await kept.read(whole)).sort(), ['t1', 't2', 't3', 't4'])
    assert.deepEqual(state.asked, ['all', 'all'])
  })

  it('are read in part where few keyspaces matter and the whole is not at hand', async () => {
    const { state, tables: kept } = node()
    const part = await kept.read({ table: tables, stamps: [], keys: [Buffer.from('b'), Buffer.from('x')] })
    assert.deepEqual([namesOf(part), state.asked], [['t3'], ['b', 'x']])
  })

  it('are not kept where the version changed while they were read, or is not said', async () => {
    const { state, tables: kept } = node()
    const whole = { table: tables, stamps: [], keys: undefined }
    const reading = kept.read(whole)
    await new Promise((resolve) => setImmediate(resolve))
    state.version = 0
    await reading
    await kept.read(whole)
    await kept.read(whole)
    assert.equal(state.asked.length, 3)
  })
})
