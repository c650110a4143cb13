/** A real driver with nothing but a user and a password, at a gateway whose listener takes a proof from outside `src`. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { auth, Client } from 'cassandra-driver'
import { proofs } from '../../src/identity/proofs/index.ts'
import { password, users } from './password.ts'
import { World } from './world.ts'

let world: World

before(async () => {
  proofs.register(password)
  users.alice = { password: 'pw-alice', person: 'corp/alice' }
  world = await World.make()
})
after(() => world.close())

suite('the Node.js driver', () => {
  it('logs in with a password, and is told in words where it may not', async () => {
    const authentication = ['certificate', 'password']
    const { port } = await world.gateway([await world.sidecar()], { authentication })
    const open = (pass: string): Client =>
      new Client({
        contactPoints: [`127.0.0.1:${port}`],
        protocolOptions: { port },
        localDataCenter: 'dc1',
        authProvider: new auth.PlainTextAuthProvider('alice', pass),
        sslOptions: { ca: [world.ca.bundlePem], checkServerIdentity: () => undefined },
      })
    const client = open('pw-alice')
    try {
      await client.connect()
      assert.equal((await client.execute('SELECT * FROM shop.items')).rows.length, 1)
    } finally {
      await client.shutdown()
    }
    const wrong = open('wrong')
    await assert.rejects(wrong.connect(), (error: Error & { innerErrors?: Record<string, Error> }) => {
      assert.match(Object.values(error.innerErrors ?? {})[0]?.message ?? '', /not accepted/)
      return true
    })
    await wrong.shutdown()
  })
})
