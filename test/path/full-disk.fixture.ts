/**
 * A sidecar under load whose file system takes no more; started by `loss.test.ts` with a limit on the size of files. It says which requests
 * were answered and is killed, like a process that the kernel ends, as soon as a request was not.
 */
import { writeSync } from 'node:fs'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { World } from './world.ts'

const world = await World.make()
const format = process.argv[3] === 'sealed' ? 'sealed' : 'lines'
const running = await world.sidecar({ name: 'full', audit: { format } })
const throughGateway = process.argv[2] === 'gateway'
const port = throughGateway ? (await world.gateway([running])).port : running.port
const clients = await Promise.all(Array.from({ length: 4 }, () => world.client(port, 'alice')))
let next = 0

async function insert(client: (typeof clients)[number], stream: number): Promise<void> {
  for (;;) {
    const number = next++
    const answer = await client.ask(queryEnvelope(4, stream, `SELECT k AS request${number}_ FROM shop.items`))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) throw new Error('refused')
    writeSync(1, `request${number}_\n`)
  }
}

try {
  await Promise.all(clients.flatMap((client) => Array.from({ length: 16 }, (_, stream) => insert(client, stream))))
} catch {
  // What is on its way to other clients still counts.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300)
}
