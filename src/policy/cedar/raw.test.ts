import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../load.ts'
import {
  access,
  cedar,
  decide,
  document,
  engineOf,
  orders,
  principal,
  refusal,
  schemaOf,
  verdict,
} from '../policy.fixture.ts'
import { compileRule } from './compile.ts'
import { CedarSet, onCedar } from './sets.ts'

const read = 'SELECT a FROM ks.t WHERE id = 1'
const all = access('all', { keyspaces: ['ks'], operations: ['ALL'] })

/** `good` loads; `bad` is refused in words that match. */
function claim(good: string, bad: string, words: RegExp): void {
  assert.equal(refusal(all, cedar('c', good)), '')
  assert.match(refusal(all, cedar('c', bad)), words)
}

describe('CedarPolicy', () => {
  it('permits and forbids beside the rules in YAML, and is named by its @id or its document', () => {
    const engine = engineOf(
      access('yaml', { keyspaces: ['ks'], tables: ['t'], operations: ['SELECT'] }),
      cedar(
        'doc',
        'permit (principal, action == Action::"SELECT", resource in Table::"ks.u");\n@id("no-v") forbid (principal, action, resource in Table::"ks.v");',
      ),
      access('v', { keyspaces: ['ks'], tables: ['v'], operations: ['SELECT'] }),
    )
    assert.equal(verdict(engine, read), '+yaml')
    assert.equal(verdict(engine, 'SELECT a FROM ks.u WHERE id = 1'), '+doc')
    assert.equal(verdict(engine, 'SELECT a FROM ks.v WHERE id = 1'), '-no-v')
    assert.equal(verdict(engine, 'SELECT a FROM ks.w WHERE id = 1'), '-default-deny')
    assert.equal(verdict(engine, 'INSERT INTO ks.u (id) VALUES (1)'), '-default-deny')
  })

  it('knows principals by id, group, role, person and attribute', () => {
    const by = (test: string) =>
      engineOf(
        cedar('c', `permit (principal, action, resource in Keyspace::"ks") when { ${test} };`),
        document('Role', 'r', { rules: [{ keyspaces: ['other'], operations: ['READ'] }] }),
        document('RoleBinding', 'b', { role: 'r', subjects: [{ spiffeId: 'spiffe://td/svc/orders' }] }),
      )
    const alice = { ...principal('user/corp/alice'), person: 'corp/alice' }
    const as = (who: typeof orders, test: string) => verdict(by(test), read, { as: who })
    const job = principal('job/x')
    for (const test of [
      'principal == Workload::"spiffe://td/svc/orders"',
      'principal in Group::"spiffe://td/svc/*"',
      'principal in Group::"spiffe://td/svc/orders"',
      'principal in Role::"r"',
      'principal.spiffeId like "*/svc/*"',
    ]) {
      assert.equal(as(orders, test), '+c', test)
      assert.equal(as(job, test), '-default-deny', test)
    }
    for (const test of [
      'principal in Person::"corp/alice"',
      'principal has person && principal.person like "corp/*"',
    ]) {
      assert.equal(as(alice, test), '+c', test)
      assert.equal(as(orders, test), '-default-deny', test)
    }
    assert.equal(as(job, 'principal.trustDomain == "td"'), '+c')
  })

  it('knows actions by group, and the request', () => {
    const engine = engineOf(
      cedar(
        'c',
        'permit (principal, action in Action::"READ", resource in Keyspace::"ks") unless { context.dayOfWeek == "sun" };',
      ),
    )
    assert.equal(verdict(engine, read), '+c')
    assert.equal(verdict(engine, 'SELECT a FROM ks.t'), '-default-deny')
    assert.equal(verdict(engine, read, { request: { nowMs: Date.UTC(2026, 10, 22) } }), '-default-deny')
  })

  it('reaches a system keyspace only by its name', () => {
    const wide = engineOf(cedar('c', 'permit (principal, action, resource);'))
    for (const keyspace of ['system_auth', 'system_traces', 'SYSTEM_AUTH']) {
      assert.equal(verdict(wide, `SELECT a FROM "${keyspace}".roles WHERE role = 'x'`), '-default-deny')
    }
    assert.equal(verdict(wide, read), '+c')
    const named = engineOf(
      cedar('c', 'permit (principal, action, resource) when { resource in Table::"system_auth.roles" };'),
    )
    assert.equal(verdict(named, "SELECT a FROM system_auth.roles WHERE role = 'x'"), '+c')
    assert.equal(verdict(named, 'SELECT a FROM system_traces.events WHERE session_id = 1'), '-default-deny')
    assert.equal(
      verdict(engineOf(cedar('c', 'forbid (principal, action, resource);')), 'SELECT key FROM system.peers'),
      '-c',
    )
  })

  it('tells columns apart; SELECT * is forbidden where one column is', () => {
    const forbid = '@id("f") forbid (principal, action, resource == Column::"ks.t.ssn");'
    const schema = schemaOf({ 'ks.t': { columns: ['id', 'a', 'ssn'] }, 'ks.u': { columns: ['id', 'tax_id'] } })
    const engine = engineOf(all, cedar('c', forbid))
    assert.equal(verdict(engine, read, { schema }), '+all')
    assert.equal(verdict(engine, 'SELECT a, ssn FROM ks.t WHERE id = 1', { schema }), '-f')
    assert.equal(verdict(engine, 'SELECT * FROM ks.t WHERE id = 1', { schema }), '-f')
    assert.equal(verdict(engine, 'SELECT * FROM ks.u WHERE id = 1', { schema }), '+all')
    assert.equal(verdict(engine, 'SELECT * FROM ks.t WHERE id = 1'), '-f', 'columns are not known')
    const pattern = engineOf(
      all,
      cedar(
        'c',
        '@id("f") forbid (principal, action, resource) when { resource has column && resource.column like "tax_*" };',
      ),
    )
    assert.equal(verdict(pattern, 'SELECT * FROM ks.u WHERE id = 1', { schema }), '-f')
    assert.equal(verdict(pattern, 'SELECT * FROM ks.t WHERE id = 1', { schema }), '+all')
    const permit = engineOf(
      cedar('c', 'permit (principal, action, resource) when { resource in [Column::"ks.t.id", Column::"ks.t.a"] };'),
    )
    assert.equal(verdict(permit, read, { schema }), '+c')
    assert.equal(verdict(permit, 'SELECT * FROM ks.t WHERE id = 1', { schema }), '-default-deny')
  })

  it('refuses when it cannot be evaluated', () => {
    const sum = '@id("f") forbid (principal, action, resource) when { context.minuteOfDay * 9223372036854775807 == 5 };'
    const engine = engineOf(all, cedar('c', sum))
    const decision = decide(engine, read)
    assert.equal(
      decision.kind === 'denial' && decision.reason,
      'spiffe://td/svc/orders has no SELECT permission on <table ks.t> (rule policy-error, policy revision 7)',
    )
    assert.equal(verdict(engine, read, { request: { nowMs: Date.UTC(2026, 10, 18) } }), '+all')
    assert.equal(verdict(engineOf(all, cedar('c', sum, { mode: 'observe' })), read), '+all')
  })

  it('is validated against the schema, with the place in the text', () => {
    const good = 'permit (principal, action == Action::"SELECT", resource in Keyspace::"ks");'
    claim(
      good,
      good.replace('"SELECT"', '"SELEKT"'),
      /^p\.yaml:3:\d+: line 1, column 30 of the text: unrecognized action `Action::"SELEKT"`; did you mean `Action::"SELECT"`\?/,
    )
    claim(
      good,
      `${good}\n// ü\npermit (principal, action, resource) when { contxt.rows == 1 };`,
      /line 3, column 45 of the text: invalid member access `contxt\.rows`/,
    )
    claim(
      good,
      good.replace(';', ' when { context.rows < 5 };'),
      /unable to guarantee safety of access to optional attribute/,
    )
    claim(good, good.replace(';', ' when { principal.spiffeId == 5 };'), /line 1, column \d+ of the text: /)
    claim(good, good.replace(';', ' when { false };'), /policy is impossible/)
    claim(good, '', /the text holds no policy/)
    claim(good, 'permit (principal == ?principal, action, resource);', /a template/)
    assert.match(
      refusal(document('CedarPolicy', 'c', { cedar: good, mode: 'audit' })),
      /unknown value "audit"; valid: enforce, observe/,
    )
  })

  it('refuses what could never match', () => {
    const of = (scope: string) => `permit (principal${scope}, action, resource in Keyspace::"ks");`
    claim(
      of(' in Group::"spiffe://td/svc/*"'),
      of(' in Group::"spiffe://td/svc*"'),
      /Group::"spiffe:\/\/td\/svc\*" can never match/,
    )
    claim(of(' == Workload::"spiffe://td/svc/a"'), of(' == Workload::"orders"'), /Workload::"orders" can never match/)
    assert.match(refusal(cedar('c', of(' in Role::"r"'))), /no RoleBinding gives Role::"r" to anybody/)
    const on = (resource: string) => `permit (principal, action, resource in ${resource});`
    claim(on('Table::"ks.t"'), on('Table::"t"'), /Table::"t" can never match: an id is written keyspace\.table/)
    claim(on('Column::"ks.t.c"'), on('Column::"ks.t"'), /keyspace\.table\.column/)
    claim(on('Cluster::"cluster"'), on('Cluster::"main"'), /Cluster::"main" can never match/)
  })

  it('has names that are taken by nothing else', () => {
    const text = (id: string) => `@id("${id}") permit (principal, action, resource in Keyspace::"ks");`
    claim(text('x'), text('a b'), /@id\("a b"\) is no name/)
    claim(text('x'), text('all'), /^p\.yaml:3:101: the name "all" of an @id is taken by the AccessPolicy at line 1$/)
    claim(text('x'), `${text('x')}${text('x')}`, /the name "x" of an @id is taken by another @id/)
    assert.equal(refusal(cedar('x', text('x'))), '')
    assert.match(refusal(cedar('x', text('y')), cedar('z', text('x'))), /taken by the CedarPolicy at line 1/)
    assert.match(refusal(all, cedar('all', text('x'))), /the name "all" is taken by the AccessPolicy at line 1/)
  })

  it('is measured before Cedar reads it, whose stack is short', () => {
    const when = (body: string) => `permit (principal, action, resource in Keyspace::"ks") when { ${body} };`
    const nested = (depth: number) => when(`${'('.repeat(depth)}context.protocol == 5${')'.repeat(depth)}`)
    claim(nested(31), nested(32), /brackets are nested deeper than 32/)
    claim(when('true'), when('('.repeat(50_000)), /brackets are nested deeper than 32/)
    const chain = (count: number) => when(Array(count).fill('context.protocol > 3').join(' && '))
    claim(chain(60), chain(64), /a policy has more than 250 characters of operators/)
    claim(when('true'), when(`"${'x'.repeat(70_000)}" == "y"`), /characters exceed 65536/)
    claim(when('true'), when('!'.repeat(60_000)), /line 1/)
    assert.equal(verdict(engineOf(all, cedar('c', nested(31))), 'SELECT a FROM ks.t WHERE id = 1'), '+all')
  })
})

