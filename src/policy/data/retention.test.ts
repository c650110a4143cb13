import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Amount, StatementFacts } from '../../cql/statement/facts.ts'
import {
  access,
  batch,
  document,
  factsOf,
  judge,
  noRules,
  rulesOf,
  schemaOf,
  sign,
  table,
  testsOf,
} from './data.fixture.ts'

const retention = (name: string, more: string) => document('RetentionPolicy', name, `{keyspaces: [shop], ${more}}`)
const literal = (seconds: bigint): Amount => ({ literal: seconds })
const insert = (ttl?: Amount, more: Partial<StatementFacts> = {}) => factsOf('INSERT', 'shop.orders', { ttl, ...more })
const withDefault = (defaultTtlSeconds: number) => schemaOf({ 'shop.orders': table({ defaultTtlSeconds }) })

describe('maxTtl', () => {
  const rules = rulesOf(retention('short', 'maxTtl: 90d'))

  it('admits literal TTLs from 1 up to it, and refuses 0, which never expires', () => {
    const verdict = (seconds: bigint) => sign(judge(rules, insert(literal(seconds))))
    assert.equal(verdict(1n), '+')
    assert.equal(verdict(7_776_000n), '+')
    assert.equal(verdict(7_776_001n), '-short')
    assert.equal(verdict(0n), '-short')
    assert.equal(verdict(2n ** 70n), '-short')
    assert.equal(
      judge(rules, insert(literal(0n))).denial?.text,
      'TTL of shop.orders must be at least 1 and at most 7776000 seconds, and may not be missing',
    )
  })

  it('admits a missing TTL where the default of the table is admissible', () => {
    assert.equal(sign(judge(rules, insert(), { schema: withDefault(7_776_000) })), '+')
    for (const seconds of [0, 7_776_001]) {
      assert.equal(sign(judge(rules, insert(), { schema: withDefault(seconds) })), '-short')
    }
    assert.equal(sign(judge(rules, insert(), { schema: schemaOf({}) })), '-short')
  })

  it('leaves a bound TTL to the request, and says whether it may be unset', () => {
    const bound = insert({ marker: 3 })
    const test = { kind: 'ttl', marker: 3, minSeconds: 1, maxSeconds: 7_776_000 }
    assert.deepEqual(testsOf(judge(rules, bound)), [{ ...test, required: true }])
    assert.deepEqual(testsOf(judge(rules, bound, { schema: withDefault(60) })), [{ ...test, required: false }])
  })

  it('binds each statement of a BATCH, whose markers follow those of the BATCH', () => {
    const child = (ttl: Amount | undefined, ...markers: undefined[]) => insert(ttl, { markers })
    assert.equal(sign(judge(rules, batch([child(literal(60n)), child(literal(60n))]))), '+')
    assert.equal(sign(judge(rules, batch([child(literal(60n)), child(literal(0n))]))), '-short')
    const none = undefined
    const text = batch([child({ marker: 1 }, none, none), child({ marker: 0 }, none)], {
      timestamp: { marker: 0 },
      markers: [none, none, none, none],
    })
    const markers = testsOf(judge(rules, text)).map((test) => (test.kind === 'ttl' ? test.marker : -1))
    assert.deepEqual(markers, [2, 3])
  })

  it('leaves the bound TTLs of a BATCH message to its statements', () => {
    const message = batch([insert({ marker: 0 }, { markers: [undefined] })], { markers: [] })
    assert.deepEqual(testsOf(judge(rules, message)), [])
  })

  it('binds other tables not, and DELETE and SELECT not', () => {
    assert.equal(sign(judge(rules, factsOf('INSERT', 'other.orders'))), '+')
    assert.equal(sign(judge(rules, factsOf('DELETE', 'shop.orders'))), '+')
    assert.equal(sign(judge(rules, factsOf('SELECT', 'shop.orders'))), '+')
    assert.equal(sign(judge(noRules, insert(literal(0n)))), '+')
  })

  it('in observe mode refuses nothing and is named', () => {
    const observed = rulesOf(retention('short', 'maxTtl: 90d, mode: observe'))
    assert.equal(sign(judge(observed, insert())), '+ [short]')
    assert.equal(sign(judge(observed, insert(literal(60n)))), '+')
    const [check] = judge(observed, insert({ marker: 0 })).obligations?.checks ?? []
    assert.equal(check?.observe, true)
  })
})

