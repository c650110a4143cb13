/** The attack catalogue's rows on the text of a statement (A1 to A13), and statements that other proxies misread. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { analyse } from './analyse.ts'
import type { Access } from './facts.ts'

const syntax = { code: 'SYNTAX' } as const
const invalid = { code: 'INVALID' } as const

describe('A1 line comments', () => {
  it('end at a lone carriage return, so that what follows counts', () => {
    assert.deepEqual(tables('SELECT * FROM ok -- \r WHERE a = 1'), ['ok'])
    assert.deepEqual(columns('SELECT a -- , b \r, secret FROM t'), ['a', 'secret'])
    assert.deepEqual(columns('SELECT a // , b \r, secret FROM t'), ['a', 'secret'])
    assert.deepEqual(columns('SELECT a -- , b \n, c FROM t'), ['a', 'c'])
  })

  it('do not end at other line ends', () => {
    for (const end of ['\u2028', '\u2029', '\u0085', '\f', '\v']) {
      assert.deepEqual(columns(`SELECT a -- x${end}, hidden\n FROM t`), ['a'])
    }
  })

  it('must be ended', () => {
    for (const comment of ['--', '-- x', '//', '// x', '-- x */']) {
      assert.throws(() => analyse(`SELECT * FROM t ${comment}`), syntax)
      assert.doesNotThrow(() => analyse(`SELECT * FROM t ${comment}\n`))
    }
  })

  it('two statements round a comment are still two', () => {
    assert.throws(() => analyse('SELECT * FROM ok -- \r FROM secret'), syntax)
  })
})

describe('A2 block comments', () => {
  it('do not nest', () => {
    assert.deepEqual(columns('SELECT a /* /* */, b FROM t'), ['a', 'b'])
    assert.throws(() => analyse('SELECT a /* /* */ */ FROM t'), syntax)
    assert.throws(() => analyse('SELECT a FROM t /* never ended'), syntax)
    assert.throws(() => analyse('SELECT a FROM t /*/'), syntax)
  })

  it('may stand before the first word and hide no string', () => {
    assert.deepEqual(tables("/* ' */ SELECT * FROM t /* ' */"), ['t'])
    assert.deepEqual(tables("SELECT * FROM t WHERE a = '/*' AND b = '*/'"), ['t'])
  })
})

describe('A3 quoted names', () => {
  it('keep their case, others fold', () => {
    assert.deepEqual(tables('SELECT * FROM "Secret"'), ['Secret'])
    assert.deepEqual(tables('SELECT * FROM Secret'), ['secret'])
    assert.deepEqual(tables('SELECT * FROM "secret"'), ['secret'])
    assert.deepEqual(tables('SELECT * FROM "PUBLIC".t'), ['PUBLIC.t'])
    assert.deepEqual(tables('SELECT * FROM PUBLIC."t"'), ['public.t'])
  })

  it('may hold quotes, dots, keywords and anything else', () => {
    assert.deepEqual(tables('SELECT * FROM "sys""tem"'), ['sys"tem'])
    assert.deepEqual(tables('SELECT * FROM "a.b"'), ['a.b'])
    assert.deepEqual(tables('SELECT * FROM "select"."from"'), ['select.from'])
    assert.deepEqual(tables(`SELECT * FROM "-- /* ' $$"`), ["-- /* ' $$"])
  })

  it('are not empty, but for old columns in conditions', () => {
    assert.throws(() => analyse('SELECT * FROM ""'), syntax)
    assert.throws(() => analyse('SELECT "" FROM t'), syntax)
    assert.deepEqual(columns('SELECT a FROM t WHERE "" = 1'), ['a', ''])
  })
})

describe('A4 keywords as names', () => {
  it('are names where Cassandra takes them as such', () => {
    for (const word of [
      'ttl',
      'json',
      'distinct',
      'key',
      'count',
      'values',
      'as',
      'role',
      'text',
      'timestamp',
      'cast',
    ]) {
      assert.deepEqual(tables(`SELECT ${word} FROM ${word}.${word}`), [`${word}.${word}`])
      assert.deepEqual(columns(`SELECT ${word} FROM t`), [word])
    }
  })

  it('are none where it does not', () => {
    for (const word of ['select', 'table', 'token', 'infinity', 'nan', 'null', 'primary', 'schema', 'set', 'view']) {
      assert.throws(() => analyse(`SELECT a FROM ${word}`), syntax)
    }
  })
})

describe('A5 characters that look like others', () => {
  it('are no white space', () => {
    for (const space of ['\u00a0', '\v', '\f', '\ufeff', '\u200b', '\u2003', '\u3000', '\u180e', '\0']) {
      assert.throws(() => analyse(`SELECT${space}* FROM t`), syntax)
      assert.throws(() => analyse(`${space}SELECT * FROM t`), syntax)
    }
    assert.doesNotThrow(() => analyse('SELECT\t*\rFROM\n\r t'))
  })

  it('are no letters of a keyword or name', () => {
    for (const text of ['\u212aEY', 'U\u017fE', 'ＳＥＬＥＣＴ', 'caf\u00e9', 'a\u202eb', 'l\u0131st']) {
      assert.throws(() => analyse(`SELECT ${text} FROM t`), syntax)
      assert.throws(() => analyse(`${text} ks`), syntax)
    }
  })
})

