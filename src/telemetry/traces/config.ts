/** Which requests are traced and where their spans go, as the configuration of a proxy says it. */
import { z } from 'zod'

/** The exporter adds this to `endpoint`, as the specification of OTLP says. */
const tracesPath = '/v1/traces'

/** As `OTEL_EXPORTER_OTLP_ENDPOINT` is written. */
const endpoint = z.string().refine((text) => {
  const url = URL.parse(text)
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  return isHttp && url.username === '' && url.search === '' && url.hash === ''
}, 'expected the address of a collector, such as http://127.0.0.1:4318')

const sampling = {
  endpoint,
  /** Of all requests, so many; 0 traces those of clients that ask for it, and what is named besides. */
  ratio: z.number().min(0).max(1).default(0),
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
