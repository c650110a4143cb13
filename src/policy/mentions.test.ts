/**
 * Each place of the grammar where a column's name can stand, and what standing there means for a column that is masked, and for one that may not be
 * read. `?c` is the column that is hidden, or in the twin of each statement one that is not.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { access, decide, document, engineOf, orders, schemaOf } from './policy.fixture.ts'
import type { Principal } from './principal.ts'
import type { TableInfo } from './request.ts'

/** A regular table, one of which the hidden column is the clustering key, one of which it is the partition key. */
const shapes = {
  t: { partitionKey: ['k'], clusteringKey: ['c'] },
  clustered: (of: string) => ({ partitionKey: ['k'], clusteringKey: [of] }),
  keyed: (of: string) => ({ partitionKey: [of], clusteringKey: ['c'] }),
}

function schemaFor(of: string) {
  const columns = ['k', 'c', 'v', 'n', 'secret', 'open', 'secrets', 'opens']
  const definitions = new Map(
    columns.map((name) => [name, { kind: 'regular', type: name.endsWith('s') ? 'list<text>' : 'text' }]),
  )
  const table = (key: Partial<TableInfo>) => ({ columns, definitions, ...key })
  return schemaOf({
    'shop.t': table(shapes.t),
    'shop.clustered': table(shapes.clustered(of)),
    'shop.keyed': table(shapes.keyed(of)),
    'shop.seen': table({ ...shapes.t, base: 't' }),
  })
}

/** What shows a column as it stands: masked where it is masked. */
const shown = [
  'SELECT ?c FROM t WHERE k = 1',
  'SELECT ?c AS e, v FROM t WHERE k = 1',
  'SELECT DISTINCT k, ?c FROM t',
  'SELECT ?c FROM seen WHERE k = 1',
  'SELECT * FROM t WHERE k = 1',
  'SELECT * FROM seen WHERE k = 1',
]

