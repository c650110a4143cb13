/**
 * Rows C7 to C18: roles, system keyspaces, statements that destroy or scan, and games with time, consistency and pages. `e2e-admin` may do
 * everything by wildcards, which never include a system keyspace; guardrails and retention bind him too.
 */
import type { Attack, Bound } from './catalogue.ts'

const open = 'e2e_attacks.open'
const text = (value: string): Buffer => Buffer.from(value)

function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** 2100-01-01 in microseconds. */
const far = 4_102_444_800_000_000n
const longMax = 9_223_372_036_854_775_807n
const ttlMax = 630_720_000

// A DELETE may be ahead of the clock: it is how rows with such timestamps are repaired.
const writesAt = (timestamp: bigint | string): string[] => [
  `INSERT INTO ${open} (k, v) VALUES ('§', 'x') USING TIMESTAMP ${timestamp}`,
  `UPDATE ${open} USING TIMESTAMP ${timestamp} SET v = 'x' WHERE k = '§'`,
]
const deletesAt = (timestamp: bigint): (string | Bound)[] => [
  `DELETE FROM ${open} USING TIMESTAMP ${timestamp} WHERE k = '§'`,
  { text: `DELETE FROM ${open} USING TIMESTAMP :at WHERE k = :k`, values: [long(timestamp), text('§')] },
]
const boundWritesAt = (timestamp: bigint): Bound[] => [
  {
    text: `INSERT INTO ${open} (k, v) VALUES (?, ?) USING TIMESTAMP ?`,
    values: [text('§'), text('x'), long(timestamp)],
  },
  { text: `UPDATE ${open} USING TIMESTAMP ? SET v = 'x' WHERE k = ?`, values: [long(timestamp), text('§')] },
]

const others = [
  'SELECT id AS a_§ FROM system.batches',
  'SELECT row_key AS a_§ FROM system.paxos',
  "SELECT * FROM system.paxos_repair_history WHERE keyspace_name = '§'",
  'SELECT query_string AS a_§ FROM system.prepared_statements',
  "SELECT * FROM system.size_estimates WHERE keyspace_name = '§'",
  "SELECT * FROM system.table_estimates WHERE keyspace_name = '§'",
  "SELECT * FROM system.built_views WHERE keyspace_name = '§'",
  'SELECT role, salted_hash AS a_§ FROM system_auth.roles',
  'SELECT identity AS a_§ FROM system_auth.identity_to_role',
  "SELECT * FROM system_auth.role_permissions WHERE role = '§'",
  "SELECT * FROM system_auth.role_members WHERE role = '§'",
  "SELECT * FROM system_distributed.repair_history WHERE keyspace_name = '§'",
]

const views = [
  'SELECT task AS a_§ FROM system_views.queries',
  'SELECT address AS a_§ FROM system_views.clients',
  "SELECT value FROM system_views.settings WHERE name = '§'",
  'SELECT name AS a_§ FROM system_views.caches',
  'SELECT message AS a_§ FROM system_views.system_logs',
  'SELECT keyspace_name AS a_§ FROM system_views.local_read_latency',
  "UPDATE system_views.settings SET value = 'x' WHERE name = '§'",
  'TRUNCATE system_views.t_§',
]

