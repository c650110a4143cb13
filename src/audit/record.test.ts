import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LineBuffer } from './lines.ts'
import type { AuditSink } from './record.ts'
import {
  answeredPart,
  appendAnswered,
  appendTransaction,
  auditLineBytesMax,
  errorPart,
  quoted,
  requestPart,
  sessionPart,
  statementPart,
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
const statement = {
  keyspace: 'shop',
  table: 'orders',
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
      appendTransaction(sink, part, about, verdict, batch, level, 'ok', '', rows, bytesIn, bytesOut, micros)
      const lines = new LineBuffer(2 * auditLineBytesMax)
      const beginAnswered = (ofSession: string, answered: Buffer): LineBuffer => {
        lines.text(`{"time":"2026-11-21T04:00:00.000Z","seq":1,"proxy":"sidecar-1"${ofSession}`)
        lines.bytes(answered)
        return lines
      }
      const middle = answeredPart(about, verdict, batch, level)
      appendAnswered({ beginAnswered }, part, middle, rows, bytesIn, bytesOut, micros)
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
      sessionPart(session),
      statementPart(statement) + requestPart('EXECUTE'),
      verdict,
      3,
      6,
      'error',
      errorPart(0x2200, 'no', 'ours'),
      12,
      90,
      1200,
      345.9,
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
    appendTransaction(sink, bare, unknown, verdict, 0, -1, 'lost', '', -1, 9, 0, Number.NaN)
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
    '__proto__',
  ]

  for (const text of hostile) {
    it(`stays one harmless line with ${JSON.stringify(text).slice(0, 40)} in every text`, () => {
      const sink = new Lines()
      const everywhere = { session: text, workload: text, person: text, driver: text, protocolVersion: 4 }
      const authentication = 'listener' as const
      const part = sessionPart({ ...everywhere, authentication, client: { address: text, port: 1 } })
      const names = statementPart({ keyspace: text, table: text, operation: text, statement: text })
      const verdict = verdictPart({ verdict: 'deny', rule: text, policyRevision: 1 })
      appendTransaction(sink, part, names, verdict, 0, 1, 'error', errorPart(1, text, 'ours'), 0, 0, 0, 0)
      const line = sink.lines[0]!
      assert.doesNotMatch(
        line.slice(0, -1),
        /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Surrogate}|[\u{e0000}-\u{e0fff}]/u,
      )
      const record = read(line)
      assert.equal(record.verdict, 'deny')
      assert.equal(record.seq, 1)
      for (const key of ['workload', 'person', 'driver', 'keyspace', 'table', 'statement', 'rule']) {
        assert.equal(record[key], text, key)
      }
      assert.equal(record.error.message, text)
    })
  }

  it('is never longer than its bound, whatever its parts hold', () => {
    for (const unit of ['\u0000', '"', 'x', 'é', '語', '😀', '\ud800', '\u{e0041}']) {
      const text = unit.repeat(20_000)
      const sink = new Lines()
      const part = sessionPart({
        ...session,
        session: text,
        workload: text,
        person: text,
        driver: text,
        client: { address: text, port: 65_535 },
      })
      const names = statementPart({ keyspace: text, table: text, operation: text, statement: text })
      const verdict = verdictPart({ verdict: 'allow', rule: text, policyRevision: Number.MAX_SAFE_INTEGER })
      const most = Number.MAX_SAFE_INTEGER
      appendTransaction(
        sink,
        part,
        names,
        verdict,
        65_535,
        6,
        'error',
        errorPart(-2_147_483_648, text, 'node'),
        most,
        most,
        most,
        most,
      )
      // The longest beginning that AuditWriter makes: its proxy name takes at most 128 bytes.
      const bytes = Buffer.byteLength(sink.lines[0]!) + 128 + 16
      assert.ok(bytes <= auditLineBytesMax, `${JSON.stringify(unit)}: ${bytes}`)
      assert.equal(read(sink.lines[0]!).verdict, 'allow')
    }
  })

  it('does not carry what an error of the node quotes from the client', () => {
    const secrets = ['hunter2', '4111', 'cafe', 'deadbeef', "O'Brien", 'a) x (b']
    for (const secret of secrets) {
      for (const message of [
        `Invalid STRING constant (${secret}) for "age" of type int`,
        `line 1:42 no viable alternative at input '${secret}' ([SELECT] * '${secret}')`,
        `Unable to coerce '${secret}' to a formatted date (long)`,
        `marshaling error: ${secret}`,
        `Could not decode JSON string as a map: {"a": "${secret}"}`,
        `Expected 8 or 0 byte long (${secret})`,
        `Unexpected value=${secret}`,
        `bad token $$${secret}$$ and \`${secret}\` and [${secret}]`,
      ]) {
        const part = errorPart(0x2200, message, 'node')
        assert.ok(!part.includes(secret), part)
      }
    }
    assert.equal(
      errorPart(0x2200, 'table shop.orders does not exist', 'node'),
      ',"error":{"code":8704,"message":"table shop.orders does not exist"}',
    )
    assert.match(
      errorPart(0x2000, "line 1:42 no viable alternative at input 'x'", 'node'),
      /"line \? no viable alternative at input \?"/,
    )
    assert.match(errorPart(0x2200, 'Key of 4711 bytes and 0xcafe', 'node'), /"Key of \? bytes and \?"/)
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
