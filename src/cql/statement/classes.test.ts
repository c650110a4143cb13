import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from './analyse.ts'

const compaction = 'org.apache.cassandra.db.compaction.'
const compress = 'org.apache.cassandra.io.compress.'
const locator = 'org.apache.cassandra.locator.'
const sai = 'org.apache.cassandra.index.sai.StorageAttachedIndex'

const wanted: readonly (readonly [string, ...string[]])[] = [
  ["CREATE TABLE t (k int PRIMARY KEY) WITH compaction = {'class': 'Evil'}", `${compaction}Evil`],
  ["CREATE TABLE t (k int PRIMARY KEY) WITH compaction = {'class': 'a.Evil'}", 'a.Evil'],
  ["ALTER TABLE t WITH compression = {'class': 'Evil', 'chunk_length_in_kb': 64}", `${compress}Evil`],
  ["ALTER TABLE t WITH compression = {'sstable_compression': 'Evil'}", `${compress}Evil`],
  ["ALTER TABLE t WITH compression = {'chunk_length_in_kb': 64, $$class$$: $$a.Evil$$}", 'a.Evil'],
  [
    "ALTER TABLE t WITH comment = 'x' AND compression = {'class': 'A'} AND compaction = {'class': 'B'}",
    `${compress}A`,
    `${compaction}B`,
  ],
  ["CREATE TABLE t (k int PRIMARY KEY) WITH COMPACT STORAGE AND \"compaction\" = {'class': 'B'}", `${compaction}B`],
  ["ALTER MATERIALIZED VIEW v WITH compaction = {'class': 'B'}", `${compaction}B`],
  [
    "CREATE MATERIALIZED VIEW v AS SELECT k FROM t WHERE k IS NOT NULL PRIMARY KEY (k) WITH compression = {'class': 'a.B'}",
    'a.B',
  ],
  ["CREATE KEYSPACE ks WITH replication = {'class': 'Evil'}", `${locator}Evil`],
  ["ALTER KEYSPACE ks WITH durable_writes = true AND REPLICATION = {'dc1': 3, 'class': 'a.Evil'}", 'a.Evil'],
  // What Cassandra does not know as a class is taken for one all the same.
  ["ALTER TABLE t WITH caching = {'class': 'Evil'}", 'Evil'],
  ["ALTER TABLE t WITH compaction = {'class': 1}", `${compaction}1`],
  ["ALTER TABLE t WITH compaction = {'class': ''}", compaction],
  ["CREATE CUSTOM INDEX ON t (a) USING 'a.Evil'", 'a.Evil'],
  ["CREATE CUSTOM INDEX i ON ks.t (a) USING 'Evil'", 'Evil'],
  ["CREATE CUSTOM INDEX i ON ks.t (a) USING 'it''s'", "it's"],
  ["CREATE INDEX i ON t (a) USING 'sai'", sai],
  ["CREATE CUSTOM INDEX i ON t (a) USING 'StorageAttachedIndex'", sai],
  ["CREATE CUSTOM INDEX i ON t (a) USING 'STORAGEATTACHEDINDEX'", sai],
  // Cassandra's own table of short names holds this one in capitals and is asked in small letters.
  ["CREATE CUSTOM INDEX i ON t (a) USING 'SASIIndex'", 'SASIIndex'],
  // Letters that only look like those, and a longer name.
  ["CREATE CUSTOM INDEX i ON t (a) USING 'ſai'", 'ſai'],
  ["CREATE CUSTOM INDEX i ON t (a) USING 'sai '", 'sai '],
  [
    "CREATE CUSTOM INDEX i ON t (a) USING 'a.S' WITH OPTIONS = {'mode': 'CONTAINS', 'analyzer_class': 'a.B'}",
    'a.S',
    'a.B',
  ],
  ["CREATE CUSTOM INDEX i ON t (a) USING 'a.S' WITH options = {'class_name': 'a.B'}", 'a.S', 'a.B'],
  ["CREATE TRIGGER tr ON ks.t USING 'a.Evil'", 'a.Evil'],
  ['CREATE TRIGGER IF NOT EXISTS tr ON t USING $$Evil$$', 'Evil'],
]

const none = [
  'DROP TRIGGER tr ON ks.t',
  'CREATE INDEX i ON t (a)',
  'DROP INDEX i',
  "CREATE TABLE t (k int PRIMARY KEY, class text) WITH comment = 'class'",
  "CREATE TABLE t (k int PRIMARY KEY) WITH memtable = 'trie' AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}",
  "ALTER TABLE t WITH compression = {'enabled': false}",
  "ALTER TABLE t WITH compression = {'sstable_compression': ''}",
  "ALTER TABLE t WITH compaction = {'enabled': false, 'CLASS': 'a.B'}",
  "ALTER KEYSPACE ks WITH replication = {'replication_factor': 3}",
  "CREATE ROLE r WITH OPTIONS = {'class': 'a.B'}",
  "INSERT INTO t (k, class) VALUES (1, 'a.B')",
  "INSERT INTO t (k, m) VALUES (1, {'class': 'a.B'})",
]

describe('classes that a statement names', () => {
  for (const [text, ...classes] of wanted) {
    it(`${text}`, () => assert.deepEqual(analyse(text).classes, classes))
  }

  it('are none in any other statement', () => {
    for (const text of none) assert.deepEqual(analyse(text).classes, [], text)
  })

  it('stand once for each', () => {
    const text = "ALTER TABLE t WITH compaction = {'class': 'a.B', 'class_name': 'a.B'}"
    assert.deepEqual(analyse(text).classes, ['a.B'])
  })
})
