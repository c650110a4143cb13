/**
 * Rewrites random answers, and broken ones. Of a good answer the driver reads every masked value, and every other byte is as it was;
 * of a broken one nothing is thrown but RingfenceError.
 */

import assert from 'node:assert/strict'
import { argv } from 'node:process'
import { parseArgs } from 'node:util'
import { isRefused } from '../../base/errors.fixture.ts'
import { RingfenceError } from '../../base/errors.ts'
import { wholeEnvelope } from '../envelope.ts'
import { damaged, damages, type Random, randomOf } from '../fuzz.fixture.ts'
import { envelopeHeaderBytes } from '../protocol.ts'
import { ExecuteView, QueryView, readExecute, readQuery } from '../requests.ts'
import { type CqlType, listOf, mapOf, native, setOf } from '../types.ts'
import {
  driverEncode,
  driverRead,
  type RowsShape,
  rowsAnswer,
  type Sample,
  samples,
  versions,
} from './driver.fixture.ts'
import { filterRows } from './filter.fixture.ts'
import { maskRows } from './mask.fixture.ts'
import type { Mask } from './mask.ts'
import { pagingStateOf, withPagingState, withRequestPagingState } from './paging.ts'
import { withoutSkipMetadata, withoutTracing } from './requests.ts'
import { readSchemaTarget } from './schema-event.ts'
import { withWarning } from './warning.ts'

/** A rewrite of one small answer that takes longer is a fault of ours. */
const callMsMax = 500
const key = Buffer.alloc(32, 5)
const query = new QueryView()
const execute = new ExecuteView()

const masks: readonly Mask[] = [
  { kind: 'full' },
  { kind: 'partial', keepStart: 1, keepEnd: 2 },
  { kind: 'hash' },
  { kind: 'null' },
]

/** Every rewrite on one envelope, under each version, whatever its opcode says. */
export function exerciseRewrites(buf: Buffer): void {
  if (buf.length < envelopeHeaderBytes) return
  const end = buf.length
  const envelope = wholeEnvelope(buf)
  const before = Buffer.from(buf)
  for (const version of versions) {
    for (const mask of masks) isRefused(() => maskRows({ bytes: buf, start: 0, end }, version, () => mask, key))
    isRefused(() =>
      filterRows({ bytes: buf, start: 0, end }, version, (read, columns) => {
        columns.forEach((_, i) => {
          read(i)
        })
        return columns.length % 2 === 0
      }),
    )
    isRefused(() => {
      if (pagingStateOf({ bytes: buf, start: 0, end }, version) !== undefined)
        withPagingState({ bytes: buf, start: 0, end }, version, key)
    })
    isRefused(() => withWarning({ bytes: buf, start: 0, end }, version, 'observed'))
    isRefused(() => {
      readQuery(query, envelope, version)
      withoutSkipMetadata(envelope, query.params)
      if (query.params.pagingStateStart >= 0) withRequestPagingState({ bytes: buf, start: 0, end }, query.params, key)
    })
    isRefused(() => {
      readExecute(execute, envelope, version)
      withoutSkipMetadata(envelope, execute.params)
      if (execute.params.pagingStateStart >= 0)
        withRequestPagingState({ bytes: buf, start: 0, end }, execute.params, key)
    })
  }
  withoutTracing(envelope)
  isRefused(() => readSchemaTarget({ bytes: buf, start: 0, end }))
  assert.deepEqual(buf, before, 'a rewrite changed its input')
}

/** One of the samples, often in a collection. */
function randomSample(random: Random): Sample {
  const sample = samples[random(samples.length)]!
  const { type, value } = sample
  switch (random(5)) {
    case 0:
      // Counters, and durations as keys, stand alone in Cassandra; as elements of a list they do no harm.
      return { type: listOf(type), value: [value, value] }
    case 1:
      return type.kind === 'text' ? { type: setOf(type), value: ['abcd', 'axyz', 'b'] } : sample
    case 2:
      return { type: mapOf(native('text'), type), value: { one: value, other: value } }
    default:
      return sample
  }
}

