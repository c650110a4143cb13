/** A node that does not let the sidecar in: what the sidecar says of it, in words of the one who has to mend it. */
import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { RingfenceError } from '../../src/base/errors.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { Turn } from '../../src/session/turn.ts'
import { Upstream } from '../../src/sidecar/upstream.ts'
import { FakeNode } from './fake-node.ts'
import { World } from './world.ts'

let world: World
let own: Credentials

before(async () => {
  world = await World.make()
  own = await world.credentials('ringfence/sidecar/test/dc1/node1')
})
after(() => world.close())

/** What is said where the node is so; undefined where it lets the sidecar in. */
async function said(node: FakeNode, spiffeId?: string): Promise<RingfenceError | undefined> {
  await node.start()
  try {
    const upstream = await Upstream.open({
      target: { address: '127.0.0.1', port: node.port, spiffeId },
      credentials: own,
      version: 4,
      keyspace: '',
      turn: new Turn(),
      inForce: () => true,
      onClosed: () => {},
    })
    upstream.destroy('the test is over')
    return undefined
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError, String(reason))
    return reason
  } finally {
    await node.stop()
  }
}

const as = async (path: string, authenticator?: string): Promise<FakeNode> => {
  const node = new FakeNode(await world.credentials(path))
  if (authenticator !== undefined) node.authenticator = `org.apache.cassandra.auth.${authenticator}`
  return node
}

suite('a node is told apart by what it asks and shows', () => {
  it('lets its sidecar in by its certificate, also where it takes passwords beside', async () => {
    assert.equal(await said(await as('cassandra/node1')), undefined)
    assert.equal(await said(await as('cassandra/node1', 'MutualTlsWithPasswordFallbackAuthenticator')), undefined)
    assert.equal(await said(await as('cassandra/node1'), 'spiffe://demo.local/cassandra/node1'), undefined)
  })

  it('wants a password', async () => {
    const fault = await said(await as('cassandra/node1', 'PasswordAuthenticator'))
    assert.match(fault?.message ?? '', /^the node wants a password, /)
    assert.match(fault?.hint ?? '', /MutualTlsAuthenticator, or MutualTlsWithPasswordFallbackAuthenticator/)
  })

  it('is not who was expected', async () => {
    const other = await said(await as('cassandra/node2'), 'spiffe://demo.local/cassandra/node1')
    assert.match(other?.message ?? '', /^the node is \S+\/cassandra\/node2, expected \S+\/cassandra\/node1$/)
    const none = await said(await as('svc/alice'))
    assert.match(none?.message ?? '', /^the node is \S+\/svc\/alice, expected spiffe:\/\/demo\.local\/cassandra\/$/)
  })

  it('is not there', async () => {
    const node = await as('cassandra/node1')
    await node.start()
    await node.stop()
    const { port } = node
    const opened = Upstream.open({
      target: { address: '127.0.0.1', port, spiffeId: undefined },
      credentials: own,
      version: 4,
      keyspace: '',
      turn: new Turn(),
      inForce: () => true,
      onClosed: () => {},
    })
    await assert.rejects(opened, { message: /^cannot reach the node: it is not there: nothing listens .*ECONNREFUSED/ })
  })
})