describe('requireTtl and defaultTtl', () => {
  it('differ in that only the first refuses a missing TTL; neither admits 0', () => {
    const required = rulesOf(retention('r', 'requireTtl: true'))
    const preset = rulesOf(retention('d', 'defaultTtl: 30d'))
    assert.equal(sign(judge(required, insert())), '-r')
    assert.equal(sign(judge(preset, insert())), '+')
    assert.equal(sign(judge(required, insert(), { schema: withDefault(1) })), '+')
    assert.equal(sign(judge(required, insert(literal(0n)))), '-r')
    assert.equal(sign(judge(preset, insert(literal(0n)))), '-d')
    assert.equal(sign(judge(preset, insert(literal(630_720_000n)))), '+')
  })
})

describe('default_time_to_live', () => {
  const create = (defaultTtlSeconds?: number) => factsOf('CREATE TABLE', 'shop.orders', { defaultTtlSeconds })
  const alter = (defaultTtlSeconds?: number) => factsOf('ALTER TABLE', 'shop.orders', { defaultTtlSeconds })

  it('must be set by CREATE TABLE, and within the bounds', () => {
    const rules = rulesOf(retention('short', 'maxTtl: 60s'))
    assert.equal(sign(judge(rules, create(60))), '+')
    for (const seconds of [undefined, 0, 61]) assert.equal(sign(judge(rules, create(seconds))), '-short')
    assert.equal(sign(judge(rulesOf(retention('r', 'requireTtl: true')), create())), '-r')
    assert.equal(sign(judge(rulesOf(retention('r', 'requireTtl: true')), create(630_720_000))), '+')
    assert.equal(sign(judge(rules, factsOf('CREATE TABLE', 'other.orders'))), '+')
  })

  it('must be exactly defaultTtl where that is given', () => {
    const rules = rulesOf(retention('d', 'defaultTtl: 30s, maxTtl: 60s'))
    assert.equal(sign(judge(rules, create(30))), '+')
    for (const seconds of [undefined, 29, 31]) assert.equal(sign(judge(rules, create(seconds))), '-d')
    assert.match(judge(rules, create()).denial?.text ?? '', /^default_time_to_live of shop\.orders must be 30 seconds$/)
  })

  it('may be altered to an admissible value, and left alone by an ALTER that does not name it', () => {
    const rules = rulesOf(retention('short', 'maxTtl: 60s'))
    assert.equal(sign(judge(rules, alter(60))), '+')
    assert.equal(sign(judge(rules, alter())), '+')
    for (const seconds of [0, 61]) assert.equal(sign(judge(rules, alter(seconds))), '-short')
  })
})

