/**
 * The gateway's configuration file: one document of kind `Gateway` (docs/run.md shows one).
 */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { parseDocuments } from '../base/document.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { advertisedAddress, advertisedMax } from '../mesh/endpoints.ts'
import { listenerSchema, refuseUnsafeListeners } from '../session/listener-config.ts'

const gatewaySchema = z.strictObject({
  control: z.strictObject({ url: z.url({ protocol: /^https$/ }) }),
  /** Worker processes; one for each core when left out. */
  workers: z.int().min(1).max(256).default(availableParallelism()),
  listeners: z.array(listenerSchema).min(1).max(16),
  /** Where the gateway stands: requests go to nodes of this data centre only, and of this rack first, and drivers see it here. */
  locality: z
    .strictObject({ dataCenter: z.string().min(1).max(128).optional(), rack: z.string().min(1).max(128).optional() })
    .default({}),
  /** What drivers are told: the addresses of NGINX, each of which reaches a gateway of this mesh. */
  advertise: z.array(advertisedAddress).min(1).max(advertisedMax),
  /** Bytes that may wait in the process; of its memory when left out (docs/limits.md). */
  waitingBytesMax: z
    .int()
    .min(limits.waitingBytesMin)
    .max(2 ** 36)
    .optional(),
})

export type GatewayConfig = z.infer<typeof gatewaySchema> & { readonly name: string }

/** Throws `CONFIG` with file, line and column. */
export function parseGatewayConfig(source: string, fileName: string): GatewayConfig {
  const documents = parseDocuments(source, fileName, new Map([['Gateway', gatewaySchema]]))
  const [document] = documents
  if (documents.length !== 1 || document === undefined) {
    throw new RingfenceError(
      'CONFIG',
      `${fileName}:1:1: expected one document of kind Gateway, found ${documents.length}`,
    )
  }
  refuseUnsafeListeners(document, fileName)
  for (const [index, listener] of document.spec.listeners.entries()) {
    if (listener.port !== undefined && listener.port !== 0) continue
    const { line, column } = document.position(['spec', 'listeners', index])
    throw new RingfenceError('CONFIG', `${fileName}:${line}:${column}: workers share a port, so it must be given`)
  }
  return { ...document.spec, name: document.name }
}
