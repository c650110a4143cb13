/**
 * A port of 127.0.0.1 that nobody listens on. Not one that the system gives away: between this look and the listener another process would get
 * it for a connection of its own. And above those of a mesh that tests start (e2e/held.ts).
 */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

const portMin = 22_000
const portMax = 32_000

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(portMin, portMax)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch {
      continue
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
