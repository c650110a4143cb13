/**
 * A CQL node that keeps nothing and is never the bottleneck: every EXECUTE of a SELECT is answered with the same row.
 *
 *     node bench/stub.ts --port 9042 [--row-bytes 100] [--cert F --key F --ca F]
 *
 * Versions 4 and 5. With certificates it takes TLS 1.3 from clients that have one of the same CA. Several processes may be
 * started on one port (reusePort). Prints `listening` once.
 */
import { readFileSync } from 'node:fs'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { parseArgs } from 'node:util'
import { errorEnvelope, schemaChangeEnvelope } from '../src/cql/encode.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  headerBodyBytes,
  headerOpcode,
  headerStream,
  headerVersion,
  Opcode,
} from '../src/cql/protocol.ts'
import { anyValues } from '../src/cql/query/markers.ts'
import { QueryView, readQuery } from '../src/cql/requests.ts'
import { answerQuestion } from '../src/gateway/topology/answer.ts'
import { murmur3Partitioner, type TopologyModel, virtualHosts } from '../src/gateway/topology/model.ts'
import { aboutTopology, readQuestion } from '../src/gateway/topology/question.ts'
import { FakeSchema } from '../test/path/fake-schema.ts'
import { largeAnswerTable, manyRowsTable, oversizedAnswerTable, Phrases } from './phrases.ts'
import { WireReader, WireWriter } from './wire.ts'

const { values: options } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    'row-bytes': { type: 'string', default: '100' },
    cert: { type: 'string' },
    key: { type: 'string' },
    ca: { type: 'string' },
  },
})

const versions = [4, 5] as const
const phrases = new Map<number, Phrases>(
  versions.map((version) => [version, new Phrases(version, Number(options['row-bytes']))]),
)
const [, newest] = versions
/** A driver that begins with a version of its own reads from this that it must try another. */
const unsupported = errorEnvelope(
  newest,
  0,
  CqlErrorCode.PROTOCOL_ERROR,
  'Invalid or unsupported protocol version; supported versions are (4/v4, 5/v5)',
)

function serve(socket: Socket): void {
  socket.setNoDelay(true)
  const writer = new WireWriter(socket)
  const reader = new WireReader((buf, start) => {
    const version = headerVersion(buf, start)
    const say = phrases.get(version)
    const stream = headerStream(buf, start)
    if (say === undefined) return writer.write(unsupported, stream)
    switch (headerOpcode(buf, start)) {
      case Opcode.EXECUTE:
        return writer.write(say.executed(buf, start + envelopeHeaderBytes + 2), stream)
      case Opcode.QUERY:
        return writer.write(
          answerTo(say, version as 4 | 5, longStringAt(buf, start + envelopeHeaderBytes), boundIn(buf, start)),
          stream,
        )
      case Opcode.PREPARE:
        return writer.write(say.prepared(longStringAt(buf, start + envelopeHeaderBytes)), stream)
      case Opcode.BATCH:
        return writer.write(say.done, stream)
      case Opcode.OPTIONS:
        return writer.write(say.supported, stream)
      case Opcode.AUTH_RESPONSE:
        return writer.write(say.authSuccess, stream)
      case Opcode.REGISTER:
        return writer.write(say.ready, stream)
      case Opcode.STARTUP:
        writer.write(say.ready, stream)
        // The answer to STARTUP is the last bare envelope of version 5.
        writer.flush()
        writer.segmented = reader.segmented = version === 5
        return
      default:
        socket.destroy()
    }
  })
  socket.on('data', (chunk: Buffer) => {
    reader.feed(chunk)
    writer.flush()
  })
  socket.on('error', () => socket.destroy())
}

/** A proxy in front asks its node who it is; the gateway's own virtual tables are at hand to answer that. */
function answerTo(say: Phrases, version: 4 | 5, text: string, bound: string | undefined): Buffer {
  const use = /^\s*USE\s+"?(\w+)"?/i.exec(text)
  if (use !== null) return say.keyspace(use[1]!)
  const large = say.large(text)
  if (large !== undefined) return large
  const wide = /^CREATE KEYSPACE bench WITH wide = (\d+)$/.exec(text)
  if (wide !== null) return widened(version, Number(wide[1]))
  // All in one page, which is more than a real node would give.
  const rows = schema.answer(version, 0, text, bound, { size: undefined, state: undefined })
  if (rows !== undefined) return rows
  const table = aboutTopology(text, '')
  if (table === undefined) return say.row
  const question = readQuestion(text, table, Date.now)
  const asked = { values: anyValues, pageRows: 0, pagingState: undefined }
  return answerQuestion(question, asked, ring, ring.hosts[0]!, version, 0)
}

/** The first value of a QUERY. */
function boundIn(buf: Buffer, start: number): string | undefined {
  const view = new QueryView()
  const end = start + envelopeHeaderBytes + headerBodyBytes(buf, start)
  readQuery(view, { bytes: buf, start, end }, headerVersion(buf, start) as 4 | 5)
  const { params } = view
  if (params.valueCount === 0 || params.valueAt(0) < 0) return undefined
  return buf.toString('utf8', params.valueStart, params.valueEnd)
}

const schema = new FakeSchema()
const tableOf = (name: string) => ({
  keyspace: 'bench',
  name,
  partitionKey: { k: 'text' },
  regulars: { v: 'blob' },
})
const ownTables = ['rows', 'large', largeAnswerTable, manyRowsTable, oversizedAnswerTable].map(tableOf)
schema.tables = ownTables
let widenings = 0

/** The keyspace gets as many further tables, with twenty columns each, and says that it has changed. */
function widened(version: 4 | 5, count: number): Buffer {
  widenings++
  const regulars = Object.fromEntries(Array.from({ length: 19 }, (_, at) => [`v${at}`, 'text']))
  const further = Array.from({ length: count }, (_, at) => ({ ...tableOf(`w${widenings}_${at}`), regulars }))
  schema.tables = [...ownTables, ...further]
  return schemaChangeEnvelope(version, 0, {
    change: 'UPDATED',
    target: 'KEYSPACE',
    keyspace: 'bench',
    name: '',
    argTypes: [],
  })
}

const place = { dataCenter: 'dc1', rack: 'rack1', clusterName: 'bench' }
const ring: TopologyModel = {
  clusterName: place.clusterName,
  partitioner: murmur3Partitioner,
  releaseVersion: '5.0.9',
  cqlVersion: '3.4.7',
  nativeProtocolVersion: '5',
  schemaVersion: '00000000-0000-4000-8000-000000000000',
  hosts: virtualHosts([{ address: options.host, port: Number(options.port) }], place),
}

function longStringAt(buf: Buffer, at: number): string {
  return buf.toString('utf8', at + 4, at + 4 + buf.readInt32BE(at))
}

const file = (path: string): Buffer => readFileSync(path)
const server =
  options.cert === undefined || options.key === undefined || options.ca === undefined
    ? createTcpServer(serve)
    : createTlsServer(
        {
          cert: file(options.cert),
          key: file(options.key),
          ca: file(options.ca),
          requestCert: true,
          rejectUnauthorized: true,
          minVersion: 'TLSv1.3',
        },
        serve,
      )
server.listen({ host: options.host, port: Number(options.port), reusePort: true }, () => console.log('listening'))
process.on('SIGTERM', () => process.exit(0))
