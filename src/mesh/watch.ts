/** The watch stream: what the control plane pushes to proxies, one JSON object a line. */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import {
  type GatewayEndpoint,
  gatewayEndpoint,
  gatewayEndpointsMax,
  type SidecarEndpoint,
  sidecarEndpoint,
  sidecarEndpointsMax,
} from './endpoints.ts'
import { fittingEntries } from './entries.ts'
import { meshKeysMax, type WireMeshKey, wireMeshKey } from './mesh-keys.ts'

/** Lines of the watch stream, one JSON object each. Kinds that an older agent does not know are skipped by it. */
export type WatchEvent =
  | { readonly kind: 'policy'; readonly revision: number; readonly source: string }
  | { readonly kind: 'sidecars'; readonly sidecars: readonly SidecarEndpoint[] }
  | { readonly kind: 'gateways'; readonly gateways: readonly GatewayEndpoint[] }
  | { readonly kind: 'keys'; readonly keys: readonly WireMeshKey[] }
  | { readonly kind: 'alive'; readonly nowMs: number }

/** A `WatchEvent` as the agent reads it. */
export const watchEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('policy'), revision: z.int().nonnegative(), source: z.string() }),
  z.object({ kind: z.literal('sidecars'), sidecars: fittingEntries(sidecarEndpoint, sidecarEndpointsMax) }),
  z.object({ kind: z.literal('gateways'), gateways: fittingEntries(gatewayEndpoint, gatewayEndpointsMax) }),
  z.object({ kind: z.literal('keys'), keys: fittingEntries(wireMeshKey, meshKeysMax) }),
  z.object({ kind: z.literal('alive'), nowMs: z.number() }),
])

/** A line of the watch stream: at most a policy, written as JSON. Lists that would be longer are sent as far as they fit. */
export const watchLineBytesMax = 6 * limits.policyBytesMax + 4096

/** The control plane sends an `alive` line this often; silence of three times as long is a dead stream. */
export const aliveIntervalMs = 2_000
