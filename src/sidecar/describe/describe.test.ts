import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pagingStateOf } from '../../cql/answers/paging.ts'
import { rowsEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { ParamsView } from '../../cql/requests.ts'
import { readRows } from '../../cql/responses.ts'
import { native } from '../../cql/types.ts'
import type { Visibility } from '../../policy/engine.ts'
import type { SchemaView } from '../../policy/request.ts'
import { PagingSeal, type SealContext } from '../seal.ts'
import { aggregateKey } from './aggregates.ts'
import { missing } from './missing.ts'
import { described, pageOf } from './pages.ts'
import { existsFor } from './rows.ts'

/** Hidden is what has `hid` in its name. */
const visibility: Visibility = {
  all: false,
  keyspace: (name) => !name.includes('hid'),
  table: (keyspace, name) => !`${keyspace} ${name}`.includes('hid'),
  function: (keyspace, name) => !`${keyspace} ${name}`.includes('hid'),
}
const info = { partitionKey: [], clusteringKey: [], columns: [], defaultTtlSeconds: 0 }
const schema: SchemaView = {
  table: (_, name) => ({
    ...info,
    base: name.endsWith('_of_hid') ? 'hid' : name.startsWith('mv') ? 'orders' : undefined,
  }),
  indexedTable: (_, name) => (name === 'new' ? undefined : name.startsWith('of_hid') ? 'hid' : 'orders'),
}

type Row = readonly [keyspace: string, type: string, name: string, statement: string]

const rows: readonly (readonly [Row, boolean])[] = [
  [['shop', 'keyspace', 'shop', ''], true],
  [['hid', 'keyspace', 'hid', ''], false],
  [['"Shop"', 'keyspace', '"Shop"', ''], true],
  [['"hid Den"', 'table', 'orders', ''], false],
  [['shop', 'type', 'ty', ''], true],
  [['hid', 'type', 'ty', ''], false],
  [['shop', 'table', 'orders', ''], true],
  [['shop', 'table', '"Orders"', ''], true],
  [['shop', 'table', 'hid', ''], false],
  [['shop', 'table', '"hid Den"', ''], false],
  [['shop', 'materialized_view', 'mv', ''], true],
  [['shop', 'materialized_view', 'mv_hid', ''], false],
  [['shop', 'materialized_view', 'mv_of_hid', ''], false],
  [['shop', 'index', 'orders_idx', ''], true],
  [['shop', 'index', 'of_hid_idx', ''], false],
  [['shop', 'index', 'new', 'CREATE INDEX new ON shop.orders (v);'], true],
  [['shop', 'index', 'new', 'CREATE CUSTOM INDEX new ON shop.hid (v);'], false],
  [['shop', 'index', 'new', 'something newer'], false],
  [['shop', 'function', 'f(int, text)', ''], true],
  [['shop', 'function', 'hid(int)', ''], false],
  [['shop', 'function', '"A(hid"(int)', ''], false],
  [['shop', 'aggregate', 'ag(int)', 'CREATE AGGREGATE shop.ag(int)\n    SFUNC plus\n    STYPE int;'], true],
  [['shop', 'aggregate', 'ag(int)', 'CREATE AGGREGATE shop.ag(int)\n    SFUNC hid\n    STYPE int;'], false],
  [
    ['shop', 'aggregate', 'ag(int)', 'CREATE AGGREGATE shop.ag(int)\n    SFUNC a\n    STYPE int\n    FINALFUNC "hid";'],
    false,
  ],
  [['shop', 'something_newer', 'x', ''], false],
]

const columns = ['keyspace_name', 'type', 'name', 'create_statement'].map((name) => ({ name, type: native('text') }))

function answerOf(version: ProtocolVersion, all: readonly Row[]): Buffer {
  const spec = { keyspace: 'system', table: 'describe', columns }
  return rowsEnvelope(
    version,
    0,
    spec,
    all.map((row) => row.map((value) => Buffer.from(value))),
  )
}

const seal = new PagingSeal([{ id: 1, key: Buffer.alloc(32, 7) }])
const context: SealContext = {
  identity: 'spiffe://td/a',
  keyspace: 'shop',
  textDigest: Buffer.alloc(32),
  valuesDigest: Buffer.alloc(0),
}

function atOnce<Result>(steps: Generator<undefined, Result>): Result {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

const describedAtOnce = (...given: Parameters<typeof described>) => atOnce(described(...given))
const pageAtOnce = (...given: Parameters<typeof pageOf>) => atOnce(pageOf(...given))

function params(pageSize: number | undefined, state: Buffer | undefined): ParamsView {
  const view = new ParamsView()
  return Object.assign(view, {
    buffer: state ?? Buffer.alloc(0),
    pageSize,
    pagingStateStart: state === undefined ? -1 : 0,
    pagingStateEnd: state?.length ?? -1,
  })
}

/** All pages, as names. */
function walk(version: ProtocolVersion, all: readonly Row[], pageSize: number): string[][] {
  const pages: string[][] = []
  let state: Buffer | undefined
  do {
    const description = describedAtOnce(answerOf(version, all), version, visibility, schema, new Map())
    const { envelope, rowCount } = pageAtOnce(description, version, params(pageSize, state), seal, context)
    const page = readRows(wholeEnvelope(envelope), version).rows
    assert.equal(page.length, rowCount)
    pages.push(page.map((row) => row[2]!.toString()))
    state = pagingStateOf(wholeEnvelope(envelope), version)
  } while (state !== undefined && pages.length < 100)
  return pages
}

describe('a row of DESCRIBE', () => {
  for (const [[keyspace, type, name, statement], exists] of rows) {
    it(`${type} ${name} in ${keyspace} ${statement.slice(0, 50)} ${exists ? 'exists' : 'does not'}`, () => {
      assert.equal(existsFor(visibility, schema, { keyspace, type, name, statement }), exists)
      assert.equal(existsFor({ ...visibility, all: true }, schema, { keyspace, type, name, statement }), true)
    })
  }
})

it('an aggregate that is listed without its text exists by what the node says that it is made of', () => {
  const aggregates = new Map([
    [aggregateKey('shop', 'ag', 'int, text'), ['plus', 'last']],
    [aggregateKey('shop', 'ag', 'int'), ['plus', 'hid']],
  ])
  const exists = (name: string) =>
    existsFor(visibility, schema, { keyspace: 'shop', type: 'aggregate', name, statement: null }, aggregates)
  assert.deepEqual(['ag(int, text)', 'ag(int)', 'ag()', 'unknown(int)'].map(exists), [true, false, false, false])
})

describe('pages of a description', () => {
  const visible = rows.filter(([, exists]) => exists).map(([row]) => row)
  for (const version of [3, 4, 5] as const) {
    it(`are those of a node that has only what is visible, of any size (v${version})`, () => {
      for (let size = 0; size <= rows.length + 1; size++) {
        const mixed = walk(
          version,
          rows.map(([row]) => row),
          size,
        )
        assert.deepEqual(mixed, walk(version, visible, size))
        assert.deepEqual(
          mixed.flat(),
          visible.map((row) => row[2]),
        )
        // As Cassandra does it: a page that is full promises another.
        const full = size > 0 ? Math.floor(visible.length / size) : 0
        assert.equal(mixed.length, full + 1)
        assert.ok(mixed.slice(0, -1).every((page) => page.length === size))
      }
    })
  }

  it('are made in small steps, whatever the schema', () => {
    const all = Array.from({ length: 4_000 }, (_, at): Row => {
      return ['shop', 'table', at % 3 === 0 ? `hid${at}` : `t${at}`, `CREATE TABLE shop.t${at} (k int PRIMARY KEY);`]
    })
    const answer = answerOf(4, all)
    let asked = 0
    let most = 0
    const counting: Visibility = {
      ...visibility,
      table: (keyspace, name) => {
        asked++
        return visibility.table(keyspace, name)
      },
    }
    const steps = described(answer, 4, counting, schema, new Map())
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) {
      most = Math.max(most, asked)
      asked = 0
    }
    assert.ok(most > 0 && most <= 8, `${most} rows in one step`)
    const { rowCount } = step.value
    assert.equal(rowCount, all.filter(([, , name]) => !name.includes('hid')).length)
    const ofPage = pageOf(step.value, 4, params(1_000, undefined), seal, context)
    let count = 1
    for (let page = ofPage.next(); page.done !== true; page = ofPage.next()) count++
    assert.ok(count > rowCount / 8)
  })

  it('say when what is visible has changed, and not when what is hidden has', () => {
    const first = pageAtOnce(
      describedAtOnce(answerOf(4, visible), 4, visibility, schema, new Map()),
      4,
      params(2, undefined),
      seal,
      context,
    )
    const state = pagingStateOf(wholeEnvelope(first.envelope), 4)
    const next = (all: readonly Row[], sealed = state) =>
      pageAtOnce(
        describedAtOnce(answerOf(4, all), 4, visibility, schema, new Map()),
        4,
        params(2, sealed),
        seal,
        context,
      ).rowCount
    assert.equal(next(rows.map(([row]) => row)), 2)
    assert.equal(next([...visible, ['shop', 'table', 'hid2', '']]), 2)
    assert.throws(() => next([...visible, ['shop', 'table', 'new', '']]), /schema has changed since the previous page/)
    assert.throws(() => next(visible, Buffer.alloc(60)), /Invalid value for the paging state/)
    assert.throws(() => next(visible, seal.seal(Buffer.alloc(20), { ...context, keyspace: 'bank' })), /Invalid value/)
  })
})

it('what does not exist is said in Cassandra’s words', () => {
  // As 5.0.9 answered each, connected to the keyspace `bank`.
  for (const [text, message] of [
    ['DESCRIBE KEYSPACE nope', "'nope' not found in keyspaces"],
    ['DESC TABLE rt.nope', "Table 'nope' not found in keyspace 'rt'"],
    ['DESCRIBE MATERIALIZED VIEW rt.nope', "Materialized view 'nope' not found in 'rt'"],
    ['DESCRIBE INDEX rt.nope', "Table for existing index 'nope' not found in 'rt'"],
    ['DESCRIBE TYPE rt.nope', "User defined type 'nope' not found in 'rt'"],
    ['DESCRIBE FUNCTION rt.nope', "User defined function 'nope' not found in 'rt'"],
    ['DESCRIBE AGGREGATE rt.nope', "User defined aggregate 'nope' not found in 'rt'"],
    ['DESCRIBE nope', "'nope' not found in keyspace 'bank'"],
    ['DESCRIBE rt."Nope"', "'Nope' not found in keyspace 'rt'"],
    ['DESCRIBE TABLES', undefined],
    ['DESCRIBE FULL SCHEMA', undefined],
  ] as const) {
    assert.equal(missing(text, 'bank'), message)
  }
  assert.equal(missing('DESCRIBE nope', ''), "'nope' not found in keyspaces")
})
