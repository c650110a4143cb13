import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../../cql/statement/analyse.ts'
import type { Restriction } from '../../cql/statement/facts.ts'
import type { RequestCheck } from '../obligations.ts'
import {
  access,
  admin,
  batch,
  document,
  factsOf,
  judge,
  noRules,
  restrict,
  rulesOf,
  schemaOf,
  select,
  sign,
  table,
  testsOf,
} from './data.fixture.ts'

const guard = (name: string, spec: string) => document('Guardrail', name, `{${spec}}`)
const one = { marker: 0 } as const
const schema = schemaOf({ 'shop.orders': table({ partitionKey: ['id'], clusteringKey: ['at'] }) })
const row = { restrictions: [restrict('id', '=', one), restrict('at', '=', undefined)] }

describe('scans and ALLOW FILTERING', () => {
  const rules = rulesOf(guard('g', 'scans: deny, allowFiltering: deny, keyspaces: [shop]'))

  it('are refused where a Guardrail denies them, to everyone', () => {
    const scan = select('shop.orders', ['id'], {
      accesses: [access('SELECT', 'shop.orders', ['id']), access('SCAN', 'shop.orders')],
    })
    assert.equal(sign(judge(rules, scan, { principal: admin, may: () => true })), '-g')
    assert.equal(sign(judge(noRules, scan)), '+')
    const filtering = (target: string) => select(target, ['id'], { allowFiltering: true })
    assert.equal(sign(judge(rules, filtering('shop.orders'))), '-g')
    assert.equal(sign(judge(rules, filtering('other.orders'))), '+')
    assert.equal(sign(judge(rules, select('shop.orders', ['id']))), '+')
  })

  it('are only counted in observe mode', () => {
    const observed = rulesOf(guard('g', 'allowFiltering: deny, mode: observe'))
    assert.equal(sign(judge(observed, select('shop.orders', ['id'], { allowFiltering: true }))), '+ [g]')
  })

  it('of system keyspaces are refused by a Guardrail that names them only', () => {
    const filtering = select('system_auth.roles', ['id'], { allowFiltering: true })
    assert.equal(sign(judge(rulesOf(guard('g', 'allowFiltering: deny')), filtering)), '+')
    assert.equal(sign(judge(rulesOf(guard('g', 'allowFiltering: deny, keyspaces: [system_auth]')), filtering)), '-g')
  })
})

describe('pageSizeMax', () => {
  const rules = rulesOf(guard('g', 'pageSizeMax: 100'))
  const page = (limitMarker?: number) => ({ kind: 'pageSize', max: 100, limitMarker })

  it('is asked of the request, unless LIMIT or the whole key keeps the answer small', () => {
    assert.deepEqual(testsOf(judge(rules, select('shop.orders', ['id']), { schema })), [page()])
    const limited = (literal: bigint) =>
      testsOf(judge(rules, select('shop.orders', ['id'], { limit: { literal } }), { schema }))
    assert.deepEqual(limited(100n), [])
    assert.deepEqual(limited(101n), [page()])
    assert.deepEqual(testsOf(judge(rules, select('shop.orders', ['id'], { limit: { marker: 2 } }), { schema })), [
      page(2),
    ])
    assert.deepEqual(testsOf(judge(rules, select('shop.orders', ['id'], row), { schema })), [])
    const partition = select('shop.orders', ['id'], { restrictions: row.restrictions.slice(0, 1) })
    assert.deepEqual(testsOf(judge(rules, partition, { schema })), [page()])
    const byToken: Restriction[] = [{ ...restrict('id', '=', one), token: true }, row.restrictions[1]!]
    assert.deepEqual(testsOf(judge(rules, select('shop.orders', ['id'], { restrictions: byToken }), { schema })), [
      page(),
    ])
  })

  it('is not asked of writes', () => {
    assert.deepEqual(testsOf(judge(rules, factsOf('INSERT', 'shop.orders'))), [])
  })
})

describe('limitMax', () => {
  const rules = rulesOf(guard('g', 'limitMax: 10'))
  it('refuses a LIMIT that is greater or missing, and asks the request for a bound one', () => {
    const verdict = (literal: bigint) =>
      sign(judge(rules, select('shop.orders', '*', { limit: { literal } }), { schema }))
    assert.equal(verdict(10n), '+')
    assert.equal(verdict(11n), '-g')
    assert.equal(verdict(2n ** 64n), '-g')
    assert.equal(sign(judge(rules, select('shop.orders', '*'), { schema })), '-g')
    assert.equal(sign(judge(rules, select('shop.orders', '*', row), { schema })), '+')
    assert.deepEqual(testsOf(judge(rules, select('shop.orders', '*', { limit: { marker: 1 } }), { schema })), [
      { kind: 'limit', marker: 1, max: 10 },
    ])
  })
})

