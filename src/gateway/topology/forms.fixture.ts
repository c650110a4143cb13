/** Forms of questions about the ring, as people, tools and drivers ask them, and forms that a node refuses. Each is asked of a real node too. */

export interface TopologyForm {
  readonly text: string
  /** Bound to the markers in order. */
  readonly values?: readonly (Buffer | null)[]
  /** By name, as in `values`. */
  readonly names?: readonly string[]
  readonly pageSize?: number
  /** The node's error, where it has one. */
  readonly refused?: number
  /** A node takes it where it is prepared, and refuses it when it is executed. */
  readonly prepares?: boolean
  readonly pagingState?: Buffer
  /** Not done here: a node answers it, since nothing of the row is in it. */
  readonly elsewhere?: boolean
  /** The virtual topology has other addresses, ids and tokens, and as many hosts as gateways: then only columns are compared. */
  readonly compare?: 'values' | 'columns'
}

const text = (value: string) => Buffer.from(value)
const int = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const inet = Buffer.from([127, 0, 0, 9])
const list = (...items: Buffer[]) =>
  Buffer.concat([int(items.length), ...items.flatMap((item) => [int(item.length), item])])

const same = (text: string, more: Partial<TopologyForm> = {}): TopologyForm => ({ text, compare: 'values', ...more })
const alike = (text: string, more: Partial<TopologyForm> = {}): TopologyForm => ({ text, compare: 'columns', ...more })
const no = (text: string, refused = 0x2200): TopologyForm => ({ text, refused })
/** Refused for a value, which is looked at when the statement is executed, also where it stands in the text. */
const later = (text: string, more: Partial<TopologyForm> = {}): TopologyForm => ({
  text,
  refused: 0x2200,
  prepares: true,
  ...more,
})

const L = 'FROM system.local'
const P = 'FROM system.peers'
const V = 'FROM system.peers_v2'

