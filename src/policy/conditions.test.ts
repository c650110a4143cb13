import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { dayOfWeek, minuteOfDay } from './conditions.ts'
import { isPermitOf, type PolicyEngine, permitOfAll } from './engine.ts'
import { access, atNoon, cedar, document, engineOf, orders, principal, verdict } from './policy.fixture.ts'
import type { RequestContext } from './request.ts'

const read = 'SELECT a FROM ks.t WHERE id = 1'
const rule = (when: object, more: object = {}) =>
  access('p', { keyspaces: ['ks'], operations: ['SELECT'], when, ...more })

/** Both sides: requests that are let through, and ones that differ in one thing. */
function claim(
  engine: PolicyEngine,
  good: Partial<RequestContext>[],
  bad: Partial<RequestContext>[],
  text = read,
): void {
  for (const request of good) assert.equal(verdict(engine, text, { request }), '+p', JSON.stringify(request))
  for (const request of bad) assert.equal(verdict(engine, text, { request }), '-default-deny', JSON.stringify(request))
}

const at = (hour: number, minute: number, day = 18): Partial<RequestContext> => ({
  nowMs: Date.UTC(2026, 10, day, hour, minute),
})

describe('when', () => {
  it('clientAddresses: is where the request comes from, IPv4 inside IPv6 too, and never a Unix socket', () => {
    const engine = engineOf(rule({ clientAddresses: ['10.1.0.0/16', '192.0.2.7', '2001:db8::/32'] }))
    const from = (clientAddress: string) => ({ clientAddress })
    claim(
      engine,
      ['10.1.2.3', '192.0.2.7', '2001:db8::1', '2001:DB8:0:0::2', '::ffff:10.1.9.9', '::ffff:a01:1'].map(from),
      ['10.2.2.3', '192.0.2.8', '2001:db9::1', '::1', '::ffff:10.2.0.1', '', 'unknown', 'fe80::1%eth0'].map(from),
    )
  })

  it('hours: begin on the minute, end before it, and may go over midnight', () => {
    claim(engineOf(rule({ hours: '08:00-18:00' })), [at(8, 0), at(17, 59)], [at(7, 59), at(18, 0), at(0, 0)])
    claim(
      engineOf(rule({ hours: '22:30-06:00' })),
      [at(22, 30), at(23, 59), at(0, 0), at(5, 59)],
      [at(6, 0), at(22, 29)],
    )
    claim(engineOf(rule({ hours: '18:00-24:00' })), [at(18, 0), at(23, 59)], [at(17, 59), at(0, 0)])
  })

  it('days: are those of UTC', () => {
    // 16 November 2026 is a Monday.
    const engine = engineOf(rule({ days: ['mon', 'wed'] }))
    claim(engine, [at(0, 0, 16), at(23, 59, 18)], [at(23, 59, 15), at(0, 0, 17), at(12, 0, 21)])
  })

  it('consistency: is that of the request, and a PREPARE has none yet', () => {
    const engine = engineOf(rule({ consistency: ['LOCAL_QUORUM', 'ONE'] }))
    claim(
      engine,
      [{ consistency: 'ONE' }, { consistency: 'LOCAL_QUORUM' }, { consistency: '', preparing: true }],
      [{ consistency: 'ALL' }, { consistency: '' }],
    )
  })

  it('rowsMax: needs a LIMIT, written or bound, and leaves USE alone', () => {
    const engine = engineOf(rule({ rowsMax: 100 }, { operations: ['READ', 'SCAN'] }))
    claim(engine, [{ rows: 1 }, { rows: 100 }, { preparing: true }], [{ rows: 101 }, { rows: undefined }])
    claim(engine, [{ rows: 100 }], [{ rows: 101 }, {}], 'SELECT a FROM ks.t')
    assert.equal(verdict(engine, 'USE ks'), '+p')
  })

  it('conditional: tells statements with IF from those without', () => {
    const insert = 'INSERT INTO ks.t (id) VALUES (1)'
    const only = engineOf(rule({ conditional: true }, { operations: ['SELECT', 'MODIFY'] }))
    assert.equal(verdict(only, `${insert} IF NOT EXISTS`), '+p')
    assert.equal(verdict(only, insert), '-default-deny')
    assert.equal(verdict(only, `BEGIN BATCH ${insert} IF NOT EXISTS; ${insert}; APPLY BATCH`), '-default-deny')
    const never = engineOf(rule({ conditional: false }, { operations: ['SELECT', 'MODIFY'] }))
    assert.equal(verdict(never, `${insert} IF NOT EXISTS`), '-default-deny')
    assert.equal(verdict(never, insert), '+p')
  })

  it('authentication: is how the caller proved who it is', () => {
    const [certificate, listener] = [{ authentication: 'certificate' }, { authentication: 'listener' }] as const
    claim(engineOf(rule({ authentication: ['certificate'] })), [certificate], [listener])
    claim(engineOf(rule({ authentication: ['listener'] })), [listener], [certificate])
  })

  it('all conditions must hold, and a deny under them refuses only then', () => {
    const both = engineOf(rule({ days: ['wed'], hours: '08:00-18:00' }))
    claim(both, [at(12, 0)], [at(19, 0), at(12, 0, 17)])
    const deny = engineOf(
      access('all', { keyspaces: ['ks'], operations: ['ALL'] }),
      rule({ consistency: ['ALL'] }, { effect: 'deny', tables: ['t'] }),
    )
    assert.equal(verdict(deny, read, { request: { consistency: 'ALL' } }), '-p')
    assert.equal(verdict(deny, read, { request: { consistency: 'ONE' } }), '+all')
    assert.equal(verdict(deny, read, { request: { consistency: '', preparing: true } }), '+all')
  })

  it('holds for a Role as well', () => {
    const engine = engineOf(
      document('Role', 'r', { rules: [{ keyspaces: ['ks'], operations: ['READ'], when: { hours: '08:00-18:00' } }] }),
      document('RoleBinding', 'p', { role: 'r', subjects: [{ spiffeId: 'spiffe://td/svc/*' }] }),
    )
    claim(engine, [at(8, 0)], [at(18, 0)])
    claim(engine, [at(8, 0)], [at(18, 0)], 'USE ks')
  })
})