describe('inValuesMax', () => {
  const rules = rulesOf(guard('g', 'inValuesMax: 4'))
  const values = (count: number) => Array.from({ length: count }, () => undefined)
  const list = (column: string, marker: number): Restriction => ({ ...restrict(column, 'IN'), list: marker })

  it('multiplies the lists, in writes too', () => {
    const within = (...restrictions: Restriction[]) => select('shop.orders', ['id'], { restrictions })
    assert.equal(sign(judge(rules, within(restrict('id', 'IN', ...values(4))))), '+')
    assert.equal(sign(judge(rules, within(restrict('id', 'IN', ...values(5))))), '-g')
    const two = [restrict('id', 'IN', ...values(2)), restrict('at', 'IN', ...values(2))]
    assert.equal(sign(judge(rules, within(...two))), '+')
    assert.equal(sign(judge(rules, within(...two, restrict('c', 'IN', ...values(2))))), '-g')
    assert.equal(sign(judge(rules, within(...two, restrict('c', 'other', ...values(2))))), '+')
    const remove = factsOf('DELETE', 'shop.orders', { restrictions: [restrict('id', 'IN', ...values(5))] })
    assert.equal(sign(judge(rules, remove)), '-g')
    assert.equal(sign(judge(rules, batch([remove]))), '-g')
  })

  it('leaves bound lists to the request, with what is written beside them', () => {
    const facts = select('shop.orders', ['id'], {
      restrictions: [list('id', 1), restrict('at', 'IN', ...values(3)), list('c', 4)],
    })
    assert.deepEqual(testsOf(judge(rules, facts)), [{ kind: 'inSize', markers: [1, 4], times: 3, max: 4 }])
  })
})

describe('partitionsPerBatchMax', () => {
  const rules = rulesOf(guard('g', 'partitionsPerBatchMax: 2'))
  const write = (text?: string) =>
    factsOf('UPDATE', 'shop.orders', { restrictions: text === undefined ? [] : [restrict('id', '=', { text })] })

  it('counts the statements of a BATCH text, those of one partition once where the key is text', () => {
    assert.equal(sign(judge(rules, batch([write(), write()]))), '+')
    assert.equal(sign(judge(rules, batch([write(), write(), write()]))), '-g')
    assert.equal(sign(judge(rules, batch([write('a'), write('a'), write('b')]))), '+')
    assert.equal(sign(judge(rules, batch([write('a'), write('b'), write('__proto__')]))), '-g')
    assert.equal(sign(judge(rules, batch([write('a'), write('a'), factsOf('UPDATE', 'other.t')]))), '+')
  })

  it('is asked of the request for the statements of a BATCH message', () => {
    const test = [{ kind: 'partitions', max: 2 }]
    assert.deepEqual(testsOf(judge(rules, write())), test)
    const part = factsOf('UPDATE', 'shop.orders', { markers: [undefined] })
    assert.deepEqual(testsOf(judge(rules, batch([part, part, part], { markers: [] }))), test)
    assert.deepEqual(testsOf(judge(noRules, write())), [])
  })
})

describe('several Guardrails', () => {
  it('leave the strictest of those enforced, and stricter ones that are observed', () => {
    const rules = rulesOf(
      guard('wide', 'pageSizeMax: 1000'),
      guard('narrow', 'pageSizeMax: 100'),
      guard('try', 'pageSizeMax: 10, mode: observe'),
      guard('late', 'pageSizeMax: 500, mode: observe'),
    )
    const checks = judge(rules, select('shop.orders', ['id']), { schema }).obligations?.checks ?? []
    const pages = checks.filter(({ test }) => test.kind === 'pageSize').map(({ rule, observe }) => [rule, observe])
    assert.deepEqual(pages, [
      ['narrow', false],
      ['try', true],
    ])
  })
})

/** Rule, kind and sides of the timestamp checks. */
const timestamps = (checks: readonly RequestCheck[] = []) =>
  checks.flatMap(({ rule, test }) => (test.kind === 'timestamp' ? [[rule, test.futureMs, test.pastMs]] : []))

