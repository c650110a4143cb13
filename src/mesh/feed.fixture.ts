/** A feed in a test's hand, in the place of an agent. */
import { type Credentials, credentialsVersion } from './credentials.ts'
import type { GatewayEndpoint, SidecarEndpoint } from './endpoints.ts'
import type { Feed } from './feed.ts'
import { Observed } from './observable.ts'
import type { ProxyReport } from './proxy-report.ts'
import { allPushedKinds, type PolicySnapshot, type PushedKinds, pushedKinds } from './pushed.ts'
import type { PushedKind } from './pushed-kind.ts'
import { PushedValues } from './pushed-values.ts'

/** An observer that throws is thrown at who sets the value. */
export class FakeFeed implements Feed {
  readonly credentials: Observed<Credentials>
  readonly #values: PushedValues
  report: (() => ProxyReport) | undefined

  constructor(credentials: Credentials, policy: PolicySnapshot, kinds: PushedKinds = allPushedKinds) {
    const onFault = (reason: unknown): never => {
      throw reason
    }
    this.credentials = new Observed(credentials, credentialsVersion, onFault)
    this.#values = new PushedValues(kinds, onFault)
    this.value(pushedKinds.policy).set(policy)
    this.rotate(1)
  }

  value<T>(kind: PushedKind<T>): Observed<T> {
    return this.#values.value(kind)
  }

  setReporter(make: () => ProxyReport): void {
    this.report = make
  }

  async stop(): Promise<void> {}

  renew(credentials: Credentials): void {
    this.credentials.set(credentials)
  }

  apply(source: string): void {
    const policy = this.value(pushedKinds.policy)
    policy.set({ revision: policy.current.revision + 1, source })
  }

  /** Another text under the revision in force, as a restored control plane may give it. */
  restore(source: string): void {
    const policy = this.value(pushedKinds.policy)
    policy.set({ revision: policy.current.revision, source })
  }

  place(sidecars: readonly SidecarEndpoint[]): void {
    this.value(pushedKinds.sidecars).set(sidecars)
  }

  tell(gateways: readonly GatewayEndpoint[]): void {
    this.value(pushedKinds.gateways).set(gateways)
  }

  /** A new key, 32 times the byte `id`; the one before stays good for opening. */
  rotate(id: number): void {
    const keys = this.value(pushedKinds.keys)
    keys.set([{ id, key: Buffer.alloc(32, id) }, ...keys.current].slice(0, 2))
  }
}
