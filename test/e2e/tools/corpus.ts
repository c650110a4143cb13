/**
 * What six tools send from their start on, in order: first what their driver asks, then what they ask themselves. Read in the sources that
 * `source` names; texts are the tools' own, with the names and values of a small example. `as` is the identity of the tool's policy example, which may use its
 * own keyspaces only: what it is to be denied, and where else the answer through a door rightly differs from a node's, the step says, and why.
 */

/** How the answer through a door differs from the node's own. Without one: same kind, same columns, same rows in the same order, or the same error. */
export type Differs =
  /** The node's rows whose `keyspace_name` the tool may see; some are hidden. */
  | { readonly hides: 'foreign keyspaces' }
  /** Behind the gateway, rows of a model (same columns, so many rows); at a sidecar the node's own. */
  | { readonly gatewayRows: number; readonly why: string }
  /** Same columns; the rows are another moment's. */
  | { readonly varies: string }
  /** Refused here with this code, whatever the node lets the mesh's own role do. */
  | { readonly refused: number; readonly why: string }

export interface Step {
  readonly cql: string
  /** Bound in order. */
  readonly values?: readonly Buffer[]
  /** PREPARE, then EXECUTE; else QUERY. `batch`: prepared, and executed in an unlogged BATCH. */
  readonly form?: 'prepare' | 'batch'
  /** The node refuses it with this code, and so do the doors. */
  readonly error?: number
  readonly differs?: Differs
}

export interface Tool {
  readonly name: string
  /** Project and file where its statements stand. */
  readonly source: string
  /** Who it is in its policy example. */
  readonly as: string
  readonly keyspaces: readonly string[]
  /** What is there before it comes. */
  readonly setup: readonly string[]
  readonly steps: readonly Step[]
}

const unauthorized = 0x2100
const invalid = 0x2200
const alreadyExists = 0x2400