describe('timestamps', () => {
  const insert = factsOf('INSERT', 'shop.orders')

  it('are bound to an hour ahead without any Guardrail, of every write', () => {
    for (const target of ['shop.orders', 'system_auth.roles']) {
      const { obligations } = judge(noRules, factsOf('INSERT', target))
      assert.deepEqual(timestamps(obligations?.checks), [['timestamp-bound', 3_600_000, undefined]])
    }
    assert.equal(judge(noRules, select('shop.orders', '*')).obligations, undefined)
  })

  it('are bound as a Guardrail that is enforced says, looser too, and as well as one that is observed', () => {
    const rules = (more: string) => judge(rulesOf(guard('g', more)), insert).obligations?.checks
    assert.deepEqual(timestamps(rules('timestampFutureMax: 1d')), [['g', 86_400_000, undefined]])
    assert.deepEqual(timestamps(rules('timestampFutureMax: 500ms')), [['g', 500, undefined]])
    assert.deepEqual(timestamps(rules('timestampPastMax: 1h')), [
      ['timestamp-bound', 3_600_000, undefined],
      ['g', undefined, 3_600_000],
    ])
    assert.deepEqual(timestamps(rules('timestampFutureMax: 1m, mode: observe')), [
      ['timestamp-bound', 3_600_000, undefined],
      ['g', 60_000, undefined],
    ])
    assert.deepEqual(timestamps(rules('timestampFutureMax: 1m, keyspaces: [other]')), [
      ['timestamp-bound', 3_600_000, undefined],
    ])
  })

  it('are checked where they are written, bound, of the BATCH, or the request’s own', () => {
    const sources = (facts: Parameters<typeof judge>[1]) =>
      (judge(noRules, facts).obligations?.checks ?? []).flatMap(({ test }) =>
        test.kind === 'timestamp' ? [[test.literalMicros, test.marker]] : [],
      )
    const literal = { literal: 5n }
    assert.deepEqual(sources(insert), [[undefined, undefined]])
    assert.deepEqual(sources({ ...insert, timestamp: literal }), [[5n, undefined]])
    assert.deepEqual(sources({ ...insert, timestamp: { marker: 2 } }), [[undefined, 2]])
    assert.deepEqual(sources(batch([insert, insert])), [[undefined, undefined]])
    assert.deepEqual(sources(batch([insert, insert], { timestamp: literal })), [[5n, undefined]])
    assert.deepEqual(sources(batch([insert, { ...insert, timestamp: literal }])), [
      [5n, undefined],
      [undefined, undefined],
    ])
  })

  it('of DELETE may be ahead without any Guardrail, and where nothing else is written under them', () => {
    const remove = factsOf('DELETE', 'shop.orders')
    const elsewhere = factsOf('INSERT', 'other.t')
    const bound = [['timestamp-bound', 3_600_000, undefined]]
    for (const timestamp of [undefined, { literal: 2n ** 62n }, { marker: 0 }]) {
      const under = timestamp === undefined ? {} : { timestamp, markers: [undefined] }
      const own = timestamp === undefined ? remove : { ...remove, timestamp }
      const removals = [own, batch([own]), batch([remove, remove], under)]
      for (const facts of removals)
        assert.deepEqual(timestamps(judge(noRules, facts).obligations?.checks), [], facts.verb)
      for (const write of ['INSERT', 'UPDATE'] as const) {
        const written =
          timestamp === undefined ? factsOf(write, 'shop.orders') : { ...factsOf(write, 'shop.orders'), timestamp }
        const plain = factsOf(write, 'shop.orders')
        for (const facts of [
          written,
          batch([own, written]),
          batch([remove, plain], under),
          batch([plain, remove], under),
        ]) {
          assert.deepEqual(timestamps(judge(noRules, facts).obligations?.checks), bound, facts.verb)
        }
      }
      assert.deepEqual(timestamps(judge(noRules, batch([remove, elsewhere], under)).obligations?.checks), bound)
      // Whoever sets a bound of their own gets it for all that carries a timestamp.
      for (const facts of removals) {
        const guarded = judge(rulesOf(guard('g', 'timestampFutureMax: 1m, timestampPastMax: 1h')), facts)
        assert.deepEqual(timestamps(guarded.obligations?.checks), [['g', 60_000, 3_600_000]])
        const past = judge(rulesOf(guard('g', 'timestampPastMax: 1h')), facts)
        assert.deepEqual(timestamps(past.obligations?.checks), [['g', undefined, 3_600_000]])
      }
    }
    // Of a BATCH, each statement by its own.
    const far = { literal: 2n ** 62n }
    const mixed = batch([
      { ...remove, timestamp: far },
      { ...insert, timestamp: { literal: 5n } },
    ])
    const [only, ...others] =
      judge(noRules, mixed).obligations?.checks.filter(({ test }) => test.kind === 'timestamp') ?? []
    assert.deepEqual(only?.test.kind === 'timestamp' && only.test.literalMicros, 5n)
    assert.deepEqual(others, [])
  })

  it('of a write that only removes may be ahead as of a DELETE, and of every other may not', () => {
    const far = 'USING TIMESTAMP 4611686018427387904'
    for (const [text, removes] of [
      [`DELETE FROM shop.orders ${far} WHERE id = 1`, true],
      [`DELETE v, m['a'] FROM shop.orders ${far} WHERE id = 1`, true],
      [`UPDATE shop.orders ${far} SET v = null WHERE id = 1`, true],
      [`UPDATE shop.orders ${far} SET v = null, w = NULL WHERE id = 1 AND c IN (1, 2)`, true],
      [`UPDATE shop.orders ${far} SET v = null, w = 'x' WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET v = null, n = n + 1 WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET v = null, m['a'] = 'x' WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET m['a'] = null, m['b'] = 'x' WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET v = null, s = s + {1} WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET v = ? WHERE id = 1`, false],
      [`UPDATE shop.orders ${far} SET v = 'x' WHERE id = 1`, false],
      // It says that the row is there, and that cannot be taken back.
      [`INSERT INTO shop.orders (id, v) VALUES (1, null) ${far}`, false],
      [`INSERT INTO shop.orders JSON '{"id": 1, "v": null}' ${far}`, false],
    ] as const) {
      const facts = analyse(text)
      for (const written of [facts, batch([facts, facts])]) {
        const found = timestamps(judge(noRules, written).obligations?.checks)
        assert.equal(found.length === 0, removes, text)
        for (const each of found) assert.deepEqual(each, ['timestamp-bound', 3_600_000, undefined])
      }
    }
  })

  it('cost no object of their own: the obligations of plain writes are one', () => {
    assert.equal(judge(noRules, insert).obligations, judge(noRules, factsOf('UPDATE', 'shop.orders')).obligations)
    assert.equal(judge(noRules, insert).obligations, judge(noRules, batch([insert, insert])).obligations)
  })
})

