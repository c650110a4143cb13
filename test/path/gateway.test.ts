/** A gateway before sidecars: sessions that move, sessions that must not, and passports that are not believed. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { connect } from 'node:net'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, headerStream, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readEvent, readPrepared } from '../../src/cql/responses.ts'
import { type PassportRequest, signPassport } from '../../src/identity/passport.ts'
import { parseSpiffeId, type SpiffeId } from '../../src/identity/spiffe.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { describe, type RawClient } from './client.ts'
import { shownBy } from './passport-of.ts'
import { RawLink } from './raw-link.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'

let world: World
let one: RunningSidecar
let two: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  one = await world.sidecar({ name: 'node1' })
  two = await world.sidecar({ name: 'node2' })
  gateway = await world.gateway([one, two])
})
after(() => world.close())
beforeEach(() => {
  for (const { node } of [one, two]) {
    node.intercept = undefined
    node.requests.length = 0
  }
})

const ask = async (client: RawClient, stream: number, text = select): Promise<string> =>
  describe(await client.ask(queryEnvelope(client.version, stream, text)))

/** The sidecar that holds the session of a client, seen from where its request arrives. */
async function holderOf(client: RawClient, mark: string): Promise<RunningSidecar> {
  await ask(client, 20, `${select} WHERE k = '${mark}'`)
  const holder = [one, two].find(({ node }) => node.texts().some((text) => text.includes(mark)))
  assert.ok(holder !== undefined)
  return holder
}

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`through a gateway, version ${version}`, () => {
    it('is permitted and refused as at a sidecar, with the client’s own identity and address', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const bob = await world.client(gateway.port, 'bob', { version })
      assert.equal(
        await ask(alice, 1, "DELETE FROM shop.items WHERE k = 'a'"),
        "echo: DELETE FROM shop.items WHERE k = 'a'",
      )
      assert.match(
        await ask(bob, 1, 'DELETE FROM shop.items WHERE k = 1'),
        /^0x2100 spiffe:\/\/demo\.local\/svc\/bob has no MODIFY/,
      )
      assert.equal(await ask(bob, 1), `echo: ${select}`)
      await until('the refusal is on record', () =>
        [one, two].some((each) =>
          each
            .records()
            .some(
              (record) =>
                record.workload === 'spiffe://demo.local/svc/bob' &&
                record.verdict === 'deny' &&
                record.operation === 'DELETE',
            ),
        ),
      )
    })

    it('prepares, executes, uses a keyspace, and gets answers on its own streams', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const prepared = await alice.ask(prepareEnvelope(version, 3, 'INSERT INTO shop.items (k) VALUES (?)'))
      const { id } = readPrepared(wholeEnvelope(prepared), version)
      await alice.ask(queryEnvelope(version, 4, 'USE play'))
      const asked = Array.from({ length: 50 }, (_, i) =>
        i % 2 === 0
          ? alice.ask(executeEnvelope(version, 100 + i, id, Buffer.alloc(16, 9), [Buffer.from(`v${i}`)]))
          : alice.ask(queryEnvelope(version, 100 + i, `SELECT * FROM things WHERE n = ${i}`)),
      )
      for (const [i, answer] of (await Promise.all(asked)).entries()) {
        assert.equal(headerStream(answer, 0), 100 + i)
        assert.match(describe(answer), i % 2 === 0 ? new RegExp(`<- v${i}$`) : new RegExp(`n = ${i}$`))
      }
    })

    it('answers system.local itself and sends nothing of it to a node', async () => {
      const alice = await world.client(gateway.port, 'alice', { version })
      const answer = await alice.ask(
        queryEnvelope(version, 1, "SELECT cluster_name FROM system.local WHERE key = 'local'"),
      )
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
      assert.equal(describe(answer), 'echo: fake')
    })
  })
}

