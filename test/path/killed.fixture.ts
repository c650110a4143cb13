/**
 * A sidecar with the sealed record, under load until it is killed; started by `killed.test.ts`. It says where its record is, each statement
 * that its node saw, when the node saw it, and each that was answered.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { originOf } from '../../src/audit/sealed/log-key.ts'
import { SealedRecord } from '../../src/audit/sealed/record.ts'
import { SealedWriter } from '../../src/audit/sealed/writer.ts'
import { systemClock } from '../../src/base/clock.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import { World } from './world.ts'

/** The pipe may be full: then who reads it has not caught up. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, line)
      return
    } catch (reason) {
      if (!(reason instanceof Error && 'code' in reason && reason.code === 'EAGAIN')) throw reason
    }
  }
}

const world = await World.make()
const credentials = await world.freshCredentials('ringfence/sidecar/test/dc1/killed')
const directory = join(world.folder, 'sealed')
// Small segments and many seals: so that a kill meets each of them.
const writer = new SealedWriter({
  directory,
  proxy: 'killed',
  origin: originOf(parseSpiffeId('spiffe://demo.local/ringfence/sidecar/test/dc1/killed')),
  certifier: () => credentials,
  durability: 'kernel',
  segmentBytesMax: 20 * 1024,
  clock: systemClock,
})
setInterval(() => writer.sealNow(), 20).unref()
const running = await world.sidecar({
  name: 'killed',
  more: { barrier: new SealedRecord(writer, () => 1, false) },
})
say(`folder ${world.folder}\nrecord ${directory}\n`)
running.node.intercept = ({ text }) => {
  const [, number] = /request(\d+)_/.exec(text) ?? []
  if (number !== undefined) say(`saw ${number}\n`)
  // Some it never answers.
  return Number(number) % 97 === 5
}
const clients = await Promise.all(Array.from({ length: 4 }, () => world.client(running.port, 'alice')))
let next = 0

async function load(client: (typeof clients)[number], stream: number): Promise<void> {
  for (;;) {
    const number = next++
    // Some are refused, and reach no node.
    const keyspace = number % 7 === 0 ? 'elsewhere' : 'shop'
    const answer = await client.ask(queryEnvelope(4, stream, `SELECT k AS request${number}_ FROM ${keyspace}.items`))
    say(`${headerOpcode(answer, 0) === Opcode.RESULT ? 'answered' : 'refused'} ${number}\n`)
  }
}

await Promise.all(clients.flatMap((client) => Array.from({ length: 16 }, (_, stream) => load(client, stream))))