describe('a legal hold', () => {
  const hold = document('RetentionPolicy', 'hold', '{keyspaces: [shop], tables: [orders], legalHold: true}')
  const rules = rulesOf(hold)
  const on = (verb: string, target = 'shop.orders', more: Partial<StatementFacts> = {}) =>
    sign(judge(rules, factsOf(verb, target, more)))

  it('refuses what deletes, also in a BATCH, and for the keyspace as a whole', () => {
    for (const verb of ['DELETE', 'TRUNCATE', 'DROP TABLE']) {
      assert.equal(on(verb), '-hold', verb)
      assert.equal(on(verb, 'shop.carts'), '+', verb)
    }
    assert.equal(sign(judge(rules, batch([insert(), factsOf('DELETE', 'shop.orders')]))), '-hold')
    assert.equal(sign(judge(rules, batch([insert(), factsOf('DELETE', 'shop.carts')]))), '+')
    assert.equal(sign(judge(rules, factsOf('DROP KEYSPACE', 'shop'))), '-hold')
    assert.equal(sign(judge(rules, factsOf('DROP KEYSPACE', 'shop2'))), '+')
    assert.equal(sign(judge(rules, factsOf('ALTER KEYSPACE', 'shop'))), '+')
  })

  it('refuses ALTER TABLE on columns that are there, and admits new ones', () => {
    const alter = (columns: readonly string[]) => ({ accesses: [access('ALTER', 'shop.orders', columns)] })
    assert.equal(on('ALTER TABLE', 'shop.orders', alter(['email'])), '-hold')
    assert.equal(on('ALTER TABLE', 'shop.orders', alter(['added'])), '+')
    assert.equal(on('ALTER TABLE', 'shop.orders', alter([])), '+')
    assert.equal(on('ALTER TABLE', 'shop.carts', alter(['email'])), '+')
    const unknown = factsOf('ALTER TABLE', 'shop.orders', alter(['added']))
    assert.equal(sign(judge(rules, unknown, { schema: schemaOf({}) })), '-hold')
  })

  it('lets no row expire: TTLs written, bound and by default', () => {
    assert.equal(sign(judge(rules, insert())), '+')
    assert.equal(sign(judge(rules, insert(literal(0n)))), '+')
    assert.equal(sign(judge(rules, insert(literal(60n)))), '-hold')
    assert.equal(sign(judge(rules, insert(), { schema: withDefault(60) })), '-hold')
    assert.equal(sign(judge(rules, insert(literal(0n)), { schema: withDefault(60) })), '+')
    assert.deepEqual(testsOf(judge(rules, insert({ marker: 0 }), { schema: withDefault(60) })), [
      { kind: 'ttl', marker: 0, minSeconds: 0, maxSeconds: 0, required: true },
    ])
    assert.equal(on('ALTER TABLE', 'shop.orders', { defaultTtlSeconds: 60 }), '-hold')
    assert.equal(on('ALTER TABLE', 'shop.orders', { defaultTtlSeconds: 0 }), '+')
    assert.equal(on('CREATE TABLE', 'shop.orders', { defaultTtlSeconds: 60 }), '-hold')
    assert.equal(on('CREATE TABLE'), '+')
  })

  it('suspends what asks for expiry, but not while it is only observed', () => {
    const both = (mode: string) =>
      rulesOf(retention('short', 'maxTtl: 60s'), hold.replace('legalHold', `mode: ${mode}, legalHold`))
    assert.equal(sign(judge(both('enforce'), insert())), '+')
    assert.equal(sign(judge(both('enforce'), insert(literal(60n)))), '-hold')
    assert.equal(sign(judge(both('observe'), insert())), '-short')
    assert.equal(sign(judge(both('observe'), insert(literal(60n)))), '+ [hold]')
    assert.equal(sign(judge(both('observe'), factsOf('DROP KEYSPACE', 'shop'))), '+ [hold]')
  })

  it('reaches the tables of a class, and those called __proto__', () => {
    const pii = document('DataClass', 'pii', '{columns: [{keyspace: shop, table: __proto__, columns: [email]}]}')
    const held = rulesOf(pii, document('RetentionPolicy', 'h', '{dataClass: pii, legalHold: true}'))
    assert.equal(sign(judge(held, factsOf('TRUNCATE', 'shop.__proto__'))), '-h')
    assert.equal(sign(judge(held, factsOf('TRUNCATE', 'shop.constructor'))), '+')
    assert.equal(sign(judge(held, factsOf('DROP KEYSPACE', 'shop'))), '-h')
    assert.equal(sign(judge(held, factsOf('DROP KEYSPACE', '__proto__'))), '+')
  })
})
