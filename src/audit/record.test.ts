import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { printable } from '../base/printable.ts'
import { LineBuffer } from './lines.ts'
import type { AuditSink, AuditSizes } from './record.ts'
import {
  answeredPart,
  appendAnswered,
  appendSizes,
  appendTransaction,
  auditLineBytesMax,
  errorPart,
  evidencePart,
  proxyPart,
  quoted,
  refusedLine,
  requestPart,
  sessionPart,
  statementPart,
  tablesMissing,
  verdictPart,
} from './record.ts'

class Lines implements AuditSink {
  readonly lines: string[] = []
  begin(): string {
    return `{"time":"2026-11-21T04:00:00.000Z","seq":${this.lines.length + 1},"proxy":"sidecar-1"`
  }
  append(line: string): void {
    this.lines.push(line)
  }
}

const session = {
  session: 's-1',
  workload: 'spiffe://td/svc/orders',
  person: 'corp/ann',
  authentication: 'certificate' as const,
  client: { address: '192.0.2.7', port: 40_123 },
  gateway: 'spiffe://td/ringfence/gateway/g1',
  driver: 'DataStax Python Driver 3.30',
  protocolVersion: 5,
}
/** What a log-in shows, with the same text for each of its parts. */
const shownAs = (text: string) => ({ hash: text, token: { provider: text, issuer: text, id: text, hash: text } })
const refusedAs = (text: string) => ({
  client: { address: text, port: 65_535 },
  driver: text,
  cause: text,
  evidence: { provider: text, issuer: text, tokenId: text, hash: text, claimed: text },
  gateway: text,
  session: text,
})
/** Every text of a session. */
const sessionAs = (text: string) => ({
  session: text,
  workload: text,
  person: text,
  authentication: 'certificate+impersonation',
  transaction: text,
  tokenHash: text,
  claimed: text,
  client: { address: text, port: 65_535 },
  gateway: text,
  driver: text,
  protocolVersion: 5,
})
const statement = {
  keyspace: 'shop',
  table: 'orders',
  tables: ['shop.orders', 'shop.orders_by_day'],
  operation: 'SELECT',
  statement: 'SELECT * FROM shop.orders WHERE id = ?',
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of a line, looked at field by field.
function read(line: string): any {
  return JSON.parse(line)
}

describe('the record of an answered request, as bytes', () => {
  it('is the line that the record as text is, whatever it holds', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 })
    const number = fc.oneof(
      fc.nat(),
      fc.double(),
      fc.integer(),
      fc.constantFrom(-0.5, 9, 10, 99.9, 100, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 1e21, -(2 ** 31)),
    )
    const run = (name: string, words: string, batch: number, level: number, values: readonly number[]): void => {
      const [rows = 0, bytesIn = 0, bytesOut = 0, micros = 0] = values
      const sink = new Lines()
      const part = sessionPart({ ...session, driver: name })
      const about = statementPart({ ...statement, table: name, statement: words }) + requestPart('EXECUTE')
      const verdict = verdictPart({ verdict: 'allow', rule: name, policyRevision: 7 })
      appendTransaction(
        sink,
        { session: part, statement: about, verdict, batchSize: batch, consistency: level, error: '' },
        { outcome: 'ok', rows, bytesIn, bytesOut, latencyMicros: micros },
      )
      const lines = new LineBuffer(2 * auditLineBytesMax)
      const beginAnswered = (ofSession: string, answered: Buffer, sizes: AuditSizes): LineBuffer => {
        lines.text(`{"time":"2026-11-21T04:00:00.000Z","seq":1,"proxy":"sidecar-1"${ofSession}`)
        lines.bytes(answered)
        appendSizes(lines, sizes)
        return lines
      }
      const middle = answeredPart(about, verdict, batch, level)
      appendAnswered({ beginAnswered }, part, middle, { rows, bytesIn, bytesOut, latencyMicros: micros })
      assert.equal(lines.take().toString(), sink.lines[0])
    }
    const values = fc.array(number, { minLength: 4, maxLength: 4 })
    fc.assert(fc.property(text, text, fc.nat(3), fc.integer({ min: -1, max: 11 }), values, run), { numRuns: 500 })
  })
})

