/**
 * The pages of the web application. It has one session to Cassandra and many people before it: each statement is on behalf of who asked, by the
 * transaction token that NGINX hands it.
 *
 * Rule: a request without that token reads nothing. The application alone may see more than a person.
 */
import { decodeJwt } from 'jose'
import type { Outcome } from './workload.ts'

export interface Statement {
  readonly query: string
  readonly params: readonly unknown[]
  readonly prepare: boolean
}

/** @param executeAs the transaction token */
export type Ask = (statement: Statement, executeAs: string) => Promise<Outcome>

export interface Answer {
  readonly status: number
  readonly text: string
}

const lists: ReadonlyMap<string, string> = new Map([
  ['/orders', 'SELECT product, amount FROM shop.orders LIMIT 20'],
  ['/customers', 'SELECT customer, amount FROM shop.orders LIMIT 20'],
  ['/reports', 'SELECT product, sold FROM shop.reports LIMIT 20'],
])

export async function answerPage(path: string, txnToken: string | undefined, ask: Ask): Promise<Answer> {
  const who = nameIn(txnToken)
  if (txnToken === undefined || who === undefined) return { status: 401, text: 'nobody says who you are\n' }
  const statement = statementFor(path)
  if (statement === undefined) {
    const pages = '/products/1, /orders, /customers, /reports'
    return { status: path === '/' ? 200 : 404, text: `You are ${who}. There are ${pages}.\n` }
  }
  const outcome = await ask(statement, txnToken)
  if (outcome.kind === 'refused') return { status: 403, text: `${outcome.why}\n` }
  if (outcome.kind === 'lost') return { status: 503, text: 'not now; try again\n' }
  const rows = outcome.result.rows.map((row) => Object.values(row).map(String).join('  '))
  return { status: 200, text: `${[`${who}, ${rows.length} rows`, ...rows].join('\n')}\n` }
}

function statementFor(path: string): Statement | undefined {
  const [, product] = /^\/products\/(\d{1,4})$/.exec(path) ?? []
  if (product !== undefined) {
    const query = 'SELECT name, price FROM shop.products WHERE id = ?'
    return { query, params: [Number(product)], prepare: true }
  }
  const query = lists.get(path)
  // The application may not read reports, so it could not prepare that one in its own name.
  return query === undefined ? undefined : { query, params: [], prepare: path !== '/reports' }
}

/** For the eye only: the sidecar verifies the token. */
function nameIn(txnToken: string | undefined): string | undefined {
  try {
    return txnToken === undefined ? undefined : decodeJwt(txnToken).sub
  } catch {
    return undefined
  }
}
