/** How a mesh on this host is to be, and what each of its parts is made with. */
import type { AdminClient } from '../../src/cli/admin-client.ts'
import { type Layout, spiffeIds } from './layout.ts'
import type { Processes } from './processes.ts'
import type { Progress } from './progress.ts'
import type { Parts } from './setup.ts'

export interface MeshOptions {
  readonly stateDir: string
  readonly nodes: number
  readonly portOffset?: number
  /** A policy file that is applied at the start where it differs from the one in force. */
  readonly policyFile: string
  /** Life of the mesh's certificates. Default 1 h. */
  readonly svidTtl?: string
  /** Life of the key that signs them. Default 30 days. */
  readonly issuingTtl?: string
  /** Give every sidecar a listener without TLS on its main port, for this identity. */
  readonly plainIdentity?: string
  /** What the listeners with TLS take of drivers; a certificate where it is left out. */
  readonly authentication?: string
  /** Start identity providers of the demonstration's own too, and have NGINX and the gateway stand before its web application. */
  readonly people?: boolean
  /** Start a gateway with this many workers, and NGINX with as many in front. 0 starts neither. */
  readonly gatewayWorkers: number
  /** Make the part `gateway-2` too, which is not started: a second gateway, with one worker, that drivers reach without NGINX. */
  readonly spareGateway?: boolean
  /**
   * For measurements of the same cluster with the mesh and without: Cassandra lets this identity in beside the sidecars and tells drivers of
   * the nodes themselves, keeps no record of its own, and the gateway listens without NGINX too.
   */
  readonly measuredAs?: string
  readonly clusterName?: string
  readonly jvmFlags?: readonly string[]
  readonly heapMb?: number
  /** Of each Cassandra node, see there. */
  readonly poolThreads?: number
  /** Give each Cassandra node a JMX port on loopback, for `nodetool` (`jmxPort` of the layout). */
  readonly jmx?: boolean
  /** Forget everything in the state folder except what was downloaded. */
  readonly reset?: boolean
  readonly progress?: Progress
  /** Ends a start that is under way: what was started is stopped and `startMesh` throws. */
  readonly signal?: AbortSignal
}

/** What each part of one mesh is made with. */
export interface Making {
  readonly options: MeshOptions
  readonly layout: Layout
  /** Of others: Java, NGINX. */
  readonly programs: Parts
  readonly processes: Processes
  readonly admin: AdminClient
}

export function clusterNameOf({ clusterName = 'demo' }: MeshOptions): string {
  return clusterName
}

export function sidecarIdOf({ options }: Making, index: number): string {
  return spiffeIds.sidecar(clusterNameOf(options), index)
}

export function controlUrlOf({ control }: Layout): string {
  return `https://${control.address}:${control.port}`
}
