import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Access } from '../../cql/statement/facts.ts'
import {
  access,
  admin,
  app,
  batch,
  document,
  factsOf,
  judge,
  masksOf,
  noRules,
  rulesOf,
  schemaOf,
  select,
  sign,
  table,
} from './data.fixture.ts'

const masking = (name: string, more: string) =>
  document('MaskingPolicy', name, `{keyspaces: [shop], tables: [orders], ${more}}`)
const email = rulesOf(masking('hide', 'columns: [email], mask: full'))

describe('a masked column', () => {
  it('is hidden where it is shown as it stands, and nothing else is', () => {
    assert.deepEqual(masksOf(judge(email, select('shop.orders', ['id', 'email']))), ['email=full'])
    assert.deepEqual(masksOf(judge(email, select('shop.orders', '*'))), ['email=full'])
    assert.equal(judge(email, select('shop.orders', ['id', 'name'])).obligations, undefined)
    assert.equal(
      judge(email, select('shop.carts', '*'), { schema: schemaOf({ 'shop.carts': table() }) }).obligations,
      undefined,
    )
    assert.equal(judge(noRules, select('shop.orders', '*')).obligations, undefined)
  })

  it('is refused by rule and name where it is used otherwise', () => {
    const used = judge(email, select('shop.orders', ['id'], { columnsUsed: ['email'] }))
    assert.deepEqual(used.denial, {
      rule: 'hide',
      text: 'column email of shop.orders is masked, so it may only be selected as it stands',
    })
    assert.equal(sign(judge(email, select('shop.orders', ['id'], { columnsUsed: ['name'] }))), '+')
    assert.equal(sign(judge(email, select('shop.orders', ['email'], { columnsUsed: ['email'] }))), '-hide')
    assert.equal(sign(judge(email, select('shop.orders', '*', { columnsUsed: ['email'] }))), '-hide')
  })

  it('is refused where it is mentioned and neither shown nor, as the facts have it, used', () => {
    const sly = select('shop.orders', ['id'], { accesses: [access('SELECT', 'shop.orders', ['id', 'email'])] })
    assert.equal(sign(judge(email, sly)), '-hide')
  })

  it('is refused in JSON, where other columns are not', () => {
    const json = (columns: readonly string[] | '*') =>
      factsOf('SELECT', 'shop.orders', { accesses: [access('SELECT', 'shop.orders', columns)] })
    assert.equal(sign(judge(email, json(['id', 'email']))), '-hide')
    assert.equal(sign(judge(email, json('*'))), '-hide')
    assert.equal(sign(judge(email, json(['id']))), '+')
  })

  it('is shown to who has UNMASK on it', () => {
    const asked: Access[] = []
    const may = (one: Access): boolean => {
      asked.push(one)
      return true
    }
    const seen = judge(email, select('shop.orders', '*', { columnsUsed: ['email'] }), { may })
    assert.equal(sign(seen), '+')
    assert.deepEqual(masksOf(seen), [])
    assert.deepEqual(asked, [access('UNMASK', 'shop.orders', ['email'])])
  })

  it('is masked for the subjects of the rule without those it excepts', () => {
    const rules = rulesOf(
      masking('a', 'columns: [email], mask: full, subjects: [{spiffeId: "spiffe://td/svc/*"}]'),
      masking('b', 'columns: [name], mask: full, exceptSubjects: [{spiffeId: "spiffe://td/admin/*"}]'),
    )
    const facts = select('shop.orders', '*')
    assert.deepEqual(masksOf(judge(rules, facts, { principal: app })), ['email=full', 'name=full'])
    assert.deepEqual(masksOf(judge(rules, facts, { principal: admin })), [])
  })

  it('may be called __proto__, and no other name is masked with it', () => {
    const rules = rulesOf(masking('p', 'columns: [__proto__], mask: hash'))
    assert.deepEqual(masksOf(judge(rules, select('shop.orders', '*'))), ['__proto__=hash'])
    assert.equal(sign(judge(rules, select('shop.orders', ['id'], { columnsUsed: ['__proto__'] }))), '-p')
    assert.equal(sign(judge(rules, select('shop.orders', ['id'], { columnsUsed: ['constructor'] }))), '+')
  })

  it('is only counted in observe mode, shown or used', () => {
    const rules = rulesOf(masking('try', 'columns: [email], mask: full, mode: observe'))
    assert.equal(sign(judge(rules, select('shop.orders', '*'))), '+ [try]')
    assert.deepEqual(masksOf(judge(rules, select('shop.orders', '*'))), [])
    assert.equal(sign(judge(rules, select('shop.orders', ['id'], { columnsUsed: ['email'] }))), '+ [try]')
    assert.equal(sign(judge(rules, select('shop.orders', ['id']))), '+')
  })
})

describe('several masks on one column', () => {
  const meet = (...masks: string[]) =>
    judge(
      rulesOf(...masks.map((mask, index) => masking(`m${index}`, `columns: [email], mask: ${mask}`))),
      select('shop.orders', '*'),
    ).obligations?.masks

  it('leave the strictest, in any order', () => {
    const order = ['partial, keepEnd: 4', 'hash', 'full', 'null']
    for (const [i, weaker] of order.entries()) {
      for (const stronger of order.slice(i + 1)) {
        const kind = stronger
        assert.equal(meet(weaker, stronger)?.[0]?.mask.kind, kind)
        assert.equal(meet(stronger, weaker)?.[0]?.mask.kind, kind)
        assert.equal(meet(weaker, stronger)?.[0]?.rule, 'm1')
      }
    }
  })

  it('of kind partial show only what each of them shows', () => {
    const [mask] = meet('partial, keepStart: 3, keepEnd: 1', 'partial, keepStart: 1, keepEnd: 2') ?? []
    assert.deepEqual(mask, { column: 'email', mask: { kind: 'partial', keepStart: 1, keepEnd: 1 }, rule: 'm1' })
  })
})

