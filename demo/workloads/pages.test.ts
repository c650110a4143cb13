/** The pages of the demonstration's web application: each statement is on behalf of somebody, or there is none. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { types } from 'cassandra-driver'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { type Ask, answerPage, type Statement } from './pages.ts'
import type { Outcome } from './workload.ts'

const token = signed(makeKey('t1'), { sub: 'corp/alice' })
const rows: Outcome = {
  kind: 'answered',
  result: { rows: [{ product: 7, amount: 2 }] } as unknown as types.ResultSet,
}

function asked(outcome: Outcome): { ask: Ask; seen: { statement: Statement; executeAs: string }[] } {
  const seen: { statement: Statement; executeAs: string }[] = []
  return {
    seen,
    ask: async (statement, executeAs) => {
      seen.push({ statement, executeAs })
      return outcome
    },
  }
}

describe('a page of the web application', () => {
  for (const path of ['/orders', '/products/7', '/customers', '/reports']) {
    it(`${path} asks on behalf of who is there, once`, async () => {
      const { ask, seen } = asked(rows)
      const { status, text } = await answerPage(path, token, ask)
      assert.deepEqual([status, text], [200, 'corp/alice, 1 rows\n7  2\n'])
      assert.deepEqual(
        seen.map(({ executeAs }) => executeAs),
        [token],
      )
    })

    it(`${path} reads nothing for nobody`, async () => {
      for (const none of [undefined, '', 'corp/alice', 'a.b.c']) {
        const { ask, seen } = asked(rows)
        assert.equal((await answerPage(path, none, ask)).status, 401)
        assert.deepEqual(seen, [])
      }
    })
  }

  it('says why policy refuses, and not why something was lost', async () => {
    const refused = await answerPage('/orders', token, asked({ kind: 'refused', why: 'no SELECT permission' }).ask)
    assert.deepEqual([refused.status, refused.text], [403, 'no SELECT permission\n'])
    const lost = await answerPage('/orders', token, asked({ kind: 'lost', why: '10.0.0.1 is away' }).ask)
    assert.deepEqual([lost.status, lost.text], [503, 'not now; try again\n'])
  })

  it('has no other pages', async () => {
    for (const [path, status] of [
      ['/', 200],
      ['/products/x', 404],
      ['/orders/1', 404],
      ['/__proto__', 404],
    ] as const) {
      const { ask, seen } = asked(rows)
      assert.equal((await answerPage(path, token, ask)).status, status)
      assert.deepEqual(seen, [])
    }
  })
})
