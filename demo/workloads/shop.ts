/** The web application, behind NGINX. Settings beside a workload's: DEMO_LISTEN (address:port). */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { setting } from '../told.ts'
import { type Ask, answerPage } from './pages.ts'
import { Session } from './workload.ts'

const closeMsMax = 2_000

const session = await Session.open('shop')
await session.client.connect()

// The driver's types do not know `executeAs`.
const ask: Ask = ({ query, params, prepare }, executeAs) => session.ask(query, params, { prepare, executeAs } as object)

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://shop')
  const txnToken = request.headers['txn-token']
  answerPage(pathname, typeof txnToken === 'string' ? txnToken : undefined, ask).then(
    ({ status, text }) => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
      response.end(text)
    },
    () => response.writeHead(500).end(),
  )
})
const { hostname, port } = new URL(`http://${setting('DEMO_LISTEN')}`)
server.listen(Number(port), hostname)

if (!session.signal.aborted) await once(session.signal, 'abort')
// What is in flight is answered first.
const closed = new Promise((resolve) => server.close(resolve))
server.closeIdleConnections()
await Promise.race([closed, sleep(closeMsMax)])
await session.close()
process.exit(0)
