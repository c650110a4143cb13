/**
 * The way of spans to a collector: OTLP over HTTP, as the configuration says. What only this needs is loaded when it is opened.
 *
 * Rule: no name of a table or of a person leaves the machine in the clear: `http:` is for a collector on this machine.
 */
import type { Logger } from '../telemetry/log.ts'
import { exportUrl } from '../telemetry/traces/config.ts'
import { type Sent, SpanQueue } from '../telemetry/traces/queue.ts'
import type { Attribute } from '../telemetry/traces/span.ts'
import { type Sampling, Traces } from '../telemetry/traces/traces.ts'
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
  const { exportRequest } = await import('../telemetry/traces/otlp.ts')
  const { protocol, hostname, port, pathname: path } = exportUrl(config.endpoint)
  const isTls = protocol === 'https:'
  const resource: Attribute[] = [
    ['service.name', `ringfence-${role}`],
    ['service.instance.id', name],
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
  }
  let said = ''
  const queue = new SpanQueue({
    send: async (spans): Promise<Sent> => {
      const body = exportRequest(resource, spans)
      let why: string
      let sent: Sent = 'again'
      try {
        const length = { 'content-length': String(body.length) }
        const { status } = await callOutside({ ...call, headers: { ...headers, ...length }, body }, resolveBySystem)
        if (status >= 200 && status < 300) {
          said = ''
          return 'taken'
        }
        why = `it answered with ${status}`
        if (!againStatuses.has(status)) sent = 'refused'
      } catch (reason) {
        why = reason instanceof Error ? reason.message : String(reason)
      }
      if (why !== said) log.warn({ reason: why, endpoint: config.endpoint }, 'the collector takes no spans')
      said = why
      return sent
    },
  })
  return new Traces(config, queue)
}

/** `key1=value1,key2=value2`, values percent-encoded, as the environment of OpenTelemetry has them. */
function headersOf(text = ''): Record<string, string> {
  const pairs = text.split(',').flatMap((pair) => {
    const at = pair.indexOf('=')
    return at < 1 ? [] : [[pair.slice(0, at).trim().toLowerCase(), decoded(pair.slice(at + 1).trim())] as const]
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
