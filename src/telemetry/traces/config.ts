/** Which requests are traced and where their spans go, as the configuration of a proxy says it. */
import { z } from 'zod'

/** The exporter adds this to `endpoint`, as the specification of OTLP says. */
const tracesPath = '/v1/traces'

/** As `OTEL_EXPORTER_OTLP_ENDPOINT` is written. */
const endpoint = z.string().refine((text) => {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isHere(url.hostname))) return false
  return url.username === '' && url.password === '' && url.search === '' && url.hash === ''
}, 'expected the address of a collector, such as https://otel.example or on this machine http://127.0.0.1:4318, without a password')

/** What is sent without TLS stays on this machine. */
function isHere(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
}

const sampling = {
  endpoint,
  /** Of all requests, so many; 0 traces what is named besides. */
  ratio: z.number().min(0).max(1).default(0),
  /**
   * Of a client that has a trace of its own: `link` names it beside ours, `follow` goes on in it and traces what it has recorded, at most so
   * many requests a second. With `ignore` and `link` no client chooses what is traced.
   */
  clients: z.enum(['ignore', 'link', 'follow']).default('link'),
} as const

export const gatewayTracesSchema = z.strictObject(sampling)

export const sidecarTracesSchema = z.strictObject({
  ...sampling,
  /** Every request that is refused. */
  denied: z.boolean().default(false),
  /** Every request for which the node took so many milliseconds. */
  slowMs: z.int().min(1).max(600_000).optional(),
})

/** Where to, with the path. */
export function exportUrl(endpointText: string): URL {
  const url = new URL(endpointText)
  url.pathname = `${url.pathname.replace(/\/$/, '')}${tracesPath}`
  return url
}