/** What uses it. */
const used = [
  // Expressions of a select list.
  ...[
    'min(?c)',
    'count(?c)',
    'abs(?c)',
    'shop.f(?c)',
    'f(v, ?c)',
    'CAST(?c AS blob)',
    '?c + 1',
    '1 - ?c',
    '-?c',
    '(text) ?c',
  ],
  ...['?c[0]', "?c['a'..'b']", '?c.street', 'writetime(?c)', 'maxwritetime(?c)', 'ttl(?c)', 'token(?c)', 'toJson(?c)'],
  ...[
    '(?c, v)',
    '[?c]',
    '{?c}',
    "{'a': ?c}",
    'mask_inner(?c, 1, 1)',
    '?c, min(?c)',
    'similarity_cosine(?c, [1.0, 2.0])',
  ],
].map((selector) => `SELECT ${selector} FROM t WHERE k = 1`)
const usedElsewhere = [
  'SELECT JSON ?c FROM t WHERE k = 1',
  'SELECT JSON k, ?c FROM t WHERE k = 1',
  'SELECT JSON DISTINCT ?c FROM t',
  // Relations.
  ...[
    "?c = 'a'",
    '?c = ?',
    "?c > 'a'",
    "?c <= 'a'",
    "?c != 'a'",
    "?c IN ('a', 'b')",
    '?c IN ?',
    "?c LIKE 'a%'",
    '?c IS NOT NULL',
  ],
  ...[
    "?c CONTAINS 'a'",
    "?c CONTAINS KEY 'a'",
    "?c['a'] = 'b'",
    "(c, ?c) > ('a', 'b')",
    "(?c) IN (('a'))",
    '(c, ?c) = ?',
    "(?c = 'a')",
  ],
  ...['token(k, ?c) > 1', 'token(?c) = ?'],
].map((relation) =>
  relation.startsWith('SELECT') ? relation : `SELECT v FROM t WHERE k = 1 AND ${relation} ALLOW FILTERING`,
)
const usedInOrder = [
  'SELECT v FROM t WHERE k = 1 ORDER BY ?c',
  'SELECT v FROM t WHERE k = 1 ORDER BY ?c DESC, c ASC',
  'SELECT v FROM t ORDER BY ?c ANN OF [1.0, 2.0] LIMIT 3',
  'SELECT k, count(*) FROM t WHERE k = 1 GROUP BY k, ?c',
  // Conditions of writes.
  ...[
    "?c = 'a'",
    '?c = ?',
    "?c IN ('a', 'b')",
    '?c IN ?',
    "?c['a'] = 'b'",
    "?c.street = 'a'",
    "?c CONTAINS 'a'",
    '?c != null',
    "?c > 'a'",
  ],
].flatMap((text) =>
  text.startsWith('SELECT')
    ? [text]
    : [
        `UPDATE t SET v = 'a' WHERE k = 1 AND c = 'a' IF ${text}`,
        `DELETE v FROM t WHERE k = 1 AND c = 'a' IF v = 'a' AND ${text}`,
        `BEGIN BATCH INSERT INTO t (k, c, v) VALUES (1, 'a', 'b'); UPDATE t SET v = 'a' WHERE k = 1 AND c = 'a' IF ${text} APPLY BATCH`,
      ],
)
/** Keys of writes: whether there was such a row shows in the answer, or afterwards. */
const keys = [
  ["UPDATE clustered SET v = 'a' WHERE k = 1 AND ?c = 'guess' IF v = 'never'", true],
  ["UPDATE clustered SET v = 'a' WHERE k = 1 AND ?c = ? IF EXISTS", true],
  ["UPDATE clustered SET v = 'a' WHERE k = 1 AND ?c = 'guess'", false],
  ["UPDATE clustered SET v = 'a' WHERE k = 1 AND ?c IN ('a', 'b')", false],
  ["UPDATE keyed SET v = 'a' WHERE ?c = 'guess' AND c = 'a'", false],
  ["DELETE FROM clustered WHERE k = 1 AND ?c > 'a'", false],
  ["DELETE FROM clustered WHERE k = 1 AND ?c = 'guess' IF EXISTS", true],
  ["DELETE v FROM keyed WHERE ?c IN ('a', 'b') AND c = 'a'", false],
  ["INSERT INTO clustered (k, ?c, v) VALUES (1, 'guess', 'a') IF NOT EXISTS", true],
  ["INSERT INTO clustered (k, ?c, v) VALUES (1, 'guess', 'a')", false],
  ["INSERT INTO keyed (?c, c) VALUES (?, 'a')", false],
] as const
const schemaStatements = [
  'CREATE MATERIALIZED VIEW mv AS SELECT k, c FROM t WHERE k IS NOT NULL AND c IS NOT NULL AND ?c IS NOT NULL PRIMARY KEY (k, c)',
  "CREATE MATERIALIZED VIEW mv AS SELECT * FROM t WHERE k IS NOT NULL AND c IS NOT NULL AND ?c >= 'z' PRIMARY KEY (k, c)",
  'CREATE MATERIALIZED VIEW mv AS SELECT k, c FROM shop.t WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (?c, k, c)',
  'CREATE MATERIALIZED VIEW mv AS SELECT k, c FROM t WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY ((k, c), ?c)',
  'CREATE MATERIALIZED VIEW mv AS SELECT k, c, min(?c) FROM t WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (k, c)',
] as const
/** Cassandra asks for no SELECT here, so a column rule on reading does not meet them; a mask does. */
const alters = [
  'CREATE INDEX ON t (?c)',
  'CREATE INDEX i ON shop.t (values(?c))',
  "CREATE CUSTOM INDEX ON t (?c) USING 'sai' WITH OPTIONS = {'case_sensitive': 'false'}",
  "CREATE CUSTOM INDEX ON t (c, entries(?c)) USING 'StorageAttachedIndex'",
  'ALTER TABLE clustered RENAME ?c TO other',
  'ALTER TABLE clustered RENAME c TO d AND ?c TO other',
]
/** Writes that compare nothing. */
const written = [
  "INSERT INTO t (k, c, ?c) VALUES (1, 'a', 'b')",
  "UPDATE t SET ?c = 'b' WHERE k = 1 AND c = 'a'",
  "UPDATE t SET ?c = ?c + ['b'] WHERE k = 1 AND c = 'a'",
  "DELETE ?c FROM t WHERE k = 1 AND c = 'a'",
  "BEGIN BATCH INSERT INTO t (k, c, ?c) VALUES (1, 'a', 'b') APPLY BATCH",
  'CREATE MATERIALIZED VIEW mv AS SELECT k, c, ?c FROM t WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (k, c)',
  'CREATE MATERIALIZED VIEW mv AS SELECT * FROM t WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (k, c)',
  'ALTER TABLE t ADD ?c2 text',
  'ALTER TABLE t DROP ?c',
]
/** The node reads a list to find its element, and its error says how long that is. */
const lists = [
  "UPDATE t SET ?cs[0] = 'a' WHERE k = 1 AND c = 'a'",
  "UPDATE t SET v = 'a', ?cs[?] = ? WHERE k = 1 AND c = 'a'",
  "DELETE ?cs[0] FROM t WHERE k = 1 AND c = 'a'",
  "BEGIN BATCH DELETE ?cs[0] FROM t WHERE k = 1 AND c = 'a' APPLY BATCH",
]