describe('contextKey', () => {
  const key = (engine: PolicyEngine, request: Partial<RequestContext> = {}, who = orders) =>
    engine.contextKey(who, { ...atNoon, ...request })

  it("is '' where no rule of the principal looks at the request", () => {
    const engine = engineOf(
      access('a', { keyspaces: ['ks'], operations: ['READ'] }),
      rule({ hours: '08:00-18:00' }, { subjects: [{ spiffeId: 'spiffe://td/job/x' }] }),
    )
    assert.equal(key(engine), '')
    assert.equal(engine.isContextual(orders), false)
    assert.notEqual(key(engine, {}, principal('job/x')), '')
    assert.equal(engine.isContextual(principal('job/x')), true)
  })

  it('is the same for requests that no condition tells apart, and differs where one does', () => {
    const hours = engineOf(rule({ hours: '08:00-18:00' }))
    assert.equal(key(hours, at(9, 0)), key(hours, { ...at(17, 59, 20), consistency: 'ALL', clientAddress: '::1' }))
    assert.notEqual(key(hours, at(17, 59)), key(hours, at(18, 0)))
    assert.notEqual(key(hours, at(7, 59)), key(hours, at(8, 0)))
    const rows = engineOf(rule({ rowsMax: 100 }))
    assert.equal(key(rows, { rows: 5 }), key(rows, { rows: 100 }))
    assert.equal(
      new Set([key(rows, { rows: 5 }), key(rows, { rows: 101 }), key(rows), key(rows, { preparing: true })]).size,
      4,
    )
  })

  it('sees what a policy in Cedar mentions, and all of the request where that is not plain', () => {
    const week = engineOf(
      cedar('c', 'permit (principal, action, resource in Keyspace::"ks") when { context.dayOfWeek == "mon" };'),
    )
    assert.equal(key(week, at(1, 0)), key(week, { ...at(23, 0), clientAddress: '::1' }))
    assert.notEqual(key(week, at(1, 0)), key(week, at(1, 0, 19)))
    assert.deepEqual(week.needs(orders), { authentication: false, consistency: false, rows: false, ttlSeconds: false })
    const has = engineOf(
      cedar('c', 'permit (principal, action, resource in Keyspace::"ks") when { context has ttlSeconds };'),
    )
    assert.deepEqual(has.needs(orders), { authentication: false, consistency: false, rows: false, ttlSeconds: true })
    assert.notEqual(key(has, { ttlSeconds: 5 }), key(has))
  })
})