describe('a record', () => {
  it('has every field, in a line that JSON reads back', () => {
    const sink = new Lines()
    const verdict = verdictPart({ verdict: 'allow', rule: 'orders-read', policyRevision: 7 })
    appendTransaction(
      sink,
      {
        session: sessionPart(session),
        statement: statementPart(statement) + requestPart('EXECUTE'),
        verdict,
        batchSize: 3,
        consistency: 6,
        error: errorPart(0x2200, 'no', 'ours'),
      },
      { outcome: 'error', rows: 12, bytesIn: 90, bytesOut: 1200, latencyMicros: 345.9 },
    )
    const line = sink.lines[0]!
    assert.ok(line.endsWith('}\n'))
    assert.deepEqual(read(line), {
      time: '2026-11-21T04:00:00.000Z',
      seq: 1,
      proxy: 'sidecar-1',
      session: 's-1',
      workload: 'spiffe://td/svc/orders',
      person: 'corp/ann',
      authentication: 'certificate',
      client: { address: '192.0.2.7', port: 40_123 },
      gateway: 'spiffe://td/ringfence/gateway/g1',
      driver: 'DataStax Python Driver 3.30',
      protocol: 5,
      keyspace: 'shop',
      table: 'orders',
      tables: ['shop.orders', 'shop.orders_by_day'],
      operation: 'SELECT',
      statement: 'SELECT * FROM shop.orders WHERE id = ?',
      request: 'EXECUTE',
      batchSize: 3,
      consistency: 'LOCAL_QUORUM',
      verdict: 'allow',
      rule: 'orders-read',
      policyRevision: 7,
      outcome: 'error',
      error: { code: 0x2200, message: 'no' },
      rows: 12,
      bytesIn: 90,
      bytesOut: 1200,
      latencyMicros: 345,
    })
    const page = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8')
    for (const field of Object.keys(read(line)))
      assert.ok(page.includes(`| \`${field}\``), `docs/audit.md names ${field}`)
  })

  it('leaves out what is not known, and says nothing in its place', () => {
    const sink = new Lines()
    const bare = sessionPart({ ...session, person: undefined, driver: undefined })
    const unknown = statementPart({ keyspace: undefined, table: undefined, operation: 'EXECUTE', statement: undefined })
    const verdict = verdictPart({ verdict: 'deny', rule: 'default-deny', policyRevision: 0 })
    appendTransaction(
      sink,
      { session: bare, statement: unknown, verdict, batchSize: 0, consistency: -1, error: '' },
      { outcome: 'lost', rows: -1, bytesIn: 9, bytesOut: 0, latencyMicros: Number.NaN },
    )
    const keys = Object.keys(read(sink.lines[0]!))
    const absent = [
      'person',
      'driver',
      'keyspace',
      'table',
      'statement',
      'request',
      'batchSize',
      'consistency',
      'error',
      'rows',
    ]
    for (const key of absent) {
      assert.ok(!keys.includes(key), key)
    }
    assert.equal(read(sink.lines[0]!).latencyMicros, 0)
  })

  const hostile = [
    'a\nb\r\n{"seq":99}',
    'nul\u0000 esc\u001b[2J osc\u001b]0;x\u0007 del\u007f c1\u0085\u009b',
    'bidi\u202e\u2066\u061c\u200f separators\u2028\u2029 zero\u200b\ufeff soft\u00ad',
    '"},{"verdict":"allow"',
    '\\"\\\\ \ud800 lone \udfff',
    'tags\u{e0041}\u{e007f}',
    'blank\u115f\u1160\u3164\uffa0\u2800\u00a0\u3000\u034f\u17b4\u{1d159} mark \u0301 private\ue000',
    '__proto__',
  ]

  for (const text of hostile) {
    it(`stays one harmless line with ${JSON.stringify(text).slice(0, 40)} in every text`, () => {
      const sink = new Lines()
      const part = sessionPart(sessionAs(text)) + evidencePart(shownAs(text))
      const names = statementPart({ keyspace: text, table: text, operation: text, statement: text })
      const verdict = verdictPart({ verdict: 'deny', rule: text, policyRevision: 1 })
      appendTransaction(
        sink,
        { session: part, statement: names, verdict, batchSize: 0, consistency: 1, error: errorPart(1, text, 'ours') },
        { outcome: 'error', rows: 0, bytesIn: 0, bytesOut: 0, latencyMicros: 0 },
      )
      const line = sink.lines[0]!
      assert.equal(line.slice(0, -1), printable(line.slice(0, -1)))
      const record = read(line)
      assert.equal(record.verdict, 'deny')
      assert.equal(record.seq, 1)
      const whole = ['workload', 'person', 'transaction', 'claimed', 'gateway', 'driver']
      for (const key of [...whole, 'keyspace', 'table', 'statement', 'rule']) assert.equal(record[key], text, key)
      assert.equal(record.error.message, text)
      assert.deepEqual([record.evidence.provider, record.evidence.issuer, record.evidence.tokenId], [text, text, text])
      const refused = sink.begin() + refusedLine(refusedAs(text))
      assert.equal(refused.slice(0, -1), printable(refused.slice(0, -1)))
      for (const key of ['provider', 'issuer', 'tokenId', 'claimed', 'gateway', 'driver'])
        assert.equal(read(refused)[key], text, key)
    })
  }

  it('is never longer than its bound, with every field at its own, and says of each text that it was cut, and how long it was', () => {
    for (const unit of ['\u0000', '"', 'x', 'é', '語', '😀', '\ud800', '\u{e0041}', '\u3164', 'ㅤ', 'a\u0301\u0301']) {
      const text = unit.repeat(20_000)
      const lines: string[] = []
      const most = Number.MAX_SAFE_INTEGER
      const sink = {
        begin: () => `{"time":"2026-11-21T04:00:00.000Z","seq":${most}${proxyPart(text)}`,
        append: (line: string) => lines.push(line),
      }
      const part = sessionPart(sessionAs(text))
      const tables = Array.from({ length: 3_000 }, (_, i) => unit.repeat(1 + (i % 100)))
      const names =
        statementPart({ keyspace: text, table: text, tables, operation: text, statement: text }) + requestPart(text)
      const verdict = verdictPart({ verdict: 'observe', rule: text, policyRevision: most })
      const error = errorPart(-2_147_483_648, text, 'ours')
      appendTransaction(
        sink,
        { session: part, statement: names, verdict, batchSize: 65_535, consistency: 10, error },
        { outcome: 'error', rows: most, bytesIn: most, bytesOut: most, latencyMicros: most },
      )
      const line = lines[0]!
      assert.ok(Buffer.byteLength(line) <= auditLineBytesMax, `${JSON.stringify(unit)}: ${Buffer.byteLength(line)}`)
      const record = read(line)
      const cut: string[] = []
      const look = (object: { [key: string]: unknown }, path: string): void => {
        for (const [key, value] of Object.entries(object)) {
          if (Array.isArray(value)) continue
          if (typeof value === 'object' && value !== null) look(value as typeof object, `${key}.`)
          else if (typeof value === 'string' && value.endsWith('…')) {
            cut.push(path + key)
            assert.equal(object[`${key}Bytes`], Buffer.byteLength(text), key)
          } else assert.equal(object[`${key}Bytes`], undefined)
        }
      }
      look(record, '')
      assert.deepEqual(record.tables, tables.slice(0, record.tables.length))
      assert.equal(record.tablesMissing, tables.length - record.tables.length)
      assert.equal(record.tablesMissing, tablesMissing(tables))
      const ofSession = ['session', 'workload', 'person', 'transaction', 'tokenHash', 'claimed', 'client.address']
      const texts = [...ofSession, 'gateway', 'driver', 'keyspace', 'table', 'operation', 'statement', 'request']
      assert.deepEqual(cut, ['proxy', ...texts, 'rule', 'error.message'])
      // A log-in shows no statement, and one that is refused has no session.
      for (const more of [part + evidencePart(shownAs(text)) + verdict, refusedLine(refusedAs(text))])
        assert.ok(Buffer.byteLength(sink.begin() + more) <= auditLineBytesMax / 2, JSON.stringify(unit))
    }
  })

  it('has room for the tables of any statement that Cassandra could run', () => {
    const most = Array.from({ length: 64 }, (_, i) => `${'k'.repeat(48)}.${String(i).padStart(222, 't')}`)
    assert.equal(tablesMissing(most), 0)
    const many = Array.from({ length: 700 }, (_, i) => `shop.orders_of_month_${i}`)
    assert.equal(tablesMissing(many), 0)
    assert.equal(tablesMissing([`shop.${'x'.repeat(1_000_000)}`, 'shop.orders']), 2)
  })

  it('does not say of a text that ends in an ellipsis of its own that it was cut', () => {
    assert.equal(requestPart('a…'), ',"request":"a…"')
  })

  it('carries nothing of what an error of a stranger says but what is known', () => {
    assert.equal(
      errorPart(0x2200, 'Undefined column name hunter2 in table shop.orders', 'foreign'),
      ',"error":{"code":8704,"message":"Undefined column name ? in table"}',
    )
    assert.equal(
      errorPart(0x2200, 'hunter2', 'foreign'),
      ',"error":{"code":8704,"message":"INVALID: a text of 7 bytes, which is not kept"}',
    )
  })
})

it('quoted reads back as it was, or as its beginning and an ellipsis, within its bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.integer({ min: 3, max: 80 }), (text, bytesMax) => {
      const escaped = quoted(text, bytesMax)
      assert.ok(Buffer.byteLength(escaped) - 2 <= bytesMax)
      const back = JSON.parse(escaped) as string
      if (back !== text)
        assert.ok(back.endsWith('…') && text.startsWith(back.slice(0, -1)), JSON.stringify([text, back]))
      else assert.equal(back, text)
    }),
    { numRuns: 2000 },
  )
})