const uses = [...used, ...usedElsewhere, ...usedInOrder]
const all = access('all', { keyspaces: ['shop'], operations: ['ALL'], functions: ['shop.*'] })
const mayNotUnmask = access('no-unmask', { effect: 'deny', keyspaces: ['shop'], operations: ['UNMASK'] })
const mask = document('MaskingPolicy', 'mask', { keyspaces: ['shop'], columns: ['secret', 'secrets'], mask: 'full' })
const masked = engineOf(all, mayNotUnmask, mask)
const unmasked = engineOf(all, mask)
const denied = engineOf(
  all,
  access('no', { effect: 'deny', keyspaces: ['shop'], columns: ['secret', 'secrets'], operations: ['SELECT'] }),
)

type Engine = typeof masked

function verdict(engine: Engine, text: string, column: 'secret' | 'open', as: Principal = orders): string {
  const asked = { schema: schemaFor(column), keyspace: 'shop', as }
  const decision = decide(engine, text.replaceAll('?c', column), asked)
  if (decision.kind === 'denial') return `-${decision.rule}`
  const masks = decision.obligations?.masks ?? []
  return masks.some((one) => one.column === column) ? 'masked' : '+'
}

describe('a masked column', () => {
  for (const text of shown) {
    it(`is shown masked by ${text}`, () => {
      assert.equal(verdict(masked, text, 'secret'), 'masked')
      assert.equal(verdict(masked, text, 'open'), '+')
      assert.equal(verdict(unmasked, text, 'secret'), '+')
    })
  }
  for (const text of [...uses, ...keys.map(([key]) => key), ...schemaStatements, ...alters, ...lists]) {
    it(`is refused where it is used: ${text}`, () => {
      assert.equal(verdict(masked, text, 'secret'), '-mask')
      assert.equal(verdict(masked, text, 'open'), '+')
      assert.equal(verdict(unmasked, text, 'secret'), '+')
    })
  }
  for (const text of written) {
    it(`may be written: ${text}`, () => {
      for (const column of ['secret', 'open'] as const) assert.equal(verdict(masked, text, column), '+')
    })
  }

  it('may not be written by INSERT JSON where it is of the key, whatever the text says', () => {
    for (const text of ["INSERT INTO keyed JSON '{}'", 'INSERT INTO clustered JSON ? IF NOT EXISTS']) {
      assert.equal(verdict(masked, text, 'secret'), '-mask', text)
      assert.notEqual(verdict(masked, text, 'open'), '-mask', text)
    }
    assert.equal(verdict(masked, "INSERT INTO t JSON '{}'", 'secret'), '+')
  })

  it('is refused in JSON of all columns, also where the schema does not know of it yet', () => {
    const unaware = schemaOf({ 'shop.t': { ...shapes.t, columns: ['k', 'c', 'v'] } })
    const decision = decide(masked, 'SELECT JSON * FROM t', { schema: unaware, keyspace: 'shop' })
    assert.equal(decision.rule, 'mask')
  })
})

