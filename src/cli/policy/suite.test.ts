import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { findTestFiles, loadSuites, parseInstant } from './suite.ts'

const alice = 'spiffe://demo.local/user/corp/alice'
const agent = 'spiffe://demo.local/agent/a'

const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n---\n`
const rule = (name: string, spec: string): string => document('AccessPolicy', name, `{ keyspaces: [shop], ${spec} }`)

const policy =
  rule('reads', `subjects: [{ spiffeId: ${alice} }], operations: [READ, WRITE]`) +
  rule(
    'scans',
    `subjects: [{ spiffeId: ${alice} }], tables: [orders], operations: [SCAN], when: { hours: 08:00-18:00, clientAddresses: [10.0.0.0/8] }`,
  ) +
  rule('agents', `subjects: [{ spiffeId: ${agent} }], operations: [SELECT, SCAN], when: { rowsMax: 100 }`) +
  rule(
    'trial',
    `subjects: [{ spiffeId: ${alice} }], effect: deny, mode: observe, tables: [cards], operations: [SELECT]`,
  ) +
  document(
    'MaskingPolicy',
    'masks',
    `{ subjects: [{ spiffeId: ${alice} }], keyspaces: [shop], tables: [orders], columns: [email], mask: full }`,
  ) +
  document('RetentionPolicy', 'month', '{ keyspaces: [shop], tables: [orders], maxTtl: 30d, requireTtl: true }') +
  document('Guardrail', 'pages', '{ keyspaces: [shop], tables: [cards], pageSizeMax: 1000, inValuesMax: 2 }')

describe('a test of a policy', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-suite-'))
    writeFileSync(join(folder, 'policy.yaml'), policy)
    writeFileSync(
      join(folder, 'shop.cql'),
      'CREATE TABLE shop.orders (id int PRIMARY KEY, email text); CREATE TABLE shop.cards (id int PRIMARY KEY, number text);',
    )
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const load = (cases: string, schema = 'schemaFile: shop.cql') => {
    const file = join(folder, 'policy_test.yaml')
    writeFileSync(
      file,
      document('PolicyTest', 't', `\n  policy: policy.yaml\n  ${schema}\n  cases:\n${cases}`).slice(0, -4),
    )
    return loadSuites(file).flatMap((suite) => suite.run(Date.UTC(2026, 0, 1)))
  }
  /** `as`, then what stands in the case. */
  const ask = (as: string, more: string): string => {
    const [result] = load(`    - { as: '${as}', ${more}, want: allow }\n`)
    return `${result?.came.verdict} ${result?.came.rule}`
  }

  it('tells masked, observed, allowed and denied apart', () => {
    assert.equal(ask(alice, "statement: 'SELECT email FROM shop.orders WHERE id = 1'"), 'masked reads')
    assert.equal(ask(alice, "statement: 'SELECT id FROM orders WHERE id = 1', keyspace: shop"), 'allow reads')
    assert.equal(ask(alice, "statement: 'SELECT number FROM shop.cards WHERE id = 1'"), 'observe trial')
    assert.equal(
      ask(alice, "statement: 'SELECT id FROM shop.orders WHERE email = ? ALLOW FILTERING'"),
      'deny default-deny',
    )
  })

  it('lets a mask’s name stand for the deciding rule', () => {
    const cases = ['masks', 'reads', 'other'].map(
      (name) =>
        `    - { as: '${alice}', statement: SELECT email FROM shop.orders WHERE id = 1, want: masked, rule: ${name} }\n`,
    )
    assert.deepEqual(
      load(cases.join('')).map(({ passed }) => passed),
      [true, true, false],
    )
  })

  it('judges values where they are given, by place and by name, and only what is known where they are not', () => {
    const insert = 'INSERT INTO shop.orders (id) VALUES (?) USING TTL ?'
    assert.equal(ask(alice, `statement: '${insert}', values: [1, 2592000]`), 'allow reads')
    assert.equal(ask(alice, `statement: '${insert}', values: [1, 2592001]`), 'deny month')
    assert.equal(ask(alice, `statement: '${insert}', values: [1, null]`), 'deny month')
    assert.equal(ask(alice, `statement: '${insert}'`), 'allow reads')
    const named = 'INSERT INTO shop.orders (id) VALUES (:id) USING TTL :ttl'
    assert.equal(ask(alice, `statement: '${named}', values: { id: 1, ttl: 60 }`), 'allow reads')
    assert.equal(ask(alice, `statement: '${named}', values: { ttl: 0, id: 1 }`), 'deny month')
    const listed = 'SELECT id FROM shop.cards WHERE id IN ?'
    assert.equal(ask(alice, `statement: '${listed}', values: [[1, 2]], pageSize: 1000`), 'observe trial')
    assert.equal(ask(alice, `statement: '${listed}', values: [[1, 2, 3]], pageSize: 1000`), 'deny pages')
    assert.equal(ask(alice, `statement: '${listed}', values: [[1]]`), 'deny pages', '5000 rows, as drivers ask for')
  })

  it('judges LIMIT, the hour and the address', () => {
    assert.equal(ask(agent, "statement: 'SELECT id FROM shop.orders LIMIT 100'"), 'allow agents')
    assert.equal(ask(agent, "statement: 'SELECT id FROM shop.orders LIMIT 101'"), 'deny default-deny')
    assert.equal(ask(agent, "statement: 'SELECT id FROM shop.orders LIMIT ?', values: [100]"), 'allow agents')
    assert.equal(ask(agent, "statement: 'SELECT id FROM shop.orders LIMIT ?', values: [101]"), 'deny default-deny')
    assert.equal(ask(agent, "statement: 'SELECT id FROM shop.orders LIMIT ?'"), 'allow agents', 'PREPARE')
    const scan = "statement: 'SELECT id FROM shop.orders', when:"
    assert.equal(ask(alice, `${scan} { at: '2026-01-01T08:00Z', clientAddress: 10.1.2.3 }`), 'allow reads,scans')
    assert.equal(ask(alice, `${scan} { at: '2026-01-01T08:00+01:00', clientAddress: 10.1.2.3 }`), 'deny default-deny')
    assert.equal(ask(alice, `${scan} { at: '2026-01-01T08:00Z', clientAddress: 11.1.2.3 }`), 'deny default-deny')
  })

  it('names the place of each fault', () => {
    const aCase = (more: string): string =>
      `    - { as: '${alice}', statement: 'SELECT id FROM shop.orders WHERE id = ?', want: allow${more} }\n`
    assert.throws(
      () => load(aCase(', values: [1, 2]')),
      /policy_test\.yaml:8:1: the statement has 1 markers and 2 values/,
    )
    assert.throws(() => load(aCase(', values: { id: 1 }')), /policy_test\.yaml:8:1: a marker is written "\?"/)
    assert.throws(() => load(aCase(", when: { at: 'noon' }")), /policy_test\.yaml:8:\d+: .*no moment; write it like/)
    assert.throws(
      () => load(aCase(', when: { consistency: QUORAM }')),
      /policy_test\.yaml:8:\d+: .*did you mean "QUORUM"/,
    )
    assert.throws(() => load('    []\n'), /policy_test\.yaml:8:\d+: .*the list is empty/)
    assert.throws(
      () => load(aCase(''), 'schema: |\n    CREATE TABLE shop.a (k int PRIMARY KEY);\n    DROP TABLE shop.a;'),
      /policy_test\.yaml:8:1: DROP TABLE in a schema/,
    )
    assert.throws(() => load(aCase(''), 'schema: DROP TABLE shop.a;'), /policy_test\.yaml:6:1: DROP TABLE in a schema/)
    assert.throws(
      () => load(aCase(''), 'schema: CREATE TABLE a.b (k int PRIMARY KEY)\n  schemaFile: shop.cql'),
      /exclude each other/,
    )
    assert.throws(
      () => load(aCase(''), 'schemaFile: absent.cql'),
      /policy_test\.yaml:6:\d+: .*absent\.cql cannot be read/,
    )
  })

  it('is found by its name, below folders, but in none that is hidden', () => {
    for (const path of ['a/b', '.git', 'node_modules']) mkdirSync(join(folder, 'tree', path), { recursive: true })
    const files = [
      'z_test.yaml',
      'a/b/x_test.yml',
      'a/x.yaml',
      '.git/y_test.yaml',
      'node_modules/y_test.yaml',
      '_test.yaml.bak',
    ]
    for (const file of files) writeFileSync(join(folder, 'tree', file), '')
    const found = findTestFiles([join(folder, 'tree'), join(folder, 'tree/z_test.yaml'), join(folder, 'policy.yaml')])
    assert.deepEqual(
      found.map((path) => path.slice(folder.length + 1)),
      ['tree/a/b/x_test.yml', 'tree/z_test.yaml', 'policy.yaml'],
    )
  })

  it('takes moments with a zone only', () => {
    assert.equal(parseInstant('2026-01-01T10:00Z'), Date.UTC(2026, 0, 1, 10))
    assert.equal(parseInstant('2026-01-01T10:00:30.5+02:00'), Date.UTC(2026, 0, 1, 8, 0, 30, 500))
    for (const text of ['2026-01-01', '2026-01-01T10:00', '10:00Z', '2026-13-01T10:00Z', ''])
      assert.equal(parseInstant(text), undefined, text)
  })
})
