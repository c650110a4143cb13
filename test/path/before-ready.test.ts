/** What a client hears that does not become READY: an answer or a reset, at once, never a plain end, which the Node.js driver does not notice. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { after, before, it, describe as suite } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { auth, Client, type ClientOptions } from 'cassandra-driver'
import { optionsEnvelope } from '../../src/cql/encode.fixture.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { describe, RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { type RunningSidecar, until, World } from './world.ts'

/** Far below what a driver waits for an answer, far above what an answer takes. */
const promptMs = 10_000
const readMs = 20_000

let world: World
let gone: FakeNode
/** Its node is not there. */
let away: RunningSidecar

before(async () => {
  world = await World.make()
  gone = new FakeNode(await world.credentials('cassandra/node1'))
  away = await world.sidecar({ node: gone })
})
after(() => world.close())

/** The unmodified driver of npm, which reads what it is told for 20 s. */
async function driverHears(port: number, tls: Credentials | undefined, more: ClientOptions = {}): Promise<string> {
  const sslOptions =
    tls === undefined
      ? {}
      : {
          sslOptions: {
            ...(tls.keyPem === '' ? {} : { key: tls.keyPem, cert: tls.certificatePem }),
            ca: [tls.bundlePem],
            checkServerIdentity: () => undefined,
          },
        }
  const client = new Client({
    contactPoints: [`127.0.0.1:${port}`],
    localDataCenter: 'dc1',
    protocolOptions: { port },
    authProvider: new auth.PlainTextAuthProvider('', ''),
    socketOptions: { connectTimeout: readMs, readTimeout: readMs },
    ...sslOptions,
    ...more,
  })
  const began = performance.now()
  const heard = await client.connect().then(() => 'connected', String)
  assert.ok(performance.now() - began < promptMs, `after ${performance.now() - began} ms: ${heard}`)
  await client.shutdown().catch(() => {})
  return heard
}

suite('the Node.js driver hears at once', () => {
  it('that the node is away, and is let in when it is there', async () => {
    const node = await world.node()
    const { port } = await world.sidecar({ node })
    const alice = await world.credentials('svc/alice')
    assert.match(await driverHears(away.port, alice), /the node is away/)
    assert.doesNotMatch(await driverHears(port, alice), /the node is away|ECONNRESET/)
  })

  it('that the node is away, at a plain listener', async () => {
    const { port } = await world.sidecar({ node: gone, name: 'plain', plainIdentity: 'spiffe://demo.local/svc/alice' })
    assert.match(await driverHears(port, undefined), /the node is away/)
  })

  it('that it may not come in: a certificate without an identity of the mesh', async () => {
    assert.match(await driverHears(away.port, await world.credentials('ringfence/sidecar/test/dc1/other')), /./)
  })

  it('that it may not come in: no certificate, no TLS', async () => {
    const alice = await world.credentials('svc/alice')
    assert.doesNotMatch(await driverHears(away.port, { ...alice, keyPem: '' }), /connected|OperationTimedOut/)
    assert.doesNotMatch(await driverHears(away.port, undefined), /connected|OperationTimedOut/)
  })

  it('that there is no place', async () => {
    const { port } = await world.sidecar({ name: 'full', bounds: { perIdentityMax: 0 } })
    assert.match(await driverHears(port, await world.credentials('svc/alice')), /use another proxy/)
  })

  it('that a gateway has no sidecar', async () => {
    const { port } = await world.gateway([])
    assert.doesNotMatch(await driverHears(port, await world.credentials('svc/alice')), /connected|OperationTimedOut/)
  })
})

/** How a connection ended: `reset`, or `end`. */
async function endOf(port: number, tls: Credentials | undefined, sends: Buffer): Promise<string> {
  const common = { host: '127.0.0.1', port }
  const socket =
    tls === undefined
      ? connectTcp(common)
      : connectTls({
          ...common,
          key: tls.keyPem,
          cert: tls.certificatePem,
          ca: tls.bundlePem,
          checkServerIdentity: () => undefined,
        })
  let error = ''
  socket.on('error', (reason: NodeJS.ErrnoException) => {
    error = reason.code ?? reason.message
  })
  socket.once(tls === undefined ? 'connect' : 'secureConnect', () => socket.write(sends))
  socket.resume()
  await once(socket, 'close').catch(() => {})
  return error === 'ECONNRESET' ? 'reset' : `end ${error}`
}

suite('a connection that was never READY', () => {
  it('is reset where nothing that it sent waits for an answer: the node goes away, the sidecar stops', async () => {
    const leaves = [(one: RunningSidecar) => one.node.stop(), (one: RunningSidecar) => one.sidecar.stop()]
    for (const [turn, leave] of leaves.entries()) {
      const one = await world.sidecar({ name: `leaving${turn}` })
      const ended = endOf(one.port, await world.credentials('svc/alice'), optionsEnvelope(4, 1))
      const client = await RawClient.connect({ port: one.port, credentials: await world.credentials('svc/alice') })
      assert.equal(headerOpcode(await client.ask(optionsEnvelope(4, 1)), 0), Opcode.SUPPORTED)
      await leave(one)
      assert.equal(await ended, 'reset')
      await client.closed
    }
  })

  it('is answered where its STARTUP waits', async () => {
    const one = await world.sidecar({ name: 'opening' })
    // The node lets nobody in any more, and answers nothing.
    one.node.isDeaf = true
    const client = await RawClient.connect({ port: one.port, credentials: await world.credentials('svc/alice') })
    const startup = client.startup()
    await until('it is at the node', () => one.node.connections.size > 1)
    void one.sidecar.stop()
    assert.match(describe(await startup), /^0x1001 the sidecar stops/)
    await client.closed
  })
})
