import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { PolicyEngine } from './engine.ts'
import { matchesAnyName } from './names.ts'
import { access, cedar, decide, document, engineOf, orders, principal, verdict } from './policy.fixture.ts'
import type { CompiledRule } from './policy.ts'
import { RuleIndex } from './rule-index.ts'

/** What is visible to the orders service of keyspaces `a`, `b`, tables `t`, `u` and functions `f`, `g` in each. */
function seen(engine: PolicyEngine, who = orders): string {
  const visibility = engine.visibility(who)
  const found: string[] = []
  for (const keyspace of ['a', 'b']) {
    if (visibility.keyspace(keyspace)) found.push(keyspace)
    for (const table of ['t', 'u']) if (visibility.table(keyspace, table)) found.push(`${keyspace}.${table}`)
    for (const name of ['f', 'g']) if (visibility.function(keyspace, name)) found.push(`${keyspace}.${name}()`)
  }
  return found.join(' ')
}

describe('visibility', () => {
  it('is nothing before the first policy and without a rule', () => {
    const engine = engineOf(
      access('p', { subjects: [{ spiffeId: 'spiffe://td/job/x' }], keyspaces: ['*'], operations: ['ALL'] }),
    )
    assert.equal(seen(engine), '')
    assert.equal(seen(engine, principal('job/x')), 'a a.t a.u b b.t b.u')
    for (const name of ['system', 'system_schema', 'system_virtual_schema', 'system_views'])
      assert.ok(engine.visibility(orders).keyspace(name))
    for (const name of ['system_auth', 'system_traces', 'system_distributed'])
      assert.ok(!engine.visibility(principal('job/x')).keyspace(name), name)
  })

  it('is what any permission is on or in', () => {
    const one = (spec: object) => seen(engineOf(access('p', spec)))
    assert.equal(one({ keyspaces: ['a'], tables: ['t'], operations: ['SELECT'] }), 'a a.t')
    assert.equal(one({ keyspaces: ['a'], tables: ['t'], columns: ['c'], operations: ['MODIFY'] }), 'a a.t')
    assert.equal(one({ functions: ['b.f'], operations: ['EXECUTE'] }), 'b b.f()')
    assert.equal(one({ keyspaces: ['a'], operations: ['DESCRIBE'], mode: 'observe' }), 'a a.t a.u')
    assert.equal(one({ keyspaces: ['a'], operations: ['SELECT'], when: { hours: '08:00-09:00' } }), 'a a.t a.u')
    assert.equal(one({ cluster: true, operations: ['DESCRIBE'] }), 'a a.t a.u a.f() a.g() b b.t b.u b.f() b.g()')
  })

  it('ends where a deny takes the whole thing, or DESCRIBE of it', () => {
    const all = access('all', { keyspaces: ['a'], operations: ['READ'] })
    const less = (spec: object) => seen(engineOf(all, access('deny', { effect: 'deny', keyspaces: ['a'], ...spec })))
    assert.equal(less({ tables: ['t'], operations: ['ALL'] }), 'a a.u')
    assert.equal(less({ tables: ['t'], operations: ['DESCRIBE'] }), 'a a.u')
    assert.equal(less({ tables: ['t'], operations: ['SELECT'] }), 'a a.t a.u')
    assert.equal(less({ columns: ['c'], operations: ['SELECT'] }), 'a a.t a.u')
    assert.equal(less({ operations: ['ALL'] }), '')
    assert.equal(less({ operations: ['ALL'], mode: 'observe' }), 'a a.t a.u')
    assert.equal(less({ operations: ['ALL'], when: { days: ['mon'] } }), 'a a.t a.u')
  })

  it('hears what policies in Cedar say', () => {
    assert.equal(
      seen(engineOf(cedar('c', 'permit (principal, action == Action::"SELECT", resource in Table::"a.t");'))),
      'a a.t',
    )
    assert.equal(
      seen(engineOf(cedar('c', 'permit (principal, action == Action::"SELECT", resource == Column::"a.t.c");'))),
      'a a.t',
    )
    assert.equal(
      seen(engineOf(cedar('c', 'permit (principal, action == Action::"EXECUTE", resource == Function::"b.f");'))),
      'b b.f()',
    )
    const hidden = engineOf(
      access('p', { keyspaces: ['a'], operations: ['READ'] }),
      cedar('c', 'forbid (principal, action, resource in Table::"a.t");'),
    )
    assert.equal(seen(hidden), 'a a.u')
  })
})

