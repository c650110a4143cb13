import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AssertionError, RingfenceError } from '../../base/errors.ts'
import { executeEnvelope } from '../encode.fixture.ts'
import { errorEnvelope, eventEnvelope, queryEnvelope, voidEnvelope } from '../encode.ts'
import { wholeEnvelope } from '../envelope.ts'
import { Flag, headerFlags, type ProtocolVersion } from '../protocol.ts'
import { ExecuteView, QueryView, readExecute, readQuery } from '../requests.ts'
import { readWarnings } from '../responses.fixture.ts'
import { readError } from '../responses.ts'
import { native, setOf } from '../types.ts'
import { driverRead, type RowsShape, rowsAnswer, versions } from './driver.fixture.ts'
import { filterRows } from './filter.fixture.ts'
import { pagingStateOf, withPagingState, withRequestPagingState } from './paging.ts'
import { withoutSkipMetadata, withoutTracing } from './requests.ts'
import { readRowsLayout } from './rows.ts'
import { readSchemaTarget } from './schema-event.ts'
import { withWarning } from './warning.ts'

const protocol = (reason: unknown) => reason instanceof RingfenceError && reason.code === 'PROTOCOL'

const shape: RowsShape = {
  columns: [
    { name: 'keyspace_name', type: native('text') },
    { name: 'kind', type: setOf(native('text')) },
    { name: 'table_name', type: native('text') },
  ],
  rows: [
    [Buffer.from('ks'), null, Buffer.from('a')],
    [Buffer.from('other'), Buffer.from('00000000', 'hex'), Buffer.from('b')],
    [Buffer.from('ks'), null, null],
    [Buffer.from('other'), null, Buffer.from('d')],
  ],
  pagingState: Buffer.from('node state'),
  tracing: true,
}

/** With all that a version can put in front. */
function whole(version: ProtocolVersion): RowsShape {
  return {
    ...shape,
    ...(version >= 4 ? { warnings: ['old', 'older'], payload: true } : {}),
    ...(version >= 5 ? { newMetadataId: Buffer.from('id') } : {}),
  }
}

describe('the place of everything in rows', () => {
  it('is PROTOCOL where the answer is cut, at every byte', () => {
    for (const version of versions) {
      const answer = rowsAnswer(version, whole(version))
      for (let end = 9; end < answer.length; end++) {
        assert.throws(
          () => filterRows({ bytes: answer, start: 0, end }, version, () => true),
          protocol,
          `v${version} cut at ${end}`,
        )
      }
      assert.deepEqual(
        filterRows(wholeEnvelope(answer), version, () => true),
        answer,
      )
    }
  })

  it('says where metadata was left out, and where a new metadata id stands', () => {
    const bare = rowsAnswer(5, { ...shape, noMetadata: true })
    assert.equal(readRowsLayout(wholeEnvelope(bare), 5).columns, undefined)
    const changed = rowsAnswer(5, whole(5))
    const { columns, newMetadataIdStart, newMetadataIdEnd } = readRowsLayout(wholeEnvelope(changed), 5)
    assert.equal(changed.toString('utf8', newMetadataIdStart, newMetadataIdEnd), 'id')
    assert.deepEqual(columns?.[1], { keyspace: 'ks', table: 't', ...shape.columns[1] })
  })

  it('is PROTOCOL where more rows are announced than can be there, or the answer is no rows', () => {
    const answer = rowsAnswer(4, shape)
    const { rowCountAt } = readRowsLayout(wholeEnvelope(answer), 4)
    for (const count of [-1, 2 ** 31 - 1]) {
      const lying = Buffer.from(answer)
      lying.writeInt32BE(count, rowCountAt)
      assert.throws(() => readRowsLayout(wholeEnvelope(lying), 4), protocol)
    }
    for (const other of [voidEnvelope(4, 1), errorEnvelope(4, 1, 2, 'x')]) {
      assert.throws(() => readRowsLayout(wholeEnvelope(other), 4), protocol)
    }
  })
})

