import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { meaningOf } from './meaning.ts'

/** Texts of one line mean the same; those of two lines do not. */
const classes: readonly (readonly string[])[] = [
  [
    "SELECT k, v FROM shop.items WHERE k = 'a' AND v > 5 ALLOW FILTERING",
    "select K, V from SHOP.ITEMS where K = 'a' and V > 5 allow filtering;",
    "SELECT k,v\n\tFROM items -- about one\nWHERE k='a' AND v>5 ALLOW FILTERING",
    'SELECT /* two */ k, v FROM "shop"."items" WHERE k = $$a$$ AND v > 5 ALLOW FILTERING ;;',
    'SELECT "k", v FROM items WHERE k = \'a\' AND v > 5 // end\n ALLOW FILTERING',
  ],
  ["SELECT k, v FROM shop.items WHERE k = 'A' AND v > 5 ALLOW FILTERING"],
  ["SELECT k, v FROM shop.items WHERE k = 'a' AND v > 6 ALLOW FILTERING"],
  ["SELECT v, k FROM shop.items WHERE k = 'a' AND v > 5 ALLOW FILTERING"],
  ['SELECT k, "V" FROM shop.items WHERE k = \'a\' AND v > 5 ALLOW FILTERING'],
  ['SELECT k, v FROM shop."Items" WHERE k = \'a\' AND v > 5 ALLOW FILTERING'],
  ["SELECT k, v FROM shop.items WHERE k = ' a' AND v > 5 ALLOW FILTERING"],
  [
    "SELECT k, v FROM shop.items WHERE k = 'a''' AND v > 5 ALLOW FILTERING",
    "SELECT k, v FROM shop.items WHERE k = $$a'$$ AND v > 5 ALLOW FILTERING",
  ],
  ['SELECT * FROM t WHERE k = ?'],
  ['SELECT * FROM t WHERE k = :k', 'SELECT * FROM t WHERE k = : K'],
  ['SELECT * FROM t WHERE k = :l'],
  ['SELECT ttl(v) FROM t', 'select TTL ( v ) from x.t'],
  ['SELECT "ttl"(v) FROM t'],
  ['SELECT x."token"(v) FROM t'],
  ...[
    'key',
    'type',
    'ttl',
    'count',
    'values',
    'user',
    'password',
    'list',
    'map',
    'as',
    'writetime',
    'text',
    'date',
    'int',
  ].map((word) => [
    `SELECT ${word}, v FROM t WHERE ${word} = 1 AND a = 2`,
    `SELECT "${word}", v FROM t WHERE ${word} = 1 AND a = 2`,
    `select ${word.toUpperCase()}, "v" FROM t WHERE "${word}" = 1 AND "a" = 2`,
  ]),
  // Where a word says something by itself, the name in quotes is another.
  ['SELECT json -1 FROM t'],
  ['SELECT "json" -1 FROM t'],
  ['SELECT distinct -1 FROM t'],
  ['SELECT "distinct" -1 FROM t'],
  ['SELECT (int) 1 FROM t'],
  ['SELECT ("int") 1 FROM t'],
  ['SELECT CAST(a AS text) FROM t'],
  ['SELECT CAST(a AS "text") FROM t'],
  ['SELECT (tuple<a, text, b>) (1, 2, 3) FROM t'],
  ['SELECT (tuple<a, "text", b>) (1, 2, 3) FROM t'],
  ['SELECT count(a) FROM t'],
  ['SELECT count(*) FROM t', 'SELECT COUNT(1) FROM t', "SELECT count('x') FROM x.t", 'SELECT count ( 5 ) FROM t'],
  ['SELECT count(?) FROM t'],
  ['SELECT count(null) FROM t'],
  ['SELECT max(1) FROM t'],
  ['SELECT "count"(1) FROM t'],
  ['SELECT now(), to_json(a) FROM t', 'SELECT system.now(), SYSTEM.TO_JSON(a) FROM t'],
  // The keyspace has a function `abs` of its own.
  ['SELECT abs(a) FROM t'],
  ['SELECT system.abs(a) FROM t'],
  ['SELECT x.now() FROM t'],
  ['SELECT "System".now() FROM t'],
  ['SELECT nothing(a) FROM t'],
  ['SELECT system.nothing(a) FROM t'],
  ['SELECT "count"(a) FROM t'],
  ['SELECT "Key" FROM t'],
  ['DESCRIBE TABLES'],
  ['DESCRIBE "tables"'],
  ['SELECT "select" FROM t'],
  ['SELECT "from" FROM t', 'SELECT "from" FROM a.t'],
  ['SELECT a FROM t LIMIT 10'],
  ['SELECT a FROM t LIMIT 11'],
  ['SELECT a FROM t PER PARTITION LIMIT 10'],
  ['SELECT a FROM t WHERE b = 0xAB', 'SELECT a FROM t WHERE b = 0Xab'],
  ['SELECT a FROM t WHERE b = 1e5', 'SELECT a FROM t WHERE b = 1E5'],
  ['SELECT a FROM t WHERE b = TRUE', 'SELECT a FROM t WHERE b = true'],
  ['SELECT a FROM t WHERE b = false'],
  ['SELECT "a b" FROM t'],
  ['SELECT a AS b FROM t'],
  ['SELECT a, b FROM t'],
  ['SELECT "a,b" FROM t'],
  ['DESCRIBE TABLE x.t'],
  ['DESCRIBE TABLE t'],
]

describe('the meaning of a statement', () => {
  it('is one for all spellings, and another for everything else', () => {
    const seen = new Map<string, string>()
    for (const texts of classes) {
      const meanings = new Set(texts.map((text) => meaningOf(text, (name) => name === 'abs')))
      assert.equal(meanings.size, 1, texts.join('\n'))
      const meaning = meaningOf(texts[0]!, (name) => name === 'abs')
      assert.equal(seen.get(meaning), undefined, texts.join('\n'))
      seen.set(meaning, texts[0]!)
    }
  })
})
