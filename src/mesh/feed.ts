/** What a proxy, or one of its workers, has of the control plane. */
import type { Credentials } from './credentials.ts'
import type { Observable } from './observable.ts'
import type { ProxyReport } from './proxy-report.ts'
import type { PushedKind } from './pushed-kind.ts'

export interface Feed {
  readonly credentials: Observable<Credentials>
  /** A pushed value; `kind` is one of `pushedKinds`. */
  value<T>(kind: PushedKind<T>): Observable<T>
  /** `make` is called about once a second; its traffic rows are deltas since the call before. */
  setReporter(make: () => ProxyReport): void
  stop(): Promise<void>
}