describe('a column that may not be read', () => {
  for (const text of [
    ...shown,
    ...uses,
    ...schemaStatements,
    ...lists,
    ...keys.filter(([, conditional]) => conditional).map(([key]) => key),
  ]) {
    // A condition answers with its own columns; EXISTS with all of them.
    const isOfKey = keys.some(([key]) => key === text)
    if (isOfKey && !/EXISTS/.test(text)) continue
    it(`is refused: ${text}`, () => {
      assert.equal(verdict(denied, text, 'secret'), '-no')
      if (!/[*]|EXISTS/.test(text)) assert.equal(verdict(denied, text, 'open'), '+')
    })
  }
})

describe('a column that is hidden from one of a pair', () => {
  const web = parseSpiffeId('spiffe://td/svc/web')
  const pair: Principal = { spiffeId: web, person: 'corp/alice' }
  const alone = [{ spiffeId: web }, { spiffeId: parseSpiffeId('spiffe://td/user/corp/alice'), person: 'corp/alice' }]
  const one = { issuer: 'https://corp.example.com', audiences: ['x'], type: 'oidc' }
  const provider = document('IdentityProvider', 'corp', one)
  const both = [{ spiffeId: web }, { person: 'corp/alice' }]
  const allOfBoth = [
    provider,
    access('all', { subjects: both, keyspaces: ['shop'], operations: ['ALL'], functions: ['shop.*'] }),
    access('no-unmask', { effect: 'deny', subjects: both, keyspaces: ['shop'], operations: ['UNMASK'] }),
  ]
  const columns = ['secret', 'secrets']
  const parties: readonly (readonly [string, object, readonly number[]])[] = [
    ['the workload', { spiffeId: web }, [0]],
    ['the person', { person: 'corp/alice' }, [1]],
    ['the two of them', { spiffeId: web, person: 'corp/alice' }, []],
  ]
  for (const [whom, subject, hiddenAlone] of parties) {
    it(`as from ${whom}, is masked, refused where it is used, and may be written`, () => {
      const spec = { subjects: [subject], keyspaces: ['shop'], columns, mask: 'full' }
      const engine = engineOf(...allOfBoth, document('MaskingPolicy', 'mask', spec))
      const wanted: readonly (readonly [readonly string[], string])[] = [
        [shown, 'masked'],
        [[...uses, ...keys.map(([key]) => key), ...schemaStatements, ...alters, ...lists], '-mask'],
        [written, '+'],
      ]
      for (const [texts, outcome] of wanted) {
        for (const text of texts) {
          assert.equal(verdict(engine, text, 'secret', pair), outcome, text)
          assert.equal(verdict(engine, text, 'open', pair), '+', text)
          for (const [at, as] of alone.entries())
            assert.equal(verdict(engine, text, 'secret', as), hiddenAlone.includes(at) ? outcome : '+', text)
        }
      }
    })

    it(`as from ${whom} by a deny, may not be read in any place`, () => {
      const spec = { effect: 'deny', subjects: [subject], keyspaces: ['shop'], columns, operations: ['SELECT'] }
      const engine = engineOf(...allOfBoth, access('no', spec))
      for (const text of [...shown, ...uses, ...schemaStatements, ...lists]) {
        assert.equal(verdict(engine, text, 'secret', pair), '-no', text)
        if (!/[*]|EXISTS/.test(text)) assert.equal(verdict(engine, text, 'open', pair), '+', text)
        for (const [at, as] of alone.entries())
          assert.equal(verdict(engine, text, 'secret', as), hiddenAlone.includes(at) ? '-no' : '+', text)
      }
    })
  }

  it('needs EXECUTE of both where a function has the name of a native one', () => {
    const rest = access('data', { subjects: both, keyspaces: ['shop'], operations: ['ALL'] })
    const run = (subject: object): string =>
      access('run', { subjects: [subject], functions: ['shop.*'], operations: ['EXECUTE'] })
    const schema = { ...schemaFor('open'), hasFunction: () => true }
    for (const given of both) {
      const decision = decide(engineOf(provider, rest, run(given)), 'SELECT abs(n) FROM t', {
        schema,
        keyspace: 'shop',
        as: pair,
      })
      assert.equal(decision.kind, 'denial')
    }
    const everything = engineOf(
      provider,
      rest,
      ...both.map((subject, at) => run(subject).replace('"run"', `"run${at}"`)),
    )
    assert.equal(decide(everything, 'SELECT abs(n) FROM t', { schema, keyspace: 'shop', as: pair }).kind, 'permit')
  })
})

