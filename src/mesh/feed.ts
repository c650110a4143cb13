/** What a proxy, or one of its workers, sees of the control plane. */
import type { Credentials } from './credentials.ts'
import type { GatewayEndpoint, SidecarEndpoint } from './endpoints.ts'
import type { MeshKey } from './mesh-keys.ts'
import type { ProxyReport } from './proxy-report.ts'

export interface PolicySnapshot {
  /**
   * 0 while nothing was ever received; then it never falls. It does not say what the text is: a control plane that was restored may give a
   * number to another text. That is told by the text's digest.
   */
  readonly revision: number
  /** YAML documents. Empty with revision 0, which permits nothing. */
  readonly source: string
}

/** What a proxy, or one of its workers, is fed with. Callbacks run after the property changed; the result unsubscribes. */
export interface Feed {
  readonly credentials: Credentials
  readonly policy: PolicySnapshot
  readonly sidecars: readonly SidecarEndpoint[]
  /** Of all live gateways, itself and those included that are about to stop; the last known while the control plane is away. */
  readonly gateways: readonly GatewayEndpoint[]
  /** Of a sidecar only, newest first; empty while nothing was ever received. */
  readonly keys: readonly MeshKey[]
  onCredentials(callback: (credentials: Credentials) => void): () => void
  onPolicy(callback: (policy: PolicySnapshot) => void): () => void
  onSidecars(callback: (sidecars: readonly SidecarEndpoint[]) => void): () => void
  onGateways(callback: (gateways: readonly GatewayEndpoint[]) => void): () => void
  onKeys(callback: (keys: readonly MeshKey[]) => void): () => void
  /** `make` is called about once a second; its traffic rows are deltas since the call before. */
  setReporter(make: () => ProxyReport): void
  stop(): Promise<void>
}
