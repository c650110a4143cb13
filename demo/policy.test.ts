/** The rules of the demonstration: what each kind of caller may and may not, and what two together may. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../src/identity/spiffe.ts'
import { engineOf, schemaOf, verdict } from '../src/policy/policy.fixture.ts'
import type { Principal } from '../src/policy/principal.ts'
import { loadProviders } from '../src/policy/providers.ts'
import { layoutOf } from './parts/layout.ts'
import { policyFileFor } from './parts/people.ts'

const id = (path: string) => parseSpiffeId(`spiffe://demo.local/${path}`)
const alice: Principal = { spiffeId: id('user/corp/alice'), person: 'corp/alice', groups: ['corp/analysts'] }
const bob: Principal = { spiffeId: id('user/corp/bob'), person: 'corp/bob', groups: ['corp/interns'] }
const role = 'arn:aws:iam::123456789012:role/forecast'
const forecast: Principal = { spiffeId: id('aws/123456789012/role/forecast'), role }
const shop: Principal = { spiffeId: id('svc/shop') }
const callers = {
  alice,
  bob,
  forecast,
  shop,
  'alice with a certificate': { spiffeId: alice.spiffeId },
  'bob with a certificate': { spiffeId: bob.spiffeId },
  'another role': { ...forecast, role: 'arn:aws:iam::123456789012:role/other' },
  'alice at the shop': { ...shop, person: 'corp/alice', groups: ['corp/analysts'] },
  'bob at the shop': { ...shop, person: 'corp/bob', groups: ['corp/interns'] },
  'carol at the shop': { ...shop, person: 'corp/carol', groups: [] },
} satisfies Record<string, Principal>

const schema = schemaOf({
  'shop.products': { columns: ['id', 'name', 'price'] },
  'shop.orders': { columns: ['id', 'customer', 'product', 'amount', 'card'] },
  'shop.reports': { columns: ['day', 'product', 'sold'] },
})
const products = 'SELECT name, price FROM shop.products WHERE id = 1'
const orders = 'SELECT product, amount FROM shop.orders LIMIT 20'
const customers = 'SELECT customer, amount FROM shop.orders LIMIT 20'
const reports = 'SELECT product, sold FROM shop.reports LIMIT 20'
const cards = 'SELECT card FROM shop.orders LIMIT 10'

const none = ['-default-deny', '-default-deny', '-default-deny', '-default-deny', '-cards-stay-hidden']
const all = ['+analysts', '+analysts', '+analysts', '+analysts', '-cards-stay-hidden']
const productsOnly = ['+interns-see-products', ...none.slice(1)]
/** By which rule each of the statements is permitted or refused. */
const expected: Record<keyof typeof callers, readonly string[]> = {
  alice: all,
  bob: productsOnly,
  forecast: all,
  shop: ['+shop-pages', '+shop-pages', '+shop-pages', '-default-deny', '+shop-pages'],
  'alice with a certificate': all,
  'bob with a certificate': productsOnly,
  'another role': none,
  // Both must be permitted: the application may not read reports.
  'alice at the shop': [...Array<string>(3).fill('+analysts,shop-pages'), ...none.slice(3)],
  // A rule names the pair for orders; customers are not his to see.
  'bob at the shop': ['+interns-see-products,shop-pages', '+shop-pages,interns-at-the-shop', ...none.slice(2)],
  'carol at the shop': none,
}

describe('the rules of the demonstration', () => {
  const engine = engineOf(readFileSync(policyFileFor(layoutOf('/nowhere', 1, 0)), 'utf8'))

  for (const [name, rules] of Object.entries(expected)) {
    it(`are these for ${name}`, () => {
      const as = callers[name as keyof typeof callers]
      const given = [products, orders, customers, reports, cards].map((text) => verdict(engine, text, { as, schema }))
      assert.deepEqual(given, rules)
    })
  }

  it('name the providers where they listen, also where ports are moved', () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'rf-policy-'))
    try {
      for (const offset of [0, 1000]) {
        const layout = layoutOf(stateDir, 1, offset)
        const issuers = loadProviders(readFileSync(policyFileFor(layout), 'utf8')).map(
          ({ spec }) => (spec as { issuer?: string }).issuer,
        )
        assert.deepEqual(
          issuers,
          [layout.corp, layout.cloud].map(({ address, port }) => `http://${address}:${port}`),
        )
      }
    } finally {
      rmSync(stateDir, { recursive: true })
    }
  })
})
