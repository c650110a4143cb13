/** How a caller proved who it is, by every way in: a condition of policy is met by that, and the record says it. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe as told } from './client.ts'
import { type RunningSidecar, until, World } from './world.ts'

const aliceId = 'spiffe://demo.local/svc/alice'
const allow = (name: string, keyspace: string, method?: string): string => `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  subjects: [{ spiffeId: ${aliceId} }]
  keyspaces: [${keyspace}]
  operations: [READ, SCAN]
  ${method === undefined ? '' : `when: { authentication: [${method}] }`}
---`
const policyText = [
  allow('any', 'shop'),
  allow('proved', 'strict', 'certificate'),
  allow('let-in', 'open', 'listener'),
].join('')

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

/** Each way in, with what is verified on it. */
const ways = [
  { way: 'a driver’s own TLS', method: 'certificate', gateway: false },
  { way: 'a plain listener of the sidecar', method: 'listener', gateway: false },
  { way: 'TLS at a gateway', method: 'certificate', gateway: true },
  { way: 'a plain listener of a gateway', method: 'listener', gateway: true },
] as const

describe('authentication', () => {
  for (const { way, method, gateway } of ways) {
    it(`by ${way} is "${method}" to conditions and in the record`, async () => {
      const plain = method === 'listener' ? { plainIdentity: aliceId } : {}
      const sidecar: RunningSidecar = await world.sidecar({
        name: `node-${method}-${gateway}`,
        policy: policyText,
        ...(gateway ? {} : plain),
      })
      const port = gateway ? (await world.gateway([sidecar], { name: `g-${method}`, ...plain })).port : sidecar.port
      const alice = await world.client(port, 'alice', method === 'listener' ? { credentials: undefined } : {})
      const verdict = async (keyspace: string): Promise<string> =>
        told(await alice.ask(queryEnvelope(alice.version, 1, `SELECT * FROM ${keyspace}.items`)))
      assert.match(await verdict('shop'), /^echo/)
      assert.match(await verdict('strict'), method === 'certificate' ? /^echo/ : /^0x2100 /)
      assert.match(await verdict('open'), method === 'listener' ? /^echo/ : /^0x2100 /)
      await until('all is on record', () => sidecar.records().length >= 4)
      const methods = new Set(sidecar.records().map(({ authentication }) => authentication))
      assert.deepEqual([...methods], [method])
    })
  }
})
