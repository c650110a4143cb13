import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { matchSystemSelect, type SystemSelect } from './select.ts'

function understood(text: string, keyspace?: string): SystemSelect {
  const select = matchSystemSelect(text, keyspace)
  assert.ok(select !== undefined && 'table' in select, `not understood: ${text} ${JSON.stringify(select)}`)
  return select
}

function unsupported(text: string, keyspace?: string): string {
  const select = matchSystemSelect(text, keyspace)
  assert.ok(select !== undefined && 'unsupported' in select, `not refused: ${text}`)
  return select.unsupported
}

const labels = ({ selection }: SystemSelect) =>
  selection.kind === 'count' ? selection.label : selection.columns.map(({ label }) => label)

describe('statements about the ring', () => {
  // As the drivers send them: Node.js, Python, Java 4, gocql, C#, cqlsh and others.
  const ofDrivers = [
    ["SELECT * FROM system.local WHERE key='local'", 'local'],
    ['SELECT * FROM system.local', 'local'],
    ['SELECT * FROM system.peers', 'peers'],
    ['SELECT * FROM system.peers_v2', 'peers_v2'],
    ['select * from system.local', 'local'],
    ["select key from system.local where key = 'local'", 'local'],
    ["SELECT schema_version FROM system.local WHERE key='local'", 'local'],
    ['SELECT host_id, schema_version FROM system.peers', 'peers'],
    ['SELECT peer, host_id, native_address, native_port, schema_version FROM system.peers_v2', 'peers_v2'],
    ['SELECT * FROM system.peers_v2 WHERE peer = :address and peer_port = :port', 'peers_v2'],
    ["SELECT * FROM system.peers WHERE peer = '10.0.0.2'", 'peers'],
    ["SELECT cluster_name, data_center FROM system.local WHERE key='local'", 'local'],
    ['SELECT cluster_name FROM system.local', 'local'],
    ['SELECT release_version FROM system.local WHERE key=?', 'local'],
    ['SELECT * FROM system.peers_v2 WHERE data_center = ? ALLOW FILTERING', 'peers_v2'],
    ['SELECT count(*) FROM system.peers', 'peers'],
  ] as const
  for (const [text, table] of ofDrivers) {
    it(`are understood: ${text}`, () => assert.equal(understood(text).table, table))
  }

  it('keep their columns in the order asked for, with their aliases', () => {
    assert.deepEqual(labels(understood('SELECT rack AS r, key, rack, tokens AS "My T" FROM system.local')), [
      'r',
      'key',
      'rack',
      'My T',
    ])
    assert.deepEqual(labels(understood('SELECT COUNT(1) AS n FROM system.peers')), 'n')
    assert.equal(labels(understood('SELECT * FROM system.peers_v2')).length, 12)
  })

  it('are the same with comments, quotes, other letters and white space', () => {
    for (const text of [
      'SELECT /* x */ key -- y\n FROM // z\r system . /**/ local;;',
      'sElEcT "key" fRoM "system"."local"',
      '\tSELECT\r\nKEY FROM SYSTEM.LOCAL',
      '/* FROM other.t */ SELECT key FROM system.local',
    ]) {
      assert.deepEqual(labels(understood(text)), ['key'], text)
    }
  })

  it('are about these tables by the keyspace in force when unqualified, and by no other', () => {
    assert.equal(understood('SELECT * FROM local', 'system').table, 'local')
    assert.equal(matchSystemSelect('SELECT * FROM local', 'shop'), undefined)
    assert.equal(matchSystemSelect('SELECT * FROM local'), undefined)
    assert.equal(matchSystemSelect('SELECT * FROM shop.local', 'system'), undefined)
  })

  it('list their bind markers in order, with their names folded unless quoted', () => {
    const { markers, limit, where } = understood(
      'SELECT * FROM system.peers_v2 WHERE peer = :Ad AND peer_port = :"P x" LIMIT ?',
    )
    assert.deepEqual(
      markers.map(({ name }) => name),
      ['ad', 'P x', undefined],
    )
    assert.deepEqual(
      where.map(({ value }) => value),
      [0, 1],
    )
    assert.deepEqual(limit, { marker: 2 })
  })
})

