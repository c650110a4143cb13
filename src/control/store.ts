/**
 * What the control plane must not forget, in SQLite (WAL): join tokens as hashes, who enrolled, what was issued, policy
 * revisions, mesh keys, and where the proxies were last. Damaged or newer than this program: it does not start, rather than start empty.
 */
import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { RingfenceError } from '../base/errors.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { MeshKeyUse } from '../mesh/mesh-keys.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import type { AgentRole } from '../mesh/roles.ts'

/** Statement lists that lead from each schema version to the next; PRAGMA user_version counts them. */
const migrations = [
  `CREATE TABLE join_tokens (
     hash TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, role TEXT NOT NULL, alt_names TEXT NOT NULL,
     created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER) STRICT;
   CREATE TABLE agents (
     spiffe_id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, alt_names TEXT NOT NULL,
     enrolled_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE issuances (
     serial TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, reason TEXT NOT NULL, caller TEXT NOT NULL,
     issued_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL) STRICT;
   CREATE INDEX issuances_by_time ON issuances (issued_ms);
   CREATE TABLE policy_revisions (
     revision INTEGER PRIMARY KEY, source TEXT NOT NULL, file_name TEXT NOT NULL, applied_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE sidecars (spiffe_id TEXT PRIMARY KEY, endpoint TEXT NOT NULL) STRICT;`,
  'CREATE TABLE mesh_keys (id INTEGER PRIMARY KEY, key BLOB NOT NULL, created_ms INTEGER NOT NULL) STRICT;',
  'CREATE TABLE gateways (spiffe_id TEXT PRIMARY KEY, endpoints TEXT NOT NULL) STRICT;',
  // Hashes were made from the first of all keys; they stay equal until the first rotation of their own.
  `ALTER TABLE mesh_keys ADD COLUMN use TEXT NOT NULL DEFAULT 'pages';
   ALTER TABLE mesh_keys ADD COLUMN from_ms INTEGER NOT NULL DEFAULT 0;
   INSERT INTO mesh_keys (key, created_ms, use) SELECT key, unixepoch() * 1000, 'masks' FROM mesh_keys ORDER BY id LIMIT 1;`,
]

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
  readonly reason: 'enrol' | 'renew' | 'mint'
  /** The token's hash, cut; the SPIFFE id; or `admin`. */
  readonly caller: string
  readonly issuedAtMs: number
  readonly notAfterMs: number
}

export interface MeshKeyRow {
  readonly id: number
  readonly key: Buffer
  readonly createdAtMs: number
  readonly use: MeshKeyUse
  /** See `MeshKey.fromMs`. */
  readonly fromMs: number
}

export class Store {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** @throws RingfenceError CONFIG when the file is damaged or of a newer schema */
  constructor(path: string) {
    const isNew = !existsSync(path)
    keepToOwner(path)
    const hint = 'restore it from a backup; the proxies go on with what they have meanwhile'
    try {
      this.#db = new DatabaseSync(path, { timeout: 5_000 })
      this.#db.exec(
        'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON',
      )
      const faults = this.#db
        .prepare('PRAGMA integrity_check(3)')
        .all()
        .map((row) => String(Object.values(row)[0]))
      if (faults.join() !== 'ok') throw new Error(faults.join('; '))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new RingfenceError('CONFIG', `${path} is damaged: ${why}`, { cause, hint })
    }
    const version = Number(this.#db.prepare('PRAGMA user_version').get()?.user_version)
    if (version > migrations.length) {
      this.#db.close()
      throw new RingfenceError('CONFIG', `${path} has schema ${version}, this program knows ${migrations.length}`, {
        hint: 'use the newer program',
      })
    }
    if (version === 0 && !isNew && this.#db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n !== 0) {
      this.#db.close()
      throw new RingfenceError('CONFIG', `${path} is not a store of this program`, { hint })
    }
    for (let next = version; next < migrations.length; next++) {
      this.#db.exec(`BEGIN IMMEDIATE; ${migrations[next]}; PRAGMA user_version = ${next + 1}; COMMIT`)
    }
  }

