/** The Node.js driver, as it is, on behalf of people: one line more for each request. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { Client, policies, type QueryOptions } from 'cassandra-driver'
import { txnToken, useTxnKeys } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const policy = `apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/web }], keyspaces: [shop], operations: [ALL] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice }
spec: { subjects: [{ person: corp/alice }], keyspaces: [shop], operations: [ALL] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: bob }
spec: { subjects: [{ person: corp/bob }], keyspaces: [shop], operations: [READ, SCAN] }
---
apiVersion: ringfence.dev/v1alpha1
kind: Impersonation
metadata: { name: web-for-bob }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/web }], impersonate: [{ person: corp/bob }] }
`

let world: World
let sidecars: RunningSidecar[]
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  sidecars = await world.ring(2, { sidecar: { policy } })
  for (const one of sidecars) useTxnKeys(one)
  gateway = await world.gateway(sidecars)
  gateway.feed.apply(policy)
})
after(() => world.close())

const doors = { 'through a gateway': () => gateway.port, 'at a sidecar': () => sidecars[0]!.port }

for (const [door, portOf] of Object.entries(doors)) {
  suite(`the Node.js driver, ${door}`, () => {
    it('asks for each request on behalf of another person', async () => {
      const { keyPem: key, certificatePem: cert } = await world.credentials('svc/web')
      const client = new Client({
        contactPoints: [`127.0.0.1:${portOf()}`],
        protocolOptions: { port: portOf() },
        policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() },
        isMetadataSyncEnabled: false,
        sslOptions: { key, cert, ca: [world.ca.bundlePem], checkServerIdentity: () => undefined },
      })
      const said = async (
        text: string,
        values: string[],
        options: QueryOptions & { executeAs?: string },
      ): Promise<string> => {
        try {
          await client.execute(text, values, options)
          return 'done'
        } catch (reason) {
          return `0x${(reason as { code?: number }).code?.toString(16)}`
        }
      }
      try {
        await client.connect()
        const [read, write] = ['SELECT * FROM shop.items WHERE k = ?', 'INSERT INTO shop.items (k) VALUES (?)']
        const [alice, bob] = ['alice', 'bob'].map((name) => ({
          customPayload: { 'txn-token': Buffer.from(txnToken(`corp/${name}`)) },
        }))
        for (const prepare of [true, false]) {
          for (let at = 0; at < 10; at++) {
            assert.equal(await said(read, [`${at}`], { prepare, ...bob }), 'done')
            assert.equal(await said(write, [`${at}`], { prepare, ...bob }), '0x2100')
            assert.equal(await said(write, [`${at}`], { prepare, ...alice }), 'done')
            assert.equal(await said(read, [`${at}`], { prepare, executeAs: txnToken('corp/bob') }), 'done')
            assert.equal(await said(read, [`${at}`], { prepare, executeAs: 'corp/bob' }), 'done')
            assert.equal(await said(write, [`${at}`], { prepare, executeAs: 'corp/bob' }), '0x2100')
            assert.equal(await said(read, [`${at}`], { prepare, executeAs: 'corp/alice' }), '0x2100')
            assert.equal(await said(write, [`${at}`], { prepare }), 'done')
          }
        }
        const batch = [write, { query: write, params: ['b'] }].map((query) =>
          typeof query === 'string' ? { query, params: ['a'] } : query,
        )
        await client.batch(batch, { prepare: true, ...alice })
        await assert.rejects(client.batch(batch, { prepare: true, ...bob }), /corp\/bob/)
      } finally {
        await client.shutdown()
      }
      const people = new Set(sidecars.flatMap((one) => one.records().map(({ person }) => person)))
      assert.ok(people.has('corp/alice') && people.has('corp/bob'))
      for (const { node } of sidecars) assert.ok(node.requests.every(({ flags }) => (flags & 4) === 0))
    })
  })
}