suite('a session whose link goes', () => {
  it('moves to another sidecar when nothing is in flight, with its keyspace', async () => {
    const alice = await world.client(gateway.port, 'alice')
    await ask(alice, 1, 'USE shop')
    const holder = await holderOf(alice, 'first')
    const other = holder === one ? two : one
    holder.node.intercept = () => false
    gateway.feed.place([other.endpoint])
    await until('the link is gone', () => gateway.feed.report?.().upstreamConnections === 1)
    assert.equal(await ask(alice, 2, 'SELECT * FROM items'), 'echo: SELECT * FROM items')
    assert.equal(other.node.requests.at(-1)?.connection.keyspace, 'shop')
    gateway.feed.place([one.endpoint, two.endpoint])
    await until('both links are back', () => gateway.feed.report?.().upstreamConnections === 2)
    assert.equal(alice.isClosed, false)
  })

  it('hears from a draining link what it still owes, while what comes next goes elsewhere', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const holder = await holderOf(alice, 'second')
    const other = holder === one ? two : one
    let answer: (() => void) | undefined
    holder.node.intercept = (request) => {
      if (!request.text.includes('held')) return false
      answer = () => request.answer()
      return true
    }
    const first = ask(alice, 1, `${select} WHERE k = 'held'`)
    await until('it arrived', () => answer !== undefined)
    gateway.feed.place([other.endpoint])
    assert.equal(await ask(alice, 2, `${select} WHERE k = 'behind'`), `echo: ${select} WHERE k = 'behind'`)
    assert.equal(other.node.texts().filter((text) => text.includes('behind')).length, 1)
    answer!()
    assert.equal(await first, `echo: ${select} WHERE k = 'held'`)
    assert.equal(holder.node.texts().filter((text) => text.includes('behind')).length, 0)
    gateway.feed.place([one.endpoint, two.endpoint])
    await until('both links are back', () => gateway.feed.report?.().upstreamConnections === 2)
  })

  it('loses nothing when the gateway’s certificate is renewed under load', async () => {
    const clients = await Promise.all(Array.from({ length: 6 }, () => world.client(gateway.port, 'alice')))
    let stop = false
    let answered = 0
    const work = clients.map(async (client, c) => {
      for (let i = 0; !stop; i++) {
        const text = `${select} WHERE k = '${c}-${i}'`
        assert.equal(await ask(client, i % 100, text), `echo: ${text}`)
        answered++
      }
    })
    for (let round = 0; round < 4; round++) {
      const before = answered
      await until('it goes on', () => answered >= before + 25)
      gateway.feed.renew(await world.freshCredentials('ringfence/gateway/gateway1'))
      one.feed.renew(await world.freshCredentials('ringfence/sidecar/test/dc1/node1'))
    }
    const before = answered
    await until('it goes on', () => answered >= before + 25)
    stop = true
    await Promise.all(work)
    await until('both links are there', () => gateway.feed.report?.().upstreamConnections === 2)
  })

  it('loses nothing when its sidecar is stopped in order', async () => {
    const [left, right] = [await world.sidecar({ name: 'stays' }), await world.sidecar({ name: 'stops' })]
    const door = await world.gateway([left, right])
    const clients = await Promise.all(Array.from({ length: 6 }, () => world.client(door.port, 'alice')))
    let stop = false
    const work = clients.map(async (client, c) => {
      for (let i = 0; !stop; i++) {
        const text = `${select} WHERE k = '${c}-${i}'`
        assert.equal(await ask(client, i % 100, text), `echo: ${text}`)
      }
    })
    await until('both are asked', () => left.node.requests.length > 20 && right.node.requests.length > 20)
    await right.sidecar.stop(5000)
    const { length } = left.node.requests
    await until('it goes on', () => left.node.requests.length > length + 50)
    stop = true
    await Promise.all(work)
    assert.equal(
      clients.some(({ isClosed }) => isClosed),
      false,
    )
  })

  it('ends the client’s connection when something is in flight, and makes no answer up', async () => {
    const lonely = await world.sidecar({ name: 'lonely' })
    const door = await world.gateway([lonely])
    const alice = await world.client(door.port, 'alice')
    lonely.node.intercept = (request) => request.text.includes('lost')
    const outcome = Promise.allSettled([alice.ask(queryEnvelope(4, 1, `${select} WHERE k = 'lost'`))])
    await until('it arrived', () => lonely.node.requests.length > 0)
    await lonely.sidecar.stop(0)
    assert.equal((await outcome)[0].status, 'rejected')
    assert.equal(alice.unasked.length, 0)
  })

  it('moves at once when its node is away, and new clients go where a node is', async () => {
    const [left, right] = [await world.sidecar({ name: 'left' }), await world.sidecar({ name: 'right' })]
    const door = await world.gateway([left, right])
    const clients = await Promise.all(Array.from({ length: 4 }, () => world.client(door.port, 'alice')))
    for (const client of clients) assert.equal(await ask(client, 1), `echo: ${select}`)
    await left.node.stop()
    await until('one is left', () => door.feed.report?.().upstreamConnections === 1)
    for (const client of clients) assert.equal(await ask(client, 2), `echo: ${select}`)
    const late = await world.client(door.port, 'alice')
    assert.equal(await ask(late, 2), `echo: ${select}`)
    assert.equal(left.node.requests.length + right.node.requests.length, 9)
    await left.node.start()
    await until('both are back', () => door.feed.report?.().upstreamConnections === 2)
  })
})

