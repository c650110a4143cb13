import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from './analyse.ts'

describe('the redacted text', () => {
  const examples: readonly (readonly [string, string])[] = [
    [
      'SELECT a,b FROM ks."T"  WHERE k=\'x\' -- c\nAND l IN(1,2.5,0xff) LIMIT 3;',
      'SELECT a, b FROM ks."T" WHERE k = ? AND l IN (?, ?, ?) LIMIT ?;',
    ],
    ["CREATE ROLE r WITH PASSWORD = 's3cret' AND LOGIN = true", 'CREATE ROLE r WITH PASSWORD = ? AND LOGIN = ?'],
    ["CREATE USER r WITH PASSWORD 's3cret'", 'CREATE USER r WITH PASSWORD ?'],
    ['INSERT INTO t JSON \'{"a": 1}\'', 'INSERT INTO t JSON ?'],
    [
      "INSERT INTO t (a, b) VALUES ({'k': 1}, {f: null, g: :m})",
      'INSERT INTO t(a, b) VALUES ({?: ?}, {f: null, g: :m})',
    ],
    [
      'SELECT a FROM t WHERE k = 123e4567-e89b-12d3-a456-426614174000 AND d = -1h AND e = $$x$$ AND f = NaN',
      'SELECT a FROM t WHERE k = ? AND d = ? AND e = ? AND f = ?',
    ],
    [
      'CREATE FUNCTION f () CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ code $$',
      'CREATE FUNCTION f() CALLED ON NULL INPUT RETURNS int LANGUAGE java AS ?',
    ],
    ["ADD IDENTITY 'spiffe://a/b' TO ROLE 'r'", 'ADD IDENTITY ? TO ROLE ?'],
  ]
  for (const [text, redacted] of examples) {
    it(text, () => {
      assert.equal(analyse(text).redacted, redacted)
    })
  }

  it('is at most 4 KiB of well-formed UTF-8 and ends with an ellipsis where it was cut', () => {
    const { redacted } = analyse(`SELECT ${Array.from({ length: 3000 }, () => '"é😀"').join(',')} FROM t`)
    assert.ok(Buffer.byteLength(redacted) <= 4096 && Buffer.byteLength(redacted) > 4080)
    assert.ok(redacted.endsWith('…') && !redacted.includes('\ufffd'))
    assert.ok(!analyse(`SELECT ${'a,'.repeat(1000)}a FROM t`).redacted.endsWith('…'))
  })
})