describe('CedarSet', () => {
  const question = {
    principal: { type: 'W', id: 'w' },
    action: { type: 'Action', id: 'A' },
    resource: { type: 'R', id: 'r' },
    entities: [],
  }
  const set = (size: number, word = 'permit') =>
    new CedarSet(new Map(Array.from({ length: size }, (_, i) => [`${i}`, `${word} (principal, action, resource);`])))

  it('keeps some sets parsed and parses others again', () => {
    const sets = Array.from({ length: 6 }, (_, i) => set(600 + i, i % 2 === 0 ? 'permit' : 'forbid'))
    for (let round = 0; round < 2; round++) {
      for (const [i, one] of sets.entries()) {
        const answer = one.ask(question, {})
        assert.deepEqual([answer.failed, answer.allowed, answer.reasons.length], [false, i % 2 === 0, 600 + i])
      }
    }
    assert.equal(set(2_500).ask(question, {}).allowed, true)
    assert.deepEqual(set(0).ask(question, {}), { failed: false, allowed: false, reasons: [] })
  })

  it('fails closed on what cannot be parsed or asked', () => {
    assert.equal(new CedarSet(new Map([['x', 'permit (']])).ask(question, {}).failed, true)
    assert.equal(set(1).ask(question, { clientAddress: { __extn: { fn: 'ip', arg: 'nowhere' } } }).failed, true)
    assert.equal(set(1).ask(question, {}).allowed, true)
  })

  it('comes back after its WebAssembly broke', () => {
    const held = set(3)
    assert.equal(held.ask(question, {}).allowed, true)
    const deep = `permit (principal, action, resource) when { ${'('.repeat(3_000)}true${')'.repeat(3_000)} };`
    assert.throws(() => onCedar((wasm) => wasm.checkParsePolicySet({ staticPolicies: deep })))
    const again = held.ask(question, {})
    assert.deepEqual([again.failed, again.allowed, again.reasons.length], [false, true, 3])
    const [rule] = loadPolicy(all, 'p.yaml').rules
    assert.ok(rule !== undefined && compileRule(rule).length > 0)
    assert.equal(
      verdict(engineOf(all, cedar('c', '@id("x") forbid (principal, action, resource in Table::"ks.t");')), read),
      '-x',
    )
  })
})
