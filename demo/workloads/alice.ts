/** Alice, an analyst: reads everything in the shop except card numbers, which a deny keeps from every person. */
import { byToken } from './credentials.ts'
import { logIn } from './person.ts'
import { runWorkload } from './workload.ts'

let turn = 0

await runWorkload(
  'alice',
  400,
  async ({ attempt, random }) => {
    await attempt('SELECT customer, product, amount FROM shop.orders LIMIT 100')
    await attempt('SELECT * FROM shop.products WHERE id = ?', [random(20)])
    if (turn++ % 8 === 0) await attempt('SELECT customer, card FROM shop.orders LIMIT 10')
  },
  async () => byToken(await logIn('alice')),
)
