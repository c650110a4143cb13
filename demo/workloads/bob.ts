/** Bob, an intern with a script: may look at the products, tries everything else, and is refused. His connection stays good. */
import { byToken } from './credentials.ts'
import { logIn } from './person.ts'
import { runWorkload } from './workload.ts'

const tries = [
  'SELECT * FROM shop.orders LIMIT 5',
  'TRUNCATE shop.orders',
  'SELECT * FROM system_auth.roles',
  "INSERT INTO shop.reports (day, product, sold) VALUES ('today', 1, 1000000)",
  'DROP KEYSPACE shop',
]
let next = 0

await runWorkload(
  'bob',
  700,
  async ({ attempt, client, random }) => {
    await attempt('SELECT * FROM shop.products WHERE id = ?', [random(20)])
    // Not prepared, so that each of them is refused when it is asked and not when it is prepared.
    await client.execute(tries[next++ % tries.length]!, [], { prepare: false }).catch(() => {})
  },
  async () => byToken(await logIn('bob')),
)