  close(): void {
    this.#db.close()
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

  /** True for exactly one caller. */
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

  agents(): AgentRow[] {
    return this.#statement('SELECT * FROM agents ORDER BY spiffe_id').all().map(agentOf)
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

  /** Newest first. */
  issuances(countMax: number): Issuance[] {
    const rows = this.#statement('SELECT * FROM issuances ORDER BY issued_ms DESC, rowid DESC LIMIT ?').all(countMax)
    return rows.map((row) => ({
      serial: String(row.serial),
      spiffeId: String(row.spiffe_id),
      reason: row.reason as Issuance['reason'],
      caller: String(row.caller),
      issuedAtMs: Number(row.issued_ms),
      notAfterMs: Number(row.not_after_ms),
    }))
  }

  /** The revision in force; 0 with an empty source while there is none. */
  policy(): PolicySnapshot {
    const row = this.#statement('SELECT revision, source FROM policy_revisions ORDER BY revision DESC LIMIT 1').get()
    return row === undefined
      ? { revision: 0, source: '' }
      : { revision: Number(row.revision), source: String(row.source) }
  }

  /** The text of a revision; undefined for one that was never here. */
  policyOf(revision: number): string | undefined {
    const row = this.#statement('SELECT source FROM policy_revisions WHERE revision = ?').get(revision)
    return row === undefined ? undefined : String(row.source)
  }

  /** One more than the last, or `atLeast`, whatever the source: going back to an older text is a new revision too. */
  addPolicy(source: string, fileName: string, nowMs: number, atLeast = 1): PolicySnapshot {
    const revision = Math.max(this.policy().revision + 1, atLeast)
    this.#run(
      'INSERT INTO policy_revisions (revision, source, file_name, applied_ms) VALUES (?, ?, ?, ?)',
      revision,
      source,
      fileName,
      nowMs,
    )
    return { revision, source }
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

  /** `endpoints` are all of one gateway. */
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

  /** Newest first. */
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

  /** Its id is greater than every id before; all but the newest `keptCount` of its use are forgotten. */
  addMeshKey({ key, use, createdAtMs, fromMs }: Omit<MeshKeyRow, 'id'>, keptCount: number): void {
    const insert = 'INSERT INTO mesh_keys (key, created_ms, use, from_ms) VALUES (?, ?, ?, ?)'
    this.#run(insert, key, Math.round(createdAtMs), use, Math.round(fromMs))
    this.#run(
      `DELETE FROM mesh_keys WHERE use = ?
         AND id NOT IN (SELECT id FROM mesh_keys WHERE use = ? ORDER BY id DESC LIMIT ?)`,
      use,
      use,
      keptCount,
    )
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #run(sql: string, ...values: (string | number | Uint8Array)[]): { changes: number | bigint } {
    return this.#statement(sql).run(...values)
  }
}

/** Before SQLite opens it: the files beside it (-wal, -shm) take their mode from the database. */
function keepToOwner(path: string): void {
  closeSync(openSync(path, 'a', 0o600))
  for (const file of [path, `${path}-wal`, `${path}-shm`]) if (existsSync(file)) chmodSync(file, 0o600)
}

function agentOf(row: Record<string, unknown>): AgentRow {
  return {
    spiffeId: String(row.spiffe_id),
    role: row.role as AgentRole,
    name: String(row.name),
    ...altNamesOf(row.alt_names),
  }
}

function altNamesText({ ipAddresses, dnsNames, listenerIdentities }: AltNames): string {
  return JSON.stringify({ ipAddresses, dnsNames, listenerIdentities })
}

/** Rows of before there were listener identities name none. */
function altNamesOf(text: unknown): AltNames {
  return { listenerIdentities: [], ...(JSON.parse(String(text)) as Omit<AltNames, 'listenerIdentities'>) }
}