describe('chosen rows', () => {
  for (const version of versions) {
    it(`stay as they were, the others go, v${version}`, () => {
      const answer = rowsAnswer(version, whole(version))
      const before = Buffer.from(answer)
      const kept = filterRows(wholeEnvelope(answer), version, (read, columns) => {
        const index = columns.findIndex(({ name }) => name === 'keyspace_name')
        return read(index) === 'ks'
      })
      assert.deepEqual(answer, before)
      const seen = driverRead(version, kept)
      assert.deepEqual(seen.raw, [shape.rows[0], shape.rows[2]])
      assert.deepEqual(seen.pageState, Buffer.from('node state'))
      const none = driverRead(
        version,
        filterRows(wholeEnvelope(answer), version, () => false),
      )
      assert.deepEqual(none.rows, [])
      assert.deepEqual(none.names, ['keyspace_name', 'kind', 'table_name'])
    })
  }

  it('are read as text, null where there is none', () => {
    const answer = rowsAnswer(4, shape)
    const seen: unknown[] = []
    filterRows(wholeEnvelope(answer), 4, (read) => seen.push([read(0), read(1), read(2), read(3), read(-1)]) > 0)
    assert.deepEqual(seen[1], ['other', null, 'b', null, null])
    assert.deepEqual(seen[2], ['ks', null, null, null, null])
  })

  it('cannot be chosen without columns; bytes behind them are dropped', () => {
    const bare = rowsAnswer(4, { ...shape, noMetadata: true })
    assert.throws(() => filterRows(wholeEnvelope(bare), 4, () => true), /without its columns/)
    const trailing = rowsAnswer(4, { ...shape, trailing: Buffer.from('more') })
    assert.deepEqual(
      driverRead(
        4,
        filterRows(wholeEnvelope(trailing), 4, () => true),
      ).raw,
      shape.rows,
    )
  })
})

describe('a paging state', () => {
  for (const version of versions) {
    it(`is taken from an answer and replaced there, v${version}`, () => {
      const answer = rowsAnswer(version, whole(version))
      assert.deepEqual(pagingStateOf(wholeEnvelope(answer), version), Buffer.from('node state'))
      for (const sealed of [Buffer.alloc(0), Buffer.alloc(300, 3)]) {
        const wide = Buffer.concat([Buffer.alloc(5), answer, Buffer.alloc(3)])
        const result = withPagingState({ bytes: wide, start: 5, end: 5 + answer.length }, version, sealed)
        const seen = driverRead(version, result)
        assert.deepEqual(seen.pageState, sealed)
        assert.deepEqual(seen.raw, shape.rows)
        assert.deepEqual(withPagingState(wholeEnvelope(result), version, Buffer.from('node state')), answer)
      }
    })

    it(`of a request is replaced by what was sealed in it, v${version}`, () => {
      const options = {
        pagingState: Buffer.from('sealed'),
        pageSize: 10,
        serialConsistency: 8,
        timestamp: 5n,
        values: [Buffer.from('v')],
      }
      const wanted = { ...options, pagingState: Buffer.from('what the node gave') }
      const query = queryEnvelope(version, 3, 'SELECT 1', options)
      const wide = Buffer.concat([Buffer.alloc(4), query, Buffer.alloc(4)])
      const view = new QueryView()
      readQuery(view, { bytes: wide, start: 4, end: 4 + query.length }, version)
      assert.deepEqual(
        withRequestPagingState({ bytes: wide, start: 4, end: 4 + query.length }, view.params, wanted.pagingState),
        queryEnvelope(version, 3, 'SELECT 1', wanted),
      )
      const execute = executeEnvelope(version, 3, Buffer.from('id'), Buffer.from('rid'), [], options)
      const executeView = new ExecuteView()
      readExecute(executeView, wholeEnvelope(execute), version)
      assert.deepEqual(
        withRequestPagingState(wholeEnvelope(execute), executeView.params, wanted.pagingState),
        executeEnvelope(version, 3, Buffer.from('id'), Buffer.from('rid'), [], wanted),
      )
    })
  }

  it('is absent from a last page, and from what is no rows', () => {
    const { pagingState: _, ...last } = shape
    const answer = rowsAnswer(4, last)
    assert.equal(pagingStateOf(wholeEnvelope(answer), 4), undefined)
    const other = voidEnvelope(4, 1)
    assert.equal(pagingStateOf(wholeEnvelope(other), 4), undefined)
    assert.throws(() => withPagingState(wholeEnvelope(answer), 4, Buffer.alloc(1)), AssertionError)
  })
})

