import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { access, cedar, engineOf, orders, schemaOf } from './policy.fixture.ts'
import { neutralRequest } from './request.ts'

const schema = schemaOf({
  'shop.orders': { partitionKey: ['id'], columns: ['id', 'customer', 'amount', 'card', 'cvc', 'pin', 'iban'] },
  'shop.hidden': { partitionKey: ['id'], columns: ['id', 'card'] },
})
const read = access('read', { keyspaces: ['shop'], tables: ['orders'], operations: ['READ', 'SCAN'] })
const noCards = access('no-cards', { keyspaces: ['shop'], columns: ['card'], operations: ['SELECT'], effect: 'deny' })

function reasonOf(documents: readonly string[], text: string): string {
  const decision = engineOf(...documents).decide(orders, analyse(text), neutralRequest, schema)
  return decision.kind === 'denial' ? decision.reason.replace(/^spiffe:\/\/td\/svc\/orders /, '') : 'permit'
}

describe('a refusal because of columns', () => {
  const cases: readonly [string, readonly string[], string, string][] = [
    [
      'names the one behind SELECT *',
      [read, noCards],
      'SELECT * FROM shop.orders WHERE id = 1',
      '<table shop.orders> (column card) (rule no-cards',
    ],
    [
      'and the one that was asked for among others',
      [read, noCards],
      'SELECT id, card FROM shop.orders WHERE id = 1',
      '<table shop.orders> (column card) (rule no-cards',
    ],
    [
      'and the one that WHERE goes by',
      [read, noCards],
      'SELECT id FROM shop.orders WHERE id = 1 AND card = 2 ALLOW FILTERING',
      '<table shop.orders> (column card) (rule no-cards',
    ],
    [
      'names what no rule gives',
      [access('some', { keyspaces: ['shop'], tables: ['orders'], columns: ['id', 'customer'], operations: ['READ'] })],
      'SELECT id, amount FROM shop.orders WHERE id = 1',
      '<table shop.orders> (column amount) (rule default-deny',
    ],
    [
      'names three, and says that there are more',
      [
        read,
        access('no-secrets', {
          keyspaces: ['shop'],
          columns: ['card', 'cvc', 'pin', 'iban'],
          operations: ['SELECT'],
          effect: 'deny',
        }),
      ],
      'SELECT * FROM shop.orders WHERE id = 1',
      '<table shop.orders> (columns card, cvc, pin, …) (rule no-secrets',
    ],
    [
      'of a rule in Cedar, too',
      [read, cedar('no-pins', 'forbid(principal, action, resource == Column::"shop.orders.pin");')],
      'SELECT pin FROM shop.orders WHERE id = 1',
      '<table shop.orders>',
    ],
    [
      'names none where the table is refused as a whole',
      [noCards],
      'SELECT * FROM shop.orders WHERE id = 1',
      '<table shop.orders> (rule no-cards',
    ],
    [
      'names none of a table that may not be seen',
      [read, noCards],
      'SELECT card FROM shop.hidden WHERE id = 1',
      '<table shop.hidden> (rule no-cards',
    ],
    [
      'names none where the table is not there',
      [read, noCards],
      'SELECT card FROM shop.nothing WHERE id = 1',
      '<table shop.nothing> (rule no-cards',
    ],
  ]
  for (const [name, documents, text, words] of cases) {
    it(name, () => assert.ok(reasonOf(documents, text).includes(words), reasonOf(documents, text)))
  }
})