describe('now_in_seconds', () => {
  const asked = (...documents: string[]) => {
    const rules = rulesOf(...documents, guard('other', 'scans: deny, keyspaces: [other]'))
    const { obligations } = judge(rules, select('shop.orders', '*'))
    return obligations?.checks.map(({ rule, observe }) => (observe ? `(${rule})` : rule))
  }

  it('is refused by the built-in check, of which a SELECT needs no word', () => {
    assert.equal(asked(), undefined)
    assert.deepEqual(
      judge(noRules, factsOf('INSERT', 'shop.orders')).obligations?.checks.map(({ rule }) => rule),
      ['timestamp-bound', 'now-in-seconds'],
    )
  })

  it('is free where a Guardrail allows it and none denies it', () => {
    const allow = guard('a', 'nowInSeconds: allow, keyspaces: [shop]')
    const deny = guard('d', 'nowInSeconds: deny')
    assert.deepEqual(asked(allow), [])
    assert.deepEqual(asked(allow, deny), ['d'])
    assert.deepEqual(asked(allow, deny.replace('deny}', 'deny, mode: observe}')), ['(d)'])
    assert.equal(asked(guard('a', 'nowInSeconds: allow, keyspaces: [other]')), undefined)
  })
})

describe('the rules of a table', () => {
  it('is found once and remembered among the ten thousand that were used last, then found again', () => {
    const rules = rulesOf(guard('g', 'pageSizeMax: 100'))
    const first = rules.of('shop', 'orders', undefined)
    assert.equal(rules.of('shop', 'orders', undefined), first)
    assert.notEqual(rules.of('shop', 'orders', 'base'), first)
    for (let i = 2; i < 10_000; i++) rules.of('shop', `t${i}`, undefined)
    assert.equal(rules.of('shop', 'orders', undefined), first)
    rules.of('shop', 'one_more', undefined)
    assert.equal(rules.of('shop', 'orders', undefined), first, 'it was used a moment ago')
    for (let i = 0; i < 10_000; i++) rules.of('shop', `u${i}`, undefined)
    assert.notEqual(rules.of('shop', 'orders', undefined), first)
    assert.deepEqual(rules.of('shop', 'orders', undefined), first)
  })

  it('is told apart by keyspace and table, however the names are cut', () => {
    const rules = rulesOf(guard('g', 'scans: deny, keyspaces: [a], tables: [bc]'))
    assert.equal(rules.of('a', 'bc', undefined).scans.length, 1)
    assert.equal(rules.of('ab', 'c', undefined).scans.length, 0)
    assert.equal(rules.of('a', 'b', 'c').scans.length, 0)
  })
})
