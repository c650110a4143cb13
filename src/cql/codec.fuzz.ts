/**
 * Mutates captured messages and feeds them to Inbound and to every decoder. Nothing but RingfenceError may come out, nothing
 * may take long, nothing may hold more than its cap. `node src/cql/codec.fuzz.ts --seconds 60 --seed 7`; what it finds it
 * prints as hexadecimal, to become a file under `corpus/`.
 */

import assert from 'node:assert/strict'
import { argv } from 'node:process'
import { parseArgs } from 'node:util'
import { isRefused } from '../base/errors.fixture.ts'
import { crc24, crc32 } from './crc.ts'
import { wholeEnvelope } from './envelope.ts'
import type { EnvelopeSink } from './envelope-sink.ts'
import { javaDriver, pythonDriver, setMode, smallWires } from './fixtures.ts'
import { damaged, damages, type Random, randomOf } from './fuzz.fixture.ts'
import { Inbound } from './inbound.ts'
import { envelopeHeaderBytes, headerBodyBytes } from './protocol.ts'
import { readOptions, readPayload } from './requests.fixture.ts'
import {
  BatchView,
  ExecuteView,
  PrepareView,
  QueryView,
  readAuthResponse,
  readBatch,
  readExecute,
  readPrepare,
  readQuery,
  readRegister,
  readStartup,
} from './requests.ts'
import { readAuthToken, readSupported, readTracingId, readWarnings } from './responses.fixture.ts'
import {
  bodyStart,
  hasMorePages,
  readAuthenticate,
  readError,
  readEvent,
  readPrepared,
  readRows,
  readSchemaChange,
  readSetKeyspace,
  resultKind,
  rowsCount,
} from './responses.ts'
import { decodeValue } from './values.ts'

const bodyBytesMax = 64 * 1024
/** Above the body: a header, a segment, and what doubling leaves unused. */
const bufferedBytesMax = bodyBytesMax + 256 * 1024
const callMsMax = 2_000

const versions = [3, 4, 5] as const
const query = new QueryView()
const prepare = new PrepareView()
const execute = new ExecuteView()
const batch = new BatchView()

/** Every decoder on one envelope, under each version and with its own flags, whatever its opcode says. */
export function exerciseEnvelope(buf: Buffer): void {
  if (buf.length < envelopeHeaderBytes) return
  const end = buf.length
  const envelope = wholeEnvelope(buf)
  for (const version of versions) {
    isRefused(() => {
      readQuery(query, envelope, version)
      for (let i = 0; i < query.params.valueCount; i++) query.params.valueAt(i)
      readPayload(query, buf)
    })
    isRefused(() => readPrepare(prepare, envelope, version))
    isRefused(() => readExecute(execute, envelope, version))
    isRefused(() => {
      readBatch(batch, envelope, version)
      for (const part of batch.parts) for (let i = 0; i < part.valueCount; i++) batch.valueAt(part, i)
    })
    for (const read of [readRegister, readStartup, readAuthResponse, readOptions]) {
      isRefused(() => read(envelope, version))
    }
    const counted = { rows: -1 }
    const failedToCount = isRefused(() => {
      counted.rows = rowsCount({ bytes: buf, start: 0, end }, version)
    })
    isRefused(() => {
      const { columns, rows } = readRows({ bytes: buf, start: 0, end }, version)
      // The two ways of reading agree.
      assert.ok(!failedToCount)
      assert.equal(rows.length, counted.rows)
      for (const row of rows) {
        for (const [i, column] of columns.entries()) isRefused(() => decodeValue(column.type, row[i] ?? null))
      }
    })
    isRefused(() => readPrepared({ bytes: buf, start: 0, end }, version))
  }
  for (const read of [
    bodyStart,
    hasMorePages,
    readAuthenticate,
    readAuthToken,
    readError,
    readEvent,
    readSchemaChange,
    readSetKeyspace,
    readSupported,
    readTracingId,
    readWarnings,
    resultKind,
  ]) {
    isRefused(() => read({ bytes: buf, start: 0, end }))
  }
}

type Mode = Parameters<typeof setMode>[1]
const modes: readonly Mode[] = ['bare', 'bare-lz4', 'segments', 'segments-lz4']

