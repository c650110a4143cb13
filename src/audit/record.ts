/**
 * `audit` writes down who did what: one JSON line for each transaction, permitted or not.
 *
 * The rule one must not break: a record holds no literal, no bound value and no secret. It is exactly one line, whatever a peer put into
 * its names. When it cannot be written the caller serves nothing more (`AuditWriter.failed`).
 *
 * This file: the record. What stays the same is serialised once (for a session, a statement, a verdict) and a line is put together from
 * those parts. `docs/audit.md` lists the fields; a test keeps both equal.
 */
import { printable } from '../base/printable.ts'
import { keptMessage } from '../cql/kept-messages.ts'
import { consistencyNames } from '../cql/protocol.ts'
import type { RefusedEvidence } from '../identity/refusal.ts'
import type { Trace } from '../telemetry/traces/span.ts'
import type { LineBuffer } from './lines.ts'

/** No line is longer, its line feed included. The budgets below add up to less, with every character escaped and every text cut. */
export const auditLineBytesMax = 32_768

/** What each text may take between its quotes, in bytes of UTF-8 after escaping. */
const budgets = {
  proxy: 128,
  workload: 2048,
  person: 256,
  transaction: 256,
  claimed: 256,
  session: 64,
  address: 64,
  driver: 192,
  issuer: 1024,
  tokenId: 512,
  hash: 64,
  name: 256,
  /** All of them, with quotes and commas. */
  tables: 20_480,
  operation: 64,
  statement: 3072,
  rule: 512,
  error: 512,
} as const

export interface AuditSession {
  /** Unique for the proxy's life at least. */
  readonly session: string
  /** SPIFFE id. */
  readonly workload: string
  readonly person?: string | undefined
  /** The first of the groups of that one, for counting; it stands in no line. */
  readonly personGroup?: string | undefined
  /** How that was verified. */
  readonly authentication: string
  /** Of requests by which the workload acted on behalf of somebody: `txn` of the token. */
  readonly transaction?: string | undefined
  /** SHA-256 of the token, in hexadecimal. */
  readonly tokenHash?: string | undefined
  /** Of such a one that was refused: on whose behalf it was said to be. */
  readonly claimed?: string | undefined
  /** The client's own address, as NGINX saw it. */
  readonly client: { readonly address: string; readonly port: number }
  /** SPIFFE id of the gateway that it came by, where it did. */
  readonly gateway?: string | undefined
  readonly evidence?: AuditEvidence | undefined
  /** What the driver says of itself; a claim, never an identity. */
  readonly driver?: string | undefined
  /** Native protocol: 3, 4 or 5. */
  readonly protocolVersion: number
}

/** What a session's caller showed: told at its log-in. */
export interface AuditEvidence {
  /** SHA-256 of all of it. */
  readonly hash: string
  /** Of a token, where one was shown. */
  readonly token?:
    | {
        readonly provider: string
        readonly issuer: string | undefined
        readonly id: string | undefined
        readonly hash: string
      }
    | undefined
}

/** A log-in that was refused: nobody came in, so there is no session. */
export interface RefusedLogIn {
  /** With a gateway, as that gateway says; undefined where it said nothing that it signed. */
  readonly client: { readonly address: string; readonly port: number } | undefined
  /** What the driver says of itself at STARTUP. */
  readonly driver: string | undefined
  /** One word of a closed set. */
  readonly cause: string
  /** Its fields are claims: nothing of them need be true. */
  readonly evidence: RefusedEvidence
  /** SPIFFE id of the gateway that showed it, where one did. */
  readonly gateway: string | undefined
  /** Its name for the client's connection. */
  readonly session?: string | undefined
}

export interface AuditStatement {
  readonly keyspace: string | undefined
  readonly table: string | undefined
  /** Every table that it touches, as `keyspace.table`. */
  readonly tables?: readonly string[]
  /** The verb: `SELECT`, `CREATE TABLE`, … */
  readonly operation: string
  /** Text without literals and comments; undefined where there is none (an unknown prepared id, a connection's beginning). */
  readonly statement: string | undefined
}

export interface AuditVerdict {
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly policyRevision: number
}

/** `ok`: answered. `error`: answered with an ERROR. `lost`: no answer came; what the node did is unknown. */
export type AuditOutcome = 'ok' | 'error' | 'lost'

/** Where lines go; `AuditWriter` is one. */
export interface AuditSink {
  /** `{"time":…,"seq":…,"proxy":…`, with the next sequence number. */
  begin(): string
  append(line: string): void
}

/** Where lines go that are put together as bytes; `AuditWriter` is one. */
export interface AuditBytes {
  /**
   * Has begun a line like `AuditSink.begin`, gone on with a part of `sessionPart`, one of `answeredPart` and `appendSizes`, and has room for the
   * rest of it. The caller ends it with its line feed.
   */
  beginAnswered(session: string, answered: Buffer, sizes: AuditSizes): LineBuffer
}

