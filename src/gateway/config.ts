/**
 * The gateway's configuration file: one document of kind `Gateway` (docs/run.md shows one).
 */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { parseOneDocument } from '../base/document.ts'
import { advertisedAddress, advertisedMax } from '../mesh/endpoints.ts'
import { listenersSchema } from '../session/listener-config.ts'
import { proxyShape } from '../session/proxy-config.ts'
import { gatewayTracesSchema } from '../telemetry/traces/config.ts'
import { httpSchema } from './http/http-config.ts'

const gatewaySchema = z.strictObject({
  ...proxyShape,
  /** Spans for a collector of OpenTelemetry (docs/observe.md). Nothing is traced without it. */
  traces: gatewayTracesSchema.optional(),
  /** Worker processes; one for each core when left out. */
  workers: z.int().min(1).max(256).default(availableParallelism()),
  listeners: listenersSchema(({ port }) =>
    port === undefined || port === 0 ? 'workers share a port, so it must be given' : undefined,
  ),
  /** Where the gateway stands: requests go to nodes of this data centre only, and of this rack first, and drivers see it here. */
  locality: z
    .strictObject({ dataCenter: z.string().min(1).max(128).optional(), rack: z.string().min(1).max(128).optional() })
    .default({}),
  /** What drivers are told: the addresses of NGINX, each of which reaches a gateway of this mesh. */
  advertise: z.array(advertisedAddress).min(1).max(advertisedMax),
  /** Where NGINX asks who stands behind an HTTP request (docs/identity/web-applications.md). */
  http: httpSchema.optional(),
})

export type GatewayConfig = z.infer<typeof gatewaySchema> & { readonly name: string }

/** Throws `CONFIG` with file, line and column. */
export function parseGatewayConfig(source: string, fileName: string): GatewayConfig {
  const document = parseOneDocument(source, fileName, 'Gateway', gatewaySchema)
  return { ...document.spec, name: document.name }
}