it('A6 text inside quotes is kept as it is, NUL and lone surrogates included', () => {
  assert.deepEqual(tables('SELECT * FROM "a\0b"'), ['a\0b'])
  assert.deepEqual(tables('SELECT * FROM "\ud800"'), ['\ud800'])
})

describe('A7 backslashes', () => {
  it('are ordinary characters', () => {
    assert.throws(() => analyse("SELECT * FROM t WHERE a = '\\''"), syntax)
    assert.deepEqual(columns("SELECT * FROM t WHERE a = '\\' AND b = '\\u0027'", 0), '*')
    assert.throws(() => analyse("SELECT * FROM t WHERE a = E'x'"), syntax)
    assert.throws(() => analyse('SELECT * FROM \\u0073ecret'), syntax)
  })
})

describe('A8 $$ strings', () => {
  it('end at the next $$ and know no escape', () => {
    assert.deepEqual(columns('SELECT b FROM t WHERE a = $$ $ \' " -- /* $$ AND c = 1'), ['b', 'a', 'c'])
    assert.deepEqual(columns('SELECT b FROM t WHERE a = $$$$ AND c = $$$ $$'), ['b', 'a', 'c'])
    assert.throws(() => analyse('SELECT b FROM t WHERE a = $$$'), syntax)
    assert.throws(() => analyse('SELECT b FROM t WHERE a = $$x$ $'), syntax)
    assert.throws(() => analyse('SELECT b FROM t WHERE a = $x$ y $x$'), syntax)
  })
})

describe('A9 one statement', () => {
  it('may end with semicolons and nothing else', () => {
    assert.deepEqual(tables('SELECT * FROM t ; ; ;; -- x\n'), ['t'])
    assert.throws(() => analyse('SELECT * FROM t; DROP TABLE x'), syntax)
    assert.throws(() => analyse('SELECT * FROM t DROP TABLE x'), syntax)
    assert.throws(() => analyse('; SELECT * FROM t'), syntax)
    assert.deepEqual(tables("SELECT * FROM t WHERE a = '; DROP TABLE x'"), ['t'])
  })
})

describe('A10 batches', () => {
  it('ask for what every child asks for', () => {
    const accesses = analyse(
      'BEGIN BATCH INSERT INTO a.ok (x) VALUES (1) UPDATE b.secret SET y = 1 WHERE k = 1 DELETE FROM ok WHERE k = 1 APPLY BATCH',
    ).accesses
    assert.deepEqual(accesses.map(resource), ['a.ok', 'b.secret', 'ok'])
  })

  it('may be empty and may be long', () => {
    assert.deepEqual(analyse('BEGIN BATCH APPLY BATCH').accesses, [])
    const many = `BEGIN BATCH ${'INSERT INTO t (a) VALUES (1) '.repeat(10_000)}UPDATE secret SET a = 1 WHERE k = 1 APPLY BATCH`
    const facts = analyse(many)
    assert.equal(facts.children.length, 10_001)
    assert.deepEqual(facts.accesses.map(resource), ['t', 'secret'])
  })

  it('hold neither reads nor batches', () => {
    assert.throws(() => analyse('BEGIN BATCH SELECT * FROM t APPLY BATCH'), syntax)
    assert.throws(() => analyse('BEGIN BATCH TRUNCATE t APPLY BATCH'), syntax)
    assert.throws(() => analyse('BEGIN BATCH INSERT INTO t (a) VALUES (1)'), syntax)
  })
})

describe('A11 statements made to be expensive', () => {
  const cheaply = (text: string, wanted: object): void => {
    const start = process.cpuUsage()
    assert.throws(() => analyse(text), wanted)
    assert.ok(cpuMs(start) < 500, 'took too long')
  }

  it('are refused when they nest deeper than nestingDepthMax, whatever nests', () => {
    for (const open of ['(', '[', '{1: ', '(int)(', 'f(', 'CAST(']) {
      cheaply(`SELECT * FROM t WHERE a = ${open.repeat(100_000)}`, { code: /SYNTAX|INVALID/ })
      cheaply(`SELECT ${open.repeat(100_000)}`, { code: /SYNTAX|INVALID/ })
    }
    cheaply(`SELECT * FROM t WHERE a = ${'('.repeat(100_000)}`, invalid)
    cheaply(`SELECT * FROM t WHERE ${'('.repeat(100_000)}`, invalid)
    cheaply(`CREATE TABLE t (a ${'list<'.repeat(100_000)}`, invalid)
    cheaply(`SELECT ${'(a)['.repeat(100_000)}`, invalid)
  })

  it('are understood up to that depth', () => {
    const nested = (depth: number): string => `INSERT INTO t (a) VALUES (${'['.repeat(depth)}1${']'.repeat(depth)})`
    assert.doesNotThrow(() => analyse(nested(limits.nestingDepthMax)))
    assert.throws(() => analyse(nested(limits.nestingDepthMax + 1)), invalid)
  })

  it('are refused above statementBytesMax', () => {
    assert.throws(() => analyse(`SELECT * FROM t WHERE a = '${'x'.repeat(limits.statementBytesMax)}'`), invalid)
  })
})

