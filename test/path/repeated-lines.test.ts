/** What fails again and again for one reason is one line in the log, and news again when it was over. */
import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { CqlErrorCode } from '../../src/cql/protocol.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { until, World } from './world.ts'

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

const lines = (message: string): number =>
  world.logged.filter((line) => (JSON.parse(line) as { msg?: string }).msg === message).length

suite('a line that would be the same', () => {
  it('is one while the schema cannot be read, and one more at another time', async () => {
    const { node } = await world.sidecar({ name: 'busy' })
    let asked = 0
    const refuse = (text: string) => (request: NodeRequest) => {
      if (!/system_schema/.test(request.text)) return false
      asked++
      request.reply(errorEnvelope(4, 0, CqlErrorCode.OVERLOADED, text))
      return true
    }
    const count = (): number => lines('the schema was not read')
    node.interceptOwn = refuse('busy')
    node.migrate({ keyspace: 'shop', name: 'zz', partitionKey: { k: 'text' } })
    await until('it is told', () => count() > 0, 30_000)
    const before = asked
    await sleep(3_500)
    assert.ok(asked > before, 'it is asked again')
    assert.equal(count(), 1)
    node.interceptOwn = undefined
    await sleep(2_500)
    node.interceptOwn = refuse('busy')
    node.migrate({ keyspace: 'shop', name: 'yy', partitionKey: { k: 'text' } })
    await until('it is news again', () => count() === 2, 30_000)
  })

  it('is one while a node has no connection for those who ask', async () => {
    const { node, port } = await world.sidecar({ name: 'gone' })
    const clients = await Promise.all([1, 2, 3, 4].map(() => world.client(port, 'alice')))
    await node.stop()
    // While the sidecar does not know it yet, or does.
    for (const client of clients) {
      const ask = client.ask(queryEnvelope(4, 1, 'SELECT v FROM shop.items WHERE k = 1')).catch(() => undefined)
      const answer = await ask
      if (answer !== undefined) assert.match(describe(answer), /^0x1001/)
    }
    assert.ok(lines('no connection to the node') <= 1, `${lines('no connection to the node')}`)
  })
})
