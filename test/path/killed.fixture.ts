/**
 * A sidecar with the sealed record, under load until it is killed; started by `killed.test.ts`. It says where its record is, each statement
 * that its node saw, when the node saw it, and each that was answered.
 */
import { writeSync } from 'node:fs'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { World } from './world.ts'

const world = await World.make()
const running = await world.sidecar({ name: 'killed', audit: { format: 'sealed' } })
writeSync(1, `folder ${world.folder}\nrecord ${running.auditDirectory}\n`)
running.node.intercept = ({ text }) => {
  const [, number] = /request(\d+)_/.exec(text) ?? []
  if (number !== undefined) writeSync(1, `saw ${number}\n`)
  return false
}
const clients = await Promise.all(Array.from({ length: 4 }, () => world.client(running.port, 'alice')))
let next = 0

async function load(client: (typeof clients)[number], stream: number): Promise<void> {
  for (;;) {
    const number = next++
    // Some are refused, and reach no node.
    const keyspace = number % 7 === 0 ? 'elsewhere' : 'shop'
    const answer = await client.ask(queryEnvelope(4, stream, `SELECT k AS request${number}_ FROM ${keyspace}.items`))
    writeSync(1, `${headerOpcode(answer, 0) === Opcode.RESULT ? 'answered' : 'refused'} ${number}\n`)
  }
}

await Promise.all(clients.flatMap((client) => Array.from({ length: 16 }, (_, stream) => load(client, stream))))
