/**
 * The sidecar's configuration file: one document of kind `Sidecar` (docs/run.md shows one).
 */
import { isIP } from 'node:net'
import { z } from 'zod'
import { durabilities } from '../audit/sealed/options.ts'
import { parseOneDocument } from '../base/document.ts'
import { nodeCertificateConfig } from '../mesh/node-certificate.ts'
import { listenersSchema } from '../session/listener-config.ts'
import { proxyShape } from '../session/proxy-config.ts'
import { sidecarTracesSchema } from '../telemetry/traces/config.ts'

const port = z.int().min(1).max(65_535)
const address = z.string().refine((text) => isIP(text) !== 0, 'expected an IP address')

const sidecarSchema = z.strictObject({
  ...proxyShape,
  /** Spans for a collector of OpenTelemetry (docs/observe.md). Nothing is traced without it. */
  traces: sidecarTracesSchema.optional(),
  dataCenter: z.string().min(1).max(128).default('datacenter1'),
  rack: z.string().min(1).max(128).default('rack1'),
  upstream: z.strictObject({
    address,
    port: port.default(9042),
    /** The node's SPIFFE id; any `/cassandra/…` of the trust domain when left out. */
    spiffeId: z.string().optional(),
    /** Connections to the node for each protocol version and keyspace in use; one more where long answers are on all of them. */
    connections: z.int().min(1).max(16).default(2),
    /** `identity` gives each identity connections of its own. */
    share: z.enum(['mesh', 'identity']).default('mesh'),
  }),
  /** Has this sidecar keep the node's own certificate fresh (docs/rotate.md). */
  nodeCertificate: nodeCertificateConfig.optional(),
  listeners: listenersSchema(),
  audit: z
    .strictObject({
      directory: z.string().min(1),
      /** `lines` unless said otherwise. `sealed`: an intent and an outcome for each request, in a signed log. */
      format: z.enum(['lines', 'sealed']).optional(),
      /** Of the sealed record: what must have happened before anything leaves; `kernel` unless said otherwise. */
      durability: z.enum(durabilities).optional(),
      /** The control plane collects the sealed record. */
      collect: z.boolean().optional(),
      /** What it has is removed here, the oldest first, where all takes more; kept for ever where it is not said. */
      keepMegabytesMax: z.int().min(1).max(1_000_000_000).optional(),
    })
    .superRefine(({ format, collect, keepMegabytesMax }, context) => {
      const fault = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
      if (collect === true && format !== 'sealed') fault('collect', 'only a sealed record is collected: format: sealed')
      if (keepMegabytesMax !== undefined && collect !== true)
        fault('keepMegabytesMax', 'only what is collected is removed: collect: true')
    }),
})

export type SidecarConfig = z.infer<typeof sidecarSchema> & { readonly name: string }

/** Throws `CONFIG` with file, line and column. */
export function parseSidecarConfig(source: string, fileName: string): SidecarConfig {
  const document = parseOneDocument(source, fileName, 'Sidecar', sidecarSchema)
  return { ...document.spec, name: document.name }
}
