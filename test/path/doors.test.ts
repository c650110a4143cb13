/** Who fills a door: what one address or identity may have of it, and that others come in beside it. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, it, describe as suite } from 'node:test'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
/** As many as limits.ts has thousands, so that a test can fill them. */
const bounds = {
  max: 30,
  perAddressMax: 10,
  perIdentityMax: 20,
  handshakesMax: 12,
  handshakesPerAddressMax: 5,
  handshakesPerAddressPerSecondMax: 1_000,
}

let world: World
let sidecar: RunningSidecar

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar()
})
after(() => world.close())

interface Door {
  /** A client of `who` at `address`, connected only. */
  readonly connect: (who: string, address: string) => Promise<RawClient>
  /** The bytes before TLS. */
  readonly silent: (address: string) => Socket
  readonly sessions: () => number
}

const header = (address: string): Buffer =>
  Buffer.from(
    address.includes(':')
      ? `PROXY TCP6 ${address} 2001:db8::1 40000 9042\r\n`
      : `PROXY TCP4 ${address} 203.0.113.1 40000 9042\r\n`,
  )

async function behindProxy(): Promise<Door> {
  const gateway: RunningGateway = await world.gateway([sidecar], { proxyFrom: ['127.0.0.1/32'], bounds })
  return {
    connect: (who, address) => world.connect(gateway.port, who, { preamble: header(address) }),
    silent: (address) => {
      const socket = connect(gateway.port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(header(address))
      return socket
    },
    sessions: () => gateway.feed.report?.().connections ?? -1,
  }
}

async function direct(): Promise<Door> {
  const own = await world.sidecar({ name: 'direct', bounds })
  return {
    connect: (who, localAddress) => world.connect(own.port, who, { localAddress }),
    silent: (localAddress) => {
      const socket = connect({ port: own.port, host: '127.0.0.1', localAddress })
      socket.on('error', () => {})
      return socket
    },
    sessions: () => own.feed.report?.().connections ?? -1,
  }
}

/** What STARTUP is answered: READY is opcode 2. */
async function startup(client: RawClient): Promise<string> {
  const answer = describe(await client.startup())
  if (answer !== 'opcode 2') await client.closed
  return answer
}

const ask = async (client: RawClient): Promise<string> => describe(await client.ask(queryEnvelope(4, 1, select)))

for (const make of [behindProxy, direct]) {
  suite(`one address or identity (${make.name})`, () => {
    it('that holds all it may keeps nobody else out, and is told so in CQL', async () => {
      const door = await make()
      const held: RawClient[] = []
      const fill = async (who: string, address: string, count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          const client = await door.connect(who, address)
          assert.equal(await startup(client), 'opcode 2')
          held.push(client)
        }
      }
      await fill('alice', '127.0.0.2', 10)
      assert.match(await startup(await door.connect('alice', '127.0.0.2')), /^0x1001 connectionsPerAddressMax reached/)
      assert.match(await startup(await door.connect('bob', '127.0.0.2')), /^0x1001 connectionsPerAddressMax reached/)
      await fill('alice', '127.0.0.3', 10)
      assert.match(await startup(await door.connect('alice', '127.0.0.4')), /^0x1001 connectionsPerIdentityMax reached/)
      // Its neighbours: another address, another identity; then one when there is no place left at all.
      await fill('bob', '127.0.0.4', 10)
      assert.equal(door.sessions(), 30)
      await fill('carol', '127.0.0.5', 1)
      await until('the newest of the heaviest made room', () => door.sessions() === 30)
      assert.equal(held.filter(({ isClosed }) => isClosed).length, 1)
      assert.ok(held[19]!.isClosed, 'the newest of alice')
      assert.equal(await ask(held[0]!), `echo: ${select}`)
      assert.equal(await ask(held[20]!), `echo: ${select}`)
      assert.match(await startup(await door.connect('bob', '127.0.0.6')), /^opcode 2$/, 'alice has still more than bob')
      for (const client of held) client.close()
      await until('all places are free', () => door.sessions() <= 2)
      await fill('alice', '127.0.0.2', 10)
    })

    it('that begins handshakes and ends none loses its own oldest', async () => {
      const door = await make()
      const silent: Socket[] = []
      let ended = 0
      const begin = async (address: string, count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          const socket = door.silent(address)
          socket.on('close', () => ended++)
          silent.push(socket)
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
      await begin('127.0.0.2', 6)
      await until('its oldest is dropped', () => ended === 1)
      await begin('127.0.0.3', 5)
      await begin('127.0.0.4', 5)
      await until('beyond the bound of all the heaviest lose', () => ended === 4)
      // Beside them a client with a certificate comes in, from another address and from one of theirs.
      for (const address of ['127.0.0.5', '127.0.0.2']) {
        const client = await door.connect('alice', address)
        assert.equal(await startup(client), 'opcode 2')
        assert.equal(await ask(client), `echo: ${select}`)
      }
      for (const socket of silent) socket.destroy()
    })
  })
}

suite('an IPv6 address in a PROXY header', () => {
  it('counts with its /64', async () => {
    const door = await behindProxy()
    for (let i = 0; i < 10; i++) {
      assert.equal(await startup(await door.connect('alice', `2001:db8:0:7::${i + 1}`)), 'opcode 2')
    }
    const more = await door.connect('alice', '2001:db8:0:7:ffff::1')
    assert.match(await startup(more), /^0x1001 connectionsPerAddressMax reached/)
    assert.equal(await startup(await door.connect('alice', '2001:db8:0:8::1')), 'opcode 2')
  })
})

suite('sessions that gateways open at a sidecar', () => {
  it('have a share for each address and identity too, over all links', async () => {
    const linkedBounds = { max: 12, perAddressMax: 4, perIdentityMax: 8 }
    const own = await world.sidecar({ name: 'linked', linkedBounds })
    const proxyFrom = ['127.0.0.1/32']
    const gateways = [
      await world.gateway([own], { name: 'gateway1', proxyFrom }),
      await world.gateway([own], { name: 'gateway2', proxyFrom }),
    ]
    let turn = 0
    const open = async (who: string, address: string): Promise<[RawClient, string]> => {
      const { port } = gateways[turn++ % 2]!
      const client = await world.connect(port, who, { preamble: header(address) })
      return [client, await startup(client)]
    }
    const alice: RawClient[] = []
    for (let i = 0; i < 8; i++) {
      const [client, answer] = await open('alice', `198.51.100.${i < 4 ? 1 : 2}`)
      assert.equal(answer, 'opcode 2')
      alice.push(client)
    }
    assert.match((await open('bob', '198.51.100.1'))[1], /^0x1001 linkedSessionsPerAddressMax reached/)
    assert.match((await open('alice', '198.51.100.3'))[1], /^0x1001 linkedSessionsPerIdentityMax reached/)
    for (let i = 0; i < 4; i++) assert.equal((await open('bob', '198.51.100.4'))[1], 'opcode 2')
    const [carol, answer] = await open('carol', '198.51.100.5')
    assert.equal(answer, 'opcode 2')
    assert.match(await ask(carol), /^0x2100/)
    assert.equal(await ask(alice[0]!), `echo: ${select}`)
    assert.equal(own.feed.report?.().sessions, 12)
  })
})
