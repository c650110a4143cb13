/** The tables of the control plane's store in SQLite, and how a file of an older program becomes one of this. */
import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { RingfenceError } from '../base/errors.ts'

/** Statement lists that lead from each schema version to the next; PRAGMA user_version counts them. */
export const migrations = [
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
  `CREATE TABLE spent (key TEXT PRIMARY KEY, owner TEXT NOT NULL, end_ms INTEGER NOT NULL) STRICT;
   CREATE INDEX spent_by_end ON spent (end_ms);
   CREATE INDEX spent_by_owner ON spent (owner);`,
  `CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, begun_ms INTEGER NOT NULL) STRICT;
   ALTER TABLE policy_revisions ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;`,
  `CREATE TABLE revocations (
     id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, value TEXT NOT NULL, provider TEXT, reason TEXT NOT NULL,
     by TEXT NOT NULL, created_ms INTEGER NOT NULL, until_ms INTEGER,
     ended_ms INTEGER, ended_by TEXT, ended_reason TEXT) STRICT;
   CREATE INDEX revocations_by_end ON revocations (ended_ms);`,
  `CREATE TABLE presigned_uses (
     principal TEXT NOT NULL, key TEXT NOT NULL, address TEXT NOT NULL, end_ms INTEGER NOT NULL,
     PRIMARY KEY (principal, key)) STRICT;
   CREATE INDEX presigned_uses_by_end ON presigned_uses (end_ms);`,
  `CREATE TABLE witnessed (
     origin TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER NOT NULL, at_ms INTEGER NOT NULL, checkpoint TEXT NOT NULL) STRICT;`,
  'CREATE INDEX issuances_by_id ON issuances (spiffe_id, reason, issued_ms);',
  `ALTER TABLE revocations ADD COLUMN suspends TEXT;
   CREATE TABLE mesh_keys_burnt (only INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;`,
]

/** Damaged, or newer than this program: it is refused, rather than begun anew. @throws RingfenceError CONFIG */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync
  const isNew = !existsSync(path)
  keepToOwner(path)
  const hint = 'restore it from a backup; the proxies go on with what they have meanwhile'
  try {
    db = new DatabaseSync(path, { timeout: 5_000 })
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON')
    const faults = db
      .prepare('PRAGMA integrity_check(3)')
      .all()
      .map((row) => String(Object.values(row)[0]))
    if (faults.join() !== 'ok') throw new Error(faults.join('; '))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new RingfenceError('CONFIG', `${path} is damaged: ${why}`, { cause, hint })
  }
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version > migrations.length) {
    db.close()
    throw new RingfenceError('CONFIG', `${path} has schema ${version}, this program knows ${migrations.length}`, {
      hint: 'use the newer program',
    })
  }
  if (version === 0 && !isNew && db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n !== 0) {
    db.close()
    throw new RingfenceError('CONFIG', `${path} is not a store of this program`, { hint })
  }
  for (let next = version; next < migrations.length; next++) {
    db.exec(`BEGIN IMMEDIATE; ${migrations[next]}; PRAGMA user_version = ${next + 1}; COMMIT`)
  }
  return db
}

/** Before SQLite opens it: the files beside it (-wal, -shm) take their mode from the database. */
function keepToOwner(path: string): void {
  closeSync(openSync(path, 'a', 0o600))
  for (const file of [path, `${path}-wal`, `${path}-shm`]) if (existsSync(file)) chmodSync(file, 0o600)
}
