/** The orders service: takes orders and reads them back. It may do that to `shop.orders`, and nothing else. */
import { randomInt } from 'node:crypto'
import { types } from 'cassandra-driver'
import { runWorkload } from './workload.ts'

const recent: types.Uuid[] = []

await runWorkload('orders', 40, async ({ attempt, random }) => {
  if (recent.length < 10 || random(3) === 0) {
    const id = types.Uuid.random()
    await attempt('INSERT INTO shop.orders (id, customer, product, amount, card) VALUES (?, ?, ?, ?, ?)', [
      id,
      `customer-${random(500)}`,
      random(20),
      1 + random(5),
      `4929 0000 0000 ${randomInt(1000, 10_000)}`,
    ])
    recent.push(id)
    if (recent.length > 100) recent.shift()
    return
  }
  await attempt('SELECT customer, product, amount FROM shop.orders WHERE id = ?', [recent[random(recent.length)]])
})
