/** The nightly report, for which every four seconds is a night: adds the orders up and writes the sums. */
import { runWorkload } from './workload.ts'

await runWorkload('report', 4_000, async ({ attempt }) => {
  const orders = await attempt('SELECT product, amount FROM shop.orders LIMIT 1000')
  const sums = new Map<number, number>()
  for (const row of orders?.rows ?? []) sums.set(row.product, (sums.get(row.product) ?? 0) + Number(row.amount))
  for (const [product, sold] of sums) {
    await attempt('INSERT INTO shop.reports (day, product, sold) VALUES (?, ?, ?)', [
      new Date().toISOString().slice(0, 10),
      product,
      sold,
    ])
  }
})