/** The proxy that writes. */
export function proxyPart(name: string): string {
  return field('proxy', name, budgets.proxy)
}

export function sessionPart(session: AuditSession): string {
  const { client } = session
  return (
    field('session', session.session, budgets.session) +
    field('workload', session.workload, budgets.workload) +
    field('person', session.person, budgets.person) +
    `,"authentication":"${session.authentication}"` +
    field('transaction', session.transaction, budgets.transaction) +
    field('tokenHash', session.tokenHash, budgets.hash) +
    field('claimed', session.claimed, budgets.claimed) +
    clientPart(client) +
    field('gateway', session.gateway, budgets.workload) +
    field('driver', session.driver, budgets.driver) +
    `,"protocol":${wholeNumber(session.protocolVersion)}`
  )
}

function clientPart({ address, port }: AuditSession['client']): string {
  return `,"client":{${field('address', address, budgets.address).slice(1)},"port":${wholeNumber(port)}}`
}

export function evidencePart({ hash, token }: AuditEvidence): string {
  const shown =
    token === undefined
      ? ''
      : field('provider', token.provider, budgets.name) +
        field('issuer', token.issuer, budgets.issuer) +
        field('tokenId', token.id, budgets.tokenId) +
        field('tokenHash', token.hash, budgets.hash)
  return `,"evidence":{${(field('hash', hash, budgets.hash) + shown).slice(1)}}`
}

/** The line of a log-in that was refused, behind what `AuditSink.begin` gives. */
export function refusedLine({ client, driver, cause, evidence, gateway, session }: RefusedLogIn): string {
  return (
    ',"event":"log-in refused"' +
    field('session', session, budgets.session) +
    (client === undefined ? '' : clientPart(client)) +
    field('gateway', gateway, budgets.workload) +
    field('driver', driver, budgets.driver) +
    field('cause', cause, budgets.operation) +
    field('provider', evidence.provider, budgets.name) +
    field('issuer', evidence.issuer, budgets.issuer) +
    field('tokenId', evidence.tokenId, budgets.tokenId) +
    field('tokenHash', evidence.hash, budgets.hash) +
    field('claimed', evidence.claimed, budgets.workload) +
    '}\n'
  )
}

export function statementPart(statement: AuditStatement): string {
  return (
    field('keyspace', statement.keyspace, budgets.name) +
    field('table', statement.table, budgets.name) +
    tablesPart(statement.tables) +
    field('operation', statement.operation, budgets.operation) +
    field('statement', statement.statement, budgets.statement)
  )
}

/** How many of these the record has no room for. What touches more than the record can say is not let through. */
export function tablesMissing(tables: readonly string[]): number {
  return tables.length - tablesText(tables).count
}

function tablesPart(tables: readonly string[] = []): string {
  if (tables.length === 0) return ''
  const { text, count } = tablesText(tables)
  const missing = tables.length - count
  return `,"tables":[${text}]${missing === 0 ? '' : `,"tablesMissing":${missing}`}`
}

/** As many as there is room for; a name that is too long for what is left ends the list. */
function tablesText(tables: readonly string[]): { text: string; count: number } {
  let text = ''
  let bytes = 0
  let count = 0
  for (const table of tables) {
    if (bytes + table.length > budgets.tables) break
    const value = `${count === 0 ? '' : ','}${quoted(table, 6 * table.length + 3)}`
    bytes += Buffer.byteLength(value)
    if (bytes > budgets.tables) break
    text += value
    count++
  }
  return { text, count }
}

/** Of a request that is traced. */
export function tracePart(trace: Trace | undefined): string {
  return trace === undefined ? '' : `,"traceId":"${trace.traceId}","spanId":"${trace.spanId}"`
}

/** How the statement came: `QUERY`, `PREPARE`, `EXECUTE`, `BATCH`. */
export function requestPart(request: string): string {
  return field('request', request, budgets.operation)
}

export function verdictPart(verdict: AuditVerdict): string {
  const { rule, policyRevision } = verdict
  return `,"verdict":"${verdict.verdict}"${field('rule', rule, budgets.rule)},"policyRevision":${wholeNumber(policyRevision)}`
}

/**
 * The part of an ERROR. `code` is the protocol's number. A `foreign` message may quote what the client sent, values too: of it only
 * what `keptMessage` knows is kept. A message of `ours` was made without any value.
 */
export function errorPart(code: number, message: string, origin: 'foreign' | 'ours'): string {
  const text = origin === 'foreign' ? keptMessage(code, message) : message
  return `,"error":{"code":${wholeNumber(code)}${field('message', text, budgets.error)}}`
}