function randomShape(version: number, random: Random): RowsShape {
  const chosen = Array.from({ length: 1 + random(5) }, () => randomSample(random))
  const columns = chosen.map(({ type }, i) => ({ name: `c${i}`, type, table: `t${random(2)}` }))
  const encoded = chosen.map(({ type, value }) => driverEncode(version, type, value))
  const rows = Array.from({ length: random(4) }, () => encoded.map((bytes) => (random(4) === 0 ? null : bytes)))
  return {
    columns,
    rows,
    tracing: random(2) === 0,
    perColumnSpec: random(2) === 0,
    ...(random(2) === 0 ? { pagingState: Buffer.alloc(random(40), 1) } : {}),
    ...(version >= 4 && random(2) === 0 ? { warnings: ['one', 'two'] } : {}),
    ...(version >= 4 && random(2) === 0 ? { payload: true } : {}),
    ...(version >= 5 && random(2) === 0 ? { newMetadataId: Buffer.alloc(16, 3) } : {}),
  }
}

/** What every mask of a good answer must hold to. */
function checkGood(random: Random): Buffer {
  const version = versions[random(versions.length)]!
  const shape = randomShape(version, random)
  const answer = rowsAnswer(version, shape)
  const hidden = `c${random(shape.columns.length)}`
  const mask = masks[random(masks.length)]!
  let result: Buffer
  try {
    result = maskRows(wholeEnvelope(answer), version, (name) => (name === hidden ? mask : undefined), key)
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError && reason.code === 'INVALID')
    assert.ok(mask.kind === 'partial' || mask.kind === 'hash')
    return answer
  }
  const was = driverRead(version, answer)
  const seen = driverRead(version, result)
  assert.equal(seen.rows.length, was.rows.length)
  assert.deepEqual(seen.names, was.names)
  assert.deepEqual(seen.pageState, was.pageState)
  assert.deepEqual(seen.newResultId, was.newResultId)
  assert.deepEqual(seen.warnings, was.warnings)
  for (const [r, row] of seen.raw.entries()) {
    for (const [c, bytes] of row.entries()) {
      const before = was.raw[r]![c]!
      if (seen.names[c] !== hidden) assert.deepEqual(bytes, before)
      else if (mask.kind === 'null' || before === null) assert.equal(bytes, null)
      else if (!isPlain(shape.columns[c]!.type)) assert.notDeepEqual(bytes, before)
    }
  }
  return answer
}

/** A value that is shown as it is under no mask of ours, but whose sample may be equal to its mask. */
function isPlain(type: CqlType): boolean {
  return type.kind === 'boolean'
}

function mutate(seed: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(seed)
  for (let round = random(3); round >= 0; round--) {
    const at = envelopeHeaderBytes + random(Math.max(1, bytes.length - envelopeHeaderBytes))
    if (at >= bytes.length) break
    bytes = damaged(bytes, at, random(damages), random)
  }
  return Buffer.from(bytes)
}

/** Throws what should not have happened, with the bytes in its message. */
export function fuzz({ seconds, seed }: { seconds: number; seed: number }): { runs: number } {
  const random = randomOf(seed)
  const until = performance.now() + seconds * 1000
  let runs = 0
  for (; performance.now() < until; runs++) {
    const answer = checkGood(random)
    for (let i = 0; i < 4; i++) {
      const broken = mutate(answer, random)
      const started = performance.now()
      try {
        exerciseRewrites(broken)
        assert.ok(performance.now() - started < callMsMax, 'took too long')
      } catch (reason) {
        throw new Error(`bytes ${broken.toString('hex')}`, { cause: reason })
      }
    }
  }
  return { runs }
}

if (argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
  })
  const { runs } = fuzz({ seconds: Number(values.seconds), seed: Number(values.seed) })
  console.log(`answers fuzz: ${runs} runs with seed ${values.seed}, nothing found`)
}
