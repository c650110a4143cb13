/** Properties of SELECT over rows in memory, for arbitrary text and values; `node src/cql/query/query.fuzz.ts` runs them for long. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../../base/errors.ts'
import { native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { planOf } from './plan.ts'
import { readSelect } from './read.ts'
import { run } from './run.ts'
import { int, regular, shapeWith, text, texts } from './table.fixture.ts'
import { Table } from './table.ts'

const runs = 3000
const shape = shapeWith(
  regular('v', text),
  regular('m', texts),
  regular('u', native('uuid')),
  regular('d', native('double')),
)
const table = Table.of(
  shape,
  ['a', 'b'].flatMap((p) =>
    [1, 2, 3].map((c) => [
      encodeValue(text, p),
      encodeValue(int, c),
      c === 2 ? null : encodeValue(text, `v${c}`),
      encodeValue(texts, new Map([['k', 'w']])),
      c === 1 ? Buffer.alloc(0) : encodeValue(native('uuid'), '11111111-2222-4333-8444-555555555555'),
      encodeValue(native('double'), c / 3),
    ]),
  ),
)

const words =
  `SELECT JSON DISTINCT * p c v m u d count( max( min( sum( avg( to_json( token( cast( ) , . [ ] { } ( ? :x 'a' 'b' 1 -1 0 1.5 null
  + - / % AS text FROM t ks.t WHERE AND = < > <= >= IN CONTAINS KEY GROUP BY ORDER ASC DESC PER PARTITION LIMIT ALLOW FILTERING true 0x00
  writetime( ttl( map_keys( mask_inner( abs( log( now() uuid() text_as_blob( blob_as_int( collection_max( (int) (text) ;
  1d -1mo2h P1Y 1e-400 floor( min_timeuuid( to_date( from_json( mask_default( mask_hash( (timestamp) (date) (decimal) (varint) (duration) (list<text>)
  '2024-01-31' m['k'] m['a'..'k'] -99999999999999`.split(/\s+/)

const statement = fc.oneof(
  fc.array(fc.constantFrom(...words), { maxLength: 25 }).map((parts) => `SELECT ${parts.join(' ')} FROM t`),
  fc
    .tuple(
      fc.array(fc.constantFrom(...words), { maxLength: 8 }),
      fc.array(fc.constantFrom(...words), { maxLength: 12 }),
    )
    .map(([shown, rest]) => `SELECT ${shown.join(' ')} FROM t WHERE p = 'a' ${rest.join(' ')}`),
  fc
    .tuple(
      fc.constantFrom('p', 'c', 'v', 'm', 'u', 'd', 'p, c'),
      fc.constantFrom('max', 'to_json', 'count', 'token', 'abs', 'mask_default', 'blob_as_uuid', 'to_timestamp'),
      fc.constantFrom('', ' GROUP BY p', ' LIMIT ?', ' WHERE p = ? AND c > ?', ' WHERE d > ? ALLOW FILTERING'),
    )
    .map(([column, call, rest]) => `SELECT ${call}(${column}) FROM t${rest}`),
)
const values = fc.array(fc.option(fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes))), {
  maxLength: 4,
})
const state = fc.option(
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  { nil: undefined },
)

it('any statement, values and state end in a page or in a RingfenceError', () => {
  fc.assert(
    fc.property(statement, values, fc.integer({ min: 0, max: 3 }), state, (asked, bound, pageRows, begin) => {
      try {
        const plan = planOf(
          readSelect(asked),
          shape,
          { bytes: (marker) => bound[marker] ?? null, unset: (marker) => marker === 3 },
          Date.now,
        )
        const steps = run(plan, table, () => true, { rows: pageRows, state: begin, bytesMax: 10_000 })
        let step = steps.next()
        while (step.done !== true) step = steps.next()
        assert.ok(pageRows === 0 || step.value.rowCount <= pageRows)
        assert.ok(step.value.state === undefined || step.value.rowCount > 0)
      } catch (reason) {
        if (!(reason instanceof RingfenceError)) throw new Error(`${asked}: ${String(reason)}`, { cause: reason })
      }
    }),
    { numRuns: runs },
  )
})
