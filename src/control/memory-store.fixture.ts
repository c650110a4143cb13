/** A store for tests, in memory. It outlives its `close`, so that a control plane can be started again on it. */
import type { PresignedUse } from '../identity/aws/replays.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import { type PolicySnapshot, policySnapshot } from '../mesh/pushed.ts'
import type { WitnessedLog } from '../mesh/witness.ts'
import type {
  AgentRow,
  Issuance,
  MeshKeyRow,
  RevocationEnd,
  RevocationRow,
  Spent,
  SpentBounds,
  Store,
  TokenRow,
} from './store.ts'

export class MemoryStore implements Store {
  readonly #tokens = new Map<string, TokenRow & { readonly madeMs: number }>()
  readonly #agents = new Map<string, AgentRow>()
  readonly #spent = new Map<string, Spent>()
  readonly #uses = new Map<string, PresignedUse>()
  readonly #witnessed = new Map<string, WitnessedLog>()
  readonly #issuances: Issuance[] = []
  readonly #policies: PolicySnapshot[] = []
  readonly #sidecars = new Map<string, SidecarEndpoint>()
  readonly #gateways = new Map<string, readonly GatewayEndpoint[]>()
  #keys: readonly MeshKeyRow[] = []
  #epoch = 0
  #revocations: RevocationRow[] = []
  #lastRevocation = 0
  #burntMs: number | undefined

  close(): void {}

  addToken(token: Omit<TokenRow, 'usedAtMs'>, nowMs: number): void {
    this.#tokens.set(token.hash, { ...token, usedAtMs: undefined, madeMs: nowMs })
  }

  token(hash: string): TokenRow | undefined {
    const found = this.#tokens.get(hash)
    if (found === undefined) return undefined
    const { madeMs: _, ...row } = found
    return row
  }

  tokensOpenUntil(madeMs: number, nowMs: number): number | undefined {
    const open = [...this.#tokens.values()].filter(
      (token) => token.madeMs < madeMs && token.usedAtMs === undefined && token.expiresAtMs > nowMs,
    )
    return open.length === 0 ? undefined : Math.max(...open.map(({ expiresAtMs }) => expiresAtMs))
  }

  spendToken(hash: string, nowMs: number): boolean {
    const token = this.#tokens.get(hash)
    if (token === undefined || token.usedAtMs !== undefined) return false
    this.#tokens.set(hash, { ...token, usedAtMs: nowMs })
    return true
  }

  putAgent(agent: AgentRow): void {
    this.#agents.set(agent.spiffeId, agent)
  }

  agent(spiffeId: string): AgentRow | undefined {
    return this.#agents.get(spiffeId)
  }

  removeAgent(spiffeId: string): void {
    this.#agents.delete(spiffeId)
  }

