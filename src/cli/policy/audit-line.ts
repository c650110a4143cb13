/** A line of the audit, as far as a replay uses it. Lines come from files, so nothing in them is believed to be what it should be. */
import { CqlErrorCode } from '../../cql/protocol.ts'
import { proofs } from '../../identity/proofs/index.ts'
import type { RequestContext } from '../../policy/request.ts'

/** What nothing but a rate limit of the mesh answers beside a denial. */
const limitCodes: ReadonlySet<unknown> = new Set([CqlErrorCode.CONFIG_ERROR, CqlErrorCode.RATE_LIMIT_ERROR])

export interface AuditLine {
  readonly time: string
  readonly workload: string
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly request: string | undefined
  readonly keyspace: string | undefined
  readonly statement: string | undefined
  readonly consistency: string | undefined
  readonly protocol: number
  readonly address: string
  /** Undefined in records of before it was written. */
  readonly authentication: string | undefined
  readonly person: string | undefined
  /** It was refused by a rate limit, and by nothing else. */
  readonly isOverLimit: boolean
  readonly batchSize: number
  readonly rows: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What the request was judged with. */
export function requestOf(record: AuditLine): RequestContext {
  return {
    clientAddress: record.address,
    authentication: record.authentication ?? proofs.usual,
    protocol: record.protocol,
    preparing: record.request === 'PREPARE',
    consistency: record.consistency ?? '',
    rows: undefined,
    ttlSeconds: undefined,
    nowMs: Date.parse(record.time),
  }
}

/** Undefined for what is no line of an audit. */
export function readLine(text: string): AuditLine | 'no request' | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const line = value as { readonly [key: string]: unknown }
  const { time, workload, operation, verdict, rule } = line
  if (typeof time !== 'string' || Number.isNaN(Date.parse(time))) return undefined
  if (typeof line.event === 'string') return 'no request'
  if (typeof workload !== 'string' || typeof operation !== 'string' || typeof rule !== 'string') return undefined
  if (verdict !== 'allow' && verdict !== 'deny' && verdict !== 'observe') return undefined
  if (operation === 'CONNECT' || operation === 'DISCONNECT' || operation === 'REGISTER') return 'no request'
  const client = line.client as { readonly address?: unknown } | null | undefined
  return {
    time,
    workload,
    operation,
    verdict,
    rule,
    request: textOf(line.request),
    keyspace: textOf(line.keyspace),
    statement: textOf(line.statement),
    consistency: textOf(line.consistency),
    protocol: typeof line.protocol === 'number' ? line.protocol : 5,
    address: textOf(client?.address) ?? '',
    authentication: methodsOf(line.authentication),
    person: textOf(line.person),
    isOverLimit: verdict === 'deny' && limitCodes.has((line.error as { code?: unknown } | null | undefined)?.code),
    batchSize: numberOf(line.batchSize),
    rows: numberOf(line.rows),
    bytesIn: numberOf(line.bytesIn),
    bytesOut: numberOf(line.bytesOut),
  }
}

/** Undefined where it is absent or names what is not known here. */
function methodsOf(value: unknown): string | undefined {
  const text = textOf(value)
  return text?.split('+').every((method) => proofs.methods.includes(method)) === true ? text : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.max(0, value) : 0
}