describe('a BATCH with a condition', () => {
  const schema = schemaOf({
    'shop.t': { partitionKey: ['k'], clusteringKey: ['c'], columns: ['k', 'c', 'v', 'st'] },
  })
  const may = (...columns: string[]): Engine =>
    engineOf(
      access('write', { keyspaces: ['shop'], operations: ['MODIFY'] }),
      access('read', { keyspaces: ['shop'], tables: ['t'], columns, operations: ['SELECT'] }),
    )
  const one = "UPDATE t SET v = 'a' WHERE k = 1 AND c = 'a' IF st = 'b'"
  const kind = (engine: Engine, text: string): string => decide(engine, text, { schema, keyspace: 'shop' }).kind

  it('answers with the primary key, which has to be readable; by itself the statement does not', () => {
    assert.equal(kind(may('st'), one), 'permit')
    for (const text of [
      one,
      `INSERT INTO t (k, c) VALUES (1, 'b'); ${one}`,
      `${one}; DELETE FROM t WHERE k = 1 AND c = 'b'`,
    ]) {
      assert.equal(kind(may('st'), `BEGIN BATCH ${text} APPLY BATCH`), 'denial', text)
      assert.equal(kind(may('st', 'k'), `BEGIN BATCH ${text} APPLY BATCH`), 'denial', text)
      assert.equal(kind(may('st', 'k', 'c'), `BEGIN BATCH ${text} APPLY BATCH`), 'permit', text)
    }
  })

  it('of a table that is not known could show anything', () => {
    const unknown = schemaOf({})
    const decision = decide(may('st', 'k', 'c'), `BEGIN BATCH ${one} APPLY BATCH`, {
      schema: unknown,
      keyspace: 'shop',
    })
    assert.equal(decision.kind, 'denial')
  })

  it('has its own answer only where there is a condition', () => {
    assert.equal(kind(may('st'), "BEGIN BATCH UPDATE t SET v = 'a' WHERE k = 1 AND c = 'a' APPLY BATCH"), 'permit')
  })
})