/** One stream in each mode and direction, whole and in pieces: the same envelopes, or a refusal. */
export function exerciseStream(bytes: Buffer, pieceBytes = 13): void {
  for (const direction of ['requests', 'responses'] as const) {
    for (const mode of modes) {
      const whole = run(direction, mode, bytes, bytes.length)
      const pieces = run(direction, mode, bytes, pieceBytes)
      assert.deepEqual(pieces, whole)
    }
  }
}

function run(direction: 'requests' | 'responses', mode: Mode, bytes: Buffer, pieceBytes: number): string[] {
  const inbound = setMode(new Inbound(direction, bodyBytesMax), mode)
  const seen: string[] = []
  const sink: EnvelopeSink = {
    onEnvelope: (buffer, start, end) => {
      assert.equal(end - start, envelopeHeaderBytes + headerBodyBytes(buffer, start))
      seen.push(buffer.toString('latin1', start, end))
    },
  }
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // A copy: Inbound clears a flag in place.
    const failed = isRefused(() => inbound.push(Buffer.from(bytes.subarray(at, at + pieceBytes)), sink))
    assert.ok(inbound.collectingBytes <= bufferedBytesMax)
    if (failed) break
  }
  return seen
}

function mutate(seed: Buffer, other: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(seed)
  for (let round = random(4); round >= 0; round--) {
    if (bytes.length === 0) break
    const at = random(bytes.length)
    const way = random(damages + 2)
    if (way < damages) bytes = damaged(bytes, at, way, random)
    else {
      const rest = way === damages ? bytes.subarray(random(bytes.length)) : other.subarray(random(other.length + 1))
      bytes = Buffer.concat([bytes.subarray(0, at), rest])
    }
  }
  return Buffer.from(bytes)
}

/** Checksums that fit again, so that mutations reach what stands behind them. */
function reseal(bytes: Buffer, lz4: boolean): Buffer {
  const headerBytes = lz4 ? 8 : 6
  const covered = headerBytes - 3
  for (let at = 0; at + headerBytes + 4 <= bytes.length; ) {
    const payloadBytes = bytes.readUIntLE(at, 3) & 0x1ffff
    bytes.writeUIntLE(crc24(bytes, at, covered), at + covered, 3)
    const trailerAt = at + headerBytes + payloadBytes
    if (trailerAt + 4 > bytes.length) break
    bytes.writeUInt32LE(crc32(bytes, at + headerBytes, trailerAt), trailerAt)
    at = trailerAt + 4
  }
  return bytes
}

/** Mutates for `seconds`. Throws what should not have happened, with the bytes in its message. */
export function fuzz({ seconds, seed }: { seconds: number; seed: number }): { runs: number } {
  const random = randomOf(seed)
  const messages = [...pythonDriver.requests, ...javaDriver.requests, ...javaDriver.responses].map((capture) =>
    Buffer.from(capture.hex, 'hex'),
  )
  const wires = smallWires.map(({ wire }) => wire)
  const until = performance.now() + seconds * 1000
  let runs = 0
  for (; performance.now() < until; runs++) {
    const message = mutate(messages[random(messages.length)]!, messages[random(messages.length)]!, random)
    if (message.length >= envelopeHeaderBytes && random(2) === 0)
      message.writeInt32BE(message.length - envelopeHeaderBytes, 5)
    let wire = mutate(wires[random(wires.length)]!, wires[random(wires.length)]!, random)
    if (random(3) > 0) wire = reseal(wire, random(2) === 0)
    const pieceBytes = 1 + random(60)
    for (const [bytes, work] of [
      [message, () => exerciseEnvelope(message)],
      [message, () => exerciseStream(message, pieceBytes)],
      [wire, () => exerciseStream(wire, pieceBytes)],
    ] as const) {
      const started = performance.now()
      try {
        work()
        assert.ok(performance.now() - started < callMsMax, 'took too long')
      } catch (reason) {
        throw new Error(`pieces of ${pieceBytes}, bytes ${bytes.toString('hex')}`, { cause: reason })
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
  console.log(`codec fuzz: ${runs} runs with seed ${values.seed}, nothing found`)
}
