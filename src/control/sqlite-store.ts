/** The control plane's store in SQLite (WAL, every write flushed). */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { PresignedUse } from '../identity/aws/replays.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { MeshKeyUse } from '../mesh/mesh-keys.ts'
import { type PolicySnapshot, policySnapshot } from '../mesh/pushed.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { WitnessedLog } from '../mesh/witness.ts'
import { agentOf, altNamesOf, altNamesText, issuanceOf, revocationOf, witnessedOf } from './sqlite-rows.ts'
import { openDatabase } from './sqlite-schema.ts'
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

/** What counts once lives no longer: pre-signed requests of AWS. */
const spentLifeMsMax = 15 * 60 * 1000

export class SqliteStore implements Store {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** @throws RingfenceError CONFIG when the file is damaged or of a newer schema */
  constructor(path: string) {
    this.#db = openDatabase(path)
  }

  close(): void {
    this.#db.close()
  }

  /** All of it or nothing. */
  #whole<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (reason) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw reason
    }
  }

  addToken(token: Omit<TokenRow, 'usedAtMs'>, nowMs: number): void {
    this.#run('DELETE FROM join_tokens WHERE expires_ms < ?', nowMs - 24 * 60 * 60 * 1000)
    this.#run(
      'INSERT INTO join_tokens (hash, spiffe_id, role, alt_names, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)',
      token.hash,
      token.spiffeId,
      token.role,
      altNamesText(token),
      nowMs,
      token.expiresAtMs,
    )
  }

  token(hash: string): TokenRow | undefined {
    const row = this.#statement('SELECT * FROM join_tokens WHERE hash = ?').get(hash)
    if (row === undefined) return undefined
    return {
      hash,
      spiffeId: String(row.spiffe_id),
      role: row.role as AgentRole,
      expiresAtMs: Number(row.expires_ms),
      usedAtMs: row.used_ms === null ? undefined : Number(row.used_ms),
      ...altNamesOf(row.alt_names),
    }
  }

  tokensOpenUntil(madeMs: number, nowMs: number): number | undefined {
    const row = this.#statement(
      'SELECT max(expires_ms) AS last FROM join_tokens WHERE created_ms < ? AND used_ms IS NULL AND expires_ms > ?',
    ).get(Math.round(madeMs), Math.round(nowMs))
    return row?.last === null || row === undefined ? undefined : Number(row.last)
  }

  spendToken(hash: string, nowMs: number): boolean {
    const { changes } = this.#run('UPDATE join_tokens SET used_ms = ? WHERE hash = ? AND used_ms IS NULL', nowMs, hash)
    return changes === 1
  }

  putAgent(agent: AgentRow, nowMs: number): void {
    this.#run(
      'INSERT OR REPLACE INTO agents (spiffe_id, role, name, alt_names, enrolled_ms) VALUES (?, ?, ?, ?, ?)',
      agent.spiffeId,
      agent.role,
      agent.name,
      altNamesText(agent),
      nowMs,
    )
  }

  agent(spiffeId: string): AgentRow | undefined {
    const row = this.#statement('SELECT * FROM agents WHERE spiffe_id = ?').get(spiffeId)
    return row === undefined ? undefined : agentOf(row)
  }

  removeAgent(spiffeId: string): void {
    this.#run('DELETE FROM agents WHERE spiffe_id = ?', spiffeId)
  }

  removeTokens(spiffeId: string, nowMs: number): number {
    this.#run('DELETE FROM join_tokens WHERE spiffe_id = ? AND used_ms IS NULL AND expires_ms <= ?', spiffeId, nowMs)
    return Number(this.#run('DELETE FROM join_tokens WHERE spiffe_id = ? AND used_ms IS NULL', spiffeId).changes)
  }

  agents(): AgentRow[] {
    return this.#statement('SELECT * FROM agents ORDER BY spiffe_id').all().map(agentOf)
  }

  spendOnce({ key, owner, endMs }: Spent, bounds: SpentBounds, nowMs: number): 'noted' | 'spent' | 'full' {
    this.#run('DELETE FROM spent WHERE end_ms <= ?', Math.floor(nowMs))
    const restoredMs = this.#statement('SELECT max(begun_ms) AS n FROM epochs').get()?.n
    // It may have been shown between the backup and its restore.
    if (typeof restoredMs === 'number' && endMs <= restoredMs + spentLifeMsMax) return 'spent'
    if (this.#statement('SELECT 1 FROM spent WHERE key = ?').get(key) !== undefined) return 'spent'
    const own = this.#statement('SELECT count(*) AS n FROM spent WHERE owner = ?').get(owner)?.n
    const all = this.#statement('SELECT count(*) AS n FROM spent').get()?.n
    if (Number(own) >= bounds.entriesPerOwnerMax || Number(all) >= bounds.entriesMax) return 'full'
    this.#run('INSERT INTO spent (key, owner, end_ms) VALUES (?, ?, ?)', key, owner, Math.ceil(endMs))
    return 'noted'
  }

  presignedUses(nowMs: number): PresignedUse[] {
    return this.#statement('SELECT * FROM presigned_uses WHERE end_ms > ? ORDER BY end_ms')
      .all(Math.floor(nowMs))
      .map(({ principal, key, address, end_ms }) => ({
        principal: String(principal),
        key: String(key),
        address: String(address),
        endMs: Number(end_ms),
      }))
  }

  keepPresignedUses(uses: readonly PresignedUse[], entriesMax: number, nowMs: number): void {
    this.#whole(() => {
      this.#run('DELETE FROM presigned_uses WHERE end_ms <= ?', Math.floor(nowMs))
      for (const { principal, key, address, endMs } of uses)
        this.#run(
          'INSERT OR REPLACE INTO presigned_uses (principal, key, address, end_ms) VALUES (?, ?, ?, ?)',
          principal,
          key,
          address,
          Math.ceil(endMs),
        )
      const count = Number(this.#statement('SELECT count(*) AS n FROM presigned_uses').get()?.n)
      if (count > entriesMax)
        this.#run(
          'DELETE FROM presigned_uses WHERE rowid IN (SELECT rowid FROM presigned_uses ORDER BY end_ms LIMIT ?)',
          count - entriesMax,
        )
    })
  }

  addIssuance(issuance: Issuance): void {
    this.#run(
      'INSERT INTO issuances (serial, spiffe_id, reason, caller, issued_ms, not_after_ms) VALUES (?, ?, ?, ?, ?, ?)',
      issuance.serial,
      issuance.spiffeId,
      issuance.reason,
      issuance.caller,
      issuance.issuedAtMs,
      issuance.notAfterMs,
    )
  }

  issuances(countMax: number): Issuance[] {
    const sql = 'SELECT * FROM issuances ORDER BY issued_ms DESC, rowid DESC LIMIT ?'
    return this.#statement(sql).all(countMax).map(issuanceOf)
  }

  lastIssuance(spiffeId: string, reason: Issuance['reason']): Issuance | undefined {
    const sql = 'SELECT * FROM issuances WHERE spiffe_id = ? AND reason = ? ORDER BY issued_ms DESC, rowid DESC LIMIT 1'
    const row = this.#statement(sql).get(spiffeId, reason)
    return row === undefined ? undefined : issuanceOf(row)
  }

  openIssuances(spiffeId: string, nowMs: number): Issuance[] {
    const sql = `SELECT * FROM issuances WHERE spiffe_id = ? AND reason IN ('enrol', 'renew') AND not_after_ms > ?
      ORDER BY issued_ms DESC, rowid DESC`
    return this.#statement(sql).all(spiffeId, Math.floor(nowMs)).map(issuanceOf)
  }

  addRevocation(revocation: Omit<RevocationRow, 'id' | 'ended'>): RevocationRow {
    const { kind, value, provider, reason, by, createdAtMs, untilMs, suspends } = revocation
    const { lastInsertRowid } = this.#run(
      `INSERT INTO revocations (kind, value, provider, reason, by, created_ms, until_ms, suspends)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      kind,
      value,
      provider ?? null,
      reason,
      by,
      Math.round(createdAtMs),
      untilMs === undefined ? null : Math.round(untilMs),
      suspends ?? null,
    )
    return { ...revocation, id: Number(lastInsertRowid), ended: undefined }
  }

  addRevocations(revocations: readonly Omit<RevocationRow, 'id' | 'ended'>[]): RevocationRow[] {
    return this.#whole(() => revocations.map((one) => this.addRevocation(one)))
  }

  endRevocation(id: number, { atMs, by, reason }: RevocationEnd, keptCount: number): boolean {
    const { changes } = this.#run(
      'UPDATE revocations SET ended_ms = ?, ended_by = ?, ended_reason = ? WHERE id = ? AND ended_ms IS NULL',
      Math.round(atMs),
      by,
      reason,
      id,
    )
    this.#run(
      `DELETE FROM revocations WHERE id IN
         (SELECT id FROM revocations WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, id DESC LIMIT -1 OFFSET ?)`,
      keptCount,
    )
    return changes === 1
  }

  witnessed(origin: string): WitnessedLog | undefined {
    const row = this.#statement('SELECT * FROM witnessed WHERE origin = ?').get(origin)
    return row === undefined ? undefined : witnessedOf(row)
  }

  putWitnessed({ origin, key, size, atMs, checkpoint }: WitnessedLog): void {
    const sql = 'INSERT OR REPLACE INTO witnessed (origin, key, size, at_ms, checkpoint) VALUES (?, ?, ?, ?, ?)'
    this.#run(sql, origin, key, size, Math.floor(atMs), checkpoint)
  }

  forgetWitnessed(origin: string): void {
    this.#run('DELETE FROM witnessed WHERE origin = ?', origin)
  }

  witnessedLogs(): WitnessedLog[] {
    return this.#statement('SELECT * FROM witnessed ORDER BY origin').all().map(witnessedOf)
  }

  revocations(): RevocationRow[] {
    return this.#statement('SELECT * FROM revocations WHERE ended_ms IS NULL ORDER BY id').all().map(revocationOf)
  }

  endedRevocations(countMax: number): RevocationRow[] {
    const sql = 'SELECT * FROM revocations WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, id DESC LIMIT ?'
    return this.#statement(sql).all(countMax).map(revocationOf)
  }

  policy(): PolicySnapshot {
    const row = this.#statement(
      'SELECT revision, source, epoch FROM policy_revisions ORDER BY revision DESC LIMIT 1',
    ).get()
    return row === undefined
      ? { revision: 0, source: '' }
      : policySnapshot(Number(row.revision), String(row.source), Number(row.epoch))
  }

  policyOf(revision: number): string | undefined {
    const row = this.#statement('SELECT source FROM policy_revisions WHERE revision = ?').get(revision)
    return row === undefined ? undefined : String(row.source)
  }

  addPolicy(source: string, fileName: string, nowMs: number, atLeast = 1): PolicySnapshot {
    const revision = Math.max(this.policy().revision + 1, atLeast)
    const epoch = this.epoch()
    this.#run(
      'INSERT INTO policy_revisions (revision, source, file_name, applied_ms, epoch) VALUES (?, ?, ?, ?, ?)',
      revision,
      source,
      fileName,
      nowMs,
      epoch,
    )
    return policySnapshot(revision, source, epoch)
  }

  epoch(): number {
    return Number(this.#statement('SELECT coalesce(max(epoch), 0) AS n FROM epochs').get()?.n)
  }

  raiseEpoch(epoch: number): void {
    // No restore began it: nothing that was shown before is void.
    if (epoch > this.epoch()) this.#run('INSERT INTO epochs (epoch, begun_ms) VALUES (?, 0)', epoch)
  }

  putSidecar(endpoint: SidecarEndpoint): void {
    this.#run(
      'INSERT OR REPLACE INTO sidecars (spiffe_id, endpoint) VALUES (?, ?)',
      endpoint.spiffeId,
      JSON.stringify(endpoint),
    )
  }

  removeSidecar(spiffeId: string): void {
    this.#run('DELETE FROM sidecars WHERE spiffe_id = ?', spiffeId)
  }

  sidecars(): SidecarEndpoint[] {
    const rows = this.#statement('SELECT endpoint FROM sidecars ORDER BY spiffe_id').all()
    return rows.map((row) => JSON.parse(String(row.endpoint)) as SidecarEndpoint)
  }

  putGateway(spiffeId: string, endpoints: readonly GatewayEndpoint[]): void {
    this.#run(
      'INSERT OR REPLACE INTO gateways (spiffe_id, endpoints) VALUES (?, ?)',
      spiffeId,
      JSON.stringify(endpoints),
    )
  }

  removeGateway(spiffeId: string): void {
    this.#run('DELETE FROM gateways WHERE spiffe_id = ?', spiffeId)
  }

  gateways(): Map<string, readonly GatewayEndpoint[]> {
    const rows = this.#statement('SELECT spiffe_id, endpoints FROM gateways ORDER BY spiffe_id').all()
    return new Map(
      rows.map((row) => [String(row.spiffe_id), JSON.parse(String(row.endpoints)) as readonly GatewayEndpoint[]]),
    )
  }

  meshKeys(): MeshKeyRow[] {
    const rows = this.#statement('SELECT * FROM mesh_keys ORDER BY id DESC').all()
    return rows.map((row) => ({
      id: Number(row.id),
      key: Buffer.from(row.key as Uint8Array),
      createdAtMs: Number(row.created_ms),
      use: row.use as MeshKeyUse,
      fromMs: Number(row.from_ms),
    }))
  }

  addMeshKey({ key, use, createdAtMs, fromMs }: Omit<MeshKeyRow, 'id'>, keptCount: number): void {
    // An epoch is a time in seconds: more than any number of keys before the restore.
    const insert = `INSERT INTO mesh_keys (id, key, created_ms, use, from_ms)
      VALUES (max((SELECT coalesce(max(id), 0) FROM mesh_keys), ?) + 1, ?, ?, ?, ?)`
    this.#run(insert, this.epoch(), key, Math.round(createdAtMs), use, Math.round(fromMs))
    this.#run(
      `DELETE FROM mesh_keys WHERE use = ?
         AND id NOT IN (SELECT id FROM mesh_keys WHERE use = ? ORDER BY id DESC LIMIT ?)`,
      use,
      use,
      keptCount,
    )
  }

  removeMeshKey(id: number): void {
    this.#run('DELETE FROM mesh_keys WHERE id = ?', id)
  }

  meshKeysBurntMs(): number | undefined {
    const row = this.#statement('SELECT max(at_ms) AS at FROM mesh_keys_burnt').get()
    return row?.at === null || row === undefined ? undefined : Number(row.at)
  }

  burnMeshKeys(atMs: number): void {
    this.#run('INSERT OR REPLACE INTO mesh_keys_burnt (only, at_ms) VALUES (1, ?)', Math.round(atMs))
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #run(
    sql: string,
    ...values: (string | number | Uint8Array | null)[]
  ): { changes: number | bigint; lastInsertRowid: number | bigint } {
    return this.#statement(sql).run(...values)
  }
}
