/**
 * What the control plane must not forget: join tokens as hashes, who used a pre-signed request first, who enrolled, what was issued, who was thrown out, policy revisions, mesh
 * keys, and where the proxies were last. `store.test.ts` holds each store to what this file says.
 *
 * The rule one must not break: a call that returns is on stable storage, and nothing comes between what it reads and what it writes. That
 * is why calls are synchronous: no token is spent twice and no revision is given twice, without locks in the services above.
 */
import type { PresignedUse } from '../identity/aws/replays.ts'
import type { Revoked } from '../identity/revoked/revocation.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { MeshKeyUse } from '../mesh/mesh-keys.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { WitnessedLog } from '../mesh/witness.ts'

export interface AltNames {
  readonly ipAddresses: readonly string[]
  readonly dnsNames: readonly string[]
  /** Of a gateway: which identities its plain listeners may have. */
  readonly listenerIdentities: readonly string[]
}

export interface TokenRow extends AltNames {
  readonly hash: string
  readonly spiffeId: string
  readonly role: AgentRole
  readonly expiresAtMs: number
  readonly usedAtMs: number | undefined
}

export interface AgentRow extends AltNames {
  readonly spiffeId: string
  readonly role: AgentRole
  readonly name: string
}

export interface Issuance {
  readonly serial: string
  readonly spiffeId: string
  readonly reason: 'enrol' | 'renew' | 'mint' | 'exchange'
  /** The join token's hash, cut; that of another token, with its provider; the SPIFFE id; or `admin`. */
  readonly caller: string
  readonly issuedAtMs: number
  readonly notAfterMs: number
}

export interface Spent {
  readonly key: string
  readonly owner: string
  readonly endMs: number
}

export interface SpentBounds {
  readonly entriesMax: number
  readonly entriesPerOwnerMax: number
}

export interface MeshKeyRow {
  readonly id: number
  readonly key: Buffer
  readonly createdAtMs: number
  readonly use: MeshKeyUse
  /** See `MeshKey.fromMs`. */
  readonly fromMs: number
}

export interface RevocationRow extends Revoked {
  readonly id: number
  readonly reason: string
  /** Who did it, as they say. */
  readonly by: string
  readonly createdAtMs: number
  /** It ends by itself then. */
  readonly untilMs: number | undefined
  /** The SPIFFE id of the agent that is suspended by it, and let in again by `resume`. */
  readonly suspends?: string | undefined
  /** Undefined while it is in force. */
  readonly ended: RevocationEnd | undefined
}

export interface RevocationEnd {
  readonly atMs: number
  readonly by: string
  readonly reason: string
}

export interface Store {
  close(): void

  /** Tokens that ended a day before `nowMs` may be forgotten. */
  addToken(token: Omit<TokenRow, 'usedAtMs'>, nowMs: number): void
  token(hash: string): TokenRow | undefined
  /** When the last of the tokens ends that were made before `madeMs`, are not used and have not ended; undefined where there is none. */
  tokensOpenUntil(madeMs: number, nowMs: number): number | undefined
  /** True for exactly one caller, however many ask. */
  spendToken(hash: string, nowMs: number): boolean

  /** In the place of the agent of the same id. */
  putAgent(agent: AgentRow, nowMs: number): void
  agent(spiffeId: string): AgentRow | undefined
  removeAgent(spiffeId: string): void
  /** Those for that id that are not used. How many of them had not ended. */
  removeTokens(spiffeId: string, nowMs: number): number
  /** Ordered by id. */
  agents(): AgentRow[]

  /**
   * Notes for `owner` what was shown and counts once, until it ends. `spent` where it was before; `full` where as many are remembered of this owner,
   * or of all, as may be: then it is not noted. What has ended is forgotten.
   */
  spendOnce(spent: Spent, bounds: SpentBounds, nowMs: number): 'noted' | 'spent' | 'full'

  /** Those that have not ended, which were kept before; soonest end first. */
  presignedUses(nowMs: number): PresignedUse[]
  /** All of them or none. What has ended is forgotten, and beyond `entriesMax` what ends soonest. */
  keepPresignedUses(uses: readonly PresignedUse[], entriesMax: number, nowMs: number): void

  addIssuance(issuance: Issuance): void
  /** Newest first. */
  issuances(countMax: number): Issuance[]
  lastIssuance(spiffeId: string, reason: Issuance['reason']): Issuance | undefined
  /** Those of the certificates that an agent of that id enrolled with or renewed, and that have not ended; newest first. */
  openIssuances(spiffeId: string, nowMs: number): Issuance[]

  /** Its id is greater than every id before. */
  addRevocation(revocation: Omit<RevocationRow, 'id' | 'ended'>): RevocationRow
  /** All of them or none, in their order. */
  addRevocations(revocations: readonly Omit<RevocationRow, 'id' | 'ended'>[]): RevocationRow[]
  /** True where it was in force. Of those that have ended the `keptCount` newest are remembered. */
  endRevocation(id: number, end: RevocationEnd, keptCount: number): boolean
  /** Those that have not been ended, by id. */
  revocations(): RevocationRow[]
  /** Newest end first. */
  endedRevocations(countMax: number): RevocationRow[]

  /** The revision in force; 0 with an empty source while there is none. */
  policy(): PolicySnapshot
  /** The text of a revision; undefined for one that was never here. */
  policyOf(revision: number): string | undefined
  /** Of the present epoch. One more than the last, or `atLeast`, whatever the source: going back to an older text is a new revision too. */
  addPolicy(source: string, fileName: string, nowMs: number, atLeast?: number): PolicySnapshot

  /** 0 for a state that was never restored; greater with each restore. */
  epoch(): number
  /** From now on, where it is greater than the present one. */
  raiseEpoch(epoch: number): void

  putSidecar(endpoint: SidecarEndpoint): void
  removeSidecar(spiffeId: string): void
  /** Ordered by id. */
  sidecars(): SidecarEndpoint[]

  /** `endpoints` are all of one gateway. */
  putGateway(spiffeId: string, endpoints: readonly GatewayEndpoint[]): void
  removeGateway(spiffeId: string): void
  /** By the gateways' ids, in their order. */
  gateways(): Map<string, readonly GatewayEndpoint[]>

  /** Newest first. */
  meshKeys(): MeshKeyRow[]
  /** Its id is greater than every id before, also than those that a restored state has forgotten; all but the newest `keptCount` of its use are forgotten. */
  addMeshKey(key: Omit<MeshKeyRow, 'id'>, keptCount: number): void
  removeMeshKey(id: number): void
  /** Keys that were made until then are known to somebody who is thrown out; undefined where nobody ever was. */
  meshKeysBurntMs(): number | undefined
  burnMeshKeys(atMs: number): void

  /** The last checkpoint that was taken of a log. */
  witnessed(origin: string): WitnessedLog | undefined
  /** In the place of the one before. */
  putWitnessed(log: WitnessedLog): void
  forgetWitnessed(origin: string): void
  /** Ordered by origin. */
  witnessedLogs(): WitnessedLog[]
}