export const text = (value: string): Buffer => Buffer.from(value)
const blob = (hex: string): Buffer => Buffer.from(hex, 'hex')
const bool = (value: boolean): Buffer => Buffer.from([value ? 1 : 0])
function int(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
function bigint(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}

const hides: Differs = { hides: 'foreign keyspaces' }
const local: Differs = { gatewayRows: 1, why: 'the gateway stands for the nodes' }
const peers: Differs = { gatewayRows: 0, why: 'there is one gateway, and it has no peers' }
const sizes: Differs = { varies: 'a node estimates sizes every five minutes' }
const foreign: Differs = { refused: unauthorized, why: 'it is another’s' }
/** The node says that the keyspace does not exist; here it could be somebody's, and nobody is told whether it is. */
const absent: Differs = { refused: unauthorized, why: 'whether a foreign keyspace is there is not told' }
const denied = (why: string): Differs => ({ refused: unauthorized, why })

/** gocql 1 (session.go, host_source.go, metadata.go): what it reads for its hosts, and for a keyspace when a statement is to be routed. */
function gocql(keyspace: string): Step[] {
  const named = [text(keyspace)]
  return [
    { cql: "SELECT * FROM system.local WHERE key='local'", differs: local },
    { cql: 'SELECT * FROM system.peers_v2', differs: peers },
    { cql: 'SELECT * FROM system.peers', differs: peers },
    { cql: "SELECT schema_version FROM system.local WHERE key='local'", differs: local },
    {
      cql: 'SELECT durable_writes, replication FROM system_schema.keyspaces WHERE keyspace_name = ?',
      values: named,
      form: 'prepare',
    },
    {
      cql: `SELECT table_name, bloom_filter_fp_chance, caching, comment, compaction, compression, crc_check_chance, default_time_to_live,
        gc_grace_seconds, max_index_interval, memtable_flush_period_in_ms, min_index_interval, speculative_retry
        FROM system_schema.tables WHERE keyspace_name = ?`,
      values: named,
      form: 'prepare',
    },
    {
      cql: 'SELECT table_name, column_name, clustering_order, type, kind, position FROM system_schema.columns WHERE keyspace_name = ?',
      values: named,
      form: 'prepare',
    },
    { cql: 'SELECT * FROM system_schema.types WHERE keyspace_name = ?', values: named, form: 'prepare' },
    { cql: 'SELECT * FROM system_schema.functions WHERE keyspace_name = ?', values: named, form: 'prepare' },
    { cql: 'SELECT * FROM system_schema.aggregates WHERE keyspace_name = ?', values: named, form: 'prepare' },
    { cql: 'SELECT * FROM system_schema.views WHERE keyspace_name = ?', values: named, form: 'prepare' },
    { cql: `USE "${keyspace}"` },
  ]
}

/** The Java driver 4 (ProtocolInitHandler, DefaultTopologyMonitor, Cassandra4SchemaQueries). */
function javaDriver(keyspace?: string): Step[] {
  const tables = ['keyspaces', 'tables', 'views', 'columns', 'indexes', 'types', 'functions', 'aggregates']
  return [
    { cql: 'SELECT cluster_name FROM system.local', differs: local },
    { cql: 'SELECT * FROM system.local', differs: local },
    { cql: 'SELECT * FROM system.peers_v2', differs: peers },
    { cql: "SELECT schema_version FROM system.local WHERE key='local'", differs: local },
    ...tables.map((table): Step => ({ cql: `SELECT * FROM system_schema.${table}`, differs: hides })),
    { cql: 'SELECT * FROM system_virtual_schema.keyspaces', differs: hides },
    { cql: 'SELECT * FROM system_virtual_schema.tables', differs: hides },
    { cql: 'SELECT * FROM system_virtual_schema.columns', differs: hides },
    // Asked of DSE only, by older drivers of everybody.
    { cql: 'SELECT * FROM system_schema.vertices', error: invalid },
    ...(keyspace === undefined ? [] : [{ cql: `USE "${keyspace}"` }]),
  ]
}

const golangMigrate: Tool = {
  name: 'golang-migrate',
  source: 'golang-migrate/migrate, database/cassandra/cassandra.go',
  as: 'spiffe://demo.local/job/golang-migrate',
  keyspaces: ['app'],
  setup: [],
  steps: [
    ...gocql('app'),
    { cql: 'CREATE TABLE IF NOT EXISTS schema_migrations (version bigint, dirty boolean, PRIMARY KEY(version))' },
    { cql: 'SELECT version, dirty FROM "schema_migrations" LIMIT 1' },
    { cql: 'SELECT version FROM "schema_migrations"' },
    {
      cql: 'INSERT INTO "schema_migrations" (version, dirty) VALUES (?, ?)',
      values: [bigint(1n), bool(true)],
      form: 'prepare',
    },
    { cql: 'CREATE TABLE users (id uuid PRIMARY KEY, name text)' },
    { cql: 'CREATE INDEX IF NOT EXISTS users_name ON users (name)' },
    { cql: 'ALTER TABLE users ADD mail text' },
    { cql: 'CREATE TABLE users (id uuid PRIMARY KEY, name text)', error: alreadyExists },
    { cql: 'SELECT version FROM "schema_migrations"' },
    { cql: 'DELETE FROM "schema_migrations" WHERE version = ?', values: [bigint(1n)], form: 'prepare' },
    {
      cql: 'INSERT INTO "schema_migrations" (version, dirty) VALUES (?, ?)',
      values: [bigint(2n), bool(false)],
      form: 'prepare',
    },
    { cql: 'SELECT version, dirty FROM "schema_migrations" LIMIT 1' },
    // Before 4.18 it emptied its table instead.
    { cql: 'TRUNCATE "schema_migrations"' },
    { cql: "SELECT table_name from system_schema.tables WHERE keyspace_name='app'" },
    { cql: "INSERT INTO users (id, name) VALUES (uuid(), 'x')", differs: denied('a migration makes tables, not rows') },
    { cql: 'DROP TABLE users' },
    { cql: 'DROP TABLE users', error: invalid },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

const lockTable = 'app.DATABASECHANGELOGLOCK'
const liquibase: Tool = {
  name: 'Liquibase',
  source:
    'liquibase/liquibase-cassandra, LockServiceCassandra.java, CassandraChangeLogHistoryService.java and sqlgenerator/; ing-bank/cassandra-jdbc-wrapper',
  as: 'spiffe://demo.local/job/liquibase',
  keyspaces: ['app'],
  setup: [],
  steps: [
    ...javaDriver('app'),
    {
      cql: "SELECT table_name  FROM system_schema.tables WHERE keyspace_name='app' AND table_name = 'databasechangeloglock'",
    },
    {
      cql: `CREATE TABLE IF NOT EXISTS ${lockTable} (ID INT, LOCKED BOOLEAN, LOCKGRANTED timestamp, LOCKEDBY TEXT, PRIMARY KEY (ID))`,
    },
    { cql: `SELECT COUNT(*) FROM ${lockTable}` },
    { cql: `TRUNCATE TABLE ${lockTable}` },
    { cql: `INSERT INTO ${lockTable} (ID, LOCKED) VALUES (1, FALSE)` },
    { cql: `SELECT COUNT(*) FROM ${lockTable} where locked = TRUE ALLOW FILTERING` },
    {
      cql: `UPDATE app.databasechangeloglock SET LOCKED = TRUE, LOCKEDBY = 'host (10.0.0.1)', LOCKGRANTED = 1700000000000 WHERE ID = 1 IF LOCKED = FALSE`,
    },
    {
      cql: `UPDATE app.databasechangeloglock SET LOCKED = TRUE, LOCKEDBY = 'other (10.0.0.2)', LOCKGRANTED = 1700000000000 WHERE ID = 1 IF LOCKED = FALSE`,
    },
    // Whether its log is there it asks by reading it.
    { cql: 'select ID from DATABASECHANGELOG', error: invalid },
    {
      cql: `CREATE TABLE IF NOT EXISTS DATABASECHANGELOG ( ID TEXT, AUTHOR TEXT, FILENAME TEXT, DATEEXECUTED timestamp, ORDEREXECUTED INT,
        EXECTYPE TEXT, MD5SUM TEXT, DESCRIPTION TEXT, COMMENTS TEXT, TAG TEXT, LIQUIBASE TEXT, CONTEXTS TEXT, LABELS TEXT, DEPLOYMENT_ID TEXT,
        PRIMARY KEY (ID, AUTHOR, FILENAME))`,
    },
    { cql: 'select ID from DATABASECHANGELOG' },
    { cql: 'SELECT * FROM app.DATABASECHANGELOG' },
    { cql: 'SELECT KEY, AUTHOR, ORDEREXECUTED FROM DATABASECHANGELOGLOCK', error: invalid },
    { cql: 'SELECT ID, AUTHOR, ORDEREXECUTED FROM app.databasechangelog' },
    { cql: 'CREATE TABLE app.users (id uuid PRIMARY KEY, name TEXT)' },
    {
      cql: `INSERT INTO app.databasechangelog (ID, AUTHOR, FILENAME, DATEEXECUTED, ORDEREXECUTED, MD5SUM, DESCRIPTION, COMMENTS, EXECTYPE,
        CONTEXTS, LABELS, LIQUIBASE, DEPLOYMENT_ID) VALUES ('1', 'a', 'changelog.xml', 1700000000000, 1, '9:d', 'createTable', '', 'EXECUTED',
        NULL, NULL, '4.29.2', '0000000001')`,
    },
    {
      cql: `UPDATE app.databasechangelog SET TAG = 'v1' WHERE id = '1' and author = 'a' and filename = 'changelog.xml'`,
    },
    { cql: 'SELECT * FROM app.DATABASECHANGELOG' },
    {
      cql: 'UPDATE app.databasechangeloglock SET LOCKED = FALSE, LOCKEDBY = null, LOCKGRANTED = null WHERE ID = 1 IF EXISTS',
    },
    {
      cql: 'DELETE FROM app.users WHERE id = 7b0c1d2e-0000-4000-8000-000000000000',
      differs: denied('a migration makes tables, not rows'),
    },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

const spark: Tool = {
  name: 'Spark connector',
  source: 'datastax/spark-cassandra-connector, DataSizeEstimates.scala, CassandraTableScanRDD.scala, TableWriter.scala',
  as: 'spiffe://demo.local/job/spark',
  keyspaces: ['shop', 'results'],
  setup: [
    'CREATE TABLE shop.orders (id int PRIMARY KEY, total int)',
    ...[1, 2, 3, 4, 5].map((id) => `INSERT INTO shop.orders (id, total) VALUES (${id}, ${id * 10})`),
    'CREATE TABLE results.totals (day text PRIMARY KEY, total int)',
  ],
  steps: [
    ...javaDriver(),
    {
      cql: 'SELECT range_start, range_end, partitions_count, mean_partition_size FROM system.size_estimates WHERE keyspace_name = ? AND table_name = ?',
      values: [text('shop'), text('orders')],
      differs: sizes,
    },
    {
      cql: 'SELECT "id", "total" FROM "shop"."orders" WHERE token("id") > ? AND token("id") <= ?   ALLOW FILTERING',
      values: [bigint(-(2n ** 63n)), bigint(0n)],
      form: 'prepare',
    },
    {
      cql: 'SELECT "id", "total" FROM "shop"."orders" WHERE token("id") > ? AND token("id") <= ?   ALLOW FILTERING',
      values: [bigint(0n), bigint(2n ** 63n - 1n)],
      form: 'prepare',
    },
    {
      cql: 'SELECT "id" FROM "shop"."orders" WHERE token("id") <= ? ALLOW FILTERING',
      values: [bigint(-1n)],
      form: 'prepare',
    },
    {
      cql: 'SELECT count(*) FROM "shop"."orders" WHERE token("id") > ? ALLOW FILTERING',
      values: [bigint(-(2n ** 63n))],
      form: 'prepare',
    },
    {
      cql: 'INSERT INTO "results"."totals" ("day", "total") VALUES (:"day", :"total")',
      values: [text('monday'), int(150)],
      form: 'batch',
    },
    {
      cql: 'INSERT INTO results.totals (day, total) VALUES (:day, :total) USING TTL 3600',
      values: [text('tuesday'), int(1)],
      form: 'prepare',
    },
    { cql: 'SELECT "day", "total" FROM "results"."totals" WHERE "day" = ?', values: [text('monday')], form: 'prepare' },
    { cql: 'UPDATE shop.orders SET total = 0 WHERE id = 1', differs: denied('it writes results only') },
    { cql: 'SELECT * FROM system.size_estimates', differs: denied('it may ask about one table') },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

const temporalTables = [
  `CREATE TYPE serialized_event_batch (
  encoding_type text,
  version       int,
  data          blob
);`,
  `CREATE TABLE executions (
  shard_id                       int,
  type                           int, -- enum RowType { Shard, Execution, TransferTask }
  namespace_id                   uuid,
  workflow_id                    text,
  run_id                         uuid,
  visibility_ts                  timestamp,
  task_id                        bigint,
  shard                          blob,
  range_id                       bigint,
  buffered_events_list           list<frozen<serialized_event_batch>>,
  activity_map                   map<bigint, blob>,
  PRIMARY KEY (shard_id, type, namespace_id, workflow_id, run_id, visibility_ts, task_id)
) WITH COMPACTION = {
    'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy'
  };`,
  `CREATE TABLE cluster_metadata_info (
  metadata_partition int, cluster_name text, data blob, data_encoding text, version bigint,
  PRIMARY KEY (metadata_partition, cluster_name)
) WITH COMPACTION = { 'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy' };`,
  `CREATE TABLE cluster_membership (
  membership_partition tinyint, host_id uuid, rpc_address inet, rpc_port smallint, role tinyint, session_start timestamp, last_heartbeat timestamp,
  PRIMARY KEY (membership_partition, role, host_id)
) WITH CLUSTERING ORDER BY (role ASC, host_id ASC) AND COMPACTION = { 'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy' };`,
  'CREATE INDEX cm_lastheartbeat_idx on cluster_membership (last_heartbeat);',
]
const temporalVersion = [
  'CREATE TABLE IF NOT EXISTS schema_version(keyspace_name text PRIMARY KEY, creation_time timestamp, curr_version text, min_compatible_version text);',
  `CREATE TABLE IF NOT EXISTS schema_update_history(year int, month int, update_time timestamp, description text, manifest_md5 text,
    new_version text, old_version text, PRIMARY KEY ((year, month), update_time));`,
]
const writeVersion =
  'INSERT into schema_version(keyspace_name, creation_time, curr_version, min_compatible_version) VALUES (?,?,?,?)'

const temporalTool: Tool = {
  name: 'temporal-cassandra-tool',
  source: 'temporalio/temporal, tools/cassandra/cqlclient.go and schema/cassandra/',
  as: 'spiffe://demo.local/job/temporal-cassandra-tool',
  keyspaces: ['temporal'],
  setup: [],
  steps: [
    { cql: 'USE "system"' },
    {
      cql: "CREATE KEYSPACE IF NOT EXISTS temporal WITH replication = { 'class' : 'NetworkTopologyStrategy', 'datacenter1' : 1};",
    },
    {
      cql: "CREATE KEYSPACE IF NOT EXISTS temporal WITH replication = { 'class' : 'SimpleStrategy', 'replication_factor' : 1};",
    },
    ...gocql('temporal'),
    ...[...temporalVersion, ...temporalTables].map((cql): Step => ({ cql })),
    {
      cql: 'SELECT curr_version from schema_version where keyspace_name=?',
      values: [text('temporal')],
      form: 'prepare',
    },
    {
      cql: writeVersion,
      values: [text('temporal'), bigint(1_700_000_000_000n), text('0.0'), text('0.0')],
      form: 'prepare',
    },
    {
      cql: 'INSERT into schema_update_history(year, month, update_time, old_version, new_version, manifest_md5, description) VALUES(?,?,?,?,?,?,?)',
      values: [
        int(2026),
        int(11),
        bigint(1_700_000_000_000n),
        text('0'),
        text('0.0'),
        text(''),
        text('initial version'),
      ],
      form: 'prepare',
    },
    { cql: 'ALTER TABLE executions ADD data_encoding text;' },
    { cql: 'ALTER TYPE serialized_event_batch ADD more text;' },
    {
      cql: 'SELECT curr_version from schema_version where keyspace_name=?',
      values: [text('temporal')],
      form: 'prepare',
    },
    {
      cql: 'SELECT table_name from system_schema.tables where keyspace_name=?',
      values: [text('temporal')],
      form: 'prepare',
    },
    {
      cql: 'SELECT type_name from system_schema.types where keyspace_name=?',
      values: [text('temporal')],
      form: 'prepare',
    },
    { cql: 'DROP TABLE cluster_metadata_info' },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
    { cql: 'DROP KEYSPACE IF EXISTS temporal' },
  ],
}

const member = blob('00112233445566778899aabbccddeeff')
const temporalServer: Tool = {
  name: 'Temporal',
  source:
    'temporalio/temporal, common/persistence/cassandra/cluster_metadata_store.go, shard_store.go; tools/cassandra/version.go',
  as: 'spiffe://demo.local/svc/temporal',
  keyspaces: ['temporal'],
  setup: [
    'USE temporal',
    ...temporalVersion,
    ...temporalTables,
    "INSERT INTO schema_version (keyspace_name, curr_version) VALUES ('temporal', '1.11')",
  ],
  steps: [
    ...gocql('temporal'),
    {
      cql: 'SELECT curr_version from schema_version where keyspace_name=?',
      values: [text('temporal')],
      form: 'prepare',
    },
    {
      cql: 'SELECT data, data_encoding, version FROM cluster_metadata_info WHERE metadata_partition = ? AND cluster_name= ?',
      values: [int(0), text('active')],
      form: 'prepare',
    },
    {
      cql: 'INSERT INTO cluster_metadata_info (metadata_partition, cluster_name, data, data_encoding, version) VALUES(?, ?, ?, ?, ?) IF NOT EXISTS',
      values: [int(0), text('active'), blob('0a'), text('Proto3'), bigint(1n)],
      form: 'prepare',
    },
    {
      cql: 'INSERT INTO cluster_metadata_info (metadata_partition, cluster_name, data, data_encoding, version) VALUES(?, ?, ?, ?, ?) IF NOT EXISTS',
      values: [int(0), text('active'), blob('0b'), text('Proto3'), bigint(1n)],
      form: 'prepare',
    },
    {
      cql: 'UPDATE cluster_metadata_info SET data = ?, data_encoding = ?, version = ? WHERE metadata_partition = ? AND cluster_name = ? IF version = ?',
      values: [blob('0c'), text('Proto3'), bigint(2n), int(0), text('active'), bigint(1n)],
      form: 'prepare',
    },
    {
      cql: 'SELECT data, data_encoding, version FROM cluster_metadata_info WHERE metadata_partition = ?',
      values: [int(0)],
      form: 'prepare',
    },
    {
      cql: `INSERT INTO
cluster_membership (membership_partition, host_id, rpc_address, rpc_port, role, session_start, last_heartbeat)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TTL ?`,
      values: [blob('00'), member, blob('0a000001'), blob('1c41'), blob('01'), bigint(1n), bigint(2n), int(172_800)],
      form: 'prepare',
    },
    {
      cql: `SELECT host_id, rpc_address, rpc_port, role, session_start, last_heartbeat, toTimestamp(now()) as now, TTL(session_start) as ttl_sec FROM
cluster_membership
WHERE membership_partition = ? AND last_heartbeat > ? ALLOW FILTERING`,
      values: [blob('00'), bigint(0n)],
      form: 'prepare',
      differs: { varies: 'it asks for the time' },
    },
    {
      cql: `INSERT INTO executions (shard_id, type, namespace_id, workflow_id, run_id, visibility_ts, task_id, shard, range_id)
        VALUES(?, 0, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS`,
      values: [int(1), member, text('w'), member, bigint(946_684_800_000n), bigint(-1n), blob('01'), bigint(1n)],
      form: 'prepare',
    },
    { cql: 'CREATE TABLE more (k int PRIMARY KEY)', differs: denied('its tool makes tables') },
    { cql: 'DROP KEYSPACE temporal', differs: denied('its tool makes tables') },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

const graphTable = (name: string, more = ''): Step => ({
  cql: `CREATE TABLE IF NOT EXISTS janusgraph.${name} (key blob,column1 blob,value blob,PRIMARY KEY(key,column1)) WITH compression={'class':'LZ4Compressor','chunk_length_in_kb':64} AND compaction={'class':'SizeTieredCompactionStrategy'}${more}`,
})
const janusgraph: Tool = {
  name: 'JanusGraph',
  source: 'JanusGraph/janusgraph, janusgraph-cql, CQLStoreManager.java and CQLKeyColumnValueStore.java',
  as: 'spiffe://demo.local/svc/janusgraph',
  keyspaces: ['janusgraph'],
  setup: [],
  steps: [
    ...javaDriver(),
    {
      cql: "CREATE KEYSPACE IF NOT EXISTS janusgraph WITH replication={'class':'SimpleStrategy','replication_factor':1}",
    },
    graphTable('system_properties'),
    graphTable('edgestore', ' AND gc_grace_seconds=864000'),
    graphTable('edgestore', ' AND gc_grace_seconds=864000'),
    graphTable('edgestore_lock_'),
    { cql: "SELECT * FROM system_schema.tables WHERE keyspace_name = 'janusgraph'" },
    {
      cql: 'INSERT INTO janusgraph.edgestore (key,column1,value) VALUES (:key,:column1,:value) USING TIMESTAMP :timestamp',
      values: [blob('01'), blob('02'), blob('03'), bigint(1_700_000_000_000_000n)],
      form: 'batch',
    },
    {
      cql: 'INSERT INTO janusgraph.edgestore (key,column1,value) VALUES (:key,:column1,:value) USING TIMESTAMP :timestamp AND TTL :ttl',
      values: [blob('01'), blob('04'), blob('05'), bigint(1_700_000_000_000_000n), int(0)],
      form: 'prepare',
    },
    {
      cql: 'SELECT column1,value FROM janusgraph.edgestore WHERE key=:key AND column1>=:sliceStart AND column1<:sliceEnd LIMIT :maxRows',
      values: [blob('01'), blob('00'), blob('ff'), int(10)],
      form: 'prepare',
    },
    {
      cql: 'SELECT key,column1,value FROM janusgraph.edgestore WHERE column1>=:sliceStart AND column1<=:sliceEnd ALLOW FILTERING',
      values: [blob('00'), blob('ff')],
      form: 'prepare',
    },
    {
      cql: 'SELECT key,column1,value,writetime(value) AS writetime FROM janusgraph.edgestore WHERE token(key)>=:keyStart AND token(key)<:keyEnd AND column1>=:sliceStart AND column1<=:sliceEnd ALLOW FILTERING',
      values: [bigint(-(2n ** 63n)), bigint(2n ** 63n - 1n), blob('00'), blob('ff')],
      form: 'prepare',
    },
    {
      cql: 'DELETE FROM janusgraph.edgestore USING TIMESTAMP :timestamp WHERE key=:key AND column1=:column1',
      values: [bigint(1_700_000_000_000_001n), blob('01'), blob('02')],
      form: 'batch',
    },
    { cql: 'SELECT column1 FROM janusgraph.edgestore WHERE key=0x01' },
    { cql: 'TRUNCATE janusgraph.edgestore', differs: denied('its policy does not let it empty the graph') },
    { cql: 'DROP KEYSPACE janusgraph', differs: denied('its policy does not let it drop the graph') },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

const columnsOf =
  'SELECT keyspace_name, table_name, column_name, kind, position, type, clustering_order FROM system_schema.columns'
const metadataReader: Tool = {
  name: 'metadata readers',
  source:
    'ing-bank/cassandra-jdbc-wrapper, CassandraConnection.java and metadata/ (DBeaver); dbschema and datagrip’s JDBC drivers; cqlsh',
  as: 'spiffe://demo.local/user/sso/viewer',
  keyspaces: ['shop'],
  setup: [
    'CREATE TYPE shop.address (street text, zip text)',
    'CREATE TABLE shop.orders (id int, line int, total int, note text, home frozen<address>, tags set<text>, PRIMARY KEY (id, line)) WITH CLUSTERING ORDER BY (line DESC)',
    'CREATE INDEX orders_note ON shop.orders (note)',
    'CREATE MATERIALIZED VIEW shop.by_total AS SELECT * FROM shop.orders WHERE total IS NOT NULL AND id IS NOT NULL AND line IS NOT NULL PRIMARY KEY (total, id, line)',
    "INSERT INTO shop.orders (id, line, total, note, tags) VALUES (1, 1, 10, 'first', {'a', 'b'})",
    'INSERT INTO shop.orders (id, line, total) VALUES (1, 2, 20)',
  ],
  steps: [
    ...javaDriver(),
    { cql: 'SELECT keyspace_name FROM system_schema.keyspaces', differs: hides },
    { cql: 'SELECT DISTINCT keyspace_name FROM system_schema.tables', differs: hides },
    { cql: 'SELECT keyspace_name, table_name, comment FROM system_schema.tables', differs: hides },
    { cql: columnsOf, differs: hides },
    { cql: `${columnsOf} WHERE keyspace_name = 'shop' AND table_name = 'orders'` },
    {
      cql: `${columnsOf} WHERE keyspace_name = 'shop' AND table_name = 'orders' AND kind = 'partition_key' ALLOW FILTERING`,
    },
    { cql: "SELECT column_name, type FROM system_schema.columns WHERE table_name = 'orders' ALLOW FILTERING" },
    {
      cql: "SELECT table_name, count(*) AS n FROM system_schema.columns WHERE keyspace_name = 'shop' GROUP BY table_name",
    },
    { cql: "SELECT count(*) FROM system_schema.tables WHERE keyspace_name = 'shop'" },
    { cql: "SELECT JSON keyspace_name, table_name FROM system_schema.tables WHERE keyspace_name = 'shop'" },
    {
      cql: 'SELECT * FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?',
      values: [text('shop'), text('orders')],
    },
    { cql: "SELECT * FROM system_schema.indexes WHERE keyspace_name = 'shop' AND table_name = 'orders'" },
    { cql: "SELECT * FROM system_schema.views WHERE keyspace_name = 'shop'" },
    {
      cql: "SELECT view_name FROM system_schema.views WHERE keyspace_name = 'shop' AND base_table_name = 'orders' ALLOW FILTERING",
    },
    { cql: "SELECT * FROM system_schema.types WHERE keyspace_name = 'shop'" },
    { cql: "SELECT * FROM system_schema.functions WHERE keyspace_name = 'shop'" },
    { cql: "SELECT * FROM system_schema.aggregates WHERE keyspace_name = 'shop'" },
    { cql: "SELECT * FROM system_schema.triggers WHERE keyspace_name = 'shop'" },
    { cql: "SELECT * FROM system_schema.dropped_columns WHERE keyspace_name = 'shop'" },
    { cql: "SELECT * FROM system_schema.column_masks WHERE keyspace_name = 'shop'" },
    // Of other databases: whether they are there is how a tool tells them apart.
    { cql: 'SELECT keyspace_name, table_name, partitioner FROM system_schema.scylla_tables', error: invalid },
    { cql: 'SELECT * FROM system_schema_mcs.tables', differs: absent },
    { cql: 'SELECT * FROM system.schema_keyspaces', error: invalid },
    { cql: 'SELECT * FROM dse_system.graphs', differs: absent },
    // About the cluster.
    {
      cql: 'SELECT release_version, cql_version, native_protocol_version, partitioner FROM system.local',
      differs: local,
    },
    { cql: "SELECT JSON release_version FROM system.local WHERE key='local'", differs: local },
    { cql: 'SELECT peer, data_center, rack, release_version FROM system.peers', differs: peers },
    {
      cql: "SELECT range_start, range_end, partitions_count, mean_partition_size FROM system.size_estimates WHERE keyspace_name = 'shop' AND table_name = 'orders'",
      differs: sizes,
    },
    // cqlsh and its like.
    { cql: 'DESCRIBE KEYSPACES', differs: hides },
    { cql: 'DESCRIBE KEYSPACE shop' },
    { cql: 'DESCRIBE TABLE shop.orders' },
    { cql: 'DESCRIBE TYPE shop.address' },
    { cql: 'DESCRIBE MATERIALIZED VIEW shop.by_total' },
    { cql: 'DESCRIBE TABLE shop.absent', error: invalid },
    { cql: 'USE shop' },
    { cql: 'DESCRIBE TABLES' },
    // What is in it.
    { cql: 'SELECT * FROM shop.orders LIMIT 200' },
    { cql: 'SELECT COUNT(*) FROM "shop"."orders"' },
    { cql: 'SELECT JSON * FROM orders WHERE id = 1' },
    { cql: 'SELECT id, writetime(absent) FROM orders', error: invalid },
    { cql: 'SELECT * FROM shop.by_total' },
    { cql: 'SELECT * FROM shop.absent', error: invalid },
    { cql: 'SELECT role FROM system_auth.roles', differs: denied('roles are not what its policy names') },
    { cql: 'SELECT * FROM system_views.clients', differs: denied('nor are other people’s connections') },
    { cql: 'UPDATE shop.orders SET total = 0 WHERE id = 1 AND line = 1', differs: denied('it reads') },
    { cql: 'DESCRIBE TABLE e2e_tools_other.secret', differs: foreign },
    { cql: 'SELECT * FROM e2e_tools_other.secret', differs: foreign },
  ],
}

export const tools: readonly Tool[] = [
  golangMigrate,
  liquibase,
  spark,
  temporalTool,
  temporalServer,
  janusgraph,
  metadataReader,
]