describe('a view', () => {
  const schema = schemaOf({ 'shop.orders': table(), 'shop.by_email': table({ base: 'orders' }) })

  it('shows the columns of its base masked, unless UNMASK is held on the base', () => {
    const facts = select('shop.by_email', ['id', 'email'])
    assert.deepEqual(masksOf(judge(email, facts, { schema })), ['email=full'])
    const on = (name: string) => (one: Access) => one.resource.kind === 'table' && one.resource.table === name
    assert.deepEqual(masksOf(judge(email, facts, { schema, may: on('orders') })), [])
    assert.deepEqual(masksOf(judge(email, facts, { schema, may: on('by_email') })), ['email=full'])
  })

  it('that is not known yet is refused where it could show a masked column of its keyspace', () => {
    const unknown = schemaOf({})
    assert.equal(sign(judge(email, select('shop.new', ['email']), { schema: unknown })), '-hide')
    assert.equal(sign(judge(email, select('shop.new', '*'), { schema: unknown })), '-hide')
    assert.equal(sign(judge(email, select('shop.new', ['id']), { schema: unknown })), '+')
    assert.equal(sign(judge(email, select('other.new', '*'), { schema: unknown })), '+')
    assert.equal(sign(judge(email, select('shop.new', '*'), { schema: unknown, may: () => true })), '+')
  })
})

describe('a write with IF', () => {
  const write = (conditional: boolean, columnsUsed: readonly string[] = []) =>
    factsOf('UPDATE', 'shop.orders', { conditional, columnsUsed })

  it('answers with the row, so its columns are hidden by name; one without IF answers nothing', () => {
    assert.deepEqual(masksOf(judge(email, write(true))), ['email=full'])
    assert.deepEqual(masksOf(judge(email, write(false))), [])
    assert.deepEqual(masksOf(judge(email, batch([write(false), write(true)]))), ['email=full'])
  })

  it('may not put its condition on a masked column, in a BATCH neither', () => {
    assert.equal(sign(judge(email, write(true, ['email']))), '-hide')
    assert.equal(sign(judge(email, write(true, ['name']))), '+')
    assert.equal(sign(judge(email, batch([write(false), write(true, ['email'])]))), '-hide')
  })
})

describe('wildcards of a mask', () => {
  it('include no system keyspace; a name does', () => {
    const schema = schemaOf({ 'system_auth.roles': table(), 'shop.orders': table() })
    const facts = select('system_auth.roles', '*')
    const rules = (keyspace: string) =>
      rulesOf(document('MaskingPolicy', 'm', `{keyspaces: [${keyspace}], columns: [email], mask: full}`))
    assert.deepEqual(masksOf(judge(rules('"*"'), facts, { schema })), [])
    assert.deepEqual(masksOf(judge(rules('"*"'), select('shop.orders', '*'), { schema })), ['email=full'])
    assert.deepEqual(masksOf(judge(rules('system_auth'), facts, { schema })), ['email=full'])
  })

  it('of a class reach the columns of its patterns, and every column of its tables', () => {
    const pii = document(
      'DataClass',
      'pii',
      '{columns: [{keyspace: "sh*", table: "ord*", columns: ["e*"]}], tables: [{keyspace: shop, table: carts}]}',
    )
    const rules = rulesOf(pii, document('MaskingPolicy', 'm', '{dataClass: pii, mask: null}'))
    const schema = schemaOf({
      'shop.orders': table(),
      'shop.carts': table({ columns: ['a', 'b'] }),
      'shop.stock': table(),
    })
    assert.deepEqual(masksOf(judge(rules, select('shop.orders', '*'), { schema })), ['email=null'])
    assert.deepEqual(masksOf(judge(rules, select('shop.carts', '*'), { schema })), ['a=null', 'b=null'])
    assert.deepEqual(masksOf(judge(rules, select('shop.stock', '*'), { schema })), [])
  })
})

describe('without a schema, where a policy is tried', () => {
  const tried = { schema: undefined }

  it('masks are taken at their word, and refusals stand', () => {
    assert.deepEqual(masksOf(judge(email, select('shop.orders', '*'), tried)), ['email=full'])
    assert.deepEqual(masksOf(judge(email, select('shop.orders', ['id', 'email']), tried)), ['email=full'])
    assert.equal(judge(email, select('shop.orders', ['id']), tried).obligations, undefined)
    assert.equal(sign(judge(email, select('shop.orders', ['id'], { columnsUsed: ['email'] }), tried)), '-hide')
  })

  it('no SELECT is known to have one row, and no two writes one partition', () => {
    const guard = rulesOf(document('Guardrail', 'g', '{limitMax: 5, partitionsPerBatchMax: 1}'))
    assert.equal(sign(judge(guard, select('shop.orders', '*'), tried)), '-g')
    const write = factsOf('UPDATE', 'shop.orders')
    assert.equal(sign(judge(guard, batch([write, write]), tried)), '-g')
    assert.equal(sign(judge(guard, batch([write]), tried)), '+')
  })
})