describe('a function with the name of a native one', () => {
  const calls = [
    'SELECT ?f(n) FROM t',
    'SELECT v, min(?f(n)) FROM t WHERE k = 1 GROUP BY k',
    'SELECT v FROM shop.t WHERE k = ?f(1)',
    'SELECT v FROM t WHERE k IN (1, ?f(1))',
    'SELECT v FROM t WHERE token(k) > ?f(1)',
    "SELECT v FROM t WHERE k = 1 AND (c, v) > (?f(1), 'a') ALLOW FILTERING",
    'SELECT v FROM t WHERE k = 1 AND c CONTAINS ?f(1) ALLOW FILTERING',
    "SELECT m[?f('a')] FROM t",
    'SELECT v FROM t ORDER BY v ANN OF ?f(1) LIMIT 1',
    'SELECT k, count(*) FROM t GROUP BY k, ?f(c)',
    'INSERT INTO t (k, c, v) VALUES (1, 2, ?f(3))',
    'INSERT INTO t (k, c, v) VALUES (1, 2, [?f(3)])',
    'UPDATE t SET n = ?f(1) WHERE k = 1 AND c = 1',
    'UPDATE t SET n = n + ?f(1) WHERE k = 1 AND c = 1',
    'UPDATE t SET m[?f(1)] = 2 WHERE k = 1 AND c = 1',
    'UPDATE t SET n = 1 WHERE k = 1 AND c = 1 IF n = ?f(1)',
    'DELETE m[?f(1)] FROM t WHERE k = ?f(1)',
    'BEGIN BATCH DELETE FROM t WHERE k = ?f(1) APPLY BATCH',
    "CREATE TABLE u (k text PRIMARY KEY, v text MASKED WITH ?f('a'))",
    "ALTER TABLE t ALTER v MASKED WITH ?f('a')",
    "ALTER TABLE t ADD w text MASKED WITH ?f('a')",
    'CREATE MATERIALIZED VIEW mv AS SELECT k FROM t WHERE k > ?f(1) AND c IS NOT NULL PRIMARY KEY (k, c)',
  ]
  const noExecute = access('data', { keyspaces: ['shop'], operations: ['ALL'] })
  const withFunctions = (...names: string[]) => ({
    ...schemaFor('open'),
    hasFunction: (keyspace: string, name: string) => keyspace === 'shop' && names.includes(name),
  })
  const natives = ['abs', 'now', 'to_timestamp', 'mask_hash', 'toJson', 'count', 'token', 'map_keys']

  for (const text of calls) {
    it(`needs EXECUTE on it where it is there: ${text}`, () => {
      for (const name of natives) {
        const ask = (engine: Engine, called: string, ...there: string[]) =>
          decide(engine, text.replaceAll('?f', called), { schema: withFunctions(...there), keyspace: 'shop' })
        const refused = ask(engineOf(noExecute), name, name.toLowerCase(), name)
        assert.equal(refused.kind, 'denial', name)
        assert.match(refused.kind === 'denial' ? refused.reason : '', /no EXECUTE permission on <function shop\./)
        assert.equal(ask(engineOf(noExecute), name).kind, 'permit', `${name}, which is not there`)
        assert.equal(ask(engineOf(noExecute), `system.${name}`, name).kind, 'permit', `system.${name}`)
        const given = engineOf(noExecute, access('run', { functions: ['shop.*'], operations: ['EXECUTE'] }))
        assert.equal(ask(given, name, name.toLowerCase(), name).kind, 'permit', `${name}, given`)
      }
    })
  }

  it('is meant by an aggregate, whose parts are always of its keyspace', () => {
    const build = access('build', { functions: ['shop.*'], operations: ['CREATE'] })
    for (const parts of [
      'SFUNC abs STYPE int',
      'SFUNC shop_f STYPE int FINALFUNC now',
      'SFUNC to_timestamp STYPE int INITCOND 0',
    ]) {
      const text = `CREATE AGGREGATE a (int) ${parts}`
      for (const asked of [text, text.replace(' a ', ' shop.a ')]) {
        assert.equal(decide(engineOf(build), asked, { keyspace: 'shop' }).kind, 'denial', asked)
        const given = engineOf(build, access('run', { functions: ['shop.*'], operations: ['EXECUTE'] }))
        assert.equal(decide(given, asked, { keyspace: 'shop' }).kind, 'permit', asked)
      }
    }
  })
})
