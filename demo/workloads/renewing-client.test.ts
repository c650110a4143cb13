import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RenewingClient } from './renewing-client.ts'

/** A driver's client: what is in flight when it is shut down is lost, and what is asked of it then. */
class FakeClient {
  readonly number: number
  readonly connects: () => Promise<void>
  isShut = false
  inFlight = 0

  constructor(number: number, connects: () => Promise<void>) {
    this.number = number
    this.connects = connects
  }

  connect(): Promise<void> {
    return this.connects()
  }

  async execute(ms: number): Promise<void> {
    if (this.isShut) throw new Error(`client ${this.number} is shut down`)
    this.inFlight++
    await sleep(ms)
    this.inFlight--
    if (this.isShut) throw new Error(`client ${this.number} was shut down with a request in flight`)
  }

  async shutdown(): Promise<void> {
    this.isShut = true
  }
}

const requestMs = 30
const closeAfterMs = 300

/** By renewal: how its client connects. */
const renewals: readonly (readonly [string, (() => Promise<void>)[]])[] = [
  ['each is quick', [() => Promise.resolve(), () => Promise.resolve(), () => Promise.resolve()]],
  [
    'the door is away at one',
    [() => Promise.resolve(), () => Promise.reject(new Error('away')), () => Promise.resolve()],
  ],
  ['the door is away at all', [() => Promise.reject(new Error('away')), () => Promise.reject(new Error('away'))]],
  ['one is slower than those behind it', [() => sleep(200), () => Promise.resolve(), () => Promise.resolve()]],
]

describe('a workload whose certificate is renewed', () => {
  for (const [what, connects] of renewals) {
    it(`loses nothing where ${what}`, async () => {
      const clients: FakeClient[] = []
      const renewing = new RenewingClient(() => {
        const number = clients.length
        const client = new FakeClient(number, number === 0 ? async () => {} : connects[number - 1]!)
        clients.push(client)
        return client
      }, closeAfterMs)
      const asked: Promise<void>[] = []
      const work = setInterval(() => {
        const one = renewing.client.execute(requestMs)
        one.catch(() => {})
        asked.push(one)
      }, 2)
      const renewed: Promise<void>[] = []
      for (let i = 0; i < connects.length; i++) {
        await sleep(40)
        renewed.push(renewing.renew())
      }
      await Promise.all(renewed)
      clearInterval(work)
      const lost = (await Promise.allSettled(asked)).filter(({ status }) => status === 'rejected')
      assert.deepEqual(lost, [])
      assert.ok(asked.length > 10)
      // The last that could connect is the one in use, and every other is closed.
      const good = await Promise.allSettled(connects.map((connect) => connect()))
      const last = 1 + good.findLastIndex(({ status }) => status === 'fulfilled')
      assert.equal(renewing.client, clients[last])
      assert.deepEqual(
        clients.filter(({ isShut }) => !isShut).map(({ number }) => number),
        [last],
      )
    })
  }
})
