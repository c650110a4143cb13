/** Hosts take turns in ending the sessions of one certificate: gateways that were told of each other, and sidecars, as they are. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import type { RawClient } from './client.ts'
import { World } from './world.ts'

/** With two hosts it is 4.5 s from one's turn to the other's, however long it takes to open sessions. */
const lifeMs = 18_000
/** Before the last hundredth. */
const turnsMs = 12_500
/** Timers of a busy machine are late, those of both hosts in one process alike. */
const apartMsMin = 1_000

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

async function gateways(): Promise<number[]> {
  const node = await world.sidecar({ name: 'behind' })
  const [one, two] = [await world.gateway([node], { name: 'one' }), await world.gateway([node], { name: 'two' })]
  for (const { feed } of [one, two]) feed.tell([...one.endpoints, ...two.endpoints])
  return [one.port, two.port]
}

async function sidecars(): Promise<number[]> {
  const two = await world.ring(2)
  for (const { feed } of two) feed.place(two.map(({ endpoint }) => endpoint))
  return two.map(({ port }) => port)
}

suite('two hosts that know of each other', { concurrency: true }, () => {
  for (const [name, hosts] of Object.entries({ gateways, sidecars })) {
    it(`end the sessions of one certificate in different turns: ${name}`, async () => {
      const ports = await hosts()
      const beganMs = Date.now()
      const credentials = await world.freshCredentials('svc/alice', lifeMs)
      const open = (port: number) => world.client(port, 'alice', { credentials })
      const clients = await Promise.all(ports.map((port) => Promise.all(Array.from({ length: 8 }, () => open(port)))))
      const endOf = (client: RawClient): Promise<number> => client.closed.then(() => Date.now())
      const ends = await Promise.all(clients.map((own) => Promise.all(own.map(endOf))))
      const earliestMs = beganMs + (credentials.notAfterMs - beganMs) * 0.99 - turnsMs
      for (const endMs of ends.flat()) {
        assert.ok(endMs >= earliestMs - 50, 'none ends before the turns begin')
        assert.ok(endMs <= credentials.notAfterMs + 1_000, 'none outlives its certificate')
      }
      const [first = [], second = []] = ends
      for (const one of first)
        for (const other of second) assert.ok(Math.abs(one - other) >= apartMsMin, `${one} and ${other}`)
    })
  }
})