describe('time', () => {
  it('come in Cedar’s words', () => {
    assert.equal(dayOfWeek(0), 'thu')
    assert.equal(dayOfWeek(Date.UTC(2026, 10, 21, 23, 59)), 'sat')
    assert.equal(dayOfWeek(-1), 'wed')
    assert.equal(minuteOfDay(Date.UTC(2026, 10, 21, 23, 59, 59, 999)), 1439)
    assert.equal(minuteOfDay(-1), 1439)
  })
})

describe('the time until which a verdict is good', () => {
  const document = (when: object): PolicyEngine => engineOf(rule(when))
  const minuteRule = cedar('c', 'forbid (principal, action, resource) when { context.minuteOfDay == 721 };')
  const dayRule = cedar('d', 'forbid (principal, action, resource) when { context.dayOfWeek == "sun" };')

  for (const [name, engine, untilAt] of [
    ['no rule that looks at the clock', document({ rowsMax: 10 }), undefined],
    ['hours', document({ hours: '08:00-18:00' }), at(18, 0)],
    ['hours over midnight', document({ hours: '22:00-06:00' }), at(22, 0)],
    ['a day', document({ days: ['wed'] }), at(0, 0, 19)],
    ['a day with hours', document({ days: ['wed'], hours: '08:00-18:00' }), at(18, 0)],
    ['a policy in Cedar about minutes', engineOf(rule({ rowsMax: 10 }), minuteRule), at(12, 1)],
    ['a policy in Cedar about days', engineOf(rule({ rowsMax: 10 }), dayRule), at(0, 0, 19)],
  ] as const) {
    it(`${name}: the key of a request is the same to the last millisecond, and a permit is good as long`, () => {
      const keyAt = (nowMs: number) => engine.contextKey(orders, { ...atNoon, nowMs })
      const start = atNoon.nowMs
      const untilMs = untilAt?.nowMs ?? start + 86_400_000
      for (let nowMs = start; nowMs < untilMs; nowMs += 30_000) assert.equal(keyAt(nowMs), keyAt(start))
      assert.equal(keyAt(untilMs - 1), keyAt(start))
      if (untilAt !== undefined) assert.notEqual(keyAt(untilMs), keyAt(start))
      const decision = engine.decide(
        orders,
        resolveKeyspace(analyse(`${read} LIMIT 1`), undefined),
        { ...atNoon, rows: 1 },
        undefined,
        3,
      )
      if (name === 'hours over midnight') return assert.equal(decision.kind, 'denial')
      assert.ok(decision.kind === 'permit')
      assert.equal(
        isPermitOf(decision, 3, () => untilMs - 1),
        true,
      )
      assert.equal(
        isPermitOf(decision, 3, () => untilMs),
        untilAt === undefined,
      )
      const ofAll = permitOfAll([decision, decision.observing('x')])!
      assert.equal(
        isPermitOf(ofAll, 3, () => untilMs),
        untilAt === undefined,
      )
    })
  }
})