describe('statements about something else', () => {
  for (const text of [
    'SELECT * FROM system.local_metadata',
    'SELECT * FROM system."Local"',
    'SELECT * FROM "System".local',
    'SELECT * FROM system.peer_events_v2 /* local */',
    "SELECT v FROM shop.t WHERE k = 'FROM system.local'",
    'SELECT "from system.local" FROM shop.t',
    "INSERT INTO shop.t (k, v) VALUES ('SELECT', 'FROM system.local')",
    'UPDATE system.local SET rack = ?',
    'SELECT local FROM shop.peers',
    "SELECT 'unterminated FROM system.local",
    'SELECT key FROM system.local -- without an end',
    'SELECT kéy FROM system.local',
    '',
  ]) {
    it(`pass: ${text}`, () => assert.equal(matchSystemSelect(text), undefined))
  }

  it('pass: functions of constants, which say nothing of the row', () => {
    for (const text of [
      'SELECT now() FROM system.local',
      "SELECT uuid(), totimestamp(now()) AS t, intasblob(1) FROM system.local WHERE key='local'",
    ]) {
      assert.equal(matchSystemSelect(text), undefined, text)
    }
  })
})

describe('what is not answered is refused, so that no node answers it', () => {
  for (const [text, reason] of [
    ['SELECT JSON * FROM system.local', /does not support SELECT JSON/],
    ['SELECT JSON key FROM system.local', /SELECT JSON/],
    ['SELECT DISTINCT key FROM system.local', /SELECT DISTINCT/],
    ['SELECT json FROM system.local', /^Undefined column name json in table system.local$/],
    ['SELECT foo FROM system.local', /^Undefined column name foo in table system.local$/],
    ['SELECT "Key" FROM system.local', /^Undefined column name Key/],
    ['SELECT rpc_port FROM system.peers', /^Undefined column name rpc_port in table system.peers$/],
    ['SELECT writetime(rack) FROM system.local', /functions and parts of columns/],
    ['SELECT cast(rpc_address AS text) FROM system.local', /functions and parts of columns/],
    ['SELECT tojson(rpc_address) FROM system.local', /functions and parts of columns/],
    ['SELECT f(1, g(rpc_address)) FROM system.local', /functions and parts of columns/],
    ["SELECT tokens['1'] FROM system.local", /functions and parts of columns/],
    ['SELECT now(), rpc_address FROM system.local', /mixture/],
    ['SELECT count(*), peer FROM system.peers', /mixture/],
    ['SELECT count(peer) FROM system.peers', /functions/],
    ['SELECT now() FROM system.peers', /functions/],
    ["SELECT now() FROM system.local WHERE rpc_address='127.0.1.1' ALLOW FILTERING", /functions/],
    ['SELECT (key) FROM system.local', /in place of a column/],
    ['SELECT key key FROM system.local', /in the selection/],
    ['SELECT FROM system.local', /in place of a column/],
    ['SELECT *, key FROM system.local', /in place of a column/],
    ["SELECT key FROM system.local WHERE key IN ('local')", /relations other than =/],
    ['SELECT peer FROM system.peers WHERE token(peer) > 0', /functions and parts/],
    ["SELECT peer FROM system.peers WHERE peer > '10.0.0.1' ALLOW FILTERING", /relations other than =/],
    ["SELECT key FROM system.local WHERE tokens = {'1'} ALLOW FILTERING", /collections/],
    ["SELECT key FROM system.local WHERE key = (text)'local'", /constants and bind markers/],
    ['SELECT key FROM system.local WHERE key = null', /^Invalid null value in condition for column key$/],
    ['SELECT key FROM system.local WHERE key = 1', /^Invalid integer for "key" of type text$/],
    ["SELECT peer FROM system.peers WHERE peer = 'some.host'", /^Invalid string literal for "peer" of type inet$/],
    ["SELECT key FROM system.local WHERE key='a' AND key='b'", /more than one relation/],
    ["SELECT key FROM system.local WHERE rack='a'", /use ALLOW FILTERING$/],
    ['SELECT peer FROM system.peers_v2 WHERE peer_port=7000', /use ALLOW FILTERING$/],
    ['SELECT key FROM system.local LIMIT 0', /^LIMIT must be strictly positive$/],
    ['SELECT key FROM system.local LIMIT 3000000000', /Unable to make int/],
    ['SELECT key FROM system.local LIMIT 1.5', /LIMIT that is no number/],
    ['SELECT key FROM system.local PER PARTITION LIMIT 1', /'PER' at this place/],
    ['SELECT key FROM system.local ORDER BY key', /'ORDER' at this place/],
    ['SELECT key FROM system.local GROUP BY key', /'GROUP' at this place/],
    ['SELECT key FROM system.local ALLOW FILTERING LIMIT 1', /'LIMIT' at this place/],
    ['SELECT key FROM system.local; SELECT key FROM system.local', /'SELECT' at this place/],
    ['SELECT key FROM system.local AS l', /'AS' at this place/],
    [`SELECT ${'key, '.repeat(64)} key FROM system.local`, /more than 64 selectors/],
    [`SELECT ${'f('.repeat(8_000)} FROM system.local`, /deep nesting/],
  ] as const) {
    it(text.slice(0, 90), () => assert.match(unsupported(text), reason))
  }

  it('but for texts too long to be a question of a driver, which a sidecar refuses', () => {
    assert.equal(matchSystemSelect(`SELECT ${'f('.repeat(100_000)} FROM system.local`), undefined)
  })

  it('also where the keyspace in force makes it about these tables', () => {
    assert.match(unsupported('SELECT JSON * FROM peers', 'system'), /SELECT JSON/)
  })

  it('without repeating a literal, which may be a secret', () => {
    assert.doesNotMatch(unsupported("SELECT key FROM system.local 'hunter2'"), /hunter2/)
  })
})