describe('a warning', () => {
  it('is added behind those of the node, and the driver reads it', () => {
    for (const version of [4, 5] as const) {
      const answer = rowsAnswer(version, whole(version))
      const seen = driverRead(version, withWarning(wholeEnvelope(answer), version, 'new'))
      assert.deepEqual(seen.warnings, ['old', 'older', 'new'])
      assert.deepEqual(seen.raw, shape.rows)
      const plain = rowsAnswer(version, shape)
      assert.deepEqual(driverRead(version, withWarning(wholeEnvelope(plain), version, 'first')).warnings, ['first'])
    }
  })

  it('stands in front of any response, errors too', () => {
    const error = errorEnvelope(4, 1, 0x2200, 'invalid')
    const warned = withWarning(wholeEnvelope(error), 4, 'observed')
    assert.deepEqual(readWarnings(wholeEnvelope(warned)), ['observed'])
    assert.equal(readError(wholeEnvelope(warned)).message, 'invalid')
  })

  it('is left out in v3, which has none', () => {
    const answer = rowsAnswer(3, shape)
    assert.deepEqual(withWarning(wholeEnvelope(answer), 3, 'new'), answer)
  })

  it('is cut where it is longer than a string can be, and left out where the list is full', () => {
    const answer = voidEnvelope(4, 1)
    const long = withWarning(wholeEnvelope(answer), 4, 'é'.repeat(40_000))
    assert.deepEqual(readWarnings(wholeEnvelope(long)), ['é'.repeat(32_767)])
    const full = rowsAnswer(4, { ...shape, warnings: Array(65_535).fill('') })
    assert.deepEqual(withWarning(wholeEnvelope(full), 4, 'new'), full)
  })
})

describe('a request', () => {
  for (const version of versions) {
    it(`asks for the columns once the flag is gone, v${version}`, () => {
      const options = { skipMetadata: true, pageSize: 7, values: [Buffer.from('v')] }
      const asking = { ...options, skipMetadata: false }
      const query = queryEnvelope(version, 3, 'SELECT 1', options)
      const wide = Buffer.concat([Buffer.alloc(4), query])
      const view = new QueryView()
      readQuery(view, { bytes: wide, start: 4, end: wide.length }, version)
      const before = Buffer.from(wide)
      const result = withoutSkipMetadata({ bytes: wide, start: 4, end: wide.length }, view.params)
      assert.deepEqual(result, queryEnvelope(version, 3, 'SELECT 1', asking))
      assert.deepEqual(wide, before)
      const execute = executeEnvelope(version, 3, Buffer.from('id'), Buffer.from('rid'), [Buffer.from('v')], options)
      const executeView = new ExecuteView()
      readExecute(executeView, wholeEnvelope(execute), version)
      assert.deepEqual(
        withoutSkipMetadata(wholeEnvelope(execute), executeView.params),
        executeEnvelope(version, 3, Buffer.from('id'), Buffer.from('rid'), [Buffer.from('v')], asking),
      )
    })
  }

  it('is no longer traced, and keeps its other flags', () => {
    const query = queryEnvelope(5, 3, 'SELECT 1')
    const traced = Buffer.from(query)
    traced[1] = Flag.TRACING | Flag.USE_BETA
    const result = withoutTracing(wholeEnvelope(traced))
    assert.equal(headerFlags(result, 0), Flag.USE_BETA)
    assert.equal(headerFlags(traced, 0), Flag.TRACING | Flag.USE_BETA)
    assert.deepEqual(result.subarray(2), query.subarray(2))
  })
})

describe('what a schema change is about', () => {
  it('is said by the event', () => {
    const table = {
      type: 'SCHEMA_CHANGE',
      change: 'CREATED',
      target: 'TABLE',
      keyspace: 'ks',
      name: 't',
      argTypes: [],
    } as const
    const envelope = eventEnvelope(4, table)
    const { target, keyspace, name } = readSchemaTarget(wholeEnvelope(envelope))!
    assert.deepEqual({ target, keyspace, name }, { target: 'TABLE', keyspace: 'ks', name: 't' })
    const dropped = eventEnvelope(3, { ...table, change: 'DROPPED', target: 'KEYSPACE', name: '' })
    assert.equal(readSchemaTarget(wholeEnvelope(dropped))?.name, '')
  })

  it('is undefined for other events and answers, PROTOCOL for a broken one', () => {
    const down = eventEnvelope(4, { type: 'STATUS_CHANGE', change: 'DOWN', address: '127.0.0.1', port: 9042 })
    assert.equal(readSchemaTarget(wholeEnvelope(down)), undefined)
    assert.equal(readSchemaTarget({ bytes: voidEnvelope(4, 1), start: 0, end: 13 }), undefined)
    assert.throws(() => readSchemaTarget({ bytes: down, start: 0, end: down.length - 1 }), protocol)
  })
})