suite('events through a gateway', () => {
  it('reach the client that registered, schema changes as they are', async () => {
    const alice = await world.client(gateway.port, 'alice')
    await alice.ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE']))
    for (const { node } of [one, two]) {
      node.emit({
        type: 'SCHEMA_CHANGE',
        change: 'DROPPED',
        target: 'KEYSPACE',
        keyspace: 'shop',
        name: '',
        argTypes: [],
      })
    }
    const event = await alice.next()
    assert.equal(readEvent(wholeEnvelope(event)).type, 'SCHEMA_CHANGE')
    await sleep(30)
    assert.equal(alice.unasked.length, 0, 'once')
  })
})

suite('the PROXY header', () => {
  const header = Buffer.from('PROXY TCP4 198.51.100.7 203.0.113.1 40000 9042\r\n')

  it('names the client in the audit', async () => {
    const door = await world.gateway([one], { proxyFrom: ['127.0.0.1/32'] })
    const alice = await world.client(door.port, 'alice', { preamble: header })
    assert.equal(await ask(alice, 1, `${select} WHERE k = 'proxied'`), `echo: ${select} WHERE k = 'proxied'`)
    await until('it is on record', () =>
      one.records().some(({ client }) => JSON.stringify(client) === '{"address":"198.51.100.7","port":40000}'),
    )
  })

  it('is mandatory where it is configured, and refused from a stranger and when it is malformed or comes twice', async () => {
    const door = await world.gateway([one], { proxyFrom: ['127.0.0.1/32'] })
    const strange = await world.gateway([one], { proxyFrom: ['10.0.0.0/8'] })
    await assert.rejects(world.connect(door.port, 'alice'))
    await assert.rejects(world.connect(strange.port, 'alice', { preamble: header }))
    await assert.rejects(world.connect(door.port, 'alice', { preamble: Buffer.from('PROXY TCP4 1.2.3.4\r\n') }))
    await assert.rejects(world.connect(door.port, 'alice', { preamble: Buffer.concat([header, header]) }))
    const alice = await world.client(door.port, 'alice', { preamble: header })
    assert.equal(await ask(alice, 1), `echo: ${select}`)
  })

  it('may come byte by byte, and with the TLS hello right behind it', async () => {
    const door = await world.gateway([one], { proxyFrom: ['127.0.0.1/32'] })
    const raw = connect({ port: door.port, host: '127.0.0.1', noDelay: true })
    await new Promise((resolve) => raw.once('connect', resolve))
    for (const byte of header.subarray(0, -1)) {
      raw.write(Buffer.from([byte]))
      await sleep(1)
    }
    raw.cork()
    raw.write(header.subarray(-1))
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = await world.credentials('svc/alice')
    const secure = connectTls({ socket: raw, key, cert, ca, checkServerIdentity: () => undefined })
    raw.uncork()
    await new Promise((resolve, reject) => {
      secure.once('secureConnect', resolve)
      secure.once('error', reject)
    })
    secure.destroy()
  })

  it('is a client’s own bytes where none is configured, and no TLS', async () => {
    await assert.rejects(world.connect(gateway.port, 'alice', { preamble: header }))
  })
})