  removeTokens(spiffeId: string, nowMs: number): number {
    const found = [...this.#tokens.values()].filter((one) => one.spiffeId === spiffeId && one.usedAtMs === undefined)
    for (const { hash } of found) this.#tokens.delete(hash)
    return found.filter(({ expiresAtMs }) => expiresAtMs > nowMs).length
  }

  agents(): AgentRow[] {
    return byKey(this.#agents).map(([, agent]) => agent)
  }

  spendOnce(spent: Spent, bounds: SpentBounds, nowMs: number): 'noted' | 'spent' | 'full' {
    for (const [key, { endMs }] of this.#spent) if (endMs <= nowMs) this.#spent.delete(key)
    if (this.#spent.has(spent.key)) return 'spent'
    const own = [...this.#spent.values()].filter(({ owner }) => owner === spent.owner).length
    if (own >= bounds.entriesPerOwnerMax || this.#spent.size >= bounds.entriesMax) return 'full'
    this.#spent.set(spent.key, spent)
    return 'noted'
  }

  presignedUses(nowMs: number): PresignedUse[] {
    return [...this.#uses.values()].filter(({ endMs }) => endMs > nowMs).sort((a, b) => a.endMs - b.endMs)
  }

  keepPresignedUses(uses: readonly PresignedUse[], entriesMax: number, nowMs: number): void {
    for (const use of uses) this.#uses.set(`${use.principal} ${use.key}`, use)
    const kept = this.presignedUses(nowMs).slice(-entriesMax)
    this.#uses.clear()
    for (const use of kept) this.#uses.set(`${use.principal} ${use.key}`, use)
  }

  witnessed(origin: string): WitnessedLog | undefined {
    return this.#witnessed.get(origin)
  }

  putWitnessed(log: WitnessedLog): void {
    this.#witnessed.set(log.origin, log)
  }

  forgetWitnessed(origin: string): void {
    this.#witnessed.delete(origin)
  }

  witnessedLogs(): WitnessedLog[] {
    return [...this.#witnessed.values()].sort((a, b) => (a.origin < b.origin ? -1 : 1))
  }

  addIssuance(issuance: Issuance): void {
    this.#issuances.push(issuance)
  }

  issuances(countMax: number): Issuance[] {
    const newestFirst = this.#issuances.toReversed().sort((a, b) => b.issuedAtMs - a.issuedAtMs)
    return newestFirst.slice(0, countMax)
  }

  lastIssuance(spiffeId: string, reason: Issuance['reason']): Issuance | undefined {
    return this.issuances(this.#issuances.length).find((one) => one.spiffeId === spiffeId && one.reason === reason)
  }

  openIssuances(spiffeId: string, nowMs: number): Issuance[] {
    const isOpen = (one: Issuance): boolean =>
      one.spiffeId === spiffeId && (one.reason === 'enrol' || one.reason === 'renew') && one.notAfterMs > nowMs
    return this.issuances(this.#issuances.length).filter(isOpen)
  }

  addRevocation(revocation: Omit<RevocationRow, 'id' | 'ended'>): RevocationRow {
    const row = { ...revocation, id: ++this.#lastRevocation, ended: undefined }
    this.#revocations.push(row)
    return row
  }

  addRevocations(revocations: readonly Omit<RevocationRow, 'id' | 'ended'>[]): RevocationRow[] {
    return revocations.map((one) => this.addRevocation(one))
  }

  endRevocation(id: number, end: RevocationEnd, keptCount: number): boolean {
    const at = this.#revocations.findIndex((row) => row.id === id && row.ended === undefined)
    const row = this.#revocations[at]
    if (row === undefined) return false
    this.#revocations[at] = { ...row, ended: end }
    const kept = new Set(this.endedRevocations(keptCount))
    this.#revocations = this.#revocations.filter((one) => one.ended === undefined || kept.has(one))
    return true
  }

  revocations(): RevocationRow[] {
    return this.#revocations.filter(({ ended }) => ended === undefined)
  }

  endedRevocations(countMax: number): RevocationRow[] {
    const ended = this.#revocations.filter((row) => row.ended !== undefined)
    return ended.sort((a, b) => b.ended!.atMs - a.ended!.atMs || b.id - a.id).slice(0, countMax)
  }

  policy(): PolicySnapshot {
    return this.#policies.at(-1) ?? { revision: 0, source: '' }
  }

  policyOf(revision: number): string | undefined {
    return this.#policies.find((policy) => policy.revision === revision)?.source
  }

  addPolicy(source: string, _fileName: string, _nowMs: number, atLeast = 1): PolicySnapshot {
    const policy = policySnapshot(Math.max(this.policy().revision + 1, atLeast), source, this.#epoch)
    this.#policies.push(policy)
    return policy
  }

  epoch(): number {
    return this.#epoch
  }

  raiseEpoch(epoch: number): void {
    this.#epoch = Math.max(this.#epoch, epoch)
  }

  putSidecar(endpoint: SidecarEndpoint): void {
    this.#sidecars.set(endpoint.spiffeId, endpoint)
  }

  removeSidecar(spiffeId: string): void {
    this.#sidecars.delete(spiffeId)
  }

  sidecars(): SidecarEndpoint[] {
    return byKey(this.#sidecars).map(([, endpoint]) => endpoint)
  }

  putGateway(spiffeId: string, endpoints: readonly GatewayEndpoint[]): void {
    this.#gateways.set(spiffeId, endpoints)
  }

  removeGateway(spiffeId: string): void {
    this.#gateways.delete(spiffeId)
  }

  gateways(): Map<string, readonly GatewayEndpoint[]> {
    return new Map(byKey(this.#gateways))
  }

  meshKeys(): MeshKeyRow[] {
    return [...this.#keys]
  }

  addMeshKey(key: Omit<MeshKeyRow, 'id'>, keptCount: number): void {
    const keys = [{ ...key, id: Math.max(this.#keys[0]?.id ?? 0, this.#epoch) + 1 }, ...this.#keys]
    const kept = new Set(keys.filter(({ use }) => use === key.use).slice(0, keptCount))
    this.#keys = keys.filter((one) => one.use !== key.use || kept.has(one))
  }

  removeMeshKey(id: number): void {
    this.#keys = this.#keys.filter((one) => one.id !== id)
  }

  meshKeysBurntMs(): number | undefined {
    return this.#burntMs
  }

  burnMeshKeys(atMs: number): void {
    this.#burntMs = atMs
  }
}

function byKey<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}