it('A12 grammar that Cassandra 5.0 does not have is refused', () => {
  for (const text of [
    'BEGIN TRANSACTION SELECT * FROM t; COMMIT TRANSACTION',
    'CREATE TABLE t (a int PRIMARY KEY, b int CHECK b > 1)',
    'CREATE TABLE t LIKE u',
    "COMMENT ON TABLE t IS 'x'",
    "SECURITY LABEL ON TABLE t IS 'x'",
    'SELECT * FROM t WHERE a NOT IN (1)',
    'SELECT * FROM t WHERE a BETWEEN 1 AND 2',
    'LIST SUPERUSERS',
  ]) {
    assert.throws(() => analyse(text), syntax)
  }
})

it('A13 names that are traps in JavaScript are ordinary names', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__']) {
    const quoted = `"${name}"`
    const facts = analyse(
      `SELECT ${quoted}, ${quoted}(${quoted}) FROM ${quoted}.${quoted} WHERE ${quoted} = :${quoted}`,
    )
    assert.deepEqual(facts.accesses, [
      { permission: 'SELECT', resource: { kind: 'table', keyspace: name, table: name }, columns: [name] },
      { permission: 'EXECUTE', resource: { kind: 'function', keyspace: name, name }, columns: [] },
    ])
    assert.deepEqual(facts.markers, [name])
    assert.deepEqual(analyse(`DROP ROLE ${quoted}`).accesses[0]?.resource, { kind: 'role', role: name })
    assert.doesNotThrow(() => analyse(`CREATE KEYSPACE k WITH ${quoted} = 1 AND b = {'${name}': 1}`))
    assert.throws(() => analyse(`CREATE KEYSPACE k WITH b = {'${name}': 1, '${name}': 2}`), syntax)
  }
})

describe('what other proxies misread', () => {
  it('1: a literal or comment that imitates syntax moves no table', () => {
    for (const hidden of ["' from public.t '", '$$ from public.t $$', "'''from public.t'''"]) {
      assert.deepEqual(tables(`SELECT * FROM secret.t WHERE k = ${hidden}`), ['secret.t'])
    }
    for (const hidden of ['/* from public.t */', '-- from public.t\n', '// from public.t\r']) {
      for (const text of [
        `SELECT * ${hidden} FROM secret.t`,
        `SELECT * FROM ${hidden} secret.t`,
        `SELECT * FROM secret.t ${hidden}`,
      ]) {
        assert.deepEqual(tables(text), ['secret.t'])
      }
    }
    assert.deepEqual(columns('SELECT " from public.t" FROM secret.t'), [' from public.t'])
  })

  it('3: no kind of statement has nothing to check, but the empty batch', () => {
    for (const text of [
      'TRUNCATE t',
      'CREATE ROLE r WITH SUPERUSER = true',
      'DROP INDEX i',
      "CREATE FUNCTION f () CALLED ON NULL INPUT RETURNS int LANGUAGE java AS ''",
      'SELECT now() FROM t',
      'LIST ROLES',
      'DESCRIBE CLUSTER',
      'DESCRIBE TABLES',
      'USE ks',
    ]) {
      assert.ok(analyse(text).accesses.length > 0, text)
    }
  })

  it('7: a text that ends too soon is an answer, not a crash', () => {
    for (const text of [
      'SELECT * FROM',
      'SELECT',
      'INSERT INTO t (',
      'BEGIN',
      'CREATE TABLE',
      'GRANT',
      "'",
      '"',
      '$$',
      '-',
      ':',
    ]) {
      assert.throws(
        () => analyse(text),
        (reason) => reason instanceof RingfenceError,
      )
    }
  })

  it('43: a conditional write is a read as well', () => {
    const permissions = (text: string): string[] => analyse(text).accesses.map((access) => access.permission)
    assert.deepEqual(permissions('UPDATE t SET a = 1 WHERE k = 1 IF a = 2'), ['MODIFY', 'SELECT'])
    assert.deepEqual(permissions('UPDATE t SET a = 1 WHERE k = 1'), ['MODIFY'])
    assert.deepEqual(permissions('BEGIN BATCH DELETE FROM t WHERE k = 1 IF EXISTS APPLY BATCH'), ['MODIFY', 'SELECT'])
  })
})

function resource({ resource }: Access): string {
  if (resource.kind !== 'table') return resource.kind
  return resource.keyspace === undefined ? resource.table : `${resource.keyspace}.${resource.table}`
}

function tables(text: string): string[] {
  return analyse(text).accesses.map(resource)
}

function columns(text: string, at = 0): readonly string[] | '*' | undefined {
  return analyse(text).accesses[at]?.columns
}

/** Processor time since `start`: the clock on the wall says more about the machine than about us. */
function cpuMs(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}
