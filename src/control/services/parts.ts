/** What the services are made of. None of them knows how it was called, nor what the store is. */
import type { Witness } from '../../audit/sealed/witness.ts'
import type { Clock } from '../../base/clock.ts'
import type { Replays } from '../../identity/aws/replays.ts'
import type { ProvidersInForce } from '../../identity/providers/in-force.ts'
import type { LogInRefusals } from '../../session/refusals.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { CertificateAuthority } from '../ca.ts'
import type { Collection } from '../collection.ts'
import type { Enrolment } from '../enrolment.ts'
import type { KeySets } from '../key-sets/key-sets.ts'
import type { SharedLimits } from '../limit-shares.ts'
import type { Publisher } from '../publisher.ts'
import type { RememberedRefusals } from '../refused-log-ins.ts'
import type { Registry } from '../registry.ts'
import type { RevocationBook } from '../revocation-book.ts'
import type { Store } from '../store.ts'
import type { TokenExchange } from '../token-exchange.ts'
import type { CallerBudgets } from '../txn/caller-budgets.ts'
import type { TxnKeys } from '../txn/txn-keys.ts'

export interface ControlParts {
  readonly ca: CertificateAuthority
  readonly enrolment: Enrolment
  readonly exchange: TokenExchange
  readonly registry: Registry
  readonly refusals: RememberedRefusals
  /** Those of this process. */
  readonly logInRefusals: LogInRefusals
  readonly keySets: KeySets
  readonly txnKeys: TxnKeys
  /** Of transaction tokens, for each caller. */
  readonly txnBudgets: CallerBudgets
  /** By whose tokens the control plane knows people. */
  readonly providers: ProvidersInForce
  readonly revocations: RevocationBook
  /** In the whole mesh, in memory. */
  readonly presignedUses: Pick<Replays, 'use'>
  /** Of the whole mesh, in memory: sidecars say again what they hold. */
  readonly sharedLimits: SharedLimits
  /** Of the sidecars' records. */
  readonly witness: Witness
  /** Copies of them. */
  readonly collection: Collection
  readonly publisher: Publisher
  readonly store: Store
  readonly clock: Clock
  readonly log: Logger
  readonly svidTtlMs: number
  /** Throws RingfenceError CONFIG; a promise where it is found out beside the loop. */
  readonly validatePolicy: (source: string, fileName: string) => void | Promise<void>
  readonly instance: Instance
}

export interface Instance {
  readonly name: string
  readonly listen: string
  readonly startedMs: number
  readonly version: string
  /** Of its own certificate. */
  readonly ownNotBeforeMs: number
  readonly ownNotAfterMs: number
}