suite('a plain loopback listener of a gateway', () => {
  it('speaks for its one identity, and not for one of the mesh’s own', async () => {
    const door = await world.gateway([one], { plainIdentity: 'spiffe://demo.local/svc/bob' })
    const bob = await world.client(door.port, 'bob', { credentials: undefined })
    assert.equal(await ask(bob, 1), `echo: ${select}`)
    assert.match(await ask(bob, 1, 'TRUNCATE shop.items'), /^0x2100 spiffe:\/\/demo\.local\/svc\/bob/)
    const reserved = await world.gateway([one], { plainIdentity: 'spiffe://demo.local/ringfence/sidecar/x/y/z' })
    const client = await world.connect(reserved.port, undefined)
    assert.notEqual(headerOpcode(await client.startup(), 0), Opcode.READY)
  })

  it('speaks for nobody whom its join token did not name', async () => {
    for (const listenerIdentities of [[], ['spiffe://demo.local/svc/bob']]) {
      const plainIdentity = 'spiffe://demo.local/svc/alice'
      const door = await world.gateway([one], { plainIdentity, listenerIdentities })
      const client = await world.connect(door.port, undefined)
      assert.notEqual(headerOpcode(await client.startup(), 0), Opcode.READY)
    }
  })
})

suite('a sidecar, offered passports', () => {
  const gatewayId = (): SpiffeId => parseSpiffeId('spiffe://demo.local/ringfence/gateway/gateway1')

  async function offer(
    change: Partial<PassportRequest> = {},
    options: { signer?: Credentials; nowMs?: number; showing?: Credentials; keyspace?: string } = {},
  ): Promise<string> {
    const alice = await world.credentials('svc/alice')
    const gatewayCredentials = await world.credentials('ringfence/gateway/gateway1')
    const link = await RawLink.open(one.port, options.showing ?? gatewayCredentials)
    const request: PassportRequest = {
      ...shownBy(alice),
      clientAddress: '192.0.2.1',
      clientPort: 1,
      driverName: 'test',
      expiresAtMs: Date.now() + 60_000,
      audience: one.endpoint.spiffeId as SpiffeId,
      ...change,
    }
    const signer = { spiffeId: gatewayId(), key: createPrivateKey((options.signer ?? gatewayCredentials).keyPem) }
    const passport = signPassport(request, signer, options.nowMs ?? Date.now())
    const answer = await link.offer(7, passport, options.keyspace)
    link.socket.destroy()
    return answer
  }

  it('takes one that is good', async () => {
    assert.equal(await offer(), 'opened')
    assert.equal(await offer({}, { keyspace: 'shop' }), 'opened')
  })

  it('takes none for a keyspace that its client may not use', async () => {
    assert.match(await offer({}, { keyspace: 'secret' }), /UNAUTHORIZED/)
    await until('the refusal is on record, with its session', () => {
      const told = one.records().map(({ operation, verdict, keyspace }) => `${operation} ${verdict} ${keyspace}`)
      return told.slice(-3).join() === 'CONNECT allow undefined,USE deny secret,DISCONNECT allow undefined'
    })
  })

  it('takes none for another sidecar', async () => {
    assert.match(await offer({ audience: two.endpoint.spiffeId as SpiffeId }), /IDENTITY.*another sidecar/)
  })

  it('takes none that has expired or is too old', async () => {
    assert.match(await offer({ expiresAtMs: Date.now() - 1000 }), /IDENTITY.*expired/)
    assert.match(await offer({}, { nowMs: Date.now() - 120_000 }), /IDENTITY.*too old/)
  })

  it('takes none that another key signed', async () => {
    const signer = await world.freshCredentials('ringfence/gateway/gateway1')
    assert.match(await offer({}, { signer }), /IDENTITY.*not signed/)
  })

  it('takes none with a client’s certificate of a foreign CA', async () => {
    const foreign = await World.make('demo.local')
    const answer = await offer(shownBy(await foreign.credentials('svc/alice')))
    await foreign.close()
    assert.match(answer, /IDENTITY.*trusted root/)
  })

  it('takes no identity by the word of a gateway whose certificate does not name it', async () => {
    for (const id of ['svc/orders', 'svc/alice', 'user/okta/cto', 'cassandra/node1', 'ringfence/gateway/other']) {
      const subject = parseSpiffeId(`spiffe://demo.local/${id}`)
      const evidence = { kind: 'listener', chain: [] }
      const asked = offer({ subject, evidence, expiresAtMs: Date.now() + 365 * 86_400_000 })
      assert.match(await asked, /IDENTITY.*may not speak for/, id)
    }
    const showing = await world.freshCredentials('ringfence/gateway/gateway1', 60_000, ['spiffe://demo.local/svc/bob'])
    const claim = (name: string): Promise<string> =>
      offer(
        { subject: parseSpiffeId(`spiffe://demo.local/svc/${name}`), evidence: { kind: 'listener', chain: [] } },
        { showing, signer: showing },
      )
    assert.equal(await claim('bob'), 'opened')
    assert.match(await claim('alice'), /IDENTITY.*may not speak for/)
  })

  it('takes no passport of another gateway’s link, nor twice from elsewhere', async () => {
    const other = await world.credentials('ringfence/gateway/gateway2')
    assert.match(await offer({}, { showing: other }), /IDENTITY/)
    // The same gateway after its renewal: the key is another.
    const renewed = await world.freshCredentials('ringfence/gateway/gateway1')
    assert.match(await offer({}, { showing: renewed }), /IDENTITY.*not signed/)
  })

  it('takes no link of a peer that is no gateway, whatever it signs', async () => {
    const showing = await world.credentials('svc/alice')
    assert.equal(await offer({}, { showing }), 'link closed')
    const sidecar = await world.credentials('ringfence/sidecar/test/dc1/node2')
    assert.equal(await offer({}, { showing: sidecar }), 'link closed')
  })

  it('takes no link of a gateway of a foreign CA', async () => {
    const foreign = await World.make('demo.local')
    const theirs = await foreign.credentials('ringfence/gateway/gateway1')
    const showing = { ...theirs, bundlePem: (await world.credentials('svc/alice')).bundlePem }
    const answer = await offer({}, { showing }).catch(String)
    await foreign.close()
    assert.match(answer, /link closed|unknown ca|alert/i)
  })

  it('ends a link that sends what may not be: CQL before a passport reaches nothing, lies end it', async () => {
    const credentials = await world.credentials('ringfence/gateway/gateway1')
    const link = await RawLink.open(one.port, credentials)
    link.send(9, queryEnvelope(4, 1, select))
    await sleep(30)
    assert.equal(one.node.requests.length, 0)
    assert.equal(link.closed, false)
    const lie = queryEnvelope(4, 1, select)
    lie.writeInt32BE(2 ** 31 - 1, 5)
    link.send(9, lie)
    await until('the link is closed', () => link.closed)
    const alice = await world.client(gateway.port, 'alice')
    assert.equal(await ask(alice, 1), `echo: ${select}`)
  })
})
