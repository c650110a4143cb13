/**
 * A job in the cloud, with a role of AWS: it looks at what is sold, and tries a card number, which no role gets. Its driver shows a token of that
 * role as the password, fresh at each connection. Settings beside a workload's: DEMO_CLOUD (issuer), DEMO_SECRET (file).
 */
import { audience, tokenPath, tokenSeconds } from '../providers/clients.ts'
import { readSecret } from '../providers/secrets.ts'
import { setting } from '../told.ts'
import { byToken } from './credentials.ts'
import { runWorkload } from './workload.ts'

let turn = 0

await runWorkload(
  'forecast',
  1_000,
  async ({ attempt }) => {
    await attempt('SELECT product, amount FROM shop.orders LIMIT 500')
    if (turn++ % 5 === 0) await attempt('SELECT card FROM shop.orders LIMIT 10')
  },
  async () => byToken({ token: webIdentityToken, lifeMs: tokenSeconds * 1000 }),
)

async function webIdentityToken(): Promise<string> {
  const response = await fetch(`${setting('DEMO_CLOUD')}${tokenPath}?audience=${audience}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${readSecret(setting('DEMO_SECRET'))}` },
  })
  const { token } = (await response.json()) as { token?: string }
  if (token === undefined) throw new Error(`the cloud gives no token (${response.status})`)
  return token
}