describe('however a statement is dressed', () => {
  // Every piece is one token, or two that need nothing between them.
  const statements = [
    ['SELECT', '*', 'FROM', 'system', '.', 'local'],
    [
      'SELECT',
      'peer',
      ',',
      'tokens',
      'AS',
      't',
      'FROM',
      'system',
      '.',
      'peers_v2',
      'WHERE',
      'peer',
      '=',
      '?',
      'LIMIT',
      '2',
    ],
    ['SELECT', 'JSON', '*', 'FROM', 'system', '.', 'peers'],
    ['SELECT', 'toJson', '(', 'rpc_address', ')', 'FROM', 'system', '.', 'local'],
  ]
  const gap = fc.oneof(
    fc.constantFrom(
      ' ',
      '\n',
      '\r',
      '\t',
      '  ',
      '/**/',
      '/* FROM x.y */',
      '-- FROM a.b\n',
      "// '\r",
      '/*--*/',
      '/* /* */',
    ),
    fc.string({ maxLength: 12 }).map((text) => `/*${text.replaceAll('*/', '')} */`),
  )
  const dress = (word: string) =>
    /^[a-z_0-9]+$/.test(word) && !/^[0-9]/.test(word)
      ? fc.constantFrom(word, word.toUpperCase(), `"${word}"`)
      : fc.constantFrom(word, word.toLowerCase())

  it('it is seen as what it is', () => {
    const dressed = fc
      .constantFrom(...statements)
      .chain((words) =>
        fc.tuple(
          fc.constant(words.join(' ')),
          fc.tuple(...words.map(dress)),
          fc.array(gap, { minLength: words.length + 1, maxLength: words.length + 1 }),
        ),
      )
    fc.assert(
      fc.property(dressed, ([plain, words, gaps]) => {
        const text = gaps[0] + words.map((word, n) => word + gaps[n + 1]).join('')
        assert.deepEqual(matchSystemSelect(text), matchSystemSelect(plain), text)
        assert.notEqual(matchSystemSelect(text), undefined)
      }),
      { numRuns: 2000 },
    )
  })
})
