/**
 * What a sidecar refuses of what a gateway took: the client of the gateway hears what it would hear if the gateway itself had refused it, by its
 * driver, the cause and `refusal` of the listener. The key of a token is known to the gateway and not to the sidecar.
 */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { RememberedRefusals } from '../../src/control/refused-log-ins.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { type RefusalMode, refusalModes } from '../../src/session/refusals.ts'
import { describe } from './client.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const [known, unknown] = [makeKey('k1'), makeKey('k2')]
const policy = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", audiences: [ringfence] }
`
const java = 'DataStax Java Driver'
const python = 'DataStax Python Driver'
const cpp = 'DataStax C/C++ Driver for Apache Cassandra'
const inWords = /^0x0100 these credentials are not accepted here/

let world: World
let sidecar: RunningSidecar
const gateways: Partial<Record<RefusalMode, RunningGateway>> = {}
let clients = 0

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ policy, authentication: listenerModes.token! })
  sidecar.feed
    .value(pushedKinds.keySets)
    .set([{ provider: 'corp', issuer, keys: [known.jwk], fetchedAtMs: Date.now() }])
  for (const refusal of refusalModes) {
    const gateway = await world.gateway([sidecar], {
      name: refusal,
      authentication: [...listenerModes.token!],
      refusal,
    })
    gateway.feed.apply(policy)
    const keys = [known.jwk, unknown.jwk]
    gateway.feed.value(pushedKinds.keySets).set([{ provider: 'corp', issuer, keys, fetchedAtMs: Date.now() }])
    gateways[refusal] = gateway
  }
})
after(() => world.close())

function tokenOf(key: typeof known, sub: string): string {
  const iat = Math.floor(Date.now() / 1000) - 5
  return signed(key, { iss: issuer, aud: 'ringfence', sub, iat, exp: iat + 300 })
}

/** `in`, what the ERROR says, or `closed`. */
async function told(refusal: RefusalMode, driverName: string, password: string, localAddress: string): Promise<string> {
  const options = { credentials: { bundlePem: world.ca.bundlePem }, driverName, localAddress }
  const client = await world.connect(gateways[refusal]!.port, undefined, options)
  try {
    assert.equal(headerOpcode(await client.startup(), 0), Opcode.AUTHENTICATE)
    const answer = await client.logIn('token', password)
    if (headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS) return 'in'
    await client.closed
    return describe(answer)
  } catch (reason) {
    return String(reason).includes('closed') ? 'closed' : String(reason)
  } finally {
    client.close()
  }
}

/** Of two attempts, the first of a client that was never here and the second of one that was. */
async function heard(refusal: RefusalMode, driverName: string): Promise<string[]> {
  const [sub, address] = [`p${clients}`, `127.0.60.${++clients}`]
  const first = await told(refusal, driverName, tokenOf(unknown, sub), address)
  assert.equal(await told(refusal, driverName, tokenOf(known, sub), address), 'in')
  return [first, await told(refusal, driverName, tokenOf(unknown, sub), address)]
}

suite('what a sidecar refuses is told by its gateway', () => {
  it('in words, to a driver that comes back', async () => {
    for (const refusal of ['auto', 'words'] as const)
      for (const words of await heard(refusal, java)) assert.match(words, inWords, refusal)
  })

  it('by an error that the C++ driver survives', async () => {
    for (const words of await heard('auto', cpp)) assert.match(words, /^0x0000 these credentials/)
  })

  it('to the Python driver at a first log-in only, unless its listener says words', async () => {
    const [first, second] = await heard('auto', python)
    assert.match(first!, inWords)
    assert.equal(second, 'closed')
    for (const words of await heard('words', python)) assert.match(words, inWords)
  })

  it('without a word, where its listener says silent', async () => {
    for (const driver of [java, cpp, python]) assert.deepEqual(await heard('silent', driver), ['closed', 'closed'])
  })

  it('and both remember it, with the cause', async () => {
    const address = `127.0.60.${++clients}`
    await told('auto', java, tokenOf(unknown, 'remembered'), address)
    for (const { feed } of [sidecar, gateways.auto!]) {
      const refusals = new RememberedRefusals()
      refusals.take(feed.report!(), 'one')
      assert.deepEqual(
        refusals.find(address).map(({ cause }) => cause),
        ['unknown-key'],
      )
    }
  })
})
