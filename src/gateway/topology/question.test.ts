import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../../base/errors.ts'
import { markersOf } from '../../cql/query/markers.ts'
import { Unsupported } from '../../cql/query/unsupported.ts'
import { topologyForms } from './forms.fixture.ts'
import { aboutTopology, type Question, readQuestion } from './question.ts'

const now = () => 1_700_000_000_000

function understood(text: string, keyspace = ''): Question {
  const table = aboutTopology(text, keyspace)
  assert.ok(table !== undefined, `not about the topology: ${text}`)
  return readQuestion(text, table, now)
}

const labels = ({ form }: Question) => form.columns.map(({ name }) => name)

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
    assert.deepEqual(labels(understood('SELECT COUNT(1) AS n FROM system.peers')), ['n'])
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
    assert.equal(aboutTopology('SELECT * FROM local', 'shop'), undefined)
    assert.equal(aboutTopology('SELECT * FROM local', ''), undefined)
    assert.equal(aboutTopology('SELECT * FROM shop.local', 'system'), undefined)
  })

  it('list their bind markers in order, with their names folded unless quoted, else those that a node gives them', () => {
    const markers = (text: string) => {
      const { tree, form } = understood(text)
      return markersOf(tree, form).map(({ name, type }) => `${name} ${type.kind}`)
    }
    assert.deepEqual(markers('SELECT * FROM system.peers_v2 WHERE peer = :Ad AND peer_port = :"P x" LIMIT ?'), [
      'ad inet',
      'P x int',
      '[limit] int',
    ])
    assert.deepEqual(
      markers(
        'SELECT (int)? FROM system.peers WHERE peer IN ? AND token(peer) > ? PER PARTITION LIMIT ? ALLOW FILTERING',
      ),
      ['[selection] int', 'in(peer) list', 'partition key token bigint', '[per_partition_limit] int'],
    )
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
    it(`pass: ${text}`, () => assert.equal(aboutTopology(text, ''), undefined))
  }
})

describe('what a node answers is answered, and what it refuses is refused', () => {
  // The same forms are asked of a real node and through the mesh in test/e2e/routing.e2e.test.ts.
  for (const { text, refused = 0, prepares = false, elsewhere = false } of topologyForms) {
    it(text.slice(0, 90), () => {
      const read = () => understood(text)
      if (elsewhere) assert.throws(read, (reason) => reason instanceof Unsupported)
      else if (refused > 0 && !prepares) {
        assert.throws(read, (reason) => {
          assert.ok(reason instanceof RingfenceError)
          assert.equal(reason.code, refused === 0x2000 ? 'SYNTAX' : 'INVALID', reason.message)
          return true
        })
      } else assert.ok(read().form.columns.every(({ name }) => name !== '?' && name !== ''))
    })
  }

  it('but for texts too long to be a question of a driver, which a sidecar refuses', () => {
    assert.equal(aboutTopology(`SELECT ${'f('.repeat(100_000)} FROM system.local`, ''), undefined)
  })

  it('without repeating a literal, which may be a secret', () => {
    for (const text of [
      "SELECT key FROM system.local 'hunter2'",
      "SELECT key FROM system.local WHERE rack = 'hunter2'",
      "SELECT peer FROM system.peers WHERE peer = 'hunter2'",
      "SELECT key FROM system.local LIMIT 'hunter2'",
    ]) {
      assert.throws(
        () => understood(text),
        (reason: Error) => !reason.message.includes('hunter2'),
        text,
      )
    }
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
    ['SELECT', 'tojson', '(', 'rpc_address', ')', 'FROM', 'system', '.', 'local'],
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
        const [one, other] = [understood(text), understood(plain)]
        assert.equal(one.table, other.table)
        assert.deepEqual(
          one.form.columns.map(({ type }) => type),
          other.form.columns.map(({ type }) => type),
          text,
        )
      }),
      { numRuns: 2000 },
    )
  })
})
