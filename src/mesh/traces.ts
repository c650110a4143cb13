/**
 * The way of spans to a collector: OTLP over HTTP, as the configuration says. What only this needs is loaded when it is opened.
 *
 * Rule: no name of a table or of a person leaves the machine in the clear: `http:` is for a collector on this machine. What somebody else says of a
 * fault is not logged, for it may quote the collector's token.
 */
import { Agent as TlsAgent } from 'node:https'
import { RingfenceError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'
import { cutText } from '../base/text.ts'
import type { Logger } from '../telemetry/log.ts'
import { exportUrl } from '../telemetry/traces/config.ts'
import { type Sent, SpanQueue } from '../telemetry/traces/queue.ts'
import type { Attribute } from '../telemetry/traces/span.ts'
import { type Sampling, Traces } from '../telemetry/traces/traces.ts'
import { Agent } from './http.ts'
import { callOutside, resolveBySystem } from './outside-call.ts'

export interface TracesOptions {
  readonly config: Sampling & { readonly endpoint: string }
  readonly role: 'gateway' | 'sidecar'
  readonly name: string
  readonly version: string
  readonly log: Logger
  readonly env?: Readonly<Record<string, string | undefined>>
}

const sendMsMax = 10_000
const answerBytesMax = 64 * 1024
const wordsMax = 200
/** One part is sent at a time. */
const kept = { keepAlive: true, maxSockets: 1, maxFreeSockets: 1 } as const
/** Of the specification of OTLP: what may be sent once more. */
const againStatuses: ReadonlySet<number> = new Set([429, 502, 503, 504])

export async function openTraces({
  config,
  role,
  name,
  version,
  log,
  env = process.env,
}: TracesOptions): Promise<Traces> {
  const { exportRequest, rejectedSpans } = await import('../telemetry/traces/otlp.ts')
  const { protocol, hostname, port, pathname: path } = exportUrl(config.endpoint)
  const isTls = protocol === 'https:'
  const resource: Attribute[] = [
    ['service.name', `ringfence-${role}`],
    // A gateway has workers, each of which is an instance of its own.
    ['service.instance.id', role === 'gateway' ? `${name}/${process.pid}` : name],
    ['service.version', version],
    ['process.pid', process.pid],
  ]
  const headers = {
    'content-type': 'application/x-protobuf',
    ...headersOf(env.OTEL_EXPORTER_OTLP_TRACES_HEADERS ?? env.OTEL_EXPORTER_OTLP_HEADERS),
  }
  const call = {
    protocol: isTls ? ('https:' as const) : ('http:' as const),
    method: 'POST' as const,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (isTls ? 443 : 80)),
    path,
    ca: undefined,
    allowPrivate: true,
    msMax: sendMsMax,
    answerBytesMax,
    agent: isTls ? new TlsAgent(kept) : new Agent(kept),
  }
  let said = ''
  const tell = (why: string): void => {
    if (why !== said && why !== '') log.warn({ reason: why, endpoint: config.endpoint }, 'the collector takes no spans')
    said = why
  }
  const queue = new SpanQueue({
    send: async (spans): Promise<Sent> => {
      let body: Uint8Array
      try {
        body = exportRequest(resource, spans)
      } catch (reason) {
        // It would be no better the next time.
        tell(`they cannot be written: ${wordOf(reason)}`)
        return 'refused'
      }
      try {
        const length = { 'content-length': String(body.length) }
        const answer = await callOutside({ ...call, headers: { ...headers, ...length }, body }, resolveBySystem)
        const { status, retryAfter } = answer
        if (status >= 200 && status < 300) {
          const refused = rejectedSpans(answer.body)
          tell(refused === 0 ? '' : 'it refused some of what it was sent')
          return { refused }
        }
        tell(`it answered with ${status}`)
        return againStatuses.has(status) ? againIn(retryAfter) : 'refused'
      } catch (reason) {
        tell(wordOf(reason))
        return 'again'
      }
    },
  })
  return new Traces(config, queue)
}

/** `Retry-After`, in seconds or as a date. */
function againIn(retryAfter: string | undefined): Sent {
  if (retryAfter === undefined) return 'again'
  const againMs = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now()
  return Number.isFinite(againMs) ? { againMs } : 'again'
}

/** Not its message, which may quote what was sent: the code of a fault, which Node.js and OpenSSL have, or what we say ourselves. */
function wordOf(reason: unknown): string {
  if (!(reason instanceof Error)) return 'it cannot be asked'
  const { cause, message } = reason
  if (!(cause instanceof Error)) return reason.name
  // Where the message is another than that of its cause, it is our own.
  const isCause = cause.message === message
  if (isCause && 'code' in cause) return String(cause.code)
  return cutText(printable(message), wordsMax)
}

/** `key1=value1,key2=value2`, values percent-encoded, as the environment of OpenTelemetry has them. @throws RingfenceError that quotes none */
function headersOf(text = ''): Record<string, string> {
  const pairs = text.split(',').flatMap((pair) => {
    if (pair.trim() === '') return []
    const at = pair.indexOf('=')
    const name = pair.slice(0, Math.max(0, at)).trim().toLowerCase()
    const value = decoded(pair.slice(at + 1).trim())
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new RingfenceError(
        'CONFIG',
        'the headers of OTEL_EXPORTER_OTLP_HEADERS are to be written as name=value,name=value',
      )
    return [[name, value] as const]
  })
  return Object.fromEntries(pairs)
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch (reason) {
    if (reason instanceof URIError) return value
    throw reason
  }
}