/** The parts of a record; `session`, `statement` and `verdict` are made above, `error` is one or `''`. */
export interface AuditParts {
  readonly session: string
  readonly statement: string
  readonly verdict: string
  /** 0 for what is no BATCH. */
  readonly batchSize: number
  /** The protocol's code; −1 where there is none. */
  readonly consistency: number
  readonly error: string
}

export interface AuditSizes {
  /** A count; −1 where there is none. */
  readonly rows: number
  /** Of the request and of the answer as envelopes. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What became of it. */
export interface AuditEnd extends AuditSizes {
  readonly outcome: AuditOutcome
  readonly latencyMicros: number
}

/** Appends the record of one transaction. */
export function appendTransaction(sink: AuditSink, parts: AuditParts, end: AuditEnd): void {
  const { rows } = end
  sink.append(
    sink.begin() +
      parts.session +
      middle(parts.statement, parts.verdict, parts.batchSize, parts.consistency) +
      `,"outcome":"${end.outcome}"` +
      parts.error +
      (rows >= 0 ? `,"rows":${wholeNumber(rows)}` : '') +
      `,"bytesIn":${wholeNumber(end.bytesIn)},"bytesOut":${wholeNumber(end.bytesOut)}` +
      `,"latencyMicros":${wholeNumber(end.latencyMicros)}}\n`,
  )
}

/** The middle of the records of one statement that was answered without an error, made once for its executions. */
export function answeredPart(statement: string, verdict: string, batchSize: number, consistency: number): Buffer {
  return Buffer.from(`${middle(statement, verdict, batchSize, consistency)},"outcome":"ok"`)
}

/** Appends the line that `appendTransaction` makes for the outcome `ok`, from `answeredPart`. */
export function appendAnswered(
  sink: AuditBytes,
  session: string,
  answered: Buffer,
  end: Omit<AuditEnd, 'outcome'>,
): void {
  const line = sink.beginAnswered(session, answered, end)
  line.number(end.latencyMicros)
  line.bytes(keys.end)
}

/** What stands between `answeredPart` and the number of the latency. */
export function appendSizes(line: LineBuffer, { rows, bytesIn, bytesOut }: AuditSizes): void {
  if (rows >= 0) {
    line.bytes(keys.rows)
    line.number(rows)
  }
  line.bytes(keys.bytesIn)
  line.number(bytesIn)
  line.bytes(keys.bytesOut)
  line.number(bytesOut)
  line.bytes(keys.latencyMicros)
}

const keys = {
  rows: Buffer.from(',"rows":'),
  bytesIn: Buffer.from(',"bytesIn":'),
  bytesOut: Buffer.from(',"bytesOut":'),
  latencyMicros: Buffer.from(',"latencyMicros":'),
  end: Buffer.from('}\n'),
} as const

function middle(statement: string, verdict: string, batchSize: number, consistency: number): string {
  const level = consistencyNames[consistency]
  return (
    statement +
    (batchSize > 0 ? `,"batchSize":${wholeNumber(batchSize)}` : '') +
    (level === undefined ? '' : `,"consistency":"${level}"`) +
    verdict
  )
}

/** `,"key":"text"`, and where the text was cut `,"keyBytes":` with its whole length in bytes of UTF-8. Nothing for no text. */
function field(key: string, text: string | undefined, bytesMax: number): string {
  if (text === undefined) return ''
  const value = quoted(text, bytesMax)
  const isWhole = value.length < 3 || !value.endsWith('…"') || JSON.parse(value) === text
  return `,"${key}":${value}${isWhole ? '' : `,"${key}Bytes":${Buffer.byteLength(text)}`}`
}

// An escape, a pair of them for a character of two units, or a character.
const pieces = /\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\u[0-9a-f]{4}|\\.|./gsu

/**
 * A JSON string of at most `bytesMax` bytes of UTF-8 between its quotes. What is cut off is shown as `…`.
 * Reading it back gives the text as it was.
 */
export function quoted(text: string, bytesMax: number): string {
  // A unit takes one byte at least; the last one may be half a character.
  const brief = text.length > bytesMax ? text.slice(0, bytesMax) : text
  const escaped = printable(brief.replace(/["\\]/g, '\\$&'))
  // Three bytes hold any UTF-16 unit, so a short text needs no counting.
  if (brief.length === text.length && (escaped.length * 3 <= bytesMax || Buffer.byteLength(escaped) <= bytesMax)) {
    return `"${escaped}"`
  }
  let kept = ''
  let bytes = Buffer.byteLength('…')
  for (const [piece] of escaped.matchAll(pieces)) {
    bytes += Buffer.byteLength(piece)
    if (bytes > bytesMax) break
    kept += piece
  }
  return `"${kept}…"`
}

/** JSON knows no NaN and no infinity. */
function wholeNumber(value: number): string {
  return Number.isFinite(value) ? String(Math.trunc(value)) : '0'
}
