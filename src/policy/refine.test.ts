import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { schemaOf } from './policy.fixture.ts'
import { refine } from './refine.ts'
import type { SchemaView } from './request.ts'

const schema = schemaOf(
  {
    'ks.t': { partitionKey: ['a', 'b'], clusteringKey: ['c'] },
    'ks.base': { partitionKey: ['id'] },
    'ks.by_email': { partitionKey: ['email'], clusteringKey: ['id'], base: 'base' },
  },
  { 'ks.idx': 't', 'ks.Odd "one"': 'base' },
)

/** Accesses as `SELECT ks.t(a,b)`, children after their parent. */
function accesses(text: string, given: SchemaView | 'none' = schema): string[] {
  const view = given === 'none' ? undefined : given
  const facts = refine(resolveKeyspace(analyse(text), 'ks'), view)
  assert.deepEqual(refine(facts, view), facts, 'refining twice changes nothing more')
  return [facts, ...facts.children].flatMap((one) =>
    one.accesses.map(({ permission, resource, columns }) => {
      const { kind: _, ...names } = resource
      return `${permission} ${Object.values(names).join('.')}${columns.length === 0 ? '' : `(${columns})`}`
    }),
  )
}

describe('SCAN', () => {
  it('is asked where a SELECT does not give the whole partition key by = or IN', () => {
    const scans = (where: string) => accesses(`SELECT c FROM t ${where}`).includes('SCAN ks.t')
    assert.equal(scans(''), true)
    assert.equal(scans('WHERE a = 1 ALLOW FILTERING'), true)
    assert.equal(scans('WHERE a = 1 AND b = 2'), false)
    assert.equal(scans('WHERE a = ? AND b IN ?'), false)
    assert.equal(scans('WHERE (a, b) = (1, 2)'), false)
    assert.equal(scans('WHERE (a, b) IN ((1, 2), (3, 4))'), false)
    assert.equal(scans('WHERE token(a, b) = 5'), true)
    assert.equal(scans('WHERE a = 1 AND b > 2 ALLOW FILTERING'), true)
    assert.equal(scans('WHERE c = 1 ALLOW FILTERING'), true)
    assert.equal(scans('LIMIT 1'), true)
  })

  it('is not asked of what does not exist, of a write, nor of a condition', () => {
    assert.deepEqual(accesses('SELECT * FROM gone'), ['SELECT ks.gone(*)'])
    assert.deepEqual(accesses('UPDATE t SET d = 1 WHERE a = 1 AND b = 2 IF d = 3'), [
      'MODIFY ks.t(d,a,b)',
      'SELECT ks.t(d)',
    ])
  })

  it('without a schema is asked where no column is given at all', () => {
    const scans = (where: string) => accesses(`SELECT c FROM t ${where}`, 'none').includes('SCAN ks.t')
    assert.equal(scans(''), true)
    assert.equal(scans('WHERE c > 3 ALLOW FILTERING'), true)
    assert.equal(scans('WHERE token(a) = 3'), true)
    assert.equal(scans('WHERE a = 1'), false)
  })
})

describe('a view', () => {
  it('asks for its base table with the same columns, and to scan both', () => {
    assert.deepEqual(accesses("SELECT name FROM by_email WHERE email = 'x'"), [
      'SELECT ks.by_email(name,email)',
      'SELECT ks.base(name,email)',
    ])
    assert.deepEqual(accesses('SELECT * FROM by_email'), [
      'SELECT ks.by_email(*)',
      'SELECT ks.base(*)',
      'SCAN ks.by_email',
      'SCAN ks.base',
    ])
  })
})

describe('expr(index, …)', () => {
  it('goes by columns that only the index knows, so it asks for all of them', () => {
    assert.deepEqual(accesses("SELECT name FROM t WHERE expr(idx, 'x')")[0], 'SELECT ks.t(*)')
    assert.deepEqual(accesses("SELECT name FROM by_email WHERE expr(idx, 'x')").slice(0, 2), [
      'SELECT ks.by_email(*)',
      'SELECT ks.base(*)',
    ])
  })
})

describe('DROP INDEX', () => {
  it('asks for ALTER on the table of an index that is known, in any spelling', () => {
    assert.deepEqual(accesses('DROP INDEX idx'), ['ALTER ks.t'])
    assert.deepEqual(accesses('drop /* x */ index if exists KS . IDX ;'), ['ALTER ks.t'])
    assert.deepEqual(accesses('DROP INDEX "Odd ""one"""'), ['ALTER ks.base'])
    assert.deepEqual(accesses('DROP INDEX "Idx"'), ['ALTER ks'])
    assert.deepEqual(accesses('DROP INDEX idx', 'none'), ['ALTER ks'])
  })

  it('does not guess a name that was too long to be told', () => {
    const long = 'x'.repeat(5_000)
    const odd = schemaOf({}, { [`ks.${long}`]: 't', [`ks.${'x'.repeat(4_082)}…`]: 't' })
    assert.deepEqual(accesses(`DROP INDEX "${long}"`, odd), ['ALTER ks'])
  })
})

describe('DESCRIBE … WITH INTERNALS', () => {
  it('asks for the cluster as well, however it is written', () => {
    assert.deepEqual(accesses('DESCRIBE TABLE t'), ['DESCRIBE ks.t'])
    assert.deepEqual(accesses('desc table t with /**/ internals'), ['DESCRIBE ks.t', 'DESCRIBE '])
    assert.deepEqual(accesses(`DESCRIBE TABLE "${'😀'.repeat(1_500)}" WITH INTERNALS`).slice(1), ['DESCRIBE '])
    assert.deepEqual(accesses('DESCRIBE SCHEMA WITH INTERNALS'), ['DESCRIBE '])
  })
})