export const privilegeAttacks: readonly Attack[] = [
  {
    row: 'C7',
    name: 'roles, their members and their permissions',
    who: 'attacker',
    wanted: 'DENY',
    statements: [
      "CREATE ROLE r_§ WITH PASSWORD = 'e2e-password' AND LOGIN = true AND SUPERUSER = true",
      "CREATE ROLE IF NOT EXISTS r_§ WITH HASHED PASSWORD = 'e2e-password'",
      "CREATE ROLE '§' WITH OPTIONS = {'a': 'b'}",
      "CREATE ROLE r_§ WITH ACCESS TO DATACENTERS {'dc1'}",
      "CREATE ROLE r_§ WITH ACCESS FROM CIDRS {'region1'}",
      'CREATE ROLE r_§ WITH ACCESS TO ALL DATACENTERS',
      'ALTER ROLE cassandra WITH SUPERUSER = true',
      "ALTER ROLE r_§ WITH PASSWORD = 'e2e-password'",
      'DROP ROLE IF EXISTS r_§',
      'GRANT cassandra TO r_§',
      'REVOKE cassandra FROM r_§',
      `GRANT ALL PERMISSIONS ON ALL KEYSPACES TO r_§`,
      `GRANT SELECT ON TABLE ${open} TO r_§`,
      'GRANT MODIFY ON KEYSPACE e2e_attacks TO r_§',
      'GRANT EXECUTE ON ALL FUNCTIONS TO r_§',
      'GRANT AUTHORIZE ON ALL ROLES TO r_§',
      'GRANT EXECUTE ON ALL MBEANS TO r_§',
      'REVOKE SELECT ON e2e_attacks.secret FROM r_§',
      "ADD IDENTITY 'spiffe://demo.local/§' TO ROLE 'cassandra'",
      "ADD IDENTITY IF NOT EXISTS 'spiffe://demo.local/§' TO ROLE 'cassandra'",
      "DROP IDENTITY 'spiffe://demo.local/§'",
    ],
  },
  {
    row: 'C7',
    name: 'a password that comes back in rows, which is newer than 5.0',
    who: 'attacker',
    wanted: 'INVALID',
    exact: true,
    statements: ['CREATE ROLE r_§ WITH GENERATED PASSWORD AND LOGIN = true', 'ALTER ROLE r_§ WITH GENERATED PASSWORD'],
  },
  {
    row: 'C7',
    name: 'users',
    who: 'attacker',
    wanted: 'DENY',
    exact: true,
    statements: [
      "CREATE USER u_§ WITH PASSWORD 'e2e-password' SUPERUSER",
      "CREATE USER IF NOT EXISTS '§' WITH HASHED PASSWORD 'e2e-password' NOSUPERUSER",
      "ALTER USER u_§ WITH PASSWORD 'e2e-password'",
      'DROP USER u_§',
    ],
  },
  {
    row: 'C8',
    name: 'lists of roles and permissions',
    who: 'attacker',
    wanted: 'DENY',
    exact: true,
    statements: [
      'LIST ROLES',
      'LIST ROLES OF r_§',
      'LIST ROLES OF cassandra NORECURSIVE',
      'LIST USERS',
      'LIST ALL PERMISSIONS',
      'LIST ALL PERMISSIONS OF r_§',
      'LIST SELECT ON e2e_attacks.t_§',
      'LIST MODIFY ON ALL KEYSPACES',
    ],
  },
  {
    row: 'C9',
    name: 'DESCRIBE of what is not his',
    who: 'attacker',
    wanted: 'DENY',
    statements: [
      'DESCRIBE TABLE e2e_attacks.secret',
      'DESCRIBE TABLE e2e_attacks.secret_§',
      'DESC TABLE e2e_attacks.secret_§',
      'DESCRIBE TABLE e2e_attacks.secret_§ WITH INTERNALS',
      `DESCRIBE TABLE ${open} WITH INTERNALS`,
      'DESCRIBE MATERIALIZED VIEW e2e_attacks.secret_view',
      'DESCRIBE INDEX e2e_attacks.i_§',
      'DESCRIBE TYPE e2e_attacks_hidden.t_§',
      'DESCRIBE FUNCTION e2e_attacks.answer',
      'DESCRIBE AGGREGATE e2e_attacks.g_§',
      'DESCRIBE KEYSPACE e2e_attacks_hidden',
      'DESCRIBE ONLY KEYSPACE ks_§',
      'DESC e2e_attacks.secret_§',
      'DESC ks_§',
      'DESCRIBE FULL SCHEMA WITH INTERNALS',
    ],
  },
  {
    row: 'C9',
    name: 'DESCRIBE of what is his',
    who: 'attacker',
    wanted: 'PASS',
    forms: ['query'],
    statements: [`DESCRIBE TABLE ${open}`, `DESC TABLE ${open}`],
  },
  {
    row: 'C11',
    name: 'other people’s data in system tables, by the attacker',
    who: 'attacker',
    wanted: 'DENY',
    statements: others,
  },
  {
    row: 'C11',
    name: 'other people’s data in system tables, by an administrator',
    who: 'admin',
    wanted: 'DENY',
    statements: others,
  },
  {
    row: 'C12',
    name: 'traces of others',
    who: 'attacker',
    wanted: 'DENY',
    statements: [
      'SELECT parameters AS a_§ FROM system_traces.sessions',
      'SELECT activity AS a_§ FROM system_traces.events WHERE session_id = 123e4567-e89b-12d3-a456-426614174000',
      "INSERT INTO system_traces.sessions (session_id, client) VALUES (now(), '§')",
      'TRUNCATE system_traces.t_§',
    ],
  },
  {
    row: 'C12',
    name: 'traces, by whom a rule names them to',
    who: 'admin',
    wanted: 'PASS',
    statements: [
      'SELECT activity AS a_§ FROM system_traces.events WHERE session_id = 123e4567-e89b-12d3-a456-426614174000',
    ],
  },
  { row: 'C13', name: 'virtual tables, by the attacker', who: 'attacker', wanted: 'DENY', statements: views },
  { row: 'C13', name: 'virtual tables, by an administrator', who: 'admin', wanted: 'DENY', statements: views },
  {
    row: 'C14',
    name: 'a wildcard does not reach system keyspaces',
    who: 'admin',
    wanted: 'DENY',
    statements: [
      "INSERT INTO system_auth.roles (role, is_superuser) VALUES ('§', true)",
      "UPDATE system_auth.roles SET is_superuser = true WHERE role = '§'",
      "DELETE FROM system_auth.roles WHERE role = '§'",
      "INSERT INTO system_auth.identity_to_role (identity, role) VALUES ('§', 'cassandra')",
      "INSERT INTO system_schema.keyspaces (keyspace_name) VALUES ('§')",
      "UPDATE system.local SET cluster_name = '§' WHERE key = 'local'",
      "DELETE FROM system_distributed.view_build_status WHERE keyspace_name = '§'",
      'TRUNCATE system_auth.t_§',
      'ALTER TABLE system_auth.roles ADD c_§ text',
      'DROP TABLE system_auth.t_§',
      'CREATE TABLE system_auth.t_§ (k text PRIMARY KEY)',
      "ALTER KEYSPACE system_auth WITH replication = {'class': '§'}",
      'DROP KEYSPACE system_§',
      "CREATE KEYSPACE system_§ WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
      'GRANT SELECT ON TABLE system_auth.roles TO r_§',
      'GRANT ALL PERMISSIONS ON KEYSPACE system_auth TO r_§',
    ],
  },
  {
    row: 'C15',
    name: 'what destroys is no part of writing',
    who: 'attacker',
    wanted: 'DENY',
    statements: [
      `TRUNCATE ${open}`,
      `TRUNCATE TABLE ${open}`,
      `DROP TABLE ${open}`,
      'DROP TABLE IF EXISTS e2e_attacks.secret_§',
      'DROP KEYSPACE e2e_attacks',
      'DROP KEYSPACE IF EXISTS ks_§',
      'DROP TYPE e2e_attacks.t_§',
      'DROP INDEX e2e_attacks.i_§',
      'DROP MATERIALIZED VIEW e2e_attacks.secret_view',
      `ALTER TABLE ${open} ADD c_§ text`,
      `ALTER TABLE ${open} DROP c_§`,
      `ALTER TABLE ${open} RENAME k TO c_§`,
      `ALTER TABLE ${open} ALTER v MASKED WITH DEFAULT`,
      `ALTER TABLE ${open} WITH comment = '§'`,
      'CREATE TABLE e2e_attacks.t_§ (k text PRIMARY KEY)',
      'CREATE TYPE e2e_attacks.t_§ (a int)',
      'ALTER TYPE e2e_attacks.address ADD c_§ int',
      "ALTER KEYSPACE e2e_attacks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
      'ALTER MATERIALIZED VIEW e2e_attacks.secret_view WITH gc_grace_seconds = 0',
    ],
  },
  {
    row: 'C16',
    name: 'scans, by one who may read by key',
    who: 'attacker',
    wanted: 'DENY',
    statements: [
      `SELECT v AS a_§ FROM ${open}`,
      `SELECT * FROM ${open} WHERE v = '§' ALLOW FILTERING`,
      `SELECT count(*) AS a_§ FROM ${open}`,
      `SELECT DISTINCT k AS a_§ FROM ${open}`,
      `SELECT k AS a_§ FROM ${open} WHERE token(k) > -9223372036854775808 AND token(k) <= 0`,
      `SELECT k AS a_§ FROM ${open} LIMIT 1`,
      `SELECT k AS a_§ FROM ${open} PER PARTITION LIMIT 1`,
      `SELECT k AS a_§ FROM ${open} WHERE k > 'a' ALLOW FILTERING`,
    ],
  },
  {
    row: 'C16',
    name: 'reads by key',
    who: 'attacker',
    wanted: 'PASS',
    statements: [`SELECT v FROM ${open} WHERE k = '§'`, `SELECT v FROM ${open} WHERE k IN ('§', 'b')`],
  },
  {
    row: 'C16',
    name: 'scans, by one who may',
    who: 'reader',
    wanted: 'PASS',
    statements: [
      `SELECT k AS a_§ FROM ${open} LIMIT 1`,
      `SELECT k AS a_§ FROM ${open} WHERE token(k) > 0 LIMIT 1`,
      `SELECT k FROM ${open} WHERE v = '§' ALLOW FILTERING`,
    ],
  },
  {
    row: 'C17',
    name: 'a timestamp far from now',
    who: 'attacker',
    wanted: 'DENY',
    judged: 'execution',
    rule: 'timestamp-bound',
    statements: [
      ...writesAt(far),
      ...writesAt(longMax),
      `BEGIN BATCH USING TIMESTAMP ${far} INSERT INTO ${open} (k, v) VALUES ('§', 'x') APPLY BATCH`,
      ...boundWritesAt(far),
      ...boundWritesAt(longMax),
      {
        text: `BEGIN BATCH USING TIMESTAMP ? INSERT INTO ${open} (k, v) VALUES (?, 'x') APPLY BATCH`,
        values: [long(far), text('§')],
      },
    ],
  },
  {
    row: 'C17',
    name: 'the protocol’s own timestamp far from now',
    who: 'attacker',
    wanted: 'DENY',
    judged: 'execution',
    rule: 'timestamp-bound',
    options: { timestamp: far },
    statements: [
      `INSERT INTO ${open} (k, v) VALUES ('§', 'x')`,
      `UPDATE ${open} SET v = 'x' WHERE k = '§'`,
      `BEGIN BATCH UPDATE ${open} SET v = 'x' WHERE k = '§' APPLY BATCH`,
    ],
  },
  {
    row: 'C17',
    name: 'another now',
    who: 'attacker',
    wanted: 'DENY',
    judged: 'execution',
    options: { nowInSeconds: 2_000_000_000 },
    statements: [
      `SELECT v FROM ${open} WHERE k = '§'`,
      `INSERT INTO ${open} (k, v) VALUES ('§', 'x')`,
      `DELETE v FROM ${open} WHERE k = '§'`,
    ],
  },
  {
    row: 'C17',
    name: 'a timestamp of the past or of about now',
    who: 'attacker',
    wanted: 'PASS',
    statements: [...writesAt(1000n), ...boundWritesAt(1000n), ...deletesAt(1000n), ...deletesAt(far)],
  },
  {
    row: 'C17',
    name: 'a time to live that retention does not admit',
    who: 'admin',
    wanted: 'DENY',
    rule: 'e2e-kept',
    statements: [
      "INSERT INTO e2e_attacks.kept (k, v) VALUES ('§', 'x')",
      "INSERT INTO e2e_attacks.kept (k, v) VALUES ('§', 'x') USING TTL 0",
      `INSERT INTO e2e_attacks.kept (k, v) VALUES ('§', 'x') USING TTL ${ttlMax}`,
      `UPDATE e2e_attacks.kept USING TTL ${ttlMax} SET v = 'x' WHERE k = '§'`,
      "UPDATE e2e_attacks.kept SET v = 'x' WHERE k = '§'",
      'ALTER TABLE e2e_attacks.kept WITH default_time_to_live = 630720000 /* § */',
    ],
  },
  {
    row: 'C17',
    name: 'a bound time to live that retention does not admit',
    who: 'admin',
    wanted: 'DENY',
    judged: 'execution',
    rule: 'e2e-kept',
    statements: [
      ...[0, ttlMax].map((ttl) => ({
        text: "INSERT INTO e2e_attacks.kept (k, v) VALUES (?, 'x') USING TTL ?",
        values: [text('§'), int(ttl)],
      })),
      {
        text: "INSERT INTO e2e_attacks.kept (k, v) VALUES (?, 'x') USING TTL ?",
        values: [text('§'), null],
      },
      {
        text: "UPDATE e2e_attacks.kept USING TTL :ttl SET v = 'x' WHERE k = :k",
        values: [int(ttlMax), text('§')],
      },
    ],
  },
  {
    row: 'C17',
    name: 'a time to live that retention admits',
    who: 'admin',
    wanted: 'PASS',
    statements: [
      "INSERT INTO e2e_attacks.kept (k, v) VALUES ('§', 'x') USING TTL 60",
      { text: "INSERT INTO e2e_attacks.kept (k, v) VALUES (?, 'x') USING TTL ?", values: [text('§'), int(60)] },
    ],
  },
  {
    row: 'C17',
    name: 'what is held',
    who: 'admin',
    wanted: 'DENY',
    rule: 'e2e-held',
    statements: [
      "DELETE FROM e2e_attacks.held WHERE k = '§'",
      "DELETE v FROM e2e_attacks.held WHERE k = '§'",
      'TRUNCATE e2e_attacks.held',
      'DROP TABLE e2e_attacks.held',
      'DROP KEYSPACE e2e_attacks',
    ],
  },
  {
    row: 'C18',
    name: 'pages above the bound, and none',
    who: 'admin',
    wanted: 'DENY',
    judged: 'execution',
    forms: ['query', 'prepare'],
    rule: 'e2e-guarded',
    statements: ["SELECT v FROM e2e_attacks.guarded WHERE k = '§'"],
  },
  ...[0, -1, 101, 2_147_483_647, -2_147_483_648].map(
    (pageSize): Attack => ({
      row: 'C18',
      name: `pages of ${pageSize} rows`,
      who: 'admin',
      wanted: 'DENY',
      judged: 'execution',
      forms: ['query', 'prepare'],
      rule: 'e2e-guarded',
      options: { pageSize },
      statements: ["SELECT v FROM e2e_attacks.guarded WHERE k = '§'"],
    }),
  ),
  {
    row: 'C18',
    name: 'pages within the bound',
    who: 'admin',
    wanted: 'PASS',
    options: { pageSize: 100 },
    statements: ["SELECT v FROM e2e_attacks.guarded WHERE k = '§'"],
  },
  {
    row: 'C18',
    name: 'guardrails bind administrators',
    who: 'admin',
    wanted: 'DENY',
    rule: 'e2e-guarded',
    options: { pageSize: 100 },
    statements: [
      'SELECT v AS a_§ FROM e2e_attacks.guarded',
      "SELECT v FROM e2e_attacks.guarded WHERE k = 'a' AND v = '§' ALLOW FILTERING",
      `SELECT v FROM e2e_attacks.guarded WHERE k IN ('§', ${Array.from({ length: 10 }, (_, i) => `'${i}'`).join(', ')})`,
      `BEGIN BATCH ${['§', 'a', 'b', 'c'].map((k) => `INSERT INTO e2e_attacks.guarded (k, c, v) VALUES ('${k}', 1, 'x')`).join(' ')} APPLY BATCH`,
    ],
  },
  ...[4, 5, 8, 9].map(
    (consistency): Attack => ({
      row: 'C18',
      name: `a consistency that his rule does not name (${consistency})`,
      who: 'leveled',
      wanted: 'DENY',
      judged: 'execution',
      forms: ['query', 'prepare'],
      options: { consistency },
      statements: ["SELECT v FROM e2e_attacks.secret WHERE k = '§'"],
    }),
  ),
  {
    row: 'C18',
    name: 'a consistency that his rule names',
    who: 'leveled',
    wanted: 'PASS',
    options: { consistency: 6 },
    statements: ["SELECT v FROM e2e_attacks.secret WHERE k = '§'"],
  },
]