describe('schema questions', () => {
  const engine = engineOf(
    access('t', { keyspaces: ['a'], tables: ['t'], operations: ['SELECT'] }),
    document('AccessPolicy', 'dba', {
      subjects: [{ spiffeId: 'spiffe://td/job/dba' }],
      cluster: true,
      operations: ['DESCRIBE'],
    }),
  )
  const dba = principal('job/dba')
  /** `+rule`, with `!` where the answer is cut down. */
  const asks = (text: string, who = orders, keyspace?: string): string => {
    const decision = decide(engine, text, { as: who, ...(keyspace === undefined ? {} : { keyspace }) })
    if (decision.kind === 'denial') return `-${decision.rule}`
    return `+${decision.rule}${decision.obligations?.visibleOnly === true ? '!' : ''}`
  }

  it('of system_schema are cut down to what is visible', () => {
    assert.equal(asks('SELECT * FROM system_schema.tables'), '+driver-metadata!')
    assert.equal(asks("SELECT * FROM system_virtual_schema.columns WHERE keyspace_name = 'a'"), '+driver-metadata!')
    assert.equal(asks('SELECT * FROM system_schema.tables', dba), '+driver-metadata')
    assert.equal(asks('SELECT * FROM system.local'), '+driver-metadata')
    assert.equal(asks('SELECT * FROM system.peers'), '+driver-metadata')
    assert.equal(asks('SELECT a FROM a.t WHERE k = 1'), '+t')
  })

  it('by DESCRIBE are answered of visible things, and of no others', () => {
    for (const text of [
      'KEYSPACES',
      'TABLES',
      'TYPES',
      'FUNCTIONS',
      'AGGREGATES',
      'KEYSPACE a',
      'TABLE a.t',
      'TYPE a.x',
    ]) {
      assert.equal(asks(`DESCRIBE ${text}`), '+visible-objects!', text)
    }
    assert.equal(asks('DESCRIBE TABLES', orders, 'a'), '+visible-objects!')
    for (const text of [
      'CLUSTER',
      'SCHEMA',
      'FULL SCHEMA',
      'KEYSPACE b',
      'TABLE a.u',
      // Whose visibility is not known: the node's answer would tell whether there is such a thing.
      'a',
      'a.t',
      'INDEX a.i',
      'b',
      'FUNCTION a.f',
      'TYPE b.x',
      'KEYSPACE a WITH INTERNALS',
      'TABLE a.t WITH INTERNALS',
    ]) {
      assert.equal(asks(`DESCRIBE ${text}`), '-default-deny', text)
    }
    assert.equal(asks('DESCRIBE TABLES', orders, 'b'), '-default-deny')
    for (const text of ['CLUSTER', 'FULL SCHEMA WITH INTERNALS', 'KEYSPACES'])
      assert.equal(asks(`DESCRIBE ${text}`, dba), '+dba', text)
    assert.equal(asks('LIST ROLES'), '-default-deny')
  })

  it('say the same words of what is hidden and what is not there', () => {
    const words = (name: string) => {
      const decision = decide(engine, `DESCRIBE TABLE ${name}`)
      return decision.kind === 'denial' ? decision.reason.replace(name, 'X') : 'permit'
    }
    assert.equal(
      words('a.u'),
      'spiffe://td/svc/orders has no DESCRIBE permission on <table X> (rule default-deny, policy revision 7)',
    )
    assert.equal(words('b.nothing'), words('a.u'))
  })

  it('stay refused where a rule denies the cluster', () => {
    const denied = engineOf(
      access('t', { keyspaces: ['a'], operations: ['READ'] }),
      access('no', { effect: 'deny', cluster: true, operations: ['DESCRIBE'] }),
    )
    assert.equal(verdict(denied, 'DESCRIBE KEYSPACES'), '-no')
    assert.equal(verdict(denied, 'DESCRIBE KEYSPACE a'), '+t')
    const part = engineOf(
      access('t', { keyspaces: ['a'], operations: ['READ'] }),
      access('no', { effect: 'deny', keyspaces: ['a'], tables: ['x'], operations: ['ALL'] }),
    )
    assert.equal(verdict(part, 'DESCRIBE KEYSPACES'), '+visible-objects')
    assert.equal(verdict(part, 'DESCRIBE KEYSPACE a'), '+visible-objects')
    assert.equal(verdict(part, 'DESCRIBE TABLE a.x'), '-no')
  })

  it('costs what speaks of a name and not what the policy has of rules', () => {
    const shapes: Readonly<Record<string, (at: number) => object>> = {
      'a table each': (at) => ({ keyspaces: ['a'], tables: [`o${at}`] }),
      'a beginning each': (at) => ({ keyspaces: ['a'], tables: [`o${at}x*`] }),
      'a keyspace each': (at) => ({ keyspaces: [`k${at}`] }),
      'denies of a table each': (at) => ({ keyspaces: ['a'], tables: [`o${at}`], effect: 'deny' }),
      'a function each': (at) => ({ functions: [`a.f${at}`], operations: ['EXECUTE'] }),
    }
    /** The quickest of several: for a policy of `count` rules of that shape. */
    const msOf = (count: number, specOf: (at: number) => object): number => {
      const rules = Array.from({ length: count }, (_, at) => access(`r${at}`, { operations: ['ALL'], ...specOf(at) }))
      const engine = engineOf(...rules, access('one', { keyspaces: ['a'], tables: ['o7', 'w*'], operations: ['READ'] }))
      let leastMs = Number.POSITIVE_INFINITY
      for (let run = 0; run < 3; run++) {
        const who = principal(`app/orders-${run}`)
        const visibility = engine.visibility(run === 0 ? orders : { ...orders, key: who.spiffeId })
        assert.ok(visibility.table('a', 'w1'))
        const began = performance.now()
        for (let at = 0; at < 3_000; at++) {
          visibility.table('a', `o${at}`)
          visibility.table('a', `other${at}`)
          visibility.function('a', `f${at}`)
        }
        leastMs = Math.min(leastMs, performance.now() - began)
      }
      return leastMs
    }
    for (const [shape, specOf] of Object.entries(shapes)) {
      const [few, many] = [msOf(30, specOf), msOf(3_000, specOf)]
      // The rules one by one would take a hundred times as long.
      assert.ok(many < 10 * few + 20, `${shape}: ${few} ms with 30 rules, ${many} ms with 3,000`)
    }
  })
})

describe('rules by name', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 4 })
  const pattern = fc.oneof(
    name,
    name.map((beginning) => `${beginning}*`),
  )

  it('leave out none that speaks of it', () => {
    const patterns = fc.option(fc.array(pattern, { minLength: 1, maxLength: 3 }), { nil: undefined })
    fc.assert(
      fc.property(fc.array(patterns, { maxLength: 8 }), name, (lists, asked) => {
        const rules = lists.map((tables, index) => ({ index, tables }) as CompiledRule)
        const index = new RuleIndex(({ tables }) => tables ?? ['*'])
        for (const rule of rules) index.add(rule)
        const found = new Set(index.about(asked).flat())
        for (const rule of rules) assert.equal(found.has(rule), matchesAnyName(rule.tables, asked))
      }),
    )
  })
})