export const topologyForms: readonly TopologyForm[] = [
  // Drivers and tools, whole rows and parts of them.
  ...['local', 'peers', 'peers_v2'].flatMap((table) => [
    alike(`SELECT * FROM system.${table}`),
    alike(`SELECT JSON * FROM system.${table}`),
    same(`SELECT count(*) FROM system.${table} WHERE ${table === 'local' ? "key = 'none'" : "peer = '127.9.9.9'"}`),
    alike(`SELECT count(*) FROM system.${table}`),
    alike(`SELECT COUNT(1), count(host_id), max(rack), min(release_version) FROM system.${table}`),
    alike(`SELECT host_id, data_center, rack, release_version, schema_version, tokens FROM system.${table} LIMIT 1`),
    alike(`SELECT writetime(rack), ttl(rack), maxwritetime(rack) FROM system.${table}`),
    alike(`SELECT writetime(tokens), ttl(tokens), maxwritetime(tokens) FROM system.${table}`),
    alike(`SELECT toJson(tokens), to_json(host_id) AS id FROM system.${table}`),
    alike(`SELECT cast(host_id AS text), cast(rack AS text) AS r FROM system.${table}`),
    alike(`SELECT release_version FROM system.${table} WHERE data_center = 'none' ALLOW FILTERING`),
    alike(`SELECT rack FROM system.${table} WHERE tokens CONTAINS '1' ALLOW FILTERING`),
    alike(`SELECT now(), release_version FROM system.${table}`),
    alike(`SELECT rack FROM system.${table} PER PARTITION LIMIT 1`),
    alike(`SELECT rack FROM system.${table}`, { pageSize: 1 }),
    alike(`SELECT writetime(tokens['1']), ttl(tokens['1']), maxwritetime(tokens['1']) FROM system.${table}`),
    alike(`SELECT writetime(tokens['1'..'2']), ttl(tokens['1'..]), maxwritetime(tokens[..'2']) FROM system.${table}`),
    alike(`SELECT [rack, data_center], {rack}, (rack, tokens), (list<text>)[rack, 'x'] FROM system.${table}`),
    alike(`SELECT cast(now() AS timestamp), cast(now() AS date), rack FROM system.${table}`),
    alike(`SELECT rack + '-' + data_center, 'in ' + rack AS place FROM system.${table}`),
    alike(`SELECT rack FROM system.${table} WHERE tokens CONTAINS from_json('"1"') ALLOW FILTERING`),
  ]),

  // Times and durations.
  alike(`SELECT to_timestamp(now()) - 1d, current_date() + 2d, current_timestamp() + 1h30m ${L}`),
  alike(`SELECT floor(to_timestamp(now()), 1h), floor(now(), 1d), rack ${L}`),
  same(`SELECT (timestamp)'2024-01-31' + 1mo, (timestamp)'2024-03-31T10:00:00Z' - 1mo1d2h ${L}`),
  same(`SELECT (date)'2024-02-29' + 1y, (date)'2024-01-01' - 1w, (date)'2024-01-01' + P1Y2M3D ${L}`),
  same(`SELECT floor((timestamp)'2024-05-17T10:20:30Z', 1h), floor((date)'2024-05-17', 1mo) ${L}`),
  same(`SELECT floor((time)'10:20:30', 15m), floor((timestamp)'2024-05-17', 5d, (timestamp)'2024-01-01') ${L}`),
  same(`SELECT floor((timestamp)'2024-05-17', 1mo3d, (timestamp)'2023-01-31') ${L}`),
  same(`SELECT min_timeuuid('2020-01-01'), max_timeuuid(0), mintimeuuid((timestamp)'2020-01-01 00:00+0000') ${L}`),
  same(`SELECT to_timestamp('2020-01-01'), to_date('2020-01-01'), to_unix_timestamp((date)'2020-01-01') ${L}`),
  same(`SELECT to_date((timestamp)-1), to_date((timestamp)-90000000), to_unix_timestamp((timestamp)-1) ${L}`),
  same(`SELECT cast((timestamp)'2024-01-31' AS date), cast((date)'2024-01-31' AS timestamp) ${L}`),
  same(`SELECT cast((timeuuid)50554d6e-29bb-11e5-b345-feff819cdc9f AS date), cast((time)'10:00:00' AS text) ${L}`),

  // Types before their values, and values made of others.
  same(`SELECT (date)'2020-01-01', (duration)1d, (time)'10:11:12.123456789', (timestamp)0, (blob)0x00 ${L}`),
  same(`SELECT (decimal)1.50, (varint)12, (inet)'127.0.0.1', (ascii)'a', (blob)key, (tinyint)1 ${L}`),
  same(`SELECT [key], {key}, (key, token(key)), (map<text, int>){key: 1}, (set<text>){} ${L}`),
  same(`SELECT (list<text>)['a', key], (tuple<text, int>)(key, 1), [key, 'x'], {'b', key, 'a'} ${L}`),
  same(`SELECT (list<text>)[?, key] ${L}`, { values: [text('b')] }),
  same(`SELECT (int)null, (timestamp)0 + (duration)null ${L}`),
  same(`SELECT (1 + 2) * 3, -(1), ('x') + key, (text)(key) ${L}`),

  // Texts, and numbers without a bound.
  same(`SELECT key + 'x', 'a' + key + 'é', key + key, (ascii)'a' + 'b', 'a' + 'b' ${L}`),
  same(`SELECT (decimal)1.5 + 1, (varint)7 / 2, (decimal)1 / 3, (decimal)2.50 * 2, (varint)2 - 0.5, -(varint)5 ${L}`),
  same(`SELECT cast((double)1.5 AS decimal), cast((decimal)12.75 AS int), cast((decimal)1E-10 AS text) ${L}`),
  same(
    `SELECT to_json((decimal)1E-10), to_json((decimal)100), to_json((duration)90m), to_json((date)'2020-01-01') ${L}`,
  ),

  // Masks.
  same(`SELECT mask_hash(key, 'SHA-512'), mask_hash(key, 'md5'), mask_null(key), mask_outer(key, 1, 1, '#') ${L}`),
  same(
    `SELECT mask_default(rpc_address), mask_default(host_id), mask_default(tokens), mask_default(truncated_at) ${L}`,
  ),
  same(`SELECT mask_default((date)'2020-01-01'), mask_default((decimal)1), mask_replace(key, 'x') ${L}`),

  same(`SELECT key ${L} WHERE truncated_at[00000000-0000-0000-0000-000000000000] = 0x00 ALLOW FILTERING`),
  same(`SELECT key ${L} WHERE truncated_at[?] = ? ALLOW FILTERING`, { values: [Buffer.alloc(16), text('x')] }),
  same(`SELECT key ${L} WHERE key = from_json('"local"')`),
  same(`SELECT key ${L} WHERE key IN (from_json('"local"'), 'x')`),
  same(`SELECT key ${L} WHERE key = 'lo' + 'cal'`),
  same(`SELECT key ${L} WHERE key = ('local')`),
  same(`SELECT JSON key, bootstrapped, cql_version ${L} WHERE key='local'`),
  alike(`SELECT JSON * ${L} WHERE key='local'`),
  same(`SELECT DISTINCT key ${L}`),
  same(`SELECT DISTINCT key AS k ${L} WHERE key IN ('local', 'remote')`),
  alike(`SELECT DISTINCT peer ${P}`),
  alike(`SELECT DISTINCT peer ${V}`),
  same(`SELECT DISTINCT JSON key ${L}`, { refused: 0x2000 }),
  same(`SELECT key, key AS k, bootstrapped ${L} LIMIT 1`),
  same(`SELECT KEY AS "K" ${L};`),
  same(`SELECT count(*) AS n, max(key) ${L}`),
  same(`SELECT key, count(*) ${L} GROUP BY key`),
  same(`SELECT key ${L} WHERE key IN ('local')`),
  same(`SELECT key ${L} WHERE key IN ()`),
  same(`SELECT key ${L} WHERE token(key) = token('local')`),
  same(`SELECT key ${L} WHERE token(key) > token('local')`),
  same(`SELECT key, token(key) ${L} WHERE token(key) >= -9223372036854775808 LIMIT 5`),
  same(`SELECT key ${L} WHERE key = 'local' AND bootstrapped = 'COMPLETED' ALLOW FILTERING`),
  same(`SELECT key ${L} WHERE key > 'a' ALLOW FILTERING`),
  same(`SELECT key ${L} WHERE bootstrapped IN ('a', 'COMPLETED') ALLOW FILTERING`),
  same(`SELECT key ${L} WHERE bootstrapped > 'A' AND bootstrapped < 'Z' ALLOW FILTERING`),
  same(`SELECT key ${L} WHERE tokens CONTAINS 'none' ALLOW FILTERING`),
  same(`SELECT key, truncated_at[00000000-0000-0000-0000-000000000000] ${L}`),
  same(`SELECT (text)'x' AS x, (int)7, (boolean)true, (double)1.5 ${L}`),
  no(`SELECT 'y', 1 ${L}`),
  same(`SELECT 1 + 2, -(int)3, (bigint)7 % 2 AS rest ${L}`),
  same(`SELECT int_as_blob(1), intAsBlob(1), text_as_blob('a'), blob_as_int(0x00000007) ${L}`),
  alike(`SELECT now(), uuid(), current_timestamp(), currentDate(), to_timestamp(now()) ${L}`),
  same(`SELECT mask_default(key), mask_inner(key, 1, 1), mask_hash(key) ${L}`),
  same(`SELECT system.to_json(key) ${L}`),
  same(`SELECT cast(gossip_generation AS double) ${L} LIMIT 1`, { compare: 'columns' }),
  alike(`SELECT gossip_generation + 1, rpc_port ${L}`),
  alike(`SELECT peer, peer_port, native_port ${V} WHERE peer = '127.0.0.9' AND peer_port > 1`),
  alike(`SELECT peer ${V} WHERE peer = '127.0.0.9' AND peer_port IN (1, 2) ORDER BY peer_port DESC`),
  alike(`SELECT peer ${V} WHERE peer = '127.0.0.9' AND (peer_port) > (1)`),
  alike(`SELECT peer, count(*) ${V} GROUP BY peer`),
  alike(`SELECT peer ${P} WHERE peer IN ('127.0.0.8', '127.0.0.9')`),
  alike(`SELECT peer ${P} WHERE token(peer) > 0`),

  // Bound values.
  same(`SELECT key ${L} WHERE key = ?`, { values: [text('local')] }),
  same(`SELECT key ${L} WHERE key = :k`, { values: [text('local')], names: ['k'] }),
  same(`SELECT key ${L} WHERE key IN ?`, { values: [list(text('local'))] }),
  same(`SELECT key ${L} WHERE key IN (?, ?) LIMIT ?`, { values: [text('local'), text('b'), int(1)] }),
  same(`SELECT key ${L} PER PARTITION LIMIT ?`, { values: [int(1)] }),
  same(`SELECT key ${L} WHERE token(key) > ?`, { values: [Buffer.from('7fffffffffffffff', 'hex')] }),
  same(`SELECT key ${L} WHERE tokens CONTAINS ? ALLOW FILTERING`, { values: [text('none')] }),
  same(`SELECT (int)? AS a, (text)? ${L}`, { values: [int(7), text('b')] }),
  same(`SELECT peer ${P} WHERE peer = ?`, { values: [Buffer.from([127, 9, 9, 9])] }),
  same(`SELECT peer ${V} WHERE peer = ? AND peer_port = ?`, { values: [Buffer.from([127, 9, 9, 9]), int(1)] }),
  same(`SELECT peer ${V} WHERE peer = :a AND (peer_port) > (:p)`, { values: [inet, int(1)], names: ['a', 'p'] }),

  // A node's to answer, for nothing of the row is in it.
  same(`SELECT similarity_cosine([1.0, 0.0], [1.0, 0.0]) ${L}`, { elsewhere: true }),

  // Refused by a node.
  no(`SELECT foo ${L}`),
  no(`SELECT "Key" ${L}`),
  no(`SELECT json ${L}`),
  no(`SELECT rpc_port ${P}`),
  no(`SELECT DISTINCT rack ${L}`),
  no(`SELECT DISTINCT * ${L}`),
  no(`SELECT DISTINCT key ${L} PER PARTITION LIMIT 1`),
  no(`SELECT count(*) ${L} PER PARTITION LIMIT 1`),
  no(`SELECT writetime(key) ${L}`),
  no(`SELECT ? ${L}`),
  no(`SELECT max(count(*)) ${L}`),
  no(`SELECT token(rack) ${L} WHERE token(rack) > 1`),
  no(`SELECT key ${L} WHERE key = 1`),
  no(`SELECT key ${L} WHERE key = 'a' AND key = 'b'`),
  no(`SELECT key ${L} WHERE key = 'a' AND key IN ('b')`),
  no(`SELECT key ${L} WHERE rack > 'a' AND rack > 'b' ALLOW FILTERING`),
  no(`SELECT key ${L} WHERE rack = 'a'`),
  no(`SELECT key ${L} WHERE rack IN ('a', 'b')`),
  no(`SELECT key ${L} WHERE tokens = {'1'} ALLOW FILTERING`),
  no(`SELECT key ${L} WHERE rack CONTAINS 'a' ALLOW FILTERING`),
  no(`SELECT key ${L} WHERE (rack) = ('a') ALLOW FILTERING`),
  no(`SELECT peer ${P} WHERE peer = 'not an address'`),
  no(`SELECT peer ${V} WHERE peer_port = 7000`),
  no(`SELECT key ${L} ORDER BY key`),
  no(`SELECT key ${L} GROUP BY rack`),
  no(`SELECT key ${L} LIMIT 'a'`, 0x2000),
  no(`SELECT key ${L} LIMIT null`, 0x2000),
  no(`SELECT key ${L} PER PARTITION LIMIT 1 + 1`, 0x2000),
  no(`SELECT key ${L} LIMIT 3000000000`),
  no(`SELECT key ${L} WHERE token(key) > 'a'`),
  no(`SELECT (key) ${L}`),
  no(`SELECT [(key)] ${L}`),
  no(`SELECT ['x'] ${L}`),
  no(`SELECT {key: 1} ${L}`),
  no(`SELECT [key, 1] ${L}`),
  no(`SELECT (ascii)key ${L}`),
  no(`SELECT (int)'1' ${L}`),
  no(`SELECT (date)'2020-02-30' ${L}`),
  no(`SELECT (time)'24:00:00' ${L}`),
  no(`SELECT (duration)1 ${L}`),
  no(`SELECT (timeuuid)11111111-2222-4333-8444-555555555555 ${L}`),
  no(`SELECT key - 'x' ${L}`),
  no(`SELECT now() - 1d ${L}`),
  no(`SELECT '2020-01-01' + 1d ${L}`),
  no(`SELECT host_id + 1 ${L}`),
  no(`SELECT rpc_port + ? ${L}`),
  no(`SELECT cast(1.5 AS decimal) ${L}`),
  no(`SELECT cast(tokens AS text) ${L}`),
  no(`SELECT cast(rack AS int) ${L}`),
  no(`SELECT from_json('1') ${L}`),
  no(`SELECT floor('2020-01-01', 1d) ${L}`),
  no(`SELECT key ${L} WHERE truncated_at[00000000-0000-0000-0000-000000000000] = 0x00`),
  no(`SELECT key ${L} WHERE truncated_at[00000000-0000-0000-0000-000000000000] > 0x00 ALLOW FILTERING`),
  no(`SELECT key ${L} WHERE tokens['1'] = 'x' ALLOW FILTERING`),
  no(`SELECT writetime(rack['x']) ${L}`),
  later(`SELECT mask_hash(key, 'NONE') ${L}`),
  later(`SELECT floor((date)'2020-01-01', 1h) ${L}`),
  later(`SELECT floor((timestamp)0, -1h) ${L}`),
  ...[L, P, V].flatMap((from) => [
    later(`SELECT rack ${from} LIMIT 0`),
    later(`SELECT rack ${from} LIMIT -1`),
    later(`SELECT rack ${from} PER PARTITION LIMIT 0`),
    later(`SELECT rack ${from} PER PARTITION LIMIT -5 LIMIT 1`),
    later(`SELECT count(*) ${from} LIMIT 0`),
    later(`SELECT rack ${from} WHERE rack = null ALLOW FILTERING`),
    later(`SELECT rack ${from} WHERE rack > null ALLOW FILTERING`),
    later(`SELECT rack ${from} WHERE tokens CONTAINS null ALLOW FILTERING`),
    later(`SELECT rack ${from} LIMIT ?`, { values: [int(0)] }),
    later(`SELECT rack ${from} LIMIT ?`, { values: [null] }),
    later(`SELECT rack ${from} WHERE rack = ? ALLOW FILTERING`, { values: [null] }),
    ...['', 'nonsense', '\u0001', 'x'.repeat(300)].map((state) =>
      later(`SELECT rack ${from}`, { pageSize: 1, pagingState: text(state), refused: 0x000a }),
    ),
  ]),
  later(`SELECT key ${L} WHERE key = null`),
  later(`SELECT key ${L} WHERE key IN ('local', null)`),
  later(`SELECT key ${L} WHERE key = ''`),
  later(`SELECT key ${L} WHERE token(key) > null`),
  later(`SELECT peer ${P} WHERE peer = null`),
  later(`SELECT peer ${V} WHERE peer = '127.0.0.9' AND (peer_port) > (null)`),
  later(`SELECT key ${L} WHERE key = ?`, { values: [null] }),
  later(`SELECT key ${L} WHERE key = ?`, { values: [text('')] }),
  later(`SELECT key ${L} WHERE token(key) > ?`, { values: [null] }),
  no(`SELECT FROM system.local`, 0x2000),
  no(`SELECT *, key ${L}`, 0x2000),
  no(`SELECT key key ${L}`, 0x2000),
  no(`SELECT key ${L} ALLOW FILTERING LIMIT 1`, 0x2000),
  no(`SELECT key ${L} AS l`, 0x2000),
  no(`SELECT key ${L}; SELECT key ${L}`, 0x2000),
]
